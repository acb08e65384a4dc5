"""The actor that writes the dedup window to disk, under ``[dedup] durable = true``.

Laws. `on_written` is called after the commit, never before: an acknowledgement waits for it. What could not be written stays
in the mailbox, in order. All work on the file is done in one worker thread at a time; while it writes, the next batch grows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import structlog
import trio

from tars.supervisor import Custody, ExitReason, ExitRequest, Taken, trap_exit

from .elsewhere import Elsewhere, one_thread
from .recorder import Recorder, ToRecord
from .store_files import StoreError
from .window_file import WindowFile, open_window
from .work_or_stop import work_or_stop

MAX_BATCH: Final = 1000
"""Records per transaction, at most."""

OpenWindow: TypeAlias = Callable[[Path], WindowFile]


async def recording(
    state_dir: Path,
    recorder: Recorder,
    *,
    on_state: Callable[[str | None], None],
    open_window: OpenWindow = open_window,
    elsewhere: Elsewhere | None = None,
    task_status: trio.TaskStatus[None],
) -> None:
    """Write what comes to `recorder`; fit for `ChildSpec.start`. Has started before the file is open.

    ``on_state(None)`` is called when records can be written, ``on_state(text)`` when not, and why. On SHUTDOWN it writes what is
    queued, on RESTART nothing more. `elsewhere` is a thread, unless given.

    Raises `StoreError`, an `Unavailable`, when the file cannot be used now.
    """
    request = trap_exit()
    task_status.started()
    elsewhere = elsewhere or one_thread()
    try:
        async with recorder.mailbox.custody() as custody:
            file = await elsewhere(functools.partial(open_window, state_dir))
            try:
                if file.aside is not None:
                    structlog.get_logger().error("dedup_window_damaged", file=str(file.path), kept_as=str(file.aside))
                recorder.opened(file.found)
                await _serve(file, elsewhere, custody, recorder, request, on_state)
            finally:
                with trio.CancelScope(shield=True):
                    await elsewhere(file.close)
    except StoreError as error:
        on_state(str(error))
        raise
    finally:
        recorder.report(works=False)


async def _serve(
    file: WindowFile,
    elsewhere: Elsewhere,
    custody: Custody[ToRecord],
    recorder: Recorder,
    request: ExitRequest,
    on_state: Callable[[str | None], None],
) -> None:
    while True:
        batch = custody.receive_nowait(MAX_BATCH) if request.reason is not ExitReason.RESTART else []
        if batch:
            await _write(file, elsewhere, recorder, custody, batch)
        elif request.is_set():
            return
        if not recorder.works:  # with records waiting, only a commit proves it: a full disk opens well
            on_state(None)
            recorder.report(works=True)
        if not request.is_set():
            await work_or_stop(custody, request)


async def _write(
    file: WindowFile, elsewhere: Elsewhere, recorder: Recorder, custody: Custody[ToRecord], batch: Sequence[Taken[ToRecord]]
) -> None:
    done = [taken.item.done for taken in batch]
    window = recorder.window

    await elsewhere(functools.partial(file.write, done, ttl_s=window.ttl_s, max_entries=window.max_entries))
    for taken in batch:
        custody.done(taken)
        taken.item.on_written()
