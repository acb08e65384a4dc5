"""What ``tars check`` knows: every setting that counts, where it came from, and nothing of a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from support.cli import call
from tars.supervisor import ChildSpec, Config, Override, Strategy, SupervisorSpec
from tars.supervisor.application import branch
from tars.supervisor.environment import text
from tars.supervisor.settings_report import Setting, settings

ROOT = Path(__file__).parent.parent.parent


@attrs.frozen
class Inner:
    depth: int = 1
    width: int = 2


@attrs.frozen
class Table:
    name: str = "x"
    password: str = "hunter2"
    token: str | None = None
    url: str | None = attrs.field(default=None, repr=False)
    shy: str = attrs.field(default="hunter2", repr=False)
    path: Path = Path("a/b")
    inner: Inner = attrs.field(factory=Inner)
    maybe: Inner | None = None
    topics: dict[str, str] = attrs.field(factory=dict)
    raw: dict[str, Any] = attrs.field(factory=dict, repr=False)


def found(tmp_path: Path, toml: str, *overrides: Override, environ: Mapping[str, str] | None = None) -> dict[str, Setting]:
    path = tmp_path / "a.toml"
    path.write_text(toml)
    config = Config.load(path, environ or {})
    config.override(*overrides)
    config.table("a", Table)
    config.finish()
    return {each.key: each for each in settings(config)}


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        ("a.name", "of the file", "file"),
        ("a.path", "from/outside", "environment THE_PATH"),
        ("a.password", "***", "default"),
        ("a.token", None, "default"),
        ("a.url", "mqtt://***@host", "file"),
        ("a.shy", "***", "default"),
        ("a.inner.depth", 7, "file"),
        ("a.inner.width", 2, "default"),
        ("a.maybe", None, "default"),
        ('a.topics."stt/final"', "x", "file"),
        ("a.topics.tts", "y", "environment THE_TOPIC"),
        ("a.raw.api_key", "***", "file"),
        ("a.raw.limit", [1, 2], "file"),
    ],
)
def test_every_setting_says_its_value_and_where_it_came_from(tmp_path: Path, key: str, value: object, origin: str) -> None:
    toml = """
        [a]
        name = "of the file"
        url = "mqtt://user:hunter2@host"
        inner.depth = 7
        topics = {"stt/final" = "x"}
        raw = {api_key = "hunter2", limit = [1, 2]}
    """
    overrides = Override("THE_PATH", "a.path", text), Override("THE_TOPIC", "a.topics.tts", text)
    all_of_them = found(tmp_path, toml, *overrides, environ={"THE_PATH": "from/outside", "THE_TOPIC": "y"})

    assert (value, origin) == (all_of_them[key].value, all_of_them[key].origin)
    assert "hunter2" not in repr(all_of_them)


def test_what_a_nested_table_has_by_default_is_told_too(tmp_path: Path) -> None:
    all_of_them = found(tmp_path, "")

    assert [1, 2] == [all_of_them[f"a.inner.{key}"].value for key in ("depth", "width")]


def test_a_raw_table_is_told_by_what_it_was_structured_to(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a.raw.depth = 3")
    config = Config.load(path, {})
    table = config.table("a", Table)
    config.structure(Inner, table.raw, ("a", "raw"))

    assert ["a.raw.depth", "a.raw.width"] == [each.key for each in settings(config) if each.key.startswith("a.raw")]


def test_what_a_value_comes_to_replaces_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("")
    config = Config.load(path, {})
    config.table("a", Table)
    config.comes_to("a.name", "the name")

    assert ["the name"] == [each.value for each in settings(config) if each.key == "a.name"]


def test_a_tree_can_be_told_in_json() -> None:
    async def start(*, task_status: object) -> None:
        """Never called."""

    spec = SupervisorSpec("root", [ChildSpec("forever", start, shutdown_s=float("inf"))], strategy=Strategy.ONE_FOR_ALL)

    assert {
        "id": "root",
        "restart": "permanent",
        "type": "supervisor",
        "strategy": "one_for_all",
        "max_restarts": 3,
        "period_s": 5.0,
        "children": [{"id": "forever", "restart": "permanent", "type": "worker", "shutdown_s": None}],
    } == branch(spec)


def test_check_shows_tree_and_settings_to_people_and_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, "check", ROOT / "config" / "router.toml")
    told = json.loads(call(capsys, "check", ROOT / "config" / "router.toml", "--json").out)

    assert (0, "") == (shown.code, shown.err)
    assert "root  supervisor  one_for_one  permanent  max_restarts=3 in 5 s" == shown.lines[0]
    assert ["setting", "value", "from"] == shown.lines[shown.lines.index("") + 1].split()
    assert ["actors.router.mailbox", "128", "file"] in [line.split() for line in shown.lines]
    assert {"value": 128, "from": "file"}.items() <= told["settings"]["actors.router.mailbox"].items()
    assert {"value": "tars-router", "from": "default", "name": ""} == told["settings"]["mqtt.client_id"]
    assert ["store", "journal", "watch", "service"] == [each["id"] for each in told["tree"]["children"]]
