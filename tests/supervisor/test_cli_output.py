"""What the commands do when what they print cannot be taken, and on which terminals they paint."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tars.supervisor.terminal import Terminal

TARS = (sys.executable, "-c", "from tars.supervisor.cli import main; main()")
CONFIG = Path(__file__).parents[2] / "config" / "router.toml"
LINE = '{"ts": "2026-01-02T10:00:00Z", "level": "info", "event": "heard"}\n'


@pytest.fixture(params=["check", "logs"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """A command that prints something, of which nothing fails."""
    log = tmp_path / "a.log"
    log.write_text(LINE)
    return (*TARS, request.param, str(CONFIG if request.param == "check" else log))


def test_a_full_disk_is_one_line_and_exit_code_1(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (1, "tars: the standard output: no space left on device\n") == (ended.returncode, ended.stderr)


def test_a_standard_output_that_is_closed_is_no_failure(command: tuple[str, ...]) -> None:
    ended = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False)

    assert (0, "") == (ended.returncode, ended.stderr)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({}, True),
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": ""}, False),
    ],
)
def test_a_terminal_is_painted_unless_it_cannot_or_must_not_be(environ: dict[str, str], *, colours: bool) -> None:
    assert colours == Terminal.of(Tty(), environ).colours
