"""Which lines of a log are meant: filters, and the story of one message. Pure.

A story begins with one id, a message's or a correlation's. A line belongs to it when its `message_id`,
`correlation_id` or `causation_id` does; and then its message and correlation do too. So it goes on with whatever
was caused, in every actor and service whose log is read.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import attrs

from .log_reading import Entry

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_IDS: Final = ("message_id", "correlation_id", "causation_id")


@attrs.frozen(kw_only=True)
class Query:
    """What is asked for; everything left out takes every line. Several actors or events: any of them.

    An actor is a path or a part of one, and all below it. An event may hold ``*``. Times in Unix epoch seconds, both
    included.
    """

    actors: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    level: str = "debug"
    message_id: str = ""
    correlation_id: str = ""
    since: float | None = None
    until: float | None = None

    def takes(self, entry: Entry) -> bool:
        """Is this line meant?"""
        return (
            (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at <= self.until)
            and (self.level == "debug" or rank(entry) >= LEVELS.index(self.level))
            and (not self.actors or any(is_of(entry.text("actor"), actor) for actor in self.actors))
            and (not self.events or any(fnmatchcase(entry.text("event"), event) for event in self.events))
            and (not self.message_id or _is_named(entry.text("message_id"), frozenset({plain_id(self.message_id)})))
            and (not self.correlation_id or plain_id(entry.text("correlation_id")) == plain_id(self.correlation_id))
        )


def rank(entry: Entry) -> int:
    """How grave a line is, an index of `LEVELS`. One that does not say so is an "info"."""
    level = entry.text("level")
    return LEVELS.index(level if level in LEVELS else "info")


def is_of(path: str, actor: str) -> bool:
    """Is the actor at `path` meant by `actor`: ``root/service/link``, or ``router``, ``link/connection``, and all below, its lanes too?"""
    return f"/{actor.strip('/')}/" in f"/{path}/"


def plain_id(text: str) -> str:
    """An id as it is compared: a message's UUID has hyphens, the envelope made from it has none."""
    return text.replace("-", "").lower() if _UUID.fullmatch(text) else text


def story(entries: Iterable[Entry], ids: frozenset[str]) -> tuple[list[Entry], frozenset[str]]:
    """The lines that belong to `ids`, in this one pass, and the ids that belong together as far as is known after it.

    An effect may stand before its cause: read again until the ids stay the same.
    """
    found: list[Entry] = []
    for entry in entries:
        if any(_is_named(entry.text(key), ids) for key in _IDS):
            found.append(entry)
            ids |= {plain_id(entry.text(key)) for key in ("message_id", "correlation_id")} - {""}
    return found, ids


def _is_named(text: str, ids: frozenset[str]) -> bool:
    """Is it one of `ids`? A message without an id of its own is logged as ``topic|type|envelope id|digest``."""
    return text != "" and (plain_id(text) in ids or ("|" in text and not ids.isdisjoint(map(plain_id, text.split("|")))))


def moment(text: str, now: float) -> float:
    """``10m``, ``1h30m``, ``2d`` before `now`, or an ISO time (UTC unless it says otherwise), as epoch seconds. Raises ValueError."""
    span = _SPAN.fullmatch(text)
    if span is not None and text:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        return now - (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'expected "10m", "1h30m", "2d" or a time like 2026-01-31T12:00:00, found "{text}"') from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)).timestamp()
