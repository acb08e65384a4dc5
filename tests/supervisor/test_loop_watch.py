"""The watch on the event loop. Real threads, no sleeping: the block ends when the report has arrived."""

import sys
import threading
import time

import trio

from tars.supervisor import LoopBlocked, LoopFree, watch_loop
from tars.supervisor.loop_watch import waits_for_work

PATIENCE_S = 30
LIMIT_S = 0.4  # longer than a busy machine keeps a loop waiting by chance


class Reports:
    """Collects reports from either side, and lets each side wait for the next."""

    def __init__(self) -> None:
        self.seen: list[LoopBlocked | LoopFree] = []
        self.threads: list[str] = []
        self.blocked = threading.Event()
        self.free = trio.Event()

    def __call__(self, report: LoopBlocked | LoopFree) -> None:
        self.seen.append(report)
        self.threads.append(threading.current_thread().name)
        if isinstance(report, LoopBlocked):
            self.blocked.set()
        else:
            self.free.set()


def block_the_loop(until: threading.Event) -> None:
    assert until.wait(PATIENCE_S)


async def test_a_blocked_loop_is_reported_while_it_blocks_with_the_line_that_blocks() -> None:
    reports = Reports()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(reports, limit_s=LIMIT_S, sign_s=0.01, task_status=task_status))
        block_the_loop(reports.blocked)

        (blocked,) = reports.seen
        assert isinstance(blocked, LoopBlocked)
        assert blocked.silent_s > LIMIT_S
        assert "block_the_loop" in blocked.stack
        assert "test_a_blocked_loop" in blocked.stack
        assert "in wait" in blocked.where
        assert ["loop watch"] == reports.threads
        nursery.cancel_scope.cancel()


async def test_when_it_is_free_again_that_is_reported_in_the_loop_with_how_long_it_took() -> None:
    reports = Reports()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(reports, limit_s=LIMIT_S, sign_s=0.01, task_status=task_status))
        block_the_loop(reports.blocked)
        with trio.fail_after(PATIENCE_S):
            await reports.free.wait()

        blocked, free = reports.seen
        assert isinstance(blocked, LoopBlocked)
        assert isinstance(free, LoopFree)
        assert free.blocked_s >= blocked.silent_s
        assert blocked.where == free.where
        assert threading.current_thread().name == reports.threads[1]
        nursery.cancel_scope.cancel()


async def test_each_block_is_reported_once_and_the_next_one_again() -> None:
    reports = Reports()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(reports, limit_s=LIMIT_S, sign_s=0.01, task_status=task_status))
        for _ in range(2):
            reports.blocked.clear()
            block_the_loop(reports.blocked)
            with trio.fail_after(PATIENCE_S):
                await reports.free.wait()
            reports.free = trio.Event()

        assert [LoopBlocked, LoopFree, LoopBlocked, LoopFree] == [type(report) for report in reports.seen]
        nursery.cancel_scope.cancel()


async def test_a_loop_that_waits_for_work_is_not_blocked_however_long_the_process_stood_still() -> None:
    """As after SIGSTOP: no sign for long, and nobody's line to blame."""
    loop = threading.get_ident()

    def look() -> bool:
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:  # this task waits for us: sooner or later the loop has nothing to do
            if waits_for_work(sys._current_frames()[loop]):  # noqa: SLF001 - documented, in spite of its name
                return True
        return False

    assert await trio.to_thread.run_sync(look)
    assert not waits_for_work(sys._current_frames()[loop])  # noqa: SLF001 - as above


async def test_a_block_that_ends_as_it_is_noticed_is_told_with_its_whole_length() -> None:
    """The loop's clock stands still, as if the sign had come just before the report."""
    reports, here = Reports(), threading.get_ident()

    def clock() -> float:
        return 0.0 if threading.get_ident() == here else 100.0

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(reports, limit_s=LIMIT_S, sign_s=0.01, monotonic=clock, task_status=task_status))
        block_the_loop(reports.blocked)
        with trio.fail_after(PATIENCE_S):
            await reports.free.wait()

        free = reports.seen[1]
        assert isinstance(free, LoopFree)
        assert 100.0 == free.blocked_s
        nursery.cancel_scope.cancel()


async def test_the_thread_ends_with_the_actor() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(lambda _: None, sign_s=0.005, task_status=task_status))
        watching = [thread for thread in threading.enumerate() if thread.name == "loop watch"]
        nursery.cancel_scope.cancel()
    for thread in watching:
        await trio.to_thread.run_sync(thread.join, PATIENCE_S)

    assert len(watching) == 1
    assert not watching[0].is_alive()
