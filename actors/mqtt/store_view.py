"""The store's file, opened by a program that is not its service. Blocking; knows no trio.

Laws. Looking makes no file and changes none that outlives the service (the shared-memory index beside a log is SQLite's
scratch paper). It sees one moment, also while a service writes. Nothing here makes a file that was not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from .store_db import BUSY_S, DATABASE_NAME, SCHEMA_VERSION, check, explained, identify, refusal, refuse_abandoned
from .store_files import LOCK_NAME, StoreError

T = TypeVar("T")

_LOOKS: Final = 5
"""How often a file that changes under our eyes is looked at again."""


def look(state_dir: Path, ask: Callable[[sqlite3.Connection, int], T]) -> T | None:
    """What `ask` makes of the database and its schema's version; None where it is empty. Raises `StoreError`.

    Works while a service writes, while none does, and after one was killed.
    """
    path = _path(state_dir)
    try:
        return _look(path, ask)
    except (sqlite3.Error, OSError) as error:
        raise _cannot(path, error) from error
    except ValueError as error:
        raise refusal(path, f"holds what this program cannot read ({error})") from error


def _look(path: Path, ask: Callable[[sqlite3.Connection, int], T]) -> T | None:
    for _ in range(_LOOKS):
        before = _stamp(path)
        try:
            if _log_bytes(path) == 0:
                # All there is stands in the file itself: read it as it is. Asked otherwise, SQLite would make a log and its index.
                found = _ask(f"{path.as_uri()}?immutable=1", path, ask)
            elif _beside(path, "-shm").exists():
                return _ask(f"{path.as_uri()}?mode=ro", path, ask)
            else:  # a log without its index, which SQLite would make: let it do so elsewhere
                found = _ask_copy(path, ask)
        except (sqlite3.Error, OSError, StoreError, ValueError):
            if before == _stamp(path):
                raise
        else:
            if before == _stamp(path):
                return found
    raise StoreError(f"{path} changes faster than it can be read: try again")


def _ask_copy(path: Path, ask: Callable[[sqlite3.Connection, int], T]) -> T | None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for each in (path, _beside(path, "-wal")):
            shutil.copyfile(each, copy.with_name(each.name))
        return _ask(f"{copy.as_uri()}?mode=rw", path, ask)


@contextlib.contextmanager
def changing(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """The database, to be changed; a service may run. Raises `StoreError`, also for the block's sqlite3.Error.

    Refuses a file of an older program: only a service changes what a file is.
    """
    path = _path(state_dir)
    try:
        refuse_abandoned(path)
        database = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)
        with contextlib.closing(database):
            version = identify(database, path)
            if 0 < version < SCHEMA_VERSION:
                text = f"{path} was written by an older version of this program: run the service once with this one"
                raise StoreError(text)
            if not version:
                raise StoreError(f"there are no dead letters in {state_dir}: {path.name} is empty")
            check(database, path)
            database.execute("PRAGMA synchronous = FULL")
            yield database
    except (sqlite3.Error, OSError) as error:
        raise _cannot(path, error) from error


def holder(state_dir: Path) -> int | None:
    """The process that seems to work in `state_dir`, by what its lock file says; None when there is none, or it does not say.

    A hint: to try the lock would keep a service that starts at this moment from starting.
    """
    try:
        said = (state_dir / LOCK_NAME).read_bytes().strip()
        pid = int(said) if said.isdigit() else 0
        if pid <= 0:
            return None
        os.kill(pid, 0)
    except PermissionError:
        return pid  # somebody else's, and alive
    except (OSError, OverflowError):
        return None
    return pid


def _path(state_dir: Path) -> Path:
    path = state_dir.absolute() / DATABASE_NAME
    if not path.exists():
        why = f"it holds no {DATABASE_NAME}" if state_dir.is_dir() else "there is no such directory"
        raise StoreError(f"there are no dead letters in {state_dir}: {why}")
    return path


def _ask(uri: str, path: Path, ask: Callable[[sqlite3.Connection, int], T]) -> T | None:
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as database:
        refuse_abandoned(path)
        database.execute("BEGIN")  # one moment for all that is asked
        version = identify(database, path)
        check(database, path)
        return ask(database, version) if version else None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _log_bytes(path: Path) -> int:
    try:
        return _beside(path, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """Changes when anything was written."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, _log_bytes(path)


def _cannot(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """In words for somebody who looks in from outside: what the store's own words say of memory is not so here."""
    if isinstance(error, OSError):
        return StoreError(f"{error.filename or path}: {(error.strerror or str(error)).lower()}")
    said = explained(path, error)
    return said if said.retry_after_s is not None else StoreError(f"{path} cannot be used now: {error}")
