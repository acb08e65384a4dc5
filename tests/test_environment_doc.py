"""`docs/environment.md` keeps its word: its variables are read, go to the keys it names, and come to the defaults it names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tars.actors.service_config import ENVIRONMENT, ServiceConfig, read_service_config
from tars.actors.services.router.environment import ENVIRONMENT as ROUTER
from tars.supervisor import Config

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \| ([^|]*) \| ([^|]*) \|", PAGE, re.MULTILINE)
FILE = """
[service]
name = "robot7"
[mqtt]
url = "mqtt://host"
[actors.router]
use = "tars.actors.services.router:Router"
"""


def read(folder: Path) -> ServiceConfig:
    """A file with nothing but what must be there."""
    path = folder / "service.toml"
    path.write_text(FILE)
    config = Config.load(path, {})
    found = read_service_config(config)
    config.finish()
    return found


def value_at(config: ServiceConfig, key: str) -> object:
    if key == "mqtt.client_id":
        return config.client_id
    table, *names = key.split(".")
    found: object = getattr(config, table)
    for name in names:
        found = found[name] if isinstance(found, Mapping) else getattr(found, name)
    return getattr(found, "value", found)


def test_there_are_rows_and_each_variable_stands_once() -> None:
    names = [name for name, *_ in ROWS]

    assert 9 == len(names) == len(set(names))


@pytest.mark.parametrize(("name", "key"), [row[:2] for row in ROWS])
def test_every_variable_goes_to_the_key_that_is_named(name: str, key: str) -> None:
    common = {(each.name, each.key) for each in ENVIRONMENT}
    routers = {(each.name, "actors.router." + ".".join(each.key)) for each in ROUTER}

    assert (name, key) in common | routers


@pytest.mark.parametrize(
    ("name", "key", "here"), [(row[0], row[1], row[3]) for row in ROWS if row[0] not in {"MQTT_URL", "MQTT_CLIENT_ID"}]
)
def test_the_default_is_the_one_that_is_named(tmp_path: Path, name: str, key: str, here: str) -> None:
    told = re.match(r"`([^`]+)`", here)
    assert told is not None
    value = value_at(read(tmp_path), key)
    shown = f"{value:g}" if isinstance(value, float) else str(value).lower()

    assert (name, told[1]) == (name, shown)


def test_without_its_variable_the_client_id_is_the_name_of_the_service(tmp_path: Path) -> None:
    assert "robot7" == value_at(read(tmp_path), "mqtt.client_id")


def test_the_mailbox_of_the_shipped_file_is_the_one_that_is_named() -> None:
    shipped = tomllib.loads((ROOT / "config" / "router.toml").read_text(encoding="utf-8"))["actors"]["router"]["mailbox"]

    assert f"`{shipped}` in `config/router.toml`" in PAGE


def test_what_is_said_to_be_gone_is_gone_and_what_is_new_is_there() -> None:
    names = {each.name for each in ROUTER}

    assert "TOPIC_MOVEMENT_STOP" not in names
    assert {"ROUTER_RESPONSE_WINDOW_SEC", "TTS_RESPONSE_WINDOW_SEC", "ROUTER_WAKE_ACK_TEXT"} <= names
