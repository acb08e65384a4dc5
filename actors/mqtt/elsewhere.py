"""Where blocking work is done, so that it does not hold the event loop: a thread; in a test of virtual time, on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Elsewhere(Protocol):
    """Runs what blocks. One at a time; what has begun is finished."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Return what `work` returns, raise what it raises."""
        ...


def one_thread() -> Elsewhere:
    """One worker thread at a time, whoever is cancelled meanwhile."""
    limiter = trio.CapacityLimiter(1)

    async def in_thread(work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=limiter)

    return in_thread
