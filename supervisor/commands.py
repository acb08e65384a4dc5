"""The commands: ``tars run``, ``check``, ``logs``, and what installed packages add. Exit code 2: the config, or the call, is wrong.

A package adds a command by an entry point of the group ``tars.commands``: its name, and the function (or, for several
under one word, the `Typer`) it is made of.
It is imported only when it is called, or listed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeAlias

import orjson
import typer

from .application import Plan, branch, outline, plan
from .config import ConfigError
from .log_command import logs
from .process import BAD_CONFIG
from .run_command import run_config
from .terminal import Terminal, ending_quietly

COMMANDS: Final = "tars.commands"
"""The group of entry points that are commands."""

_HELP: Final = "Run actor-supervised services, and look into them. `tars COMMAND --help` shows examples."

ConfigPath: TypeAlias = Annotated[Path, typer.Argument(metavar="CONFIG", help="The service's TOML file.", show_default=False)]


def run(config: ConfigPath) -> None:
    """Run the service until SIGTERM or Ctrl-C drains it; a second one ends it at once. SIGHUP reads the config again.

    \b
    tars run config/router.toml
    MQTT_URL=mqtt://broker LOG_LEVEL=debug tars run config/router.toml

    Exit code 0: stopped cleanly; 1: gave up, refused, or did not stop in time; 2: bad config.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    raise typer.Exit(run_config(config))


def check(config: ConfigPath, *, as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False) -> None:
    """Read the config, print the tree that would run and every setting with where it came from; start nothing.

    \b
    tars check service.toml
    MQTT_URL=mqtt://broker tars check service.toml | grep environment

    A setting is from the file, from an environment variable, or the default. Secrets are masked. Exit code 2: bad config.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    planned = _plan(config)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        if as_json:
            known = {each.key: {"value": each.value, "from": each.source.kind, "name": each.source.name} for each in planned.settings}
            to.print(orjson.dumps({"application": planned.application, "tree": branch(planned.spec), "settings": known}).decode())
            return
        for line in outline(planned.spec):
            to.print(line)
        to.print()
        to.table(("setting", "value", "from"), [(each.key, each.text, each.origin) for each in planned.settings])


def _plan(config: Path) -> Plan:
    try:
        return plan(config, os.environ)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_CONFIG) from None


def call(arguments: Sequence[str]) -> NoReturn:
    """Do what they say; ends with SystemExit."""
    commands(arguments, entry_points(group=COMMANDS))(args=list(arguments), prog_name="tars")
    raise SystemExit


def commands(arguments: Sequence[str], added: Iterable[EntryPoint]) -> typer.Typer:
    """The command line for these arguments: ours, and of those `added` the one that is called, or all when none is.

    One that cannot be loaded is told on the standard error, and is not there.
    """
    app = typer.Typer(name="tars", no_args_is_help=True, pretty_exceptions_enable=False, help=_HELP)
    for ours in (run, check, logs):
        app.command()(ours)
    called = next(iter(arguments), "")
    if called in {"run", "check", "logs"}:
        return app
    known = sorted(added, key=lambda each: each.name)
    for each in [each for each in known if each.name == called] or known:
        try:
            loaded = each.load()
            if isinstance(loaded, typer.Typer):
                app.add_typer(loaded, name=each.name)  # several, under one word
            else:
                app.command(each.name)(loaded)
        except (ImportError, AttributeError) as error:
            typer.echo(f"tars: the command {each.name} cannot be loaded: {error}", err=True)
    return app
