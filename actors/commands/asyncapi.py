"""``tars asyncapi``: what a service hears and says, as a document for other tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import orjson
import typer

from tars.actors.asyncapi import document, flows
from tars.actors.contracts import UnknownEventType
from tars.actors.declared import declared_by
from tars.actors.loading import apply_environment, load_actors, load_object
from tars.actors.service_config import read_service_config
from tars.supervisor import Config, ConfigError
from tars.supervisor.application import plan
from tars.supervisor.terminal import Terminal, ending_quietly, refuse

from .place import WRONG_CALL

ConfigArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="CONFIG", help="The service's TOML file.", show_default=False)]
VersionOption: TypeAlias = Annotated[str, typer.Option("--version", help="Of the service's interface; without it the version of tars.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="As it is printed anyway; other commands have it, too.")]


def asyncapi(
    config: ConfigArgument,
    *,
    version: VersionOption = "",
    as_json: JsonOption = True,  # noqa: ARG001 - there is no other format
) -> None:
    """Print an AsyncAPI 3.0 document of the service: its broker, topics, messages and their schemas. Starts nothing.

    \b
    tars asyncapi config/router.toml > asyncapi.json
    tars asyncapi service.toml --version 1.4.0 | jq '.channels[].address'
    MQTT_URL=mqtts://broker tars asyncapi service.toml

    Of what actors publish it holds what they declare with @publishes. No credentials are in it. The same config gives the same
    document. Exit code 2: bad config, or an event is declared that has no topic.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    try:
        found = described(config, os.environ, version=version or version_of("tars"))
    except ConfigError as error:
        refuse("asyncapi", str(error), WRONG_CALL)
    except UnknownEventType as error:
        refuse("asyncapi", f'{config}: @publishes("{error.event_type}") needs a topic: {error}', WRONG_CALL)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        to.print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def described(path: Path, environ: Mapping[str, str], *, version: str) -> dict[str, Any]:
    """The document of the service that `path` would run. Raises `ConfigError` and `UnknownEventType`."""
    plan(path, environ)  # whatever `tars check` would complain of
    config = Config.load(path, environ)
    apply_environment(config)
    service = read_service_config(config)
    definitions = load_actors(config, service.actors)
    if not config.clean:
        raise config.error()
    declared = {definition.name: declared_by(load_object(service.actors[definition.name].use)) for definition in definitions}
    return document(service, flows(service, definitions, declared), version=version)
