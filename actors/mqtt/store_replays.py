"""Replays in the store's file: asked for by a command, found by the service, ended by the store. Blocking; knows no trio.

Law: a replay that was asked for waits until the service has recorded how it ended. So a crash in between repeats it, and
loses nothing; and a letter waits for one replay at most, however often it is asked for.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from .dead_letter import DeadLetter, Outcome, ReplayEnded
from .store_db import BUSY_S, COLUMNS, DATABASE_NAME, explained, identify, letter_of
from .store_files import StoreError
from .store_letters import Found, Sought, find, transaction

_ASK: Final = "INSERT INTO replay (letter, at) VALUES (?, ?)"
_ASKED: Final = "SELECT id FROM replay WHERE letter = ? AND ended_at IS NULL"
_END: Final = "UPDATE replay SET ended_at = ?, outcome = ? WHERE id = ? AND ended_at IS NULL"
_STATES: Final = "SELECT id, outcome FROM replay WHERE id BETWEEN ? AND ?"
_WAITING: Final = """
SELECT r.id, r.letter, l.direction, l.actor FROM replay r JOIN dead_letter l ON l.id = r.letter
WHERE r.ended_at IS NULL AND r.id > ? ORDER BY r.id LIMIT ?
"""
_LETTER: Final = f"SELECT {', '.join(COLUMNS)} FROM dead_letter WHERE id = ?"  # noqa: S608 - our names
_DONE: Final = frozenset({Outcome.HANDLED, Outcome.SENT})
_FIRST_WITH_REPLAYS: Final = 2
"""The schema that knows replays."""


class Answer(enum.Enum):
    """What asking for a replay came to."""

    ASKED = "asked"
    WAITS = "waits"  # it was asked for before, and has not ended
    DONE = "done"  # a replay went well before; not asked for again unless that is wanted


@attrs.frozen
class Asked:
    """One letter that was meant, and the `request` that waits; None when nothing is asked."""

    found: Found
    answer: Answer
    request: int | None = None


@attrs.frozen
class Waiting:
    """A replay that waits: numbers of its request and its letter, and the letter's direction and actor."""

    request: int
    letter: int
    direction: str
    actor: str


# -- the command's side ---------------------------------------------------------------------------


def ask(database: sqlite3.Connection, sought: Sought, at: float, *, again: bool = False) -> list[Asked]:
    """Ask for a replay of the letters that are meant, oldest first, in one transaction. Raises sqlite3.Error, ValueError.

    `again`: also of those whose last replay went well.
    """
    with transaction(database):
        return [_ask(database, found, at, again=again) for found in find(database, _FIRST_WITH_REPLAYS, sought)]


def _ask(database: sqlite3.Connection, found: Found, at: float, *, again: bool) -> Asked:
    if found.replay is not None and found.ended_at is None:
        ((request,),) = database.execute(_ASKED, (found.id,))
        return Asked(found, Answer.WAITS, request)
    if found.outcome in _DONE and not again:
        return Asked(found, Answer.DONE)
    return Asked(found, Answer.ASKED, database.execute(_ASK, (found.id, at)).lastrowid)


def states(database: sqlite3.Connection, first: int, last: int) -> dict[int, Outcome | None]:
    """How the requests numbered `first` to `last` ended, None while one waits. One whose letter has gone is missing."""
    return {request: None if outcome is None else Outcome(outcome) for request, outcome in database.execute(_STATES, (first, last))}


# -- the service's side ---------------------------------------------------------------------------


def waiting(state_dir: Path, after: int, at_most: int) -> list[Waiting]:
    """Replays that wait, in order, with a number above `after`. Reads only; none where there is no file of ours. Raises `StoreError`."""
    return [Waiting(*row) for row in _read(state_dir, _WAITING, (after, at_most))]


def fetch(state_dir: Path, letter: int) -> DeadLetter | None:
    """One letter, None when it has gone. Raises `StoreError`."""
    rows = _read(state_dir, _LETTER, (letter,))
    try:
        return letter_of(rows[0]) if rows else None
    except ValueError as error:
        raise StoreError(f"dead letter {letter} in {state_dir} is nothing this program can read ({error})") from error


def _read(state_dir: Path, query: str, values: Sequence[object]) -> list[Any]:
    path = state_dir.absolute() / DATABASE_NAME
    if not path.exists():
        return []  # the store has not made it yet
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as database:
            return database.execute(query, values).fetchall() if _knows_replays(database, path) else []
    except sqlite3.Error as error:
        raise explained(path, error) from error


def _knows_replays(database: sqlite3.Connection, path: Path) -> bool:
    """What is wrong with the file, if so, is the store's to say."""
    try:
        return identify(database, path) >= _FIRST_WITH_REPLAYS
    except StoreError:
        return False


# -- the store's side -----------------------------------------------------------------------------


def end(database: sqlite3.Connection, ended: Sequence[ReplayEnded]) -> None:
    """Record how these ended, in one transaction. Doing it twice changes nothing. Raises sqlite3.Error."""
    if ended:
        with transaction(database):
            database.executemany(_END, [(each.at, each.outcome.value, each.request) for each in ended])
