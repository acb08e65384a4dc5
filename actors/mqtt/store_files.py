"""The state directory: made durably, readable by its owner only, and held by one service at a time.

Law: what was there before is never changed, except the `lock` file. Blocking; the store calls it in its worker thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from tars.supervisor import Escalate, TarsError, Unavailable, current

LOCK_NAME: Final = "lock"
_PID_BYTES: Final = 20


class StoreError(TarsError, Unavailable):
    """The store cannot work now. The message names the file, and says what to do.

    An `Unavailable`: the store is restarted with backoff, and everything else runs on.
    """


class StoreHeld(TarsError):
    """Another service works in this state directory. `pid` is its process; None when it does not say."""

    def __init__(self, state_dir: Path, pid: int | None) -> None:
        super().__init__(state_dir, pid)
        self.state_dir = state_dir
        self.pid = pid

    def __str__(self) -> str:
        holder = "another process" if self.pid is None else f"process {self.pid}"
        return (
            f"the state directory {self.state_dir} is in use by {holder}: two services cannot share one. "
            "Stop the other one, or give this one a directory of its own: [service] state_dir"
        )


def consequence(held: StoreHeld, retry_after_s: float) -> Exception:
    """A second service must not start; a running one, whose place was taken while its store was down, must not die of that."""
    me = current()
    return Escalate(str(held)) if me is None or me.number == 1 else StoreError(str(held), retry_after_s=retry_after_s)


def holder(state_dir: Path) -> int | None:
    """The process that holds `state_dir`, as far as the lock says."""
    try:
        said = (state_dir / LOCK_NAME).read_bytes()[:_PID_BYTES].strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None


def make_directory(directory: Path) -> None:
    """Make `directory`, mode 0700, and its missing parents, such that a power cut does not take them away again. Raises OSError."""
    directory = directory.absolute()
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        sync_directory(each.parent)


def make_file(path: Path) -> None:
    """Make an empty file, mode 0600, unless there is one. Raises OSError."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return  # and it is not even opened: closing it would drop the locks that SQLite holds on it in this process
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Put the directory's entries on disk: a file whose name is lost is lost. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(state_dir: Path) -> int:
    """Take the directory's lock; returns the descriptor that holds it until it is closed. Raises `StoreHeld`, OSError.

    The kernel lets go of it when the process dies, however it dies. The file stays, with the last holder's process id.
    """
    descriptor = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreHeld(state_dir, holder(state_dir)) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # a full disk: the number is missing then, the lock is not
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
