"""The reading side of a mailbox: what one reader has taken, until it is marked done.

Law: a message in custody leaves it once, through `done`, or goes back when the reader's custody ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class Taken(Generic[T]):
    """A message in custody. `attempt` is 1 the first time it is begun; `since` is when it was accepted (trio time)."""

    item: T
    since: float
    attempt: int = 1
    begun: bool = False


class Custody(Generic[T]):
    """What one reader holds; `Mailbox.custody` makes it. `in_hand` keeps the order in which it was taken.

    `something_queued` waits until the mailbox has a message, or `wake` is called and the reader `interrupted`; `take` gets
    out at most so many.
    """

    def __init__(
        self, something_queued: Callable[[], Awaitable[None]], take: Callable[[int], list[Taken[T]]], wake: Callable[[], object]
    ) -> None:
        self._something_queued = something_queued
        self._take = take
        self._wake = wake
        self.in_hand: dict[Taken[T], None] = {}
        self.dealt_with = 0  # how many have been marked done
        self.interrupted = False

    async def receive(self, max_items: int) -> list[Taken[T]]:
        """At least one message (none, when interrupted), at most `max_items`. Raises `MailboxClosed`. Cancelled, it has taken nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._something_queued()
        taken = self.receive_nowait(max_items)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return taken

    async def wait(self) -> None:
        """Return when there is something to take, at once if there is, or when `interrupt` was called. Raises `MailboxClosed`."""
        if not self.interrupted:
            await self._something_queued()

    def interrupt(self) -> None:
        """There is something else to do: `wait` waits no more, until `resume`."""
        self.interrupted = True
        self._wake()

    def resume(self) -> None:
        """What there was to do is known: `wait` waits again."""
        self.interrupted = False

    def receive_nowait(self, max_items: int) -> list[Taken[T]]:
        """What is there, at most `max_items`; perhaps nothing."""
        taken = self._take(max_items)
        self.in_hand.update(dict.fromkeys(taken))
        return taken

    def receive_one(self) -> Taken[T] | None:
        """The next message, if there is one."""
        for taken in self._take(1):
            self.in_hand[taken] = None
            return taken
        return None

    def begin(self, taken: Taken[T]) -> None:
        """Work on `taken` starts now: if it comes back undone, that was an attempt."""
        taken.begun = True

    def done(self, taken: Taken[T]) -> None:
        """`taken` is dealt with and leaves the mailbox for good. Raises KeyError when it is not in hand."""
        del self.in_hand[taken]
        self.dealt_with += 1

    def spare(self, taken: Taken[T]) -> None:
        """If `taken` comes back, let that cost no attempt (its handling was not at fault)."""
        taken.begun = False


class Batch(Generic[T]):
    """The result of one `receive_batch`."""

    def __init__(self, custody: Custody[T], items: list[Taken[T]]) -> None:
        self._custody = custody
        self._items = items

    def __iter__(self) -> Iterator[Taken[T]]:
        for taken in self._items:
            self._custody.begin(taken)
            yield taken

    def __len__(self) -> int:
        return len(self._items)

    def done(self, taken: Taken[T]) -> None:
        """`taken` is dealt with. Raises KeyError when it was already."""
        self._custody.done(taken)
