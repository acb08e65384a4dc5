"""Is the event loop blocked? Noticed from outside it, by a thread, while it is blocked.

A handler that calls ``time.sleep(5)`` stops every actor at once, and nobody inside can say so. Here a task shows a
sign of life every `sign_s`; a daemon thread looks for it, and when it stays away reports the stack of the line
the loop hangs in. `watch_loop` is an actor: give it to a `ChildSpec`.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

import attrs
import trio

from .events import LoopBlocked, LoopFree


@attrs.define(eq=False)
class _Signs:
    """Shared by the task and the thread; each field has one writer."""

    loop_thread: int
    seen_at: float  # the task writes
    blocked: LoopBlocked | None = None  # the thread writes, the task takes
    stop: threading.Event = attrs.field(factory=threading.Event)


async def watch_loop(
    report: Callable[[LoopBlocked | LoopFree], None],
    *,
    limit_s: float = 1.0,
    sign_s: float = 0.25,
    monotonic: Callable[[], float] = time.monotonic,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Report when the loop takes longer than `limit_s` (> `sign_s`) for one step, and when it is free again.

    `report(LoopBlocked)` is called from the watching thread, while it lasts; `report(LoopFree)` in the loop,
    afterwards. It must be safe for both. Runs until cancelled.
    """
    signs = _Signs(threading.get_ident(), monotonic())
    thread = threading.Thread(target=_look, args=(signs, report, limit_s, sign_s, monotonic), name="loop watch", daemon=True)
    thread.start()
    task_status.started()
    try:
        while True:
            before, signs.seen_at = signs.seen_at, monotonic()
            if (blocked := signs.blocked) is not None:
                signs.blocked = None
                # noticed in the very moment it ended, it is told at the next sign, whose own interval is short
                report(LoopFree(max(signs.seen_at - before, blocked.silent_s), blocked.where))
            await trio.sleep(sign_s)
    finally:
        signs.stop.set()


def _look(
    signs: _Signs,
    report: Callable[[LoopBlocked | LoopFree], None],
    limit_s: float,
    sign_s: float,
    monotonic: Callable[[], float],
) -> None:
    while not signs.stop.wait(sign_s):
        silent_s = monotonic() - signs.seen_at
        if silent_s > limit_s + sign_s and signs.blocked is None:
            frame = sys._current_frames().get(signs.loop_thread)  # noqa: SLF001 - documented, in spite of its name
            if frame is not None and not waits_for_work(frame):
                signs.blocked = _blocked(silent_s, frame)
                report(signs.blocked)


def _blocked(silent_s: float, frame: FrameType) -> LoopBlocked:
    """`stack`: the whole of it as text; `where`: the innermost line as ``file:line in function``."""
    entries = traceback.extract_stack(frame)
    last = entries[-1]
    return LoopBlocked(silent_s, f"{last.filename}:{last.lineno} in {last.name}", "".join(traceback.format_list(entries)))


def waits_for_work(frame: FrameType) -> bool:
    """Does the loop sit in the system's own wait? Then nobody blocks it: the whole process was stopped (SIGSTOP, a paused container).

    Goes by the name of a trio module; should that change, a stop of the process is reported as a block again, no more.
    """
    return str(frame.f_globals.get("__name__", "")).startswith("trio._core._io_")
