"""Which dead letters a command means, and where they are; a call that means none ends with one line."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.store_db import DATABASE_NAME
from tars.actors.mqtt.store_files import StoreError
from tars.actors.mqtt.store_letters import Found, Sought, find
from tars.actors.mqtt.store_view import look
from tars.actors.mqtt.topics import TopicError, validate_filter
from tars.actors.service_config import read_service_config
from tars.supervisor import Config, ConfigError
from tars.supervisor.log_query import moment
from tars.supervisor.terminal import refuse

from .place import FAILED, WRONG_CALL

_IDS: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def sought_by(
    command: str,
    ids: list[str] | None,
    actors: list[str] | None,
    topics: list[str] | None,
    reasons: list[Why] | None,
    since: str,
    until: str,
    limit: int | None,
) -> Sought:
    """What the options say. Ends the command where they cannot be understood."""
    for each in topics or ():
        try:
            validate_filter(each)
        except TopicError as error:
            give_up(command, f"--topic: {error}", WRONG_CALL)
    first, last = _moment(command, "--since", since), _moment(command, "--until", until)
    if first is not None and last is not None and last < first:
        give_up(command, f"--until {until} is before --since {since}", WRONG_CALL)
    return Sought(
        ids=tuple(_range(command, each) for each in ids or ()),
        actors=tuple(actors or ()),
        topics=tuple(topics or ()),
        reasons=tuple(reasons or ()),
        since=first,
        until=last,
        limit=limit,
    )


def meant(command: str, sought: Sought, *, everything: bool) -> Sought:
    """To be changed, everything must be asked for by name."""
    if sought.is_everything and not everything:
        give_up(command, "say which: ids, a filter such as --actor, or --all", WRONG_CALL)
    if everything and not sought.is_everything:
        give_up(command, "--all goes without ids and filters", WRONG_CALL)
    return sought


def _range(command: str, named: str) -> tuple[int, int]:
    found = _IDS.fullmatch(named)
    if found is None:
        give_up(command, f'an id is a number, or two such as 17-20; found "{named}"', WRONG_CALL)
    first = int(found[1])
    last = int(found[2] or first)
    if last < first:
        give_up(command, f'ids go up: {last}-{first}, not "{named}"', WRONG_CALL)
    return first, last


def _moment(command: str, option: str, named: str) -> float | None:
    try:
        return moment(named, time.time()) if named else None
    except ValueError as error:
        give_up(command, f"{option}: {error}", WRONG_CALL)


def state_dir_of(command: str, place: Path, environ: Mapping[str, str]) -> Path:
    """The state directory that `place` is, or names. Ends the command when it is none, or a config with mistakes."""
    if place.is_dir():
        return place
    if place.name == DATABASE_NAME:
        return place.parent
    try:
        config = Config.load(place, environ)
        service = read_service_config(config)
        if not config.clean:
            raise config.error()
    except ConfigError as error:
        give_up(command, str(error), WRONG_CALL)
    return service.service.state_dir


def found_in(command: str, state_dir: Path, sought: Sought, *, payloads: bool = False) -> list[Found]:
    """The letters that are meant. Ends the command when there is no store, or it cannot be read."""
    try:
        return look(state_dir, lambda database, version: find(database, version, sought, payloads=payloads)) or []
    except StoreError as error:
        give_up(command, str(error), FAILED)


def give_up(command: str, why: str, code: int) -> NoReturn:
    """One line on the standard error, and the end."""
    refuse(f"dead-letters {command}", why, code)
