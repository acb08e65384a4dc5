"""Standard streams, for the commands and for the service that runs: may they have colours, and what to do when they are gone.

Law: imports the standard library alone. A service that starts must not wait for what only commands need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final, TextIO

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


def in_colours(environ: Mapping[str, str]) -> bool:
    """May a terminal in this environment be sent colours?"""
    return "NO_COLOR" not in environ and environ.get("TERM") != "dumb"


def silence(stream: TextIO) -> None:
    """Let what `stream` still holds go nowhere: the interpreter's last flush would make the exit code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def let_go_of(stream: TextIO) -> None:
    """A reader that has gone must not change the exit code."""
    try:
        stream.flush()
    except OSError:
        silence(stream)


def tell_user(report: str) -> None:
    """On the standard error, where there is one."""
    if sys.stderr is not None:  # closed by whoever started us: `print` would take the standard output
        print(report, file=sys.stderr, flush=True)  # noqa: T201 - what a command says to its user
