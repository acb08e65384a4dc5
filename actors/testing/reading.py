"""What a test names, an author's config or actors, as the process would read it. Law: every mistake is told as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tars.actors.definition import ActorDefinition, DefinitionError, define
from tars.actors.loading import apply_environment, load_actors
from tars.actors.service_config import ServiceConfig, read_service_config
from tars.supervisor import Config
from tars.supervisor.log import LogSettings

_BROKER: Final = frozenset({"MQTT_URL"})
"""Of the environment, what the kit decides itself."""


def read(
    what: Sequence[object], tables: Mapping[str, Any], environ: Mapping[str, str], laid_over: Mapping[str, Any]
) -> tuple[ServiceConfig, Sequence[ActorDefinition]]:
    """The config file, or the actors, in `what`, with `tables` laid over it. Raises `ConfigError`, TypeError.

    `laid_over`: what a test needs instead of what the file says, whatever that is.
    """
    path, named = _split(what)
    config = Config.load(path, {}) if path is not None else Config(Path("the test's config"), _of_actors(named), {})
    config.environ = {name: value for name, value in environ.items() if name not in _BROKER}
    _lay(config.raw, tables)
    _forget_the_broker(config.raw)
    _lay(config.raw, laid_over)
    config.value("application", str, default="")
    config.table("log", LogSettings)
    if path is not None:
        apply_environment(config)
    settings = read_service_config(config)
    definitions = load_actors(config, settings.actors) if path is not None else _define(config, settings, named)
    config.finish()
    return settings, definitions


def _split(what: Sequence[object]) -> tuple[Path | None, dict[str, object]]:
    paths = [Path(each) for each in what if isinstance(each, (str, Path))]
    actors = [each for each in what if not isinstance(each, (str, Path))]
    if len(paths) > 1 or bool(paths) == bool(actors):
        raise TypeError("running() takes the path of one config, or actors (classes and functions), not both")
    named = {str(getattr(each, "__name__", each)).lower(): each for each in actors}
    if len(named) < len(actors):
        raise TypeError(f"running() calls each actor like its class or function, in lower case; two are called alike: {', '.join(named)}")
    return (paths[0] if paths else None), named


def _of_actors(named: Mapping[str, object]) -> dict[str, Any]:
    return {"service": {"name": "test"}, "actors": {name: {"use": f"the:{name}"} for name in named}}


def _lay(raw: dict[str, Any], tables: Mapping[str, Any]) -> None:
    """Table by table, key by key."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            inner = raw.setdefault(key, {})
            if isinstance(inner, dict):
                _lay(inner, value)
                continue
        raw[key] = value


def _forget_the_broker(raw: dict[str, Any]) -> None:
    """Where the author's broker is, and how to talk to it, does not matter here. That a file says it wrong, the process tells."""
    for table, keys in (("mqtt", ("url", "tls")), ("broker", ("embedded",))):
        found = raw.get(table)
        if isinstance(found, dict):
            for key in keys:
                found.pop(key, None)


def _define(config: Config, settings: ServiceConfig, named: Mapping[str, object]) -> list[ActorDefinition]:
    made: list[ActorDefinition] = []
    for name, use in named.items():
        table = settings.actors[name]
        if not config.clean:
            break  # `finish` tells
        try:
            made.append(define(name, use, settings=table.settings, topics=table.topics, structure=config.structure))
        except DefinitionError as error:
            for problem in error.problems:
                config.problem(problem.key, problem.message)
    return made
