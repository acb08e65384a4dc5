"""Every environment variable of a service: what it sets, what counts without it, and where its range ends."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tars.actors.service_config import ENVIRONMENT, ServiceConfig, read_service_config
from tars.actors.url import BrokerUrl
from tars.supervisor import Config, ConfigError

FILE = """
[service]
name = "robot7"
[mqtt]
url = "mqtt://host"
[actors.echo]
use = "package.module:Object"
"""

# variable, where it goes, what counts without it, texts and what they mean, texts out of its range
Row = tuple[str, str, object, dict[str, object], list[str]]
SWITCH: dict[str, object] = {"true": True, "1": True, "YES": True, " on ": True, "false": False, "0": False, "No": False, "OFF": False}
NO_SWITCH = ["maybe", "2", "tru"]

TABLE: list[Row] = [
    (
        "MQTT_URL",
        "url",
        BrokerUrl("host"),
        {"mqtt://u%40x:p%40s@h:1": BrokerUrl("h", 1, "u@x", "p@s")},
        ["h:1883", "ws://h", "mqtt://h:99999"],
    ),
    ("MQTT_URL", "broker.embedded", False, {"mqtt://h": False}, []),
    ("MQTT_CLIENT_ID", "client_id", "robot7", {"c": "c"}, ["a/+", "#"]),
    ("MQTT_SOURCE_NAME", "source", "robot7", {"s": "s"}, []),
    ("MQTT_KEEPALIVE", "mqtt.keepalive_s", 60, {"1": 1, "3600": 3600}, ["0", "3601", "-1", "1.5", "soon"]),
    ("MQTT_ENABLE_HEALTH", "health.enabled", True, SWITCH, NO_SWITCH),
    ("MQTT_ENABLE_HEARTBEAT", "heartbeat.enabled", True, SWITCH, NO_SWITCH),
    ("MQTT_HEARTBEAT_INTERVAL", "heartbeat.interval_s", 5.0, {"1": 1.0, "0.1e2": 10.0}, ["0.99", "0", "-5", "inf", "nan", "often"]),
    ("MQTT_DEDUPE_TTL", "dedup.ttl_s", 30.0, {"0": 0.0, "2.5": 2.5}, ["-0.1", "x"]),
    ("MQTT_DEDUPE_MAX_ENTRIES", "dedup.max_entries", 100_000, {"1": 1}, ["-1", "0", "1.0"]),  # 0 only while the window is off
    ("MQTT_RECONNECT_MIN_DELAY", "mqtt.backoff.initial_s", 0.5, {"0.1": 0.1, "30": 30.0}, ["0.09", "0", "-1"]),
    ("MQTT_RECONNECT_MAX_DELAY", "mqtt.backoff.max_s", 30.0, {"0.5": 0.5, "5": 5.0}, ["0.49", "0", "-1", "x"]),
]


def read(folder: Path, environ: Mapping[str, str]) -> ServiceConfig:
    """Raises `ConfigError`."""
    path = folder / "service.toml"
    path.write_text(FILE)
    config = Config.load(path, environ)
    found = read_service_config(config)
    config.finish()
    return found


def at(config: ServiceConfig, place: str) -> Any:
    return functools.reduce(getattr, place.split("."), config)


@pytest.mark.parametrize(("name", "place", "default"), [row[:3] for row in TABLE])
def test_without_the_variable_or_with_a_blank_one_the_default_counts(tmp_path: Path, name: str, place: str, default: object) -> None:
    assert [default] * 3 == [at(read(tmp_path, environ), place) for environ in ({}, {name: ""}, {name: "  "})]


@pytest.mark.parametrize(("name", "place", "text", "value"), [(row[0], row[1], *good) for row in TABLE for good in row[3].items()])
def test_a_variable_sets_its_value_up_to_the_ends_of_its_range(tmp_path: Path, name: str, place: str, text: str, value: object) -> None:
    assert value == at(read(tmp_path, {name: text}), place)


@pytest.mark.parametrize(("name", "text"), [(row[0], bad) for row in TABLE for bad in row[4]])
def test_what_is_out_of_its_range_is_one_line_that_names_the_variable(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {name: text})
    (line,) = caught.value.lines

    assert f"(from the environment variable {name}): " in line


def test_the_table_holds_every_variable_and_its_place() -> None:
    assert [(each.name, each.key) for each in ENVIRONMENT if each.name == "MQTT_URL"] == [
        ("MQTT_URL", "mqtt.url"),
        ("MQTT_URL", "broker.embedded"),
    ]
    assert {each.name for each in ENVIRONMENT} == {row[0] for row in TABLE}
    assert len(ENVIRONMENT) == len(TABLE)
