"""The store: the actor that keeps dead letters on disk, and how their replays ended.

Laws. `on_stored` is called after the commit, never before. What could not be written stays in the mailbox, in order,
and comes back. The event loop never waits for the disk: all work on files is done in one worker thread at a time. A
store that is down is no failure of the tree: it says so, and tries again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import structlog
import trio

from tars.supervisor import Custody, ExitReason, ExitRequest, Mailbox, Taken, trap_exit

from . import store_db, store_replays
from .dead_letter import ReplayEnded, StoreItem, ToStore
from .store_files import StoreError, StoreHeld, consequence, hold, make_directory
from .work_or_stop import work_or_stop

MAX_BATCH: Final = 500
"""Letters per transaction, at most."""

OpenDatabase: TypeAlias = Callable[[Path], sqlite3.Connection]
OnState: TypeAlias = Callable[[str | None], None]


@attrs.define(eq=False)
class _Opened:
    """The lock and the database, held together. Blocking; one thread at a time."""

    path: Path
    max_dead_letters: int
    _lock: int
    _database: sqlite3.Connection

    def write(self, items: Sequence[StoreItem]) -> int:
        """Write all of them; returns how many old letters had to go. Raises `StoreError`, then no letter is written."""
        ended = [item for item in items if isinstance(item, ReplayEnded)]
        letters = [item.letter for item in items if isinstance(item, ToStore)]
        try:
            store_replays.end(self._database, ended)
            return store_db.append(self._database, letters, self.max_dead_letters) if letters else 0
        except sqlite3.Error as error:
            raise store_db.explained(self.path, error) from error

    def close(self) -> None:
        """Let go of the directory, in the order that leaves nobody else writing beside us."""
        try:
            self._database.close()
        finally:
            os.close(self._lock)


def _open(state_dir: Path, max_dead_letters: int, open_database: OpenDatabase) -> _Opened:
    """Make and hold the directory, open the database. Raises `StoreError`, `StoreHeld`."""
    path = state_dir / store_db.DATABASE_NAME
    lock: int | None = None
    opened: _Opened | None = None
    try:
        make_directory(state_dir)
        lock = hold(state_dir)
        opened = _Opened(path, max_dead_letters, lock, open_database(path))
    except (sqlite3.Error, OSError) as error:
        raise store_db.explained(path, error) from error
    finally:
        if lock is not None and opened is None:
            os.close(lock)
    return opened


async def store(
    state_dir: Path,
    mailbox: Mailbox[StoreItem],
    *,
    max_dead_letters: int,
    on_state: OnState,
    last_call: Callable[[], None] = lambda: None,
    open_database: OpenDatabase = store_db.open_database,
    task_status: trio.TaskStatus[None],
) -> None:
    """Write what comes to `mailbox` into ``state_dir/dead-letters.sqlite3``; fit for `ChildSpec.start`.

    Keeps the newest `max_dead_letters`, 1 or more. Has started before the database is open. ``on_state(None)`` is called when
    the store works, ``on_state(text)`` when it does not, and why; both in the event loop. On SHUTDOWN it calls `last_call`, once
    (it may queue more; not called while the store is down), and writes what is queued; on RESTART it writes nothing more.
    `open_database` is `store_db.open_database`, or a wrapper of it.

    Raises `StoreError`, an `Unavailable`, when files cannot be used now, and `Escalate` when another service holds `state_dir`.
    """
    request = trap_exit()
    task_status.started()
    one_thread = trio.CapacityLimiter(1)  # what has begun in it is finished, also when this task is cancelled
    async with mailbox.custody() as custody:
        try:
            opened = await trio.to_thread.run_sync(_open, state_dir, max_dead_letters, open_database, limiter=one_thread)
            try:
                await _serve(opened, one_thread, custody, request, on_state, last_call)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(opened.close, limiter=one_thread)
        except StoreHeld as held:
            on_state(str(held))
            raise consequence(held, store_db.DAMAGED_RETRY_S) from held
        except StoreError as error:
            on_state(str(error))
            raise


async def _serve(
    opened: _Opened,
    one_thread: trio.CapacityLimiter,
    custody: Custody[StoreItem],
    request: ExitRequest,
    on_state: OnState,
    last_call: Callable[[], None],
) -> None:
    up = called = False
    while True:
        if request.reason is ExitReason.SHUTDOWN and not called:
            called = True
            last_call()
        batch = custody.receive_nowait(MAX_BATCH) if request.reason is not ExitReason.RESTART else []
        if batch:
            await _write(opened, one_thread, custody, batch)
        elif request.is_set():
            return
        if not up:  # with letters waiting, only a commit proves it: a full disk opens well
            up = True
            on_state(None)
        if not request.is_set():
            await work_or_stop(custody, request)


async def _write(opened: _Opened, one_thread: trio.CapacityLimiter, custody: Custody[StoreItem], batch: Sequence[Taken[StoreItem]]) -> None:
    # None of them is begun: if the disk fails, that is no attempt at a letter.
    purged = await trio.to_thread.run_sync(opened.write, [taken.item for taken in batch], limiter=one_thread)
    for taken in batch:
        custody.done(taken)
        taken.item.on_stored()
    if purged:
        structlog.stdlib.get_logger().warning("dead_letters_purged", count=purged, max_dead_letters=opened.max_dead_letters)
