"""The config report: what is refused, where it says so, and what it never shows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from support.cases import case
from tars.supervisor.config import Config, ConfigError, Source
from tars.supervisor.environment import Override, boolean, integer, number, text
from tars.supervisor.structure import within


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Backoff:
    initial_s: float = attrs.field(default=0.5, validator=within(gt=0))
    max_s: float = 30.0

    def __attrs_post_init__(self) -> None:
        if self.max_s < self.initial_s:
            message = "max_s must be >= initial_s"
            raise ValueError(message)


@attrs.frozen
class Mqtt:
    url: str = "mqtt://localhost"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: int = attrs.field(default=60, validator=within(ge=1, le=3600))
    clean: bool = False
    password: str = ""
    limit: int | None = attrs.field(default=None, validator=within(ge=1))
    size: int | Literal["auto"] = "auto"
    colour: Colour = Colour.RED
    hosts: tuple[str, ...] = ()
    weights: dict[str, float] = attrs.field(factory=dict)
    file: Path | None = None
    name: str = attrs.field(default="x", validator=attrs.validators.matches_re("[a-z]+"))
    pin: int = attrs.field(default=0, repr=False, validator=within(le=9999))
    door_codes: tuple[int, ...] = attrs.field(default=(), repr=False)
    backoff: Backoff = attrs.field(factory=Backoff)


@attrs.frozen
class ActorSettings:
    use: str
    mailbox: int = 64
    settings: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class RouterSettings:
    phrases: tuple[str, ...] = ()
    window_s: float = 8.0


def load(tmp_path: Path, toml: str, environ: Mapping[str, str] | None = None) -> Config:
    path = tmp_path / "service.toml"
    path.write_text(toml, encoding="utf-8")
    return Config.load(path, environ or {})


def report(config: Config) -> list[str]:
    """The lines of the report, the file's name not among them."""
    with pytest.raises(ConfigError) as caught:
        config.finish()
    return list(caught.value.lines)


def test_a_good_table_becomes_its_class_with_defaults_for_what_is_absent(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [mqtt]
        url = "mqtt://host"
        limit = 3
        size = 7
        colour = "blue"
        hosts = ["a", "b"]
        weights = { a = 1, b = 0.5 }
        file = "var/x"
        [mqtt.backoff]
        initial_s = 1
        """,
    )
    mqtt = config.table("mqtt", Mqtt)
    config.finish()

    expected = Mqtt(
        url="mqtt://host",
        limit=3,
        size=7,
        colour=Colour.BLUE,
        hosts=("a", "b"),
        weights={"a": 1.0, "b": 0.5},
        file=Path("var/x"),
        backoff=Backoff(initial_s=1.0),
    )

    assert expected == mqtt
    assert float is type(mqtt.backoff.initial_s)


@case("A17")
@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('clean = "false"', 'mqtt.clean: expected true or false, found "false" (a string)'),
        ("clean = 0", "mqtt.clean: expected true or false, found 0 (an integer)"),
        ("keepalive_s = 1.9", "mqtt.keepalive_s: expected an integer, found 1.9 (a float)"),
        ("keepalive_s = true", "mqtt.keepalive_s: expected an integer, found true (a boolean)"),
        ('keepalive_s = "60"', 'mqtt.keepalive_s: expected an integer, found "60" (a string)'),
        ("keepalive_s = 0", "mqtt.keepalive_s: expected an integer between 1 and 3600, found 0 (an integer)"),
        ("limit = 0", "mqtt.limit: expected an integer >= 1, found 0 (an integer)"),
        ("url = 1", "mqtt.url: expected a string, found 1 (an integer)"),
        ("url = 1979-05-27", "mqtt.url: expected a string, found 1979-05-27 (a date)"),
        ('protocol = "4"', 'mqtt.protocol: expected one of "auto", "5", "3.1.1", found "4" (a string)'),
        ("protocol = 5", 'mqtt.protocol: expected one of "auto", "5", "3.1.1", found 5 (an integer)'),
        ('protocol = "Auto"', 'mqtt.protocol: expected one of "auto", "5", "3.1.1", found "Auto" (a string); did you mean "auto"?'),
        ("size = 1.0", 'mqtt.size: expected an integer or one of "auto", found 1.0 (a float)'),
        ('colour = "bleu"', 'mqtt.colour: expected one of "red", "blue", found "bleu" (a string); did you mean "blue"?'),
        ('hosts = "abc"', 'mqtt.hosts: expected an array (a string each), found "abc" (a string)'),
        ('hosts = ["a", 1]', "mqtt.hosts[1]: expected a string, found 1 (an integer)"),
        ('weights = { a = "x" }', 'mqtt.weights.a: expected a number, found "x" (a string)'),
        ("weights = { a = nan }", "mqtt.weights.a: expected a number, found nan (a float)"),
        ("weights = { a = inf }", "mqtt.weights.a: expected a number, found inf (a float)"),
        (f"weights = {{ a = 0x{'f' * 5000} }}", "mqtt.weights.a: expected a number, found a huge number (an integer)"),
        ('weights = { "a b" = true }', 'mqtt.weights."a b": expected a number, found true (a boolean)'),
        ("file = 3", "mqtt.file: expected a path (a string), found 3 (an integer)"),
        ('file = ""', 'mqtt.file: expected a path (a string), found "" (a string)'),
        ('url = ["a"]', "mqtt.url: expected a string, found an array"),
        ("backoff = 3", "mqtt.backoff: expected a table, found 3 (an integer)"),
        ("backoff = { initial_s = 0 }", "mqtt.backoff.initial_s: expected a number > 0, found 0 (an integer)"),
        ("backoff = { initial_s = 40 }", "mqtt.backoff: max_s must be >= initial_s"),
        ("backoff = { intial_s = 1 }", 'mqtt.backoff.intial_s: unknown key; did you mean "initial_s"?'),
        ("keepalive = 3", 'mqtt.keepalive: unknown key; did you mean "keepalive_s"?'),
        ("zzz = 3", "mqtt.zzz: unknown key"),
        (f'keepalive_s = "{"x" * 100}"', f'mqtt.keepalive_s: expected an integer, found "{"x" * 59}... (a string)'),
        ('keepalive_s = "\\u001b[2J"', 'mqtt.keepalive_s: expected an integer, found "\\u001b[2J" (a string)'),
    ],
)
def test_a_mistake_is_reported_with_its_key_what_was_expected_and_what_was_found(tmp_path: Path, toml: str, line: str) -> None:
    config = load(tmp_path, f"[mqtt]\n{toml}")
    config.table("mqtt", Mqtt)

    assert [line] == report(config)


def test_an_attrs_validator_without_a_rule_of_ours_is_reported_too(tmp_path: Path) -> None:
    config = load(tmp_path, '[mqtt]\nname = "A"')
    config.table("mqtt", Mqtt)
    (line,) = report(config)

    assert line.startswith("mqtt.name: 'name' must match regex")


def test_every_mistake_is_in_one_report(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        applicaton = "a:b"
        [mqtt]
        clean = "no"
        keepalive_s = 0
        [mqtt.backoff]
        initial_s = 0
        max = 3
        [actors.door]
        mailbox = "big"
        [actors."front.door"]
        use = 3
        [helth]
        """,
    )
    config.value("application", str, default="")
    config.table("mqtt", Mqtt)
    config.tables("actors", ActorSettings)
    config.table("health", Backoff)
    config.problem("mqtt.url", "is not reachable from here")

    expected = [
        "mqtt.keepalive_s: expected an integer between 1 and 3600, found 0 (an integer)",
        'mqtt.clean: expected true or false, found "no" (a string)',
        "mqtt.backoff.initial_s: expected a number > 0, found 0 (an integer)",
        'mqtt.backoff.max: unknown key; did you mean "max_s"?',
        "actors.door.use: is missing; expected a string",
        'actors.door.mailbox: expected an integer, found "big" (a string)',
        'actors."front.door".use: expected a string, found 3 (an integer)',
        "mqtt.url: is not reachable from here",
        'applicaton: unknown key; did you mean "application"?',
        'helth: unknown table; did you mean "health"?',
    ]

    assert expected == report(config)


@case("A17")
def test_the_report_names_the_file_and_counts(tmp_path: Path) -> None:
    config = load(tmp_path, "a = 1\nb = 2")
    with pytest.raises(ConfigError) as caught:
        config.finish()

    assert f"{tmp_path}/service.toml: 2 mistakes\n  a: unknown key\n  b: unknown key" == str(caught.value)


def test_finishing_twice_reports_the_same(tmp_path: Path) -> None:
    config = load(tmp_path, "a = 1\n[mqtt]\nurl = 1")
    config.table("mqtt", Mqtt)
    config.table("mqtt", Mqtt)

    assert report(config) == report(config)
    assert 2 == len(report(config))


def test_a_value_is_not_usable_while_its_table_has_mistakes(tmp_path: Path) -> None:
    config = load(tmp_path, "[mqtt]\nurl = 1")
    mqtt = config.table("mqtt", Mqtt)

    assert not config.clean
    with pytest.raises(ConfigError, match=r"mqtt\.url: expected a string"):
        _ = mqtt.keepalive_s


@pytest.mark.parametrize(
    "toml",
    [
        "password = 12345678",
        "password = [12345678]",
        'keepalive_s = "mqtt://tars:12345678@host"',
        'keepalive_s = "mqtt://tars:1/2@3@12345678@host:1883/x"',
        'api_key = "12345678"',
        'pin = "12345678"',
        "pin = 12345678",
        'door_codes = [1, "12345678"]',
    ],
)
def test_no_report_shows_a_secret(tmp_path: Path, toml: str) -> None:
    config = load(tmp_path, f"[mqtt]\n{toml}")
    config.table("mqtt", Mqtt)

    assert "12345678" not in "\n".join(report(config))


def test_a_config_does_not_show_the_environment_in_its_repr(tmp_path: Path) -> None:
    config = load(tmp_path, "", {"MQTT_PASSWORD": "hunter2"})

    assert "hunter2" not in repr(config)


def test_a_raw_part_is_structured_later_at_its_own_key(tmp_path: Path) -> None:
    config = load(tmp_path, '[actors.router]\nuse = "a:b"\n[actors.router.settings]\nphrases = ["x"]\nwindow = 3')
    actors = config.tables("actors", ActorSettings)
    config.structure(RouterSettings, actors["router"].settings, ("actors", "router", "settings"))

    assert ['actors.router.settings.window: unknown key; did you mean "window_s"?'] == report(config)


def test_tables_that_are_no_tables_are_mistakes(tmp_path: Path) -> None:
    config = load(tmp_path, "actors = 3")

    assert {} == config.tables("actors", ActorSettings)
    assert ["actors: expected a table, found 3 (an integer)"] == report(config)


def test_one_value_can_be_read_without_claiming_its_table(tmp_path: Path) -> None:
    config = load(tmp_path, "[service]\nstop_deadline_s = 4\nnam = 'x'")

    assert 4.0 == config.value("service.stop_deadline_s", float, default=9.0)
    assert 1.0 == config.value("service.drain_s", float, default=1.0)
    assert ["service.nam: unknown key"] == report(config)


def test_a_wrong_value_gives_the_default_and_a_problem(tmp_path: Path) -> None:
    config = load(tmp_path, "[service]\nstop_deadline_s = 'soon'")

    assert 9.0 == config.value("service.stop_deadline_s", float, default=9.0)
    assert ['service.stop_deadline_s: expected a number, found "soon" (a string)'] == report(config)


# -- the environment ------------------------------------------------------------------------------

OVERRIDES = (
    Override("MQTT_URL", "mqtt.url", text),
    Override("MQTT_KEEPALIVE", "mqtt.keepalive_s", integer),
    Override("MQTT_CLEAN", "mqtt.clean", boolean),
    Override("MQTT_BACKOFF", "mqtt.backoff.max_s", number),
)


def test_the_environment_replaces_the_file(tmp_path: Path) -> None:
    environ = {"MQTT_URL": "mqtt://other", "MQTT_KEEPALIVE": " 7 ", "MQTT_CLEAN": "Yes", "MQTT_BACKOFF": "31"}
    config = load(tmp_path, "[mqtt]\nurl = 'mqtt://file'\nkeepalive_s = 'wrong'", environ)
    config.override(*OVERRIDES)
    mqtt = config.table("mqtt", Mqtt)
    config.finish()

    assert Mqtt(url="mqtt://other", keepalive_s=7, clean=True, backoff=Backoff(max_s=31.0)) == mqtt


def test_provenance_says_where_each_value_came_from(tmp_path: Path) -> None:
    config = load(tmp_path, "[mqtt]\nclean = true\n[mqtt.backoff]\ninitial_s = 1", {"MQTT_URL": "mqtt://other"})
    config.override(*OVERRIDES)
    config.table("mqtt", Mqtt)
    config.finish()
    file = Source("file", f"{tmp_path}/service.toml")

    assert Source("environment", "MQTT_URL") == config.provenance["mqtt.url"]
    assert file == config.provenance["mqtt.clean"]
    assert file == config.provenance["mqtt.backoff.initial_s"]
    assert Source("default") == config.provenance["mqtt.backoff.max_s"]
    assert Source("default") == config.provenance["mqtt.keepalive_s"]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        (
            "MQTT_KEEPALIVE",
            "1_0",
            'mqtt.keepalive_s (from the environment variable MQTT_KEEPALIVE): expected an integer, found "1_0" (a string)',
        ),
        (
            "MQTT_KEEPALIVE",
            "0",
            "mqtt.keepalive_s (from the environment variable MQTT_KEEPALIVE): expected an integer between 1 and 3600, found 0 (an integer)",
        ),
        (
            "MQTT_BACKOFF",
            "nan",
            'mqtt.backoff.max_s (from the environment variable MQTT_BACKOFF): expected a number, found "nan" (a string)',
        ),
        (
            "MQTT_BACKOFF",
            "1e999",
            "mqtt.backoff.max_s (from the environment variable MQTT_BACKOFF): expected a number, found inf (a float)",
        ),
        (
            "MQTT_CLEAN",
            "maybe",
            (
                "mqtt.clean (from the environment variable MQTT_CLEAN): "
                'expected one of 1, true, yes, on, 0, false, no, off, found "maybe" (a string)'
            ),
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path, variable: str, value: str, line: str) -> None:
    config = load(tmp_path, "", {variable: value})
    config.override(*OVERRIDES)
    config.table("mqtt", Mqtt)

    assert [line] == report(config)


def quoting(found: str) -> object:
    raise ValueError(f"{found} is no number of a door")


@pytest.mark.parametrize("parse", [integer, quoting])
def test_of_what_a_class_keeps_out_of_its_repr_the_environment_shows_nothing_either(tmp_path: Path, parse: Callable[[str], object]) -> None:
    config = load(tmp_path, "", {"DOOR": "x12345678"})
    config.override(Override("DOOR", "mqtt.pin", parse))
    config.table("mqtt", Mqtt)
    (line,) = report(config)

    assert line.startswith("mqtt.pin (from the environment variable DOOR): ")
    assert "12345678" not in line


def test_while_a_table_has_other_mistakes_nobody_knows_what_it_hides(tmp_path: Path) -> None:
    config = load(tmp_path, "[mqtt]\nurl = 7", {"DOOR": "x12345678", "MQTT_KEEPALIVE": "1_0"})
    config.override(*OVERRIDES, Override("DOOR", "mqtt.pin", integer))
    config.table("mqtt", Mqtt)

    assert [
        "mqtt.keepalive_s (from the environment variable MQTT_KEEPALIVE): expected an integer, found a string",
        "mqtt.pin (from the environment variable DOOR): expected an integer, found a string",
        "mqtt.url: expected a string, found 7 (an integer)",
    ] == report(config)


@pytest.mark.parametrize("word", ["0", "false", "NO", "off"])
def test_the_words_for_false_are_false(word: str) -> None:
    assert boolean(word) is False


def test_an_empty_variable_is_an_unset_one_and_the_first_alias_wins(tmp_path: Path) -> None:
    config = load(tmp_path, "", {"A": "", "B": "from b", "C": "from c"})
    config.override(*(Override(name, "mqtt.url", text) for name in "ABC"))

    assert "from b" == config.table("mqtt", Mqtt).url


def test_an_override_below_something_that_is_no_table_leaves_the_mistake_to_be_reported(tmp_path: Path) -> None:
    config = load(tmp_path, "mqtt = 3", {"MQTT_URL": "mqtt://x"})
    config.override(*OVERRIDES)
    config.table("mqtt", Mqtt)

    assert ["mqtt: expected a table, found 3 (an integer)"] == report(config)


def test_has_sees_the_file_and_the_overrides(tmp_path: Path) -> None:
    config = load(tmp_path, "[actors.router]", {"MQTT_URL": "mqtt://x"})

    assert config.has("actors.router")
    assert not config.has("mqtt.url")
    config.override(*OVERRIDES)
    assert config.has("mqtt.url")


# -- files that are none --------------------------------------------------------------------------


def load_error(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(path, {})
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "no such file" == load_error(tmp_path / "none.toml")


def test_a_folder_and_a_circle_of_links_cannot_be_read(tmp_path: Path) -> None:
    circle = tmp_path / "circle.toml"
    circle.symlink_to(circle)

    assert "cannot be read: Is a directory" == load_error(tmp_path)
    assert load_error(circle).startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b'a = 1\nb = "\xff"', "not UTF-8 (at line 2)"),
        (b"a = 1\nb =", "not TOML: Invalid value (at end of document)"),
        (b"a = 1\nb = = 2\n", "not TOML: Invalid value (at line 2, column 5)"),
        (b"a = " + b"1" * 5000, "not TOML: Exceeds the limit"),
        (b"a = " + b"[" * 100_000, "not usable: nested too deeply"),
    ],
)
def test_a_file_that_is_not_toml_says_where(tmp_path: Path, content: bytes, wrong: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)

    assert load_error(path).startswith(wrong)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1")

    assert {"a": 1} == Config.load(path, {}).raw
