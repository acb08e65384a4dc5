"""Dead letters in SQLite: the schema, opening with suspicion, appending, reading. Blocking; knows no trio.

Laws. A commit that returned survives `kill -9` and a power cut. A file that is not ours, or damaged, or newer than
this program, is refused and left as it is. Ids only grow: one id names one letter for ever.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs

from .dead_letter import DeadLetter, Why
from .store_files import StoreError, make_file

DATABASE_NAME: Final = "dead-letters.sqlite3"
APPLICATION_ID: Final = 0x54415253  # "TARS", in the file's header: what `file` and we know it by
SCHEMA_VERSION: Final = 2

DAMAGED_RETRY_S: Final = 30.0
"""A damaged or foreign file waits for a person; looking at it more often than this helps nobody."""
BUSY_S: Final = 5.0
"""How long to wait for another program that writes to the file (an inspection by hand)."""
_WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

COLUMNS: Final = (
    *("why", "direction", "topic", "qos", "retain", "at", "actor", "subscription", "attempts", "error", "traceback"),
    *("message_id", "correlation_id", "user_properties", "payload"),
)
# The payload stands last: what only looks at the other columns need not read past it.
_SCHEMA: Final = """
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    why TEXT NOT NULL, direction TEXT NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    at REAL NOT NULL, actor TEXT NOT NULL, subscription TEXT NOT NULL, attempts INTEGER NOT NULL,
    error TEXT NOT NULL, traceback TEXT NOT NULL, message_id TEXT NOT NULL, correlation_id TEXT NOT NULL,
    user_properties TEXT NOT NULL, payload BLOB NOT NULL
)
"""
# Every append counts the letters; through this the count reads 30 pages of a full store instead of all of them.
_INDEX: Final = "CREATE INDEX dead_letter_at ON dead_letter (at)"
# A replay that was asked for, and how it ended: `ended_at` NULL while it waits. Not columns of the letter's row: they would
# stand behind its payload. A letter waits for one replay at most, and takes its replays along when it goes.
_REPLAY: Final = (
    "CREATE TABLE replay (id INTEGER PRIMARY KEY AUTOINCREMENT, letter INTEGER NOT NULL, at REAL NOT NULL, ended_at REAL, outcome TEXT)",
    "CREATE INDEX replay_letter ON replay (letter)",
    "CREATE UNIQUE INDEX replay_waiting ON replay (letter) WHERE ended_at IS NULL",
    "CREATE TRIGGER letter_gone AFTER DELETE ON dead_letter BEGIN DELETE FROM replay WHERE letter = old.id; END",
)
_UPGRADES: Final = ((_SCHEMA, _INDEX), _REPLAY)  # at n: from schema n to n + 1
_INSERT: Final = f"INSERT INTO dead_letter ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - our names
_SELECT: Final = f"SELECT id, {', '.join(COLUMNS)} FROM dead_letter ORDER BY id"  # noqa: S608 - our names
# In one statement, so of one moment: another program may be making the file.
_HEADER: Final = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id, pragma_user_version"
_OLDEST: Final = "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter ORDER BY id LIMIT ?)"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database for writing; make it if there is none. Raises `StoreError`, sqlite3.Error, OSError.

    The connection may be used by any thread, by one at a time. Its cost grows with the file: every page is checked.
    """
    refuse_abandoned(path)
    make_file(path)
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(database.close)
        version = identify(database, path)
        check(database, path)
        if version < SCHEMA_VERSION:
            _upgrade(database)
        # Nothing has been written before this line unless the file was empty, or of an older program.
        database.execute("PRAGMA journal_mode = WAL")
        # FULL: every commit waits for the disk. With NORMAL a WAL is only synced at a checkpoint, and a power cut would
        # take letters whose messages the broker has long been told to forget. Grouped writes make it cheap.
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA fullfsync = ON")  # macOS, where fsync does not reach the platter; elsewhere nothing
        database.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        on_failure.pop_all()
    return database


def refuse_abandoned(path: Path) -> None:
    """Raise `StoreError` for an empty file beside its log: SQLite would take it for a new one, and delete the log."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size and not (path.exists() and path.stat().st_size):
        raise refusal(path, f"is empty, but {wal.name} is not")


def identify(database: sqlite3.Connection, path: Path) -> int:
    """The schema's version of a database of ours, 0 of an empty one. Reads only. Raises `StoreError`, sqlite3.Error."""
    application_id, version, tables = database.execute(_HEADER).fetchone()
    if (application_id, version, tables) == (0, 0, 0):
        return 0
    if application_id != APPLICATION_ID:
        raise refusal(path, "is an SQLite database of another program")
    if version > SCHEMA_VERSION:
        text = f"{path} was written by a newer version of this program (schema {version}, this one knows {SCHEMA_VERSION})"
        raise StoreError(f"{text}. It is left as it is: update this program, or move the file away", retry_after_s=DAMAGED_RETRY_S)
    return int(version)


def check(database: sqlite3.Connection, path: Path) -> None:
    """Look at every page. Raises `StoreError` when one is damaged, sqlite3.Error."""
    ((verdict,),) = database.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise refusal(path, f"is damaged ({' '.join(str(verdict).split())})")


def _upgrade(database: sqlite3.Connection) -> None:
    """All or nothing; a new file before it becomes a WAL one: so its header says at all times whose it is."""
    try:
        database.execute("BEGIN IMMEDIATE")
        version = _number(database, "PRAGMA user_version")  # once more: another program may have been faster
        for statement in chain.from_iterable(_UPGRADES[version:]):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def append(database: sqlite3.Connection, letters: Sequence[DeadLetter], max_dead_letters: int) -> int:
    """Add `letters`, oldest first, in one transaction; returns how many of the oldest had to go. Raises sqlite3.Error.

    Afterwards there are at most `max_dead_letters`, 1 or more. When it returns, the letters are on disk; when it raises, none is.
    """
    kept = letters[max(0, len(letters) - max_dead_letters) :]
    try:
        database.execute("BEGIN IMMEDIATE")
        surplus = max(0, _number(database, "SELECT count(*) FROM dead_letter") + len(kept) - max_dead_letters)
        if surplus:
            database.execute(_OLDEST, (surplus,))  # first, so that a full disk has room for the new ones
        database.executemany(_INSERT, map(_row, kept))
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
    return surplus + len(letters) - len(kept)


def read_dead_letters(state_dir: Path) -> list[tuple[int, DeadLetter]]:
    """All dead letters with their ids, oldest first. Reads only, also while a service writes. Raises `StoreError`."""
    path = state_dir.absolute() / DATABASE_NAME
    if not path.exists():
        raise StoreError(f"there are no dead letters in {state_dir}: it holds no {DATABASE_NAME}")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as database:
            version = identify(database, path)
            check(database, path)
            return [(row[0], letter_of(row[1:])) for row in database.execute(_SELECT)] if version else []
    except sqlite3.Error as error:
        raise explained(path, error) from error
    except ValueError as error:  # a reason, or a list of properties, that this program does not know
        raise refusal(path, f"holds what this program cannot read ({error})") from error


def explained(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """What went wrong with the database at `path`, and what to do, for an operator."""
    if isinstance(error, OSError):
        what = "this is a file, not a directory" if isinstance(error, FileExistsError) else error.strerror
        advice = "Dead letters wait in memory until it can be used; [service] state_dir names another place"
        return StoreError(f"the state directory cannot be used: {error.filename or path}: {what}. {advice}")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
        return refusal(path, f"is damaged, or no database ({error})")
    advice = "Dead letters wait in memory; make room, or give this user the right to write there"
    return StoreError(f"{path} cannot be used now: {error}. {advice}")


def refusal(path: Path, what: str) -> StoreError:
    """`what` is wrong with the file, and what can be done."""
    advice = f"It is left as it is: move it away (with {path.name}-wal and {path.name}-shm, if there), and a new one is made"
    return StoreError(f"{path} {what}. {advice}. What is readable in it: sqlite3 FILE .recover", retry_after_s=DAMAGED_RETRY_S)


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


def _row(letter: DeadLetter) -> list[object]:
    values = attrs.asdict(letter, recurse=False)
    values |= {"why": letter.why.value, "user_properties": json.dumps(letter.user_properties)}
    return [_storable(values[column]) for column in COLUMNS]


def _storable(value: object) -> object:
    """A text's lone surrogates are escaped: SQLite refuses them, and one such letter would hold up all others for ever."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def letter_of(row: Sequence[Any]) -> DeadLetter:
    """A row of `COLUMNS`. Raises ValueError for what this program does not know."""
    values = dict(zip(COLUMNS, row, strict=True))
    properties = tuple((str(key), str(value)) for key, value in json.loads(values["user_properties"]))
    return DeadLetter(**values | {"why": Why(values["why"]), "retain": bool(values["retain"]), "user_properties": properties})
