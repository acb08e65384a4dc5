"""What belongs together: from ``key = "{topic[1]}"`` in the config to the key of each message. Pure.

Law: reading a key never fails. What a message does not say counts as "", so that all those that do not say it belong together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from tars.actors.contracts import DecodeError
from tars.supervisor.errors import TarsError

from .in_flight import Delivery
from .keys import is_envelope
from .topics import Template

KeyOf: TypeAlias = Callable[[Delivery], str]

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_LEVEL: Final = re.compile(r"topic\[(-?\d{1,5})\]")
EXPECTED: Final = "{topic}, {topic[1]} (a level of it, from 0), {NAME} (captured by the subscription's topic) or {data.FIELD}"


class LaneKeyError(TarsError, ValueError):
    """A text that is no key. The message is for whoever wrote it."""


@attrs.frozen
class Text:
    """Stands in every key as it is."""

    text: str


@attrs.frozen
class Level:
    """``{topic[N]}``: level N of the topic, counted from 0, or from the end if negative; ``{topic}`` without N: all of it."""

    at: int | None

    def of(self, topic: str) -> str:
        """What a topic has there."""
        if self.at is None:
            return topic
        levels = topic.split("/")
        return levels[self.at] if -len(levels) <= self.at < len(levels) else ""


@attrs.frozen
class Captured:
    """``{room}``: the level that a subscription's template calls so."""

    name: str


@attrs.frozen
class Field:
    """``{data.robot_id}``, ``{data.robot.id}``: a field of the event; a string, a number or a truth value."""

    path: tuple[str, ...]

    def of(self, delivery: Delivery) -> str:
        """What a message has there."""
        try:
            found = delivery.document()
        except DecodeError:
            return ""
        if is_envelope(found):
            found = found["data"]
        for name in self.path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, float) and found.is_integer():
            found = int(found)  # 7.0 is 7 to whoever reads it, and senders differ in how they write it
        return found if isinstance(found, str) else str(found) if isinstance(found, (int, float)) else ""


Part: TypeAlias = Text | Level | Captured | Field


@attrs.frozen
class LaneKey:
    """A key as it was written: `parts` in order."""

    text: str
    parts: tuple[Part, ...]

    def of(self, template: Template) -> KeyOf:
        """What reads the key of a message that came by a subscription with `template`."""
        reads = [_reader(part, template) for part in self.parts]
        return reads[0] if len(reads) == 1 else lambda delivery: "".join([read(delivery) for read in reads])


def parse_lane_key(text: str) -> LaneKey:
    """Read a key. Raises `LaneKeyError`."""
    parts: list[Part] = []
    for number, piece in enumerate(_PLACEHOLDER.split(text)):
        if number % 2:
            parts.append(_placeholder(piece))
        elif "{" in piece or "}" in piece:
            raise LaneKeyError(f'there is a brace without its partner in "{text}"; expected {EXPECTED}')
        elif piece:
            parts.append(Text(piece))
    if all(isinstance(part, Text) for part in parts):
        raise LaneKeyError(f'"{text}" is the same for every message; expected {EXPECTED}')
    return LaneKey(text, tuple(parts))


def _placeholder(text: str) -> Part:
    if text == "topic":
        return Level(None)
    if level := _LEVEL.fullmatch(text):
        return Level(int(level[1]))
    first, *path = text.split(".")
    if first == "data" and path and all(path):
        return Field(tuple(path))
    if text.isidentifier() and text != "data":
        return Captured(text)
    raise LaneKeyError(f"{{{text}}} means nothing; expected {EXPECTED}")


def _reader(part: Part, template: Template) -> KeyOf:
    if isinstance(part, Field):
        return part.of
    if isinstance(part, Text):
        text = part.text
        return lambda _: text
    if isinstance(part, Captured):
        at = next((at for at, name in template.names if name == part.name), None)
        if at is None:
            return lambda _: ""
        part = Level(at)
    read = part.of
    return lambda delivery: read(delivery.inbound.topic)
