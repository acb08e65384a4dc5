"""``tars new``: a service to begin with."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tars.supervisor.terminal import Terminal, ending_quietly, refuse

from .place import FAILED, WRONG_CALL
from .skeleton import skeleton

NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The service's name, such as door-bell.")]
DirOption: TypeAlias = Annotated[Path | None, typer.Option("--dir", metavar="FOLDER", help="Where to; without it a folder NAME.")]


def new(name: NameArgument, *, folder: DirOption = None) -> None:
    """Write a service to begin with: an actor, its config, its test. It runs and passes at once.

    \b
    tars new door-bell
    cd door-bell
    tars run door-bell.toml

    Nothing that exists is overwritten. Exit code 1: it cannot be written; 2: a name that cannot be, or files that are there already.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    try:
        files = skeleton(name)
    except ValueError as error:
        refuse("new", str(error), WRONG_CALL)
    to_folder = Path(name) if folder is None else folder
    there = [file for file in files if (to_folder / file).exists()]
    if there:
        refuse("new", f"{to_folder}: {', '.join(there)} {'are' if len(there) > 1 else 'is'} there already", WRONG_CALL)
    module = name.replace("-", "_")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        refuse("new", f'a module "{module}" can be imported already, and would be taken for it', WRONG_CALL)
    try:
        to_folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with (to_folder / file).open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        refuse("new", f"{error.filename or to_folder}: {(error.strerror or str(error)).lower()}", FAILED)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        for file in files:
            to.print(f"{to.paint('wrote', 'green')} {to_folder / file}")
        to.print(f"\nNow: {to.paint(f'cd {shlex.quote(str(to_folder))} && tars run {name}.toml', 'bold')}\nREADME.md there says what else.")
