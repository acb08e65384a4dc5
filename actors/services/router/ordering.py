"""Puts the deltas of one stream back into order.

Law: a delta comes out once, after all the deltas with smaller numbers. Numbers begin at 1 (a stream whose first delta to
arrive is number 0 begins at 0). A delta without a number comes out at once: arrival order is all there is.
What waits for an earlier delta is bounded; over the bound the missing ones are given up, and counted.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Delta:
    """A piece of an answer. `done`: nothing comes after it."""

    text: str
    done: bool = False


@attrs.define
class Reorder:
    """The deltas of one stream that wait for an earlier one, at most `max_held` >= 1 of them. `lost` counts the numbers given up."""

    max_held: int
    lost: int = attrs.field(default=0, init=False)
    _next: int | None = attrs.field(default=None, init=False)
    _held: dict[int, Delta] = attrs.field(factory=dict, init=False)
    _ends: bool = attrs.field(default=False, init=False)  # a `done` without a number came while others were missing

    @property
    def end_seen(self) -> bool:
        """True when `done` has arrived and waits for an earlier delta."""
        return self._ends or any(delta.done for delta in self._held.values())

    def take(self, seq: int | None, delta: Delta) -> tuple[Delta, ...]:
        """Everything that can come out now that `delta` has arrived. A repeated number brings nothing."""
        if seq is None:
            if not (delta.done and self._held):
                return (delta,)
            self._ends = True
            return (attrs.evolve(delta, done=False),)
        if self._next is None:
            self._next = 0 if seq == 0 else 1
        if seq < self._next or seq in self._held:
            return ()
        self._held[seq] = delta
        ready = self._in_order()
        while len(self._held) > self.max_held:
            ready += self._skip_gap()
        return self._ended(ready)

    def give_up(self) -> tuple[Delta, ...]:
        """Everything held, in order; what is missing between is counted as lost."""
        ready: tuple[Delta, ...] = ()
        while self._held:
            ready += self._skip_gap()
        return self._ended(ready)

    def _in_order(self) -> tuple[Delta, ...]:
        ready: list[Delta] = []
        while self._next is not None and self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        return tuple(ready)

    def _skip_gap(self) -> tuple[Delta, ...]:
        first = min(self._held)
        self.lost += first - (self._next or 0)
        self._next = first
        return self._in_order()

    def _ended(self, ready: tuple[Delta, ...]) -> tuple[Delta, ...]:
        return (*ready, Delta("", done=True)) if self._ends and not self._held else ready
