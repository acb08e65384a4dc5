"""From a config file to the tree it describes: ``application = "package.module:function"``, resolved and called.

The runtime's own part of the file ends here: `application`, ``[log]`` and the stop deadline. Everything else
belongs to the application, which is a function ``application(config: Config) -> SupervisorSpec``.
"""

from __future__ import annotations

import math
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from .config import Config
from .environment import Override
from .errors import SpecError, TarsError
from .log import LogSettings
from .problem import suggestion
from .redact import redact
from .settings_report import Setting, settings
from .spec import Child, SupervisorSpec

DEFAULT_STOP_DEADLINE_S: Final = 9.0
LONGEST_STOP_DEADLINE_S: Final = 3600.0

_FAILS_AT_IMPORT: Final = (
    *(ImportError, SyntaxError, NameError, TypeError, LookupError, ArithmeticError),
    *(AssertionError, OSError, RuntimeError, TarsError),
)
"""What the application's module may raise at its top level. ValueError and AttributeError say that the name is wrong."""

_LOG_LEVEL: Final = Override("LOG_LEVEL", "log.level", lambda found: found.strip().lower())


@attrs.frozen
class Plan:
    """What a config file comes to: the tree, and how the process around it behaves. `application`: its name.

    `settings`: every value that counts, and where it came from.
    """

    application: str
    spec: SupervisorSpec
    log: LogSettings
    stop_deadline_s: float
    settings: tuple[Setting, ...] = ()


def plan(path: Path, environ: Mapping[str, str]) -> Plan:
    """Read `path` and build its tree; starts nothing. Raises `ConfigError` with everything that is wrong."""
    return _plan(path, environ, lambda config: _build(config, None))


def replan(running: SupervisorSpec, path: Path, environ: Mapping[str, str]) -> Plan:
    """Read `path` again: the tree to reconfigure `running` to. Raises `ConfigError`, and nothing has changed then.

    Only an application whose spec has a `reload` can keep what the running tree works on; another builds its tree anew.
    """
    return _plan(path, environ, lambda config: _build(config, running.reload))


def next_start(first: Plan, now: Plan) -> tuple[str, ...]:
    """The keys of the runtime's own part that `now` has otherwise than `first`, and that a running process cannot change."""
    found = [f"log.{key}" for key, value in attrs.asdict(now.log).items() if value != getattr(first.log, key)]
    if now.application != first.application and first.spec.reload is not None:
        found.insert(0, "application")
    return tuple(found)


def _plan(path: Path, environ: Mapping[str, str], build: Callable[[Config], SupervisorSpec]) -> Plan:
    config = Config.load(path, environ)
    config.override(_LOG_LEVEL)
    log = config.table("log", LogSettings)
    stop_deadline_s = config.value("service.stop_deadline_s", float, default=DEFAULT_STOP_DEADLINE_S)
    if not 0 < stop_deadline_s <= LONGEST_STOP_DEADLINE_S:
        config.problem("service.stop_deadline_s", f"expected a number > 0 and <= {LONGEST_STOP_DEADLINE_S:g}, found {stop_deadline_s:g}")
    spec = build(config)
    config.finish()
    return Plan(config.value("application", str, default=""), spec, log, stop_deadline_s, settings(config))


def outline(spec: Child, depth: int = 0) -> Iterator[str]:
    """The tree as text, one child per line, in start order: id, what it is, restart type, time to stop."""
    indent = "  " * depth
    stops = f"shutdown_s={spec.shutdown_s:g}"
    if not isinstance(spec, SupervisorSpec):
        yield f"{indent}{spec.id}  worker  {spec.restart.value}  {stops}"
        return
    limit = f"max_restarts={spec.max_restarts} in {spec.period_s:g} s"
    yield f"{indent}{spec.id}  supervisor  {spec.strategy.value}  {spec.restart.value}  {limit}"
    for child in spec.children:
        yield from outline(child, depth + 1)


def branch(spec: Child) -> dict[str, object]:
    """The same as values for JSON; times in seconds, None: no end."""
    values: dict[str, object] = {"id": spec.id, "restart": spec.restart.value}
    if not isinstance(spec, SupervisorSpec):
        return {**values, "type": "worker", "shutdown_s": spec.shutdown_s if math.isfinite(spec.shutdown_s) else None}
    limit = {"max_restarts": spec.max_restarts, "period_s": spec.period_s}
    return {**values, "type": "supervisor", "strategy": spec.strategy.value, **limit, "children": [branch(each) for each in spec.children]}


def _build(config: Config, reload: Callable[[Config], SupervisorSpec] | None) -> SupervisorSpec:
    name = config.value("application", str, default="")
    application = reload or _resolve(config, name)
    try:
        spec = application(config)
    except ImportError as error:
        config.problem("application", _import_failed(name, error))
    except SpecError as error:
        config.problem("application", f'"{name}" describes a tree that cannot be: {redact(str(error))}')
    else:
        if isinstance(spec, SupervisorSpec):
            return spec
        config.problem("application", f'"{name}" gave a value of type {type(spec).__name__}, not a SupervisorSpec')
    raise config.error()


def _resolve(config: Config, name: str) -> Any:
    """The function named; raises `ConfigError` with what is known so far: without it no table has an owner."""
    if name == "":
        meant = [each for each, value in config.raw.items() if isinstance(value, str) and suggestion(each, ["application"])]
        if meant and "application" not in config.raw:
            config.problem((meant[0],), f"unknown key{suggestion(meant[0], ['application'])}")
        elif isinstance(config.raw.get("application", ""), str):  # else its type has been complained of
            config.problem("application", 'is missing; expected "package.module:function"')
        raise config.error()
    try:
        found = pkgutil.resolve_name(name)
    except _FAILS_AT_IMPORT as error:
        config.problem("application", _import_failed(name, error))
    except AttributeError as error:
        config.problem("application", f'"{name}" does not exist: {error}')
    except ValueError:
        config.problem("application", f'expected "package.module:function", found "{name}"')
    else:
        if callable(found):
            return found
        config.problem("application", f'"{name}" is of type {type(found).__name__}, not a function')
    raise config.error()


def _import_failed(name: str, error: BaseException) -> str:
    """Say whether the name is wrong or something inside it is, and where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    asked = name.partition(":")[0]
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{asked}.".startswith(f"{error.name}."):
        return f'"{name}" cannot be found: {error}; looked in the current folder and the installed packages of {sys.prefix}'
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""
    kind = "" if isinstance(error, (ImportError, SyntaxError)) else f"{type(error).__name__}: "
    return f'"{name}" cannot be imported: {kind}{redact(str(error))}{where}'
