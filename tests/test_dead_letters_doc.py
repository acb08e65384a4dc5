"""`docs/dead-letters.md` keeps its word: its tables are those of the code, and its commands are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import attrs
import pytest

from support.cli import call
from tars.actors.mqtt.dead_letter import DeadLetter, Outcome, Why
from tars.actors.mqtt.letter_topic import PREFIX, facts
from tars.actors.settings import StoreSettings

PAGE = (Path(__file__).parent.parent / "docs" / "dead-letters.md").read_text(encoding="utf-8")


def table(head: str) -> list[str]:
    found = re.search(rf"^\| {head} \|.*?\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found is not None
    return re.findall(r"^\| `([a-z_]+)`", found[1], re.MULTILINE)


def test_every_reason_is_explained() -> None:
    assert [] == [why.value for why in Why if why.value not in table("reason")]


def test_every_outcome_is_explained() -> None:
    assert sorted(["waits", *(outcome.value for outcome in Outcome)]) == sorted(table("outcome"))


def test_every_fact_is_named() -> None:
    whole = DeadLetter(Why.CRASHED, "in", "t", b"", 1, True, 1.0, "a", "s", 3, "e", "", "m", "c")

    assert [] == [name for name, _ in facts(whole) if f"`{name}`" not in PAGE]
    assert f"`{PREFIX}CLIENT_ID`" in PAGE


def test_the_settings_and_their_defaults_are_those_of_the_code() -> None:
    assert (10_000, False) == attrs.astuple(StoreSettings())
    assert "publish_dead_letters = true" in PAGE
    assert "`[store] max_dead_letters` (10 000)" in PAGE


@pytest.mark.parametrize("line", re.findall(r"^tars (dead-letters .*)$", PAGE, re.MULTILINE))
def test_every_command_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    arguments = [str(tmp_path) if word == "PLACE" else word for word in shlex.split(line)]
    said = call(capsys, *arguments)

    assert 1 == said.code
    assert "it holds no dead-letters.sqlite3" in said.err
