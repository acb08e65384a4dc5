"""``tars``: where the command line begins. ``tars run CONFIG`` starts at once; every other call goes through `commands`.

Law: a service that starts imports no command, and not the library they are made with.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .reload import hangups_later
from .run_command import run_config
from .streams import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; ends with SystemExit. Applications and actors are also found in the current folder."""
    if sys.stdout is None:  # closed by whoever started us (`>&-`): what is printed goes nowhere
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    given = sys.argv[1:] if arguments is None else list(arguments)
    with hangups_later() if given[:1] == ["run"] else contextlib.nullcontext():
        sys.exit(_run(given[1]) if _is_plain_run(given) else _command(given))


def _is_plain_run(given: Sequence[str]) -> bool:
    """Just a file: no option, nothing missing, nothing too many."""
    return len(given) == 2 and given[0] == "run" and not given[1].startswith("-")


def _run(config: str) -> int:
    try:
        return run_config(Path(config))
    except KeyboardInterrupt:  # before the tree was there to be stopped
        return INTERRUPTED


def _command(given: Sequence[str]) -> NoReturn:
    from .commands import call  # noqa: PLC0415 - a service that runs needs neither the commands nor what they are made with

    call(given)
