"""A mailbox: a bounded memory channel that outlives its reader, and never loses what it took in.

What a reader has taken stays in the mailbox's custody until it is marked done. When the reader's `Custody`
ends, for whatever reason, the rest goes back to the head, in its old order, with the attempt counted for
what had been begun. So a crash costs a retry, never a message.

Invariant: accepted == done + in_hand + evicted + queued. Order: first in, first out, per mailbox.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import attrs
import trio

from .custody import Batch, Custody, Taken
from .errors import MailboxClosed, MailboxFull
from .incarnation import Incarnation, current

T = TypeVar("T")


class Overflow(enum.Enum):
    """What a full mailbox does with one message more."""

    BLOCK = "block"  # `send` waits, `send_nowait` raises MailboxFull
    DROP_OLDEST = "drop_oldest"  # the head is evicted
    DROP_NEWEST = "drop_newest"  # the message itself is evicted
    DEAD_LETTER = "dead_letter"  # likewise, and `on_evicted` is expected to keep it


class ReaderState(enum.Enum):
    """Is anybody reading?"""

    EXPECTED = "expected"  # nobody yet
    PRESENT = "present"
    RESTARTING = "restarting"  # the reader's next incarnation is on its way
    STOPPED = "stopped"


@attrs.define(eq=False)
class _Sender(Generic[T]):
    """Somebody waiting for room, message in hand."""

    item: T
    accepted: bool = False
    task: trio.lowlevel.Task = attrs.field(factory=trio.lowlevel.current_task, init=False)


@attrs.frozen
class MailboxStatistics:
    """Counters since the beginning, and what is inside now. `oldest_since`: acceptance time of the queue's head."""

    accepted: int
    done: int
    evicted: int
    queued: int
    in_hand: int
    reader: ReaderState
    oldest_since: float | None


class Mailbox(Generic[T]):
    """See the module. `capacity` counts what is queued (1 or more, `math.inf` allowed), not what is in hand.

    `on_evicted(item, reason)` is told of every message that leaves unhandled; it must neither block nor raise.
    One reader at a time.
    """

    def __init__(
        self,
        capacity: float,
        overflow: Overflow = Overflow.BLOCK,
        *,
        on_evicted: Callable[[T, str], None] | None = None,
    ) -> None:
        self.capacity = _capacity(capacity)
        self.overflow = overflow
        self._on_evicted = on_evicted
        self._queue: deque[Taken[T]] = deque()
        self._custody: Custody[T] | None = None
        self._readers = trio.lowlevel.ParkingLot()
        self._senders: deque[_Sender[T]] = deque()
        self._reader = ReaderState.EXPECTED
        self._reader_left: set[trio.Event] = set()  # questions that must not outlive their reader
        self._closed: str | None = None
        self._accepted = self._done = self._evicted = 0

    # -- sending ---------------------------------------------------------------------------------

    async def send(self, item: T) -> None:
        """Put `item` at the tail; under BLOCK, wait for room first (in order of arrival). Raises `MailboxClosed`."""
        if self.overflow is Overflow.BLOCK and self._closed is None and (self._full or self._senders):
            await self._queue_up(_Sender(item))
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            self.send_nowait(item)
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _queue_up(self, sender: _Sender[T]) -> None:
        self._senders.append(sender)

        def leave(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._senders.remove(sender)  # in the same step as the cancellation: a message is in or out, never half
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)
        if not sender.accepted:
            raise MailboxClosed(self._closed)

    def _admit(self) -> None:
        """Let waiting senders in, first come first served, as far as there is room."""
        while self._senders and not self._full:
            sender = self._senders.popleft()
            sender.accepted = True
            self._accept(sender.item)
            trio.lowlevel.reschedule(sender.task)

    def send_nowait(self, item: T, *, now: float | None = None) -> None:
        """Put `item` at the tail, or let the overflow policy decide. Raises `MailboxFull` (BLOCK only), `MailboxClosed`.

        `now`, the trio time, saves who sends many in a row a look at the clock for each.
        """
        if self._closed is not None:
            raise MailboxClosed(self._closed)
        if self._full:
            if self.overflow is Overflow.BLOCK:
                msg = f"the mailbox holds {len(self._queue)} of {self.capacity:g} messages"
                raise MailboxFull(msg)
            if self.overflow is not Overflow.DROP_OLDEST:
                self._accepted += 1
                self._evict(item, "overflow")
                return
            self._evict(self._queue.popleft().item, "overflow")
        self._accept(item, now)

    def _accept(self, item: T, now: float | None = None) -> None:
        self._accepted += 1
        self._queue.append(Taken(item, trio.current_time() if now is None else now))
        if self._readers:  # a look costs nothing, waking nobody 5 µs
            self._readers.unpark()

    # -- reading ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def custody(self) -> AsyncIterator[Custody[T]]:
        """The right to read, for one reader. What it took and did not mark done goes back when the block ends."""
        if self._custody is not None:
            msg = "a mailbox has one reader at a time"
            raise RuntimeError(msg)
        custody = self._custody = Custody(self._something_queued, self._take, self._readers.unpark_all)
        self._welcome(current())
        try:
            yield custody
        finally:
            self._custody = None
            self._done += custody.dealt_with
            self._take_back(custody)

    @asynccontextmanager
    async def receive_batch(self, max_items: int) -> AsyncIterator[Batch[T]]:
        """Wait for a message, take up to `max_items` that are there: one await, then everything.

        ``async with mailbox.receive_batch(64) as batch: for taken in batch: ...; batch.done(taken)``.
        Iterating begins an item. Raises `MailboxClosed` when nothing will come any more.
        """
        async with self.custody() as custody:
            yield Batch(custody, await custody.receive(max_items))

    async def _something_queued(self) -> None:
        while not self._queue and not (self._custody is not None and self._custody.interrupted):
            if self._closed is not None:
                raise MailboxClosed(self._closed)
            await self._readers.park()

    def _take(self, max_items: int) -> list[Taken[T]]:
        queue = self._queue
        taken = [queue.popleft()] if queue and max_items == 1 else [queue.popleft() for _ in range(min(max_items, len(queue)))]
        if self._senders:
            self._admit()
        return taken

    # -- looking, and emptying -------------------------------------------------------------------

    def statistics(self) -> MailboxStatistics:
        """See `MailboxStatistics`."""
        custody = self._custody
        return MailboxStatistics(
            accepted=self._accepted,
            done=self._done + (0 if custody is None else custody.dealt_with),
            evicted=self._evicted,
            queued=len(self._queue),
            in_hand=0 if custody is None else len(custody.in_hand),
            reader=self._reader,
            oldest_since=self._queue[0].since if self._queue else None,
        )

    def __len__(self) -> int:
        return len(self._queue)

    def evict(self, reason: str, *, keep: int = 0, oldest_first: bool = False) -> int:
        """Take all but `keep` queued messages out, the newest or the oldest; returns how many. `on_evicted` sees them in order."""
        count = max(0, len(self._queue) - keep)
        gone = [self._queue.popleft() if oldest_first else self._queue.pop() for _ in range(count)]
        for taken in gone if oldest_first else reversed(gone):
            self._evict(taken.item, reason)
        self._admit()
        return count

    def resize(self, capacity: float) -> None:
        """Hold up to `capacity` messages from now on. What is over it stays; whoever waits for the room that is new gets it."""
        self.capacity = _capacity(capacity)
        self._admit()

    def close(self, reason: str) -> None:
        """End the mailbox: what is queued, and what is still given back, is evicted; waiting senders and readers are told."""
        if self._closed is None:
            self._closed = reason
            senders, self._senders = self._senders, deque()
            self.evict(reason, oldest_first=True)
            self._leave(ReaderState.STOPPED)
            self._readers.unpark_all()
            for sender in senders:
                trio.lowlevel.reschedule(sender.task)

    @property
    def _full(self) -> bool:
        return len(self._queue) >= self.capacity

    def _evict(self, item: T, reason: str) -> None:
        self._evicted += 1
        if self._on_evicted is not None:
            self._on_evicted(item, reason)

    def _take_back(self, custody: Custody[T]) -> None:
        for taken in reversed(custody.in_hand):
            if taken.begun:
                taken.attempt += 1
                taken.begun = False
            if self._closed is None:
                self._queue.appendleft(taken)
            else:
                self._evict(taken.item, self._closed)
        custody.in_hand.clear()

    # -- the reader's lives ----------------------------------------------------------------------

    def _welcome(self, reader: Incarnation | None) -> None:
        if reader is not None and self._reader is not ReaderState.PRESENT:
            reader.on_end(self._reader_ended)
        self._reader = ReaderState.PRESENT

    def _reader_ended(self, another_follows: bool) -> None:  # noqa: FBT001 - an `OnEnd`
        self._leave(ReaderState.RESTARTING if another_follows else ReaderState.STOPPED)

    def _leave(self, state: ReaderState) -> None:
        self._reader = state
        for event in self._reader_left:
            event.set()

    @property
    def reader(self) -> ReaderState:
        """Is anybody reading?"""
        return self._reader

    def watch_reader(self, left: trio.Event) -> Callable[[], None]:
        """Have `left` set when the present reader's incarnation ends; returns the way to unsubscribe."""
        self._reader_left.add(left)
        return lambda: self._reader_left.discard(left)


def _capacity(capacity: float) -> float:
    if not (capacity == math.inf or (capacity >= 1 and capacity == int(capacity))):
        msg = f"a mailbox holds 1 or more messages, not {capacity!r}"
        raise ValueError(msg)
    return capacity
