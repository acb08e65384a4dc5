"""The dedup window in SQLite: which subscriptions have finished which message, for the next process. Blocking; knows no trio.

Laws. What a `write` that returned has written survives `kill -9`; a power cut may take the last seconds, never the file
(the broker's word is the same then: it sends again what it has no acknowledgement of). The file is bounded as the window is.
A damaged file is kept aside, whole, and never stops the service: all it can cost is a repetition. One that is not ours, or
newer than this program, is refused and left as it is.

Times are of the window's own clock, which stands still while no process works on the file: whatever the outage lasts, and
whatever the wall clock is set to in it, what was not acknowledged before it is recognised after it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from .store_db import DAMAGED_RETRY_S, refusal
from .store_files import StoreError, make_directory, make_file

DATABASE_NAME: Final = "dedup-window.sqlite3"
APPLICATION_ID: Final = 0x54415257  # "TARW"
SCHEMA_VERSION: Final = 1

_BUSY_S: Final = 0.5
"""For a look into the file by hand. Another service never lets go of it."""
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# One row for a whole batch, one statement for a row: sqlite3 lets go of the interpreter in every step, and gets it back from
# a busy event loop only after its switch interval (5 ms). Row by row, 500 messages took 2.5 s.
_SCHEMA: Final = "CREATE TABLE batch (id INTEGER PRIMARY KEY, at REAL NOT NULL, count INTEGER NOT NULL, done TEXT NOT NULL)"
# For flash: a transaction of one message writes 2.9 kB, instead of 8.3 with SQLite's own page size, or 12.5 with AUTOINCREMENT too.
_PAGE_BYTES: Final = 1024
_CHECKPOINT_PAGES: Final = 4096
"""That often the disk is waited for."""

OpenDatabase: TypeAlias = Callable[[Path], sqlite3.Connection]


@attrs.frozen
class Done:
    """`subscriptions` have handled the message `key` with success, the last of them at `at` (seconds of the window's clock)."""

    key: str
    subscriptions: tuple[str, ...]
    at: float


@attrs.frozen
class _Row:
    id: int
    at: float
    count: int


@attrs.define(eq=False)
class WindowFile:
    """The open file; `open_window` makes it. `found`: what was in it, oldest first. `aside`: where a damaged one went."""

    path: Path
    found: Sequence[Done]
    aside: Path | None
    _database: sqlite3.Connection
    _rows: deque[_Row]

    def write(self, batch: Sequence[Done], *, ttl_s: float, max_entries: int) -> None:
        """Add `batch`, one or more, oldest first; forget what the window would have forgotten by then. Raises `StoreError`."""
        at, total = batch[-1].at, sum(row.count for row in self._rows) + len(batch)
        gone = list(_forgotten(self._rows, at - ttl_s, total - max_entries))
        said = json.dumps([(each.key, each.subscriptions, each.at) for each in batch])  # escapes what is no unicode, and reads it back
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            if gone:  # first, so that a full disk has room for the new ones
                database.execute("DELETE FROM batch WHERE id <= ?", (gone[-1].id,))
            row_id = database.execute("INSERT INTO batch (at, count, done) VALUES (?, ?, ?)", (at, len(batch), said)).lastrowid
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        for _ in gone:
            self._rows.popleft()
        self._rows.append(_Row(row_id or 0, at, len(batch)))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _forgotten(rows: Sequence[_Row], before: float, surplus: int) -> Iterator[_Row]:
    """The oldest rows, as long as all in them is too old, or too much."""
    for row in rows:
        if row.at >= before and surplus < row.count:
            return
        surplus -= row.count
        yield row


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file for writing, for this process alone; make it if there is none.

    Raises `StoreError`, sqlite3.Error, OSError, and ValueError for a damage that SQLite does not see.
    """
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size and not (path.exists() and path.stat().st_size):
        msg = f"{path.name} is empty, but {wal.name} is not"  # SQLite would take it for a new one and delete the log
        raise ValueError(msg)
    make_file(path)
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(database.close)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the first access in WAL mode: then there is no -shm file
        if not _is_ours(database, path):
            database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute(_SCHEMA)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
        # NORMAL: no commit waits for the disk. What the process has written is with the kernel, and outlives the process.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        on_failure.pop_all()
    return database


def open_window(state_dir: Path, open_database: OpenDatabase = open_database) -> WindowFile:
    """Open the window of `state_dir`, and read it. A damaged one goes aside first, for a new one. Raises `StoreError`."""
    path = state_dir / DATABASE_NAME
    try:
        make_directory(state_dir)
        try:
            return _opened(path, open_database, None)
        except (sqlite3.DatabaseError, ValueError) as error:
            if isinstance(error, sqlite3.Error) and not _is_damage(error):
                raise
            aside = _keep_aside(path)
        return _opened(path, open_database, aside)
    except (sqlite3.Error, OSError) as error:
        raise _explained(path, error) from error


def _opened(path: Path, open_database: OpenDatabase, aside: Path | None) -> WindowFile:
    """Raises ValueError for what only a damaged file can say."""
    with contextlib.ExitStack() as on_failure:
        database = open_database(path)
        on_failure.callback(database.close)
        rows, found = deque[_Row](), list[Done]()
        for row_id, at, count, said in database.execute("SELECT id, at, count, done FROM batch ORDER BY id"):
            rows.append(_Row(row_id, at, count))
            found += map(_done, json.loads(said))
        on_failure.pop_all()
    return WindowFile(path, found, aside, database, rows)


def _done(said: Any) -> Done:  # JSON
    try:
        key, subscriptions, at = said
        return Done(str(key), tuple(map(str, subscriptions)), float(at))
    except TypeError as error:
        raise ValueError(*error.args) from error


def _is_ours(database: sqlite3.Connection, path: Path) -> bool:
    """True for a sound file of ours, False for an empty one. Raises `StoreError`, sqlite3.Error."""
    application_id = _number(database, "PRAGMA application_id")
    version = _number(database, "PRAGMA user_version")
    tables = _number(database, "SELECT count(*) FROM sqlite_master")
    if (application_id, version, tables) == (0, 0, 0):
        return False
    if application_id != APPLICATION_ID:
        raise refusal(path, "is an SQLite database of another program")
    if version > SCHEMA_VERSION:
        text = f"{path} was written by a newer version of this program (schema {version}, this one knows {SCHEMA_VERSION})"
        raise StoreError(f"{text}. It is left as it is: update this program, or move the file away", retry_after_s=DAMAGED_RETRY_S)
    ((verdict,),) = database.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise ValueError(verdict)
    return True


def _number(database: sqlite3.Connection, query: str) -> int:
    ((number,),) = database.execute(query)
    return int(number)


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _keep_aside(path: Path) -> Path:
    """Rename the file, and its log, to a name that is free. Raises OSError."""
    ends = ("-wal", "")  # the log first: a new file must not find it
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    aside = next(name for name in names if not any(name.with_name(name.name + end).exists() for end in ends))
    for end in ends:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    return aside


def _explained(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    advice = "Until it can be used messages wait, unacknowledged; make room, or give this user the right to write there"
    if isinstance(error, OSError):
        return StoreError(f"the dedup window {error.filename or path} cannot be used: {error.strerror}. {advice}")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        advice = "Another program has it open: [service] state_dir names another place for this one"
    return StoreError(f"the dedup window {path} cannot be used now: {error}. {advice}")
