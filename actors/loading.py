"""From the names in a config to the objects they mean: ``use = "package.module:Object"``.

Law: what is wrong is said in words of the person who wrote the name, or the module: is the module not there, does
something inside it fail (what, in which file, at which line), or is there no such object in it. No traceback.

The current folder is importable because the command line sees to that; nothing here touches ``sys.path``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Mapping

import attrs

from tars.supervisor.config import Config
from tars.supervisor.environment import Override
from tars.supervisor.errors import TarsError
from tars.supervisor.problem import parts, suggestion
from tars.supervisor.redact import redact

from .actor import Actor
from .contracts import STANDARD, TopicRegistry
from .definition import ActorDefinition, DefinitionError, define
from .lane_key_check import key_problems
from .settings import ActorSettings


class LoadError(TarsError):
    """A name that leads to no object. The message is for whoever wrote it."""


def load_object(name: str) -> object:
    """The object that ``package.module:Object`` (or ``...:Outer.Inner``) names. Raises `LoadError`."""
    module_name, colon, path = name.partition(":")
    if not (colon and all(part.isidentifier() for part in (*module_name.split("."), *path.split(".")))):
        raise LoadError(f'expected "package.module:Object", found "{redact(name)}"')
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise LoadError(_import_failed(module_name, error)) from error
    owner = module_name
    for part in path.split("."):
        if not hasattr(found, part):
            known = [word for word in dir(found) if not word.startswith("_")]
            raise LoadError(f'"{owner}" has no "{part}"{suggestion(part, known)}')
        found, owner = getattr(found, part), f"{owner}.{part}"
    return found


def apply_environment(config: Config) -> None:
    """Apply the environment variables that the actors' classes declare. Call it before the actors' tables are asked for.

    A `use` that leads nowhere is passed over here: `load_actors` tells.
    """
    actors = config.raw.get("actors")
    for name, table in actors.items() if isinstance(actors, dict) else ():
        use = table.get("use") if isinstance(table, dict) else None
        try:
            found = load_object(use) if isinstance(use, str) else None
        except LoadError:
            continue
        if not (isinstance(found, type) and issubclass(found, Actor)):
            continue
        declared: object = found.environment
        if isinstance(declared, tuple) and all(isinstance(each, Override) for each in declared):
            config.override(*(attrs.evolve(each, key=("actors", name, *parts(each.key))) for each in declared))
        else:
            config.problem(("actors", name, "use"), f"{found.__qualname__}.environment must be a tuple of Override")


def load_actors(config: Config, actors: Mapping[str, ActorSettings], *, registry: TopicRegistry = STANDARD) -> tuple[ActorDefinition, ...]:
    """Load and define every actor, in the order of the file. Mistakes are noted in `config`; those actors are left out.

    Of an entry of `actors` that has mistakes itself, what can be read is checked all the same, so that one report holds
    everything. Look at nothing of what comes back before ``config.finish()``.
    """
    made: list[ActorDefinition] = []
    for name, actor in actors.items():
        usable = isinstance(actor, ActorSettings)  # else it stands for a table with mistakes
        table = actor if usable else _readable(config, name)
        if table is None:
            continue
        try:
            use = load_object(table.use)
            definition = define(name, use, settings=table.settings, topics=table.topics, registry=registry, structure=config.structure)
            for message in key_problems(table.key, definition) if table.key is not None else ():
                config.problem(("actors", name, "key"), message)
            made += [definition] if usable else []
        except LoadError as error:
            config.problem(("actors", name, "use"), str(error))
        except DefinitionError as error:
            for problem in error.problems:
                config.problem(problem.key, problem.message)
    return tuple(made)


def _readable(config: Config, name: str) -> ActorSettings | None:
    """What ``[actors.NAME]`` says for the actor's definition, if the rest of the table has mistakes."""
    raw = config.raw["actors"][name]
    if not (isinstance(raw, dict) and isinstance(raw.get("use"), str)):
        return None
    topics, settings = (part if isinstance(part := raw.get(key), dict) else {} for key in ("topics", "settings"))
    key = raw["key"] if isinstance(raw.get("key"), str) else None
    named = {name: topic for name, topic in topics.items() if isinstance(topic, str)}
    return ActorSettings(raw["use"], key=key, topics=named, settings=settings)


def _import_failed(module_name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
        return f'there is no module "{error.name}"{_nearest_module(error.name)} (looked in the current folder and in {sys.prefix})'
    what = f"{type(error).__name__}: {redact(str(error))}"
    if isinstance(error, SyntaxError):  # says file and line itself
        return f'"{module_name}" cannot be imported: {what}'
    ours = ("<frozen", __file__, importlib.__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f'"{module_name}" cannot be imported: {what}{where}'


def _nearest_module(name: str) -> str:
    parent_name, _, last = name.rpartition(".")
    parent = sys.modules.get(parent_name)
    return "" if parent is None else suggestion(last, [module.name for module in pkgutil.iter_modules(getattr(parent, "__path__", []))])
