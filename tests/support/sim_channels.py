"""The channels of one simulated run: what its tasks wait at or send through, and what of it is left at the end.

Law: a run that is over has left no channel behind. Whatever a task ever slept at (an event, a parking lot, one end of a memory
channel) is seen by the scheduler's instrument; a mailbox, which outlives its readers, is made by its world, and closed here.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio

from tars.supervisor import Custody, Mailbox, Overflow

T = TypeVar("T")
End: TypeAlias = trio.MemorySendChannel[Any] | trio.MemoryReceiveChannel[Any]
Place: TypeAlias = trio.Event | trio.lowlevel.ParkingLot

WAIT: Final = trio.Event.wait.__code__
"""Unlike the others, an event does not leave itself in the ``custom_sleep_data`` of the task that waits for it."""


class ChannelsLeft(AssertionError):
    """The run is over, and something that its tasks talked through is not."""


class Observed(Mailbox[T]):
    """A mailbox that counts those who use it, and how often `on_evicted` is told."""

    def __init__(self, capacity: float, overflow: Overflow, on_evicted: Callable[[T, str], None] | None) -> None:
        self.readers = self.watchers = self.told = 0

        def evicted(item: T, reason: str) -> None:
            self.told += 1
            if on_evicted is not None:
                on_evicted(item, reason)

        super().__init__(capacity, overflow, on_evicted=evicted)

    @asynccontextmanager
    async def custody(self) -> AsyncIterator[Custody[T]]:
        async with super().custody() as custody:
            self.readers += 1
            try:
                yield custody
            finally:
                self.readers -= 1

    def watch_reader(self, left: trio.Event) -> Callable[[], None]:
        unwatch = super().watch_reader(left)
        self.watchers += 1

        def no_more() -> None:
            self.watchers -= 1
            unwatch()

        return no_more

    def left(self) -> Iterator[str]:
        """What a mailbox that nobody needs any more should not have; it is closed by this."""
        if self.readers:
            yield "is still being read"
        if self.watchers:
            yield f"is watched by {self.watchers} questions that are over"
        before = self.statistics()
        if before.accepted != before.done + before.in_hand + before.evicted + before.queued:
            yield f"does not balance: {before}"
        self.close("the run is over")
        after = self.statistics()
        if before.accepted != after.accepted:
            yield "let somebody in who has long gone"
        if after.queued or (after.in_hand and not self.readers):
            yield f"is not empty after it was closed: {after}"
        if self.told != after.evicted:
            yield f"evicted {after.evicted} messages and told of {self.told}"


@attrs.define(eq=False)
class Channels:
    """Those of one run."""

    mailboxes: list[Observed[Any]] = attrs.field(factory=list)
    _ends: dict[int, End] = attrs.field(factory=dict)  # by id; kept, since an end that nobody holds was never closed
    _places: weakref.WeakSet[Place] = attrs.field(factory=weakref.WeakSet)  # at one that nobody holds, nobody waits

    def mailbox(self, capacity: float, overflow: Overflow, on_evicted: Callable[[Any, str], None] | None) -> Mailbox[Any]:
        self.mailboxes.append(Observed(capacity, overflow, on_evicted))
        return self.mailboxes[-1]

    def watch(self, task: trio.lowlevel.Task) -> None:
        """`task` has just gone to sleep, or goes on: remember what it sleeps at."""
        match task.custom_sleep_data:
            case trio.lowlevel.ParkingLot() as lot:
                self._places.add(lot)
            case trio.MemorySendChannel() | trio.MemoryReceiveChannel() as end:
                self._ends[id(end)] = end
            case _:
                for frame, _ in task.iter_await_frames():
                    if frame.f_code is WAIT:
                        self._places.add(frame.f_locals["self"])

    def left(self) -> Iterator[str]:
        """What is there though it should not be, now that the run is over. Closes the mailboxes."""
        for number, mailbox in enumerate(self.mailboxes, 1):
            yield from (f"mailbox {number} {what}" for what in mailbox.left())
        for place in self._places:
            if waiting := place.statistics().tasks_waiting:
                yield f"{waiting} tasks wait at {place!r}"
        seen: set[str] = set()
        for end in self._ends.values():
            now = end.statistics()
            if now.open_send_channels or now.open_receive_channels:
                seen.add(f"a memory channel is open: {now}")
        yield from sorted(seen)

    def check(self) -> None:
        """Raises `ChannelsLeft` with all of it."""
        if left := list(self.left()):
            raise ChannelsLeft("; ".join(left))
