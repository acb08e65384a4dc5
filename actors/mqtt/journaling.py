"""The actor that keeps the crash journal's file open. It notes nothing itself: what it waits for is the end."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import structlog
import trio

from tars.supervisor import trap_exit

from .elsewhere import Elsewhere, one_thread
from .journal import Journal
from .journal_file import JournalFile, open_journal
from .store_files import StoreError, StoreHeld, consequence

_RETRY_S: Final = 30.0


async def journaling(state_dir: Path, journal: Journal, *, elsewhere: Elsewhere | None = None, task_status: trio.TaskStatus[None]) -> None:
    """Keep the journal of `state_dir` open; fit for `ChildSpec.start`. Has started when it is known what was in hand.

    Raises `StoreError`, an `Unavailable`, when the file cannot be used now: then it has started, and nothing is noted; `Escalate` when
    another service has it. The store says so, too, but lets go of the directory while its own file is damaged.
    """
    request = trap_exit()
    elsewhere = elsewhere or one_thread()
    try:
        file = await elsewhere(functools.partial(open_journal, state_dir))
    except (StoreError, StoreHeld) as error:
        journal.on_state(str(error))
        task_status.started()
        raise error if isinstance(error, StoreError) else consequence(error, _RETRY_S) from error
    try:
        journal.on_state(None)
        journal.use(file)
        _tell(state_dir, file)
        task_status.started()
        await request.wait()
    finally:
        journal.use(None)
        with trio.CancelScope(shield=True):
            await elsewhere(file.close)


def _tell(state_dir: Path, file: JournalFile) -> None:
    log = structlog.get_logger()
    if file.aside is not None:
        log.error("journal_damaged", state_dir=str(state_dir), kept_as=str(file.aside))
    for each in file.found:
        log.warning("process_died", subscription=each.subscription, key=each.message, attempt=each.attempt, deaths=each.deaths)
