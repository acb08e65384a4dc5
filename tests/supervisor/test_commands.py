"""Commands of other packages: found by their entry points, imported when they are called or listed."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tars.supervisor.commands import COMMANDS, commands

GOOD = EntryPoint("fine", "pathlib:Path.cwd", COMMANDS)
BROKEN = EntryPoint("broken", "no_such_module_at_all:x", COMMANDS)
LACKING = EntryPoint("lacking", "pathlib:no_such_name", COMMANDS)


def names(*arguments: str) -> list[str | None]:
    return [
        each.name or getattr(each.callback, "__name__", None) for each in commands(arguments, [BROKEN, LACKING, GOOD]).registered_commands
    ]


def test_one_that_cannot_be_loaded_is_told_and_the_others_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert ["run", "check", "logs", "fine"] == names("--help")
    assert [
        "tars: the command broken cannot be loaded: No module named 'no_such_module_at_all'",
        "tars: the command lacking cannot be loaded: module 'pathlib' has no attribute 'no_such_name'",
    ] == capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("called", ["run", "check", "logs", "fine"])
def test_only_what_is_called_is_loaded(capsys: pytest.CaptureFixture[str], called: str) -> None:
    assert ["run", "check", "logs", *(["fine"] if called == "fine" else [])] == names(called, str(Path()))
    assert "" == capsys.readouterr().err
