"""The command line: ``tars run CONFIG``, ``tars check CONFIG``. Exit code 2: the configuration, or the call, is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn, TextIO, TypeAlias

import typer

from .application import Plan, next_start, outline, plan, replan
from .config import ConfigError
from .log import configure
from .process import BAD_CONFIG
from .process import run as run_process
from .reload import Wanted
from .spec import SupervisorSpec

app: Final = typer.Typer(name="tars", no_args_is_help=True, pretty_exceptions_enable=False, help="Run actor-supervised services.")

ConfigPath: TypeAlias = Annotated[Path, typer.Argument(metavar="CONFIG", help="The service's TOML file.", show_default=False)]


@app.command()
def run(config: ConfigPath) -> None:
    """Run the service until SIGTERM or Ctrl-C drains it; a second one ends it at once. SIGHUP reads the config again.

    Exit code 0: stopped cleanly; 1: gave up, refused, or did not stop in time; 2: bad config.
    """
    planned = _plan(config)
    try:
        configure(planned.log, sys.stdout)
    except OSError as error:
        _refuse(f"{config}: log.file: cannot be opened: {error.filename or planned.log.file}: {error.strerror}")
    code = run_process(
        planned.spec,
        stop_deadline_s=planned.stop_deadline_s,
        reload=lambda running: _reload(planned, running, config),
    )
    _let_go_of(sys.stdout)
    raise typer.Exit(code)


@app.command()
def check(config: ConfigPath) -> None:
    """Read the config, print the tree that would run, start nothing. Exit code 2: bad config."""
    for line in outline(_plan(config).spec):
        typer.echo(line)


def _plan(config: Path) -> Plan:
    try:
        return plan(config, os.environ)
    except ConfigError as error:
        _refuse(str(error))


def _reload(first: Plan, running: SupervisorSpec, config: Path) -> Wanted:
    now = replan(running, config, os.environ)
    return Wanted(now.spec, now.stop_deadline_s, next_start(first, now))


def _let_go_of(stream: TextIO) -> None:
    """A reader that has gone must not change the exit code: the interpreter's last flush would make it 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse(report: str) -> NoReturn:
    typer.echo(report, err=True)
    raise typer.Exit(BAD_CONFIG)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; ends with SystemExit. Applications and actors are also found in the current folder."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    app(args=None if arguments is None else list(arguments), prog_name="tars")
