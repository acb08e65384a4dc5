"""Dead letters for people: which are meant, what is known of them, and how they are thrown away. Blocking; knows no trio.

Law: what is looked for is found in the same order and number by all who look for it: what `find` shows is what
`forget` throws away.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tars.supervisor.log_query import is_of

from .dead_letter import DeadLetter, Outcome, Why
from .store_db import COLUMNS, letter_of
from .topics import matches

_LAST_REPLAY: Final = "LEFT JOIN replay r ON r.id = (SELECT max(id) FROM replay WHERE letter = l.id)"


@attrs.frozen(kw_only=True)
class Sought:
    """Which letters are meant; what is left out takes every one. Several of a kind: any of them.

    `ids`: (first, last) pairs, both included. `actors`: a path and all below it, or the end of one. `topics`: filters.
    Times in Unix epoch seconds, both included. `limit` 1 or more: the oldest so many. `newest`: none that came after this id.
    """

    ids: tuple[tuple[int, int], ...] = ()
    actors: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    reasons: tuple[Why, ...] = ()
    since: float | None = None
    until: float | None = None
    limit: int | None = None
    newest: int | None = None

    @property
    def is_everything(self) -> bool:
        """Is nothing left out?"""
        return self == Sought()


@attrs.frozen
class Found:
    """One letter. `payload_bytes` long also where the payload itself was not asked for, and is empty.

    `replay`: when the last replay was asked for, Unix epoch seconds, None if never; `ended_at` when it ended and `outcome`
    how, None while it waits.
    """

    id: int
    letter: DeadLetter
    payload_bytes: int
    replay: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None


def find(database: sqlite3.Connection, version: int, sought: Sought, *, payloads: bool = False) -> list[Found]:
    """The letters that are meant, oldest first. Raises sqlite3.Error, ValueError for what this program cannot read."""
    columns = [f"l.{column}" if payloads or column != "payload" else "x''" for column in COLUMNS]
    replay = "r.at, r.ended_at, r.outcome" if version > 1 else "NULL, NULL, NULL"
    ids, values = _ids(database, sought)
    query = f"SELECT l.id, length(l.payload), {replay}, {', '.join(columns)} FROM dead_letter l {_LAST_REPLAY if version > 1 else ''} WHERE l.id IN ({ids}) ORDER BY l.id"  # noqa: E501, S608 - our names
    return [_found(row) for row in database.execute(query, values)]


def forget(database: sqlite3.Connection, sought: Sought) -> int:
    """Throw away the letters that are meant, in one transaction; returns how many. Raises sqlite3.Error."""
    with transaction(database):
        ids, values = _ids(database, sought)
        return database.execute(f"DELETE FROM dead_letter WHERE id IN ({ids})", values).rowcount  # noqa: S608 - our names


def compact(database: sqlite3.Connection) -> None:
    """Give the room of what was thrown away back to the disk; nothing of it stays in the file. Raises sqlite3.Error.

    Takes as much room again while it works, and keeps a service from writing meanwhile: that waits, and tries again.
    """
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def bytes_on_disk(path: Path) -> int:
    """Of the database with its log."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(each.stat().st_size for each in files if each.exists())


def _ids(database: sqlite3.Connection, sought: Sought) -> tuple[str, Sequence[object]]:
    """A query for the ids of what is meant, and its values."""
    database.create_function("is_of", 2, lambda path, actor: is_of(str(path), str(actor)), deterministic=True)
    database.create_function("matches", 2, lambda topic_filter, topic: matches(str(topic_filter), str(topic)), deterministic=True)
    kinds: list[tuple[str, Sequence[tuple[object, ...]]]] = [
        ("id BETWEEN ? AND ?", sought.ids),
        ("is_of(actor, ?)", [(each,) for each in sought.actors]),
        ("matches(?, topic)", [(each,) for each in sought.topics]),
        ("why = ?", [(each.value,) for each in sought.reasons]),
        ("at >= ?", [] if sought.since is None else [(sought.since,)]),
        ("at <= ?", [] if sought.until is None else [(sought.until,)]),
        ("id <= ?", [] if sought.newest is None else [(sought.newest,)]),
    ]
    asked = [(term, each) for term, each in kinds if each]
    where = " AND ".join(f"({' OR '.join([term] * len(each))})" for term, each in asked)
    values = [value for _, each in asked for row in each for value in row]
    limit = "" if sought.limit is None else f" ORDER BY id LIMIT {sought.limit:d}"
    return f"SELECT id FROM dead_letter{' WHERE ' if where else ''}{where}{limit}", values  # noqa: S608 - our names


def _found(row: Sequence[Any]) -> Found:
    letter_id, payload_bytes, at, ended_at, outcome = row[:5]
    return Found(letter_id, letter_of(row[5:]), payload_bytes, at, ended_at, None if outcome is None else Outcome(outcome))


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """The block's changes, all or none."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
