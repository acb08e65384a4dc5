"""The router's own environment variables, over the file, as the application reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from tars.actors import Actor, subscribe
from tars.actors.contracts.registry import STANDARD
from tars.actors.declared import declared_by
from tars.actors.definition import ActorDefinition
from tars.actors.loading import apply_environment, load_actors
from tars.actors.service_config import ServiceConfig, read_service_config
from tars.actors.services.router import Router, RouterSettings
from tars.actors.services.router.environment import ENVIRONMENT
from tars.supervisor import Config, ConfigError

FILE = """
[service]
name = "tars-router"

[mqtt]
url = "mqtt://broker"

[actors.router]
use = "tars.actors.services.router:Router"
mailbox = 32

[actors.router.settings]
wake_window_s = 5
"""


class Odd(Actor):
    """Its environment is not what it should be."""

    environment = {"SPEED": "settings.speed"}  # type: ignore[assignment]  # noqa: RUF012

    @subscribe("a")
    async def on_a(self, event: bytes) -> None:
        """Nothing."""


@attrs.frozen
class Read:
    """What a file and an environment come to."""

    config: Config
    service: ServiceConfig
    definition: ActorDefinition

    @property
    def settings(self) -> RouterSettings:
        """As an incarnation of the router gets them."""
        router = self.definition.make()
        assert isinstance(router, Router)
        return router.settings


def read(folder: Path, environ: Mapping[str, str], file: str = FILE) -> Read:
    """Read as `application` does. Raises `ConfigError`."""
    path = folder / "router.toml"
    path.write_text(file)
    config = Config.load(path, environ)
    apply_environment(config)
    service = read_service_config(config)
    (definition,) = load_actors(config, service.actors) or (None,)
    config.finish()
    assert definition is not None
    return Read(config, service, definition)


def mistakes(folder: Path, environ: Mapping[str, str], file: str = FILE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, environ, file)
    return [*caught.value.lines]


def test_without_variables_the_file_and_the_defaults_count(tmp_path: Path) -> None:

    assert RouterSettings(wake_window_s=5.0) == read(tmp_path, {}).settings


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("STREAM_MIN_CHARS", "30", "stream_min_chars", 30),
        ("ROUTER_STREAM_MAX_CHARS", "200", "stream_max_chars", 200),
        ("ROUTER_WAKE_WINDOW_SEC", "4.5", "wake_window_s", 4.5),
        ("WAKE_PHRASES", "Hey Jarvis|ok tars", "wake_phrases", ("hey jarvis", "ok tars")),
        ("WAKE_PHRASES", "", "wake_phrases", ()),
        ("WAKE_ACK_CHOICES", "Yes|No||", "wake_ack_choices", ("Yes", "No")),
        ("ROUTER_WAKE_ACK_TEXT", "At your service.", "wake_ack_choices", ("At your service.",)),
        ("ROUTER_WAKE_ACK_CHOICES", "", "wake_ack_choices", ("Hmm?", "Huh?", "Yes?")),
        ("ROUTER_WAKE_ACK_STYLE", " ", "wake_ack_style", "neutral"),
        ("ROUTER_WAKE_CANCEL_TEXT", "Never mind.", "wake_cancel_text", "Never mind."),
        ("ONLINE_ANNOUNCE_TEXT", "", "online_text", ""),
        ("PIPER_VOICE", "/voices/x.onnx", "tts_voice", "/voices/x.onnx"),
        ("ROUTER_TTS_VOICE", "", "tts_voice", "piper/en_US/amy"),
        ("ONLINE_ANNOUNCE", "1", "online_announce", True),
        ("ONLINE_ANNOUNCE", "Yes", "online_announce", True),
        ("ONLINE_ANNOUNCE", "0", "online_announce", False),
        ("ONLINE_ANNOUNCE", "off", "online_announce", False),
        ("ROUTER_STREAM_MIN_CHARS", " ", "stream_min_chars", 60),
        ("ROUTER_WAKE_WINDOW_SEC", "", "wake_window_s", 5.0),
    ],
)
def test_a_variable_beats_the_file_and_its_blank_rule_holds(tmp_path: Path, name: str, text: str, field: str, value: object) -> None:

    assert value == getattr(read(tmp_path, {name: text}).settings, field)


SWITCH: dict[str, object] = {"1": True, "yes": True, "0": False, "off": False}
WORDS: dict[str, object] = {"At once.": "At once.", "": ""}

# names (the first beats its aliases), place below the actor, what counts without any, texts and what they mean, texts out of the range
TABLE: list[tuple[str, str, object, dict[str, object], list[str]]] = [
    ("ONLINE_ANNOUNCE", "online_announce", True, SWITCH, ["maybe"]),
    ("ONLINE_ANNOUNCE_TEXT", "online_text", "System online.", WORDS, []),
    ("ROUTER_TTS_VOICE PIPER_VOICE", "tts_voice", "piper/en_US/amy", {"/v/x.onnx": "/v/x.onnx", "": "piper/en_US/amy"}, []),
    ("ROUTER_LLM_TTS_STREAM", "llm_tts_stream", True, SWITCH, ["2"]),
    ("ROUTER_STREAM_MIN_CHARS STREAM_MIN_CHARS", "stream_min_chars", 60, {"1": 1, "240": 240}, ["0", "241", "1.5"]),
    ("ROUTER_STREAM_MAX_CHARS STREAM_MAX_CHARS", "stream_max_chars", 240, {"60": 60, "2000": 2000}, ["59", "2001"]),
    ("ROUTER_STREAM_BOUNDARY_CHARS STREAM_BOUNDARY_CHARS", "stream_boundary_chars", ".!?;:", {"!?": "!?"}, ["", "a", ". "]),
    ("ROUTER_STREAM_BOUNDARY_ONLY", "stream_boundary_only", True, SWITCH, ["x"]),
    ("ROUTER_STREAM_HARD_MAX_CHARS", "stream_hard_max_chars", 2000, {"240": 240}, ["239", "100001"]),
    ("ROUTER_WAKE_PHRASES WAKE_PHRASES", "wake_phrases", ("hey tars",), {"Hey Jarvis| ok tars|": ("hey jarvis", "ok tars"), "": ()}, []),
    ("ROUTER_WAKE_WINDOW_SEC", "wake_window_s", 5.0, {"0.1": 0.1}, ["0", "-1", "nan", "inf"]),  # 8 unless the file says 5
    ("ROUTER_RESPONSE_WINDOW_SEC TTS_RESPONSE_WINDOW_SEC", "response_window_s", 10.0, {"4.5": 4.5}, ["0", "-1"]),
    ("ROUTER_WAKE_ACK_ENABLED", "wake_ack_enabled", True, SWITCH, ["x"]),
    (
        "ROUTER_WAKE_ACK_CHOICES WAKE_ACK_CHOICES ROUTER_WAKE_ACK_TEXT",
        "wake_ack_choices",
        ("Hmm?", "Huh?", "Yes?"),
        {"Yes|No||": ("Yes", "No"), "At once.": ("At once.",), "": ("Hmm?", "Huh?", "Yes?"), "|": ("Hmm?", "Huh?", "Yes?")},
        [],
    ),
    ("ROUTER_WAKE_ACK_STYLE", "wake_ack_style", "friendly", {"calm": "calm", "": "neutral"}, []),
    ("ROUTER_WAKE_REPROMPT_TEXT", "wake_reprompt_text", "", WORDS, []),
    ("ROUTER_WAKE_INTERRUPT_TEXT", "wake_interrupt_text", "", WORDS, []),
    ("ROUTER_WAKE_RESUME_TEXT", "wake_resume_text", "", WORDS, []),
    ("ROUTER_WAKE_CANCEL_TEXT", "wake_cancel_text", "", WORDS, []),
    ("ROUTER_WAKE_TIMEOUT_TEXT", "wake_timeout_text", "", WORDS, []),
    ("ROUTER_LIVE_MODE_DEFAULT", "live_mode_default", False, SWITCH, ["x"]),
    ("ROUTER_LIVE_MODE_ENTER_PHRASE", "live_mode_enter_phrase", "enter live mode", WORDS, []),
    ("ROUTER_LIVE_MODE_EXIT_PHRASE", "live_mode_exit_phrase", "exit live mode", WORDS, []),
    ("ROUTER_LIVE_MODE_ENTER_ACK", "live_mode_enter_ack", "Live mode enabled.", WORDS, []),
    ("ROUTER_LIVE_MODE_EXIT_ACK", "live_mode_exit_ack", "Live mode disabled.", WORDS, []),
    ("ROUTER_LIVE_MODE_ACTIVE_HINT", "live_mode_active_hint", "Live mode is already active.", WORDS, []),
    ("ROUTER_LIVE_MODE_INACTIVE_HINT", "live_mode_inactive_hint", "Live mode is already off.", WORDS, []),
]
TOPICS = {
    "TOPIC_HEALTH_TTS": "system/health/tars-tts",
    "TOPIC_HEALTH_STT": "system/health/tars-stt",
    "TOPIC_HEALTH_ROUTER": "system/health/router",
    "TOPIC_STT_FINAL": "stt/final",
    "TOPIC_TTS_SAY": "tts/say",
    "TOPIC_TTS_STATUS": "tts/status",
    "TOPIC_LLM_REQUEST": "llm/request",
    "TOPIC_LLM_RESPONSE": "llm/response",
    "TOPIC_LLM_STREAM": "llm/stream",
    "TOPIC_LLM_CANCEL": "llm/cancel",
    "TOPIC_WAKE_EVENT": "wake/event",
    "TOPIC_MOVEMENT_TEST": "movement/test",
    "TOPIC_MOVEMENT_STATUS": "movement/status",
}
OF_THE_ACTOR: list[tuple[str, str, object, dict[str, object], list[str]]] = [
    ("ROUTER_QUEUE_MAXSIZE", "mailbox", 32, {"1": 1, "256": 256}, ["0", "x"]),
    (
        "ROUTER_QUEUE_OVERFLOW",
        "overflow",
        "dead_letter",
        {"drop_oldest": "drop_oldest", "DROP_NEW": "drop_newest", "drop_newest": "drop_newest", "block": "block"},
        ["drop", "1"],
    ),
    ("ROUTER_HANDLER_TIMEOUT", "handler_timeout_s", 30.0, {"0.5": 0.5}, ["0", "-1"]),
]
EVERY_NAME = [(name, *row[1:]) for row in TABLE for name in row[0].split()]


@pytest.mark.parametrize(("field", "default"), [row[1:3] for row in TABLE])
def test_without_a_variable_the_default_of_every_setting_counts(tmp_path: Path, field: str, default: object) -> None:
    assert default == getattr(read(tmp_path, {}).settings, field)


@pytest.mark.parametrize(("name", "field", "text", "value"), [(row[0], row[1], *good) for row in EVERY_NAME for good in row[3].items()])
def test_every_name_sets_its_setting_up_to_the_ends_of_its_range(tmp_path: Path, name: str, field: str, text: str, value: object) -> None:
    assert value == getattr(read(tmp_path, {name: text}).settings, field)


@pytest.mark.parametrize(("name", "text"), [(row[0], bad) for row in (*EVERY_NAME, *OF_THE_ACTOR) for bad in row[4]])
def test_what_is_out_of_the_range_is_refused_by_the_name_it_came_from(tmp_path: Path, name: str, text: str) -> None:
    (line,) = mistakes(tmp_path, {name: text})

    assert f"from the environment variable {name})" in line


@pytest.mark.parametrize(("names", "field", "value"), [(row[0].split(), row[1], next(iter(row[3].values()))) for row in TABLE])
def test_a_name_beats_its_aliases(tmp_path: Path, names: list[str], field: str, value: object) -> None:
    row = next(row for row in TABLE if row[1] == field)
    text = next(iter(row[3]))
    ignored = dict.fromkeys(names[1:], "9")

    assert value == getattr(read(tmp_path, ignored | {names[0]: text}).settings, field)


@pytest.mark.parametrize(("name", "field", "default", "texts"), [row[:4] for row in OF_THE_ACTOR])
def test_every_key_of_the_actor_itself_has_its_name(
    tmp_path: Path, name: str, field: str, default: object, texts: Mapping[str, object]
) -> None:
    def value(environ: Mapping[str, str]) -> object:
        found = getattr(read(tmp_path, environ).service.actors["router"], field)
        return getattr(found, "value", found)

    assert [default, default, *texts.values()] == [value({}), value({name: ""}), *(value({name: text}) for text in texts)]


@pytest.mark.parametrize(("name", "topic"), TOPICS.items())
def test_every_topic_has_its_name(tmp_path: Path, name: str, topic: str) -> None:
    assert {} == dict(read(tmp_path, {name: " "}).definition.topics)
    assert {topic: "my/own"} == dict(read(tmp_path, {name: " my/own "}).definition.topics)


def test_the_tables_hold_every_variable_there_is() -> None:
    listed = {*(name for name, *_ in EVERY_NAME), *(name for name, *_ in OF_THE_ACTOR), *TOPICS}

    assert listed == {override.name for override in ENVIRONMENT}


def test_every_topic_that_has_a_name_is_one_the_router_listens_to_or_publishes(tmp_path: Path) -> None:
    definition = read(tmp_path, {}).definition
    subscribed = {subscription.template.filter for subscription in definition.subscriptions}
    published = {each.topic or STANDARD.topic_of(each.event_type) for each in declared_by(Router)}

    assert set(TOPICS.values()) == {override.key[1] for override in ENVIRONMENT if override.key[0] == "topics"}
    assert set() == set(TOPICS.values()) - subscribed - published


def test_one_text_to_acknowledge_with_counts_when_the_choices_are_left_blank(tmp_path: Path) -> None:
    environ = {"ROUTER_WAKE_ACK_CHOICES": "", "WAKE_ACK_CHOICES": " ", "ROUTER_WAKE_ACK_TEXT": "At your service."}

    assert ("At your service.",) == read(tmp_path, environ).settings.wake_ack_choices


def test_the_name_beats_its_alias(tmp_path: Path) -> None:
    both = {"ROUTER_STREAM_MIN_CHARS": "10", "STREAM_MIN_CHARS": "20"}

    assert 10 == read(tmp_path, both).settings.stream_min_chars


def test_the_keys_of_the_actor_itself_are_overridden_too(tmp_path: Path) -> None:
    environ = {"ROUTER_QUEUE_MAXSIZE": "8", "ROUTER_QUEUE_OVERFLOW": "drop_new", "ROUTER_HANDLER_TIMEOUT": "2.5"}
    actor = read(tmp_path, environ).service.actors["router"]

    assert (8, "drop_newest", 2.5) == (actor.mailbox, actor.overflow.value, actor.handler_timeout_s)


def test_topics_are_renamed_where_they_are_subscribed_and_where_they_are_published(tmp_path: Path) -> None:
    environ = {
        "TOPIC_STT_FINAL": " robot7/stt/final ",
        "TOPIC_HEALTH_STT": "system/health/stt",
        "TOPIC_LLM_CANCEL": "robot7/cancel",
        "TOPIC_TTS_SAY": "robot7/say",
        "TOPIC_WAKE_EVENT": "",
        "TOPIC_MOVEMENT_TEST": "robot7/move",
    }
    definition = read(tmp_path, environ).definition
    subscribed = {subscription.template.filter for subscription in definition.subscriptions}

    assert {"robot7/stt/final", "system/health/stt", "robot7/cancel", "wake/event"} <= subscribed
    assert set() == {"stt/final", "system/health/tars-stt", "llm/cancel", "robot7/say"} & subscribed
    assert ("robot7/say", "robot7/cancel") == (definition.topics["tts/say"], definition.topics["llm/cancel"])


def test_a_variable_beats_a_rename_of_the_file(tmp_path: Path) -> None:
    file = f'{FILE}[actors.router.topics]\n"stt/final" = "from/file"\n"tts/say" = "also/file"\n'
    topics = read(tmp_path, {"TOPIC_STT_FINAL": "from/environment"}, file).definition.topics

    assert {"stt/final": "from/environment", "tts/say": "also/file"} == dict(topics)


def test_every_actor_of_the_class_gets_them_under_its_own_name(tmp_path: Path) -> None:
    file = f'{FILE}\n[actors."front.door"]\nuse = "tars.actors.services.router:Router"\n'
    path = tmp_path / "two.toml"
    path.write_text(file)
    config = Config.load(path, {"ROUTER_QUEUE_MAXSIZE": "8"})
    apply_environment(config)
    actors = read_service_config(config).actors

    assert {"router": 8, "front.door": 8} == {name: actor.mailbox for name, actor in actors.items()}


def test_provenance_says_which_variable_a_value_came_from(tmp_path: Path) -> None:
    read_ = read(tmp_path, {"WAKE_PHRASES": "hey", "TOPIC_TTS_SAY": "x/say"})
    provenance = read_.config.provenance

    assert ("environment", "WAKE_PHRASES") == _source(provenance["actors.router.settings.wake_phrases"])
    assert ("environment", "TOPIC_TTS_SAY") == _source(provenance['actors.router.topics."tts/say"'])
    assert "file" == provenance["actors.router.settings.wake_window_s"].kind
    assert "default" == provenance["actors.router.settings.online_text"].kind


def _source(source: object) -> object:
    return attrs.astuple(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "where", "message"),
    [
        ("STREAM_MIN_CHARS", "x", "settings.stream_min_chars (from", 'expected an integer, found "x" (a string)'),
        ("ROUTER_WAKE_WINDOW_SEC", "-1", "settings (wake_window_s from", "wake_window_s must be > 0, got -1.0"),
        ("ROUTER_QUEUE_OVERFLOW", "x", "overflow (from", 'expected one of drop_oldest, drop_new, block, dead_letter, found "x"'),
        ("ROUTER_QUEUE_MAXSIZE", "0", "mailbox (from", "expected an integer >= 1, found 0 (an integer)"),
        ("TOPIC_TTS_SAY", "x/+", 'topics."tts/say" (from', "topic 'x/+': '+' is a wildcard, allowed in subscriptions only"),
    ],
)
def test_a_mistake_names_the_variable(tmp_path: Path, name: str, text: str, where: str, message: str) -> None:

    assert [f"actors.router.{where} the environment variable {name}): {message}"] == mistakes(tmp_path, {name: text})


def test_every_mistake_is_told_in_one_report_whichever_table_it_is_in(tmp_path: Path) -> None:
    environ = {
        "MQTT_KEEPALIVE": "soon",
        "ROUTER_QUEUE_MAXSIZE": "0",
        "ONLINE_ANNOUNCE": "maybe",
        "TOPIC_STT_FINAL": "a/#/b",
    }
    lines = mistakes(tmp_path, environ, FILE.replace("wake_window_s", "wake_widow_s"))

    assert 5 == len(lines)
    assert all(sum(name in line for line in lines) == 1 for name in (*environ, "wake_widow_s"))


def test_an_environment_that_is_no_tuple_of_overrides_is_a_mistake_of_the_actor(tmp_path: Path) -> None:
    file = FILE.replace("tars.actors.services.router:Router", f"{__name__}:Odd").replace("wake_window_s = 5\n", "")

    assert ["actors.router.use: Odd.environment must be a tuple of Override"] == mistakes(tmp_path, {}, file)


def test_every_override_names_a_setting_or_topic_that_exists_and_no_variable_twice() -> None:
    fields = {attribute.name for attribute in attrs.fields(RouterSettings)}
    keys = [override.key for override in ENVIRONMENT]
    names = [override.name for override in ENVIRONMENT]

    assert set() == {key[1] for key in keys if key[0] == "settings"} - fields
    assert len(names) == len(set(names))
    assert {"settings", "topics", "mailbox", "overflow", "handler_timeout_s"} == {key[0] for key in keys}
