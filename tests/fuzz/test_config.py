"""Whatever stands in a config, in the environment or in a broker's URL: it is used, or one report names the file, and no password."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fuzz import FUZZ, damaged
from tars.actors.loading import apply_environment, load_actors
from tars.actors.service_config import ENVIRONMENT, read_service_config
from tars.actors.settings import (
    ActorSettings,
    BackoffTable,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
    TlsTable,
)
from tars.actors.url import UrlError, parse_mqtt_url
from tars.supervisor import Config, ConfigError
from tars.supervisor.application import plan
from tars.supervisor.commands import call

PATH: Final = Path("a service.toml")
ROUTER: Final = (Path(__file__).parents[2] / "config" / "router.toml").read_bytes()
PASSWORD: Final = "hunter2"  # in any string, at any key
CLASSES: Final = {
    "service": ServiceSettings,
    "mqtt": MqttSettings,
    "broker": BrokerSettings,
    "health": HealthSettings,
    "heartbeat": HeartbeatSettings,
    "dedup": DedupSettings,
    "store": StoreSettings,
    "tls": TlsTable,
    "backoff": BackoffTable,
}

WORDS: Final = st.sampled_from(
    [
        "",
        "robot7",
        "auto",
        "5",
        "3.1.1",
        "dead_letter",
        "tars.actors.services.router:Router",
        "tars.actors:Actor",
        "a:b",
        ":",
        "..:",
        "a/+",
        "\0",
        "é",
    ]
)
URLS: Final = st.sampled_from(
    [f"mqtt://u:{PASSWORD}@h", f"mqtts://u:{PASSWORD}@[::1]:1", f"mqtt://u:{PASSWORD}@h:99999", "mqtt://h", "mqtt://["]
)
TEXTS: Final = WORDS | URLS | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS: Final = (
    st.sampled_from([0, 1, -1, 64, 10**400, 0.0, 0.5, float("nan"), float("inf"), -float("inf"), 1e308]) | st.integers() | st.floats()
)
TIMES: Final = st.datetimes() | st.dates() | st.just(dt.time(1, 2))
KEYS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["a.b", "[0]", "", "password", "use", "settings"]
)
VALUES: Final = st.recursive(
    TEXTS | NUMBERS | TIMES | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def tables(cls: type[Any], **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A table with some of the keys of `cls`, each good or anything, and perhaps one that it has not."""
    known: dict[str, st.SearchStrategy[Any]] = {field.name: value_of(field) for field in attrs.fields(cls)} | others
    return st.fixed_dictionaries({}, optional={**known, "unheard_of": VALUES}) | VALUES


def value_of(field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    return st.just(field.default) | VALUES if isinstance(field.default, str | int | float) else VALUES


ACTOR: Final = tables(
    ActorSettings,
    use=TEXTS,
    settings=st.dictionaries(st.sampled_from(["wake_phrases", "wake_timeout_grace_s", "live_mode_default"]) | KEYS, VALUES, max_size=3)
    | VALUES,
    topics=st.dictionaries(TEXTS, TEXTS, max_size=2) | VALUES,
)
CONFIGS: Final = st.fixed_dictionaries(
    {"actors": st.dictionaries(st.sampled_from(["router", "front door"]) | KEYS, ACTOR, max_size=2) | VALUES},
    optional={
        **{name: tables(cls) for name, cls in CLASSES.items() if name not in {"tls", "backoff", "mqtt"}},
        "mqtt": tables(MqttSettings, url=URLS | VALUES, tls=tables(TlsTable), backoff=tables(BackoffTable)),
        "unheard_of": VALUES,
    },
)
VARIABLES: Final = st.dictionaries(
    st.sampled_from([override.name for override in ENVIRONMENT] + ["WAKE_PHRASES", "ROUTER_WAKE_WINDOW_SEC", "TOPIC_STT_FINAL"]),
    TEXTS | NUMBERS.map(str) | st.sampled_from(["\udcff", "9" * 5000, "true", "٣", "1e400"]),
    max_size=3,
)


def refusal(ask: Callable[[], object]) -> str | None:
    """What `ask` is refused with, if it is."""
    try:
        ask()
    except (ConfigError, UrlError) as error:
        return str(error)
    return None


def read_or_refuse(config: Config) -> None:
    """The law of this file: `finish` is the only one that raises, and nothing but its report."""
    apply_environment(config)
    settings = read_service_config(config)
    load_actors(config, settings.actors)
    report = refusal(config.finish)

    assert report is None or report.startswith(f"{config.path}: ")
    assert PASSWORD not in (report or "")


@FUZZ
@given(CONFIGS, VARIABLES)
def test_any_tables_and_any_environment_are_a_config_or_a_config_error(raw: dict[str, Any], environ: dict[str, str]) -> None:
    read_or_refuse(Config(PATH, raw, environ))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "service.toml"


@FUZZ
@given(
    damaged(ROUTER)
    | st.binary(max_size=60)
    | st.tuples(st.sampled_from([b"a.", b"mqtt.", b"[", b"{a="]), st.integers(1, 3000)).map(lambda drawn: drawn[0] * drawn[1] + b"b=1")
)
def test_any_file_is_a_config_or_a_config_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    report = refusal(lambda: Config.load(file, {}))

    assert report is None or report.startswith(f"{file}: ")
    if report is None:
        read_or_refuse(Config.load(file, {}))


MISTAKES: Final = (
    ("service.drain_s", -1),
    ("service.nmae", "robot7"),
    ("mqtt.url", f"http://u:{PASSWORD}@h"),
    ("mqtt.keepalive_s", "a minute"),
    ("mqtt.receive_maximum", 0),
    ("mqtt.protocol", "4"),
    ("mqtt.tls.ca_file", 1),
    ("mqtt.backoff.factor", "2"),
    ("broker.embedded", "yes"),
    ("health.enabled", 1),
    ("heartbeat.interval_s", float("nan")),
    ("dedup.ttl_s", True),
    ("store.max_dead_letters", 1.5),
    ("log.level", "loud"),
    ("actors.router.mailbox", 0),
    ("actors.router.overflow", "explode"),
    ("actors.router.settings.unheard_of", 1),
    ("actors.router.settings.wake_timeout_grace_s", "soon"),
    ("actors.other.use", "tars.actors:Nobody"),
    ("unheard_of", 1),
)
"""Each is wrong for itself, whatever else is."""


def with_mistakes(made: set[int]) -> bytes:
    """A config with these, and nothing else wrong."""
    good = {
        "application": "tars.actors.service:application",
        "service.name": "robot7",
        "mqtt.url": "mqtt://h",
        "actors.router.use": "tars.actors.services.router:Router",
    }
    all_ = good | dict(MISTAKES[each] for each in made)
    return "".join(f"{key} = {value if isinstance(value, float) else json.dumps(value)}\n" for key, value in all_.items()).encode()


@FUZZ
@given(st.sets(st.sampled_from(range(len(MISTAKES))), min_size=1))
def test_all_mistakes_are_in_one_report_each_on_its_line(file: Path, made: set[int]) -> None:
    file.write_bytes(with_mistakes(made))
    with pytest.raises(ConfigError) as refused:
        plan(file, {})
    lines = [line.partition(":")[0] for line in refused.value.lines]

    assert sorted(MISTAKES[each][0] for each in made) == sorted(lines)
    assert PASSWORD not in str(refused.value)


def checked(file: Path) -> tuple[int, str, str]:
    """``tars check FILE``: its exit code, what it said, and what it said was wrong."""
    out, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong), pytest.raises(SystemExit) as ended:
        call(["check", str(file)])
    return int(ended.value.code or 0), out.getvalue(), wrong.getvalue()


@settings(FUZZ, max_examples=FUZZ.max_examples // 4)
@given(damaged(ROUTER) | st.binary(max_size=60))
def test_whatever_file_a_command_is_given_it_uses_it_or_ends_with_2_and_a_report_without_a_traceback(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    code, out, wrong = checked(file)

    assert code in {0, 2}
    assert (code == 0) is (wrong == "") is (out != "")
    assert code == 0 or wrong.startswith(f"{file}: ")
    assert "Traceback" not in wrong


@FUZZ
@given(
    st.lists(
        st.sampled_from(
            ["mqtt://", "mqtts://", PASSWORD, "u:", "@", "h", ":1883", ":", "/", "[", "::1", "]", "%", "%40", "%FF", "%00", "?", "#"]
        )
        | st.text(max_size=2)
    )
)
def test_any_text_is_a_brokers_url_or_an_url_error(pieces: list[str]) -> None:
    text = "".join(pieces)
    report = refusal(lambda: parse_mqtt_url(text))

    assert PASSWORD not in (report or "")
    if report is None:
        url = parse_mqtt_url(text)
        again = parse_mqtt_url(url.redacted)

        assert 1 <= url.port <= 65535
        assert (url.host, url.port, url.tls) == (again.host, again.port, again.tls)
