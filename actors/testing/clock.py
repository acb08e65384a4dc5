"""Virtual time for a test: a wait of an hour takes no time, and nothing that happens depends on the machine's speed.

Law: time stands still while a worker thread works. trio's own mock clock jumps then, because it sees no task that could
run, and the handler whose thread it is would be over its time before it has begun.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import trio
import trio.testing

P = ParamSpec("P")
T = TypeVar("T")


def in_virtual_time(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make a plain function of an ``async def`` test: it runs on trio, in virtual time. A decorator; pytest needs no plugin for it.

    What pytest passes by name (``tmp_path``, parameters) is passed on.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return trio.run(functools.partial(test, *args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))

    return run


def on_a_mock_clock() -> bool:
    """Does this trio run on a mock clock?"""
    return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


@contextmanager
def virtual_time() -> Iterator[None]:
    """If trio runs on a mock clock, whatever its settings, it jumps within the block, but not while a thread works."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        yield
        return
    before, clock.autojump_threshold = clock.autojump_threshold, 0
    hold = _Hold(clock)
    trio.lowlevel.add_instrument(hold)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(hold)
        clock.autojump_threshold = before


@contextmanager
def real_time() -> Iterator[None]:
    """A mock clock goes at the speed of the world's within the block: a socket is waited for as long as it takes."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        yield
        return
    before = clock.rate, clock.autojump_threshold
    clock.rate, clock.autojump_threshold = 1.0, math.inf
    try:
        yield
    finally:
        clock.rate, clock.autojump_threshold = before


class _Hold(trio.abc.Instrument):
    """Stops the jumping while any task waits for a thread; one whose thread has called back into trio does not count."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._waiting: set[trio.lowlevel.Task] = set()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if _waits_for_a_thread(task):
            self._waiting.add(task)
            self._clock.autojump_threshold = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task in self._waiting:
            self._waiting.remove(task)
            if not self._waiting:
                self._clock.autojump_threshold = 0


def _waits_for_a_thread(task: trio.lowlevel.Task) -> bool:
    # The frames from the outside in. `trio.to_thread.run_sync` waits for its thread directly; what the thread asks for by
    # `trio.from_thread.run` is run by the same task, and stands between the two.
    outer = ""
    for frame, _ in task.iter_await_frames():
        name = frame.f_code.co_name
        if outer == "to_thread_run_sync" and name == "wait_task_rescheduled":
            return True
        outer = name
    return False
