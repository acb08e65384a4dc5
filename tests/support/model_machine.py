"""Virtual time for the pure model, and the worker's life in it. No trio: one thing happens after the other.

Law: at one instant nothing happens twice by chance. Two timers that ring together, without one being the other's
consequence, would be a race, whose outcome nobody can foretell: the model raises `Tie` instead of guessing.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from .model_shapes import Ending, Plan, Word


class Tie(Exception):
    """Two independent things at one instant."""


@attrs.define(eq=False)
class Timer:
    what: Callable[[], None]
    harmless: object  # timers with the same mark may ring together, in any order
    dead: bool = False

    def stop(self) -> None:
        self.dead = True


@attrs.define(eq=False)
class Machine:
    """A clock, and a queue of what follows at once."""

    now: float = 0.0
    _timers: list[tuple[float, int, Timer]] = attrs.field(factory=list)
    _made: int = 0
    _queue: deque[Callable[[], None]] = attrs.field(factory=deque)

    def post(self, what: Callable[[], None]) -> None:
        """Do `what` at this instant, after what is under way."""
        self._queue.append(what)

    def after(self, seconds: float, what: Callable[[], None], harmless: object = None) -> Timer:
        """Do `what` then. 0 is at once, infinity never."""
        timer = Timer(what, harmless)
        if seconds == 0:
            self.post(lambda: None if timer.dead else what())
        elif seconds < math.inf:
            self._made += 1
            heapq.heappush(self._timers, (self.now + seconds, self._made, timer))
        return timer

    def run(self) -> None:
        """Do all that follows at this instant."""
        while self.turn():
            pass

    def turn(self, which: int = 0) -> bool:
        """Do the first of it, or another one. False: there is nothing left."""
        if not self._queue:
            return False
        what = self._queue[which]
        del self._queue[which]
        what()
        return True

    @property
    def pending(self) -> int:
        """How many things are to follow at this instant, as far as is known."""
        return len(self._queue)

    @property
    def next_at(self) -> float:
        while self._timers and self._timers[0][2].dead:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def ring(self) -> None:
        """Go to the next instant at which something happens, and let it."""
        self.now = self.next_at
        together: list[Timer] = []
        while self.next_at == self.now:
            together.append(heapq.heappop(self._timers)[2])
        if len(together) > 1 and (together[0].harmless is None or len({timer.harmless for timer in together}) > 1):
            raise Tie(self.now)
        for timer in together:
            timer.what()
        self.run()


class Parent(Protocol):
    """Whom a process tells how it fares."""

    def is_up(self) -> None: ...

    def has_ended(self, ending: Ending | None) -> None:
        """None: it let its cancellation through."""


@attrs.define(eq=False)
class WorkerProcess:
    """A worker's life, as `Plan` has it."""

    machine: Machine
    plan: Plan
    parent: Parent
    harmless: Callable[[], object]
    traps: bool = False  # before its first step it has told nobody
    phase: str = "starting"
    _asked: bool = False
    _timer: Timer | None = None

    def begin(self) -> None:
        self.traps = self.plan.traps
        if self.phase == "starting":
            self._then(self.plan.start_s, self._start_is_over)

    def ask(self) -> None:
        self._asked = True
        if self.phase == "up":
            self._leave()

    def cancel(self) -> None:
        self.phase = "cleaning"
        self._then(self.plan.clean_s, lambda: self.obey(self.plan.says))

    def obey(self, ending: Ending | None) -> None:
        """End so, at once."""
        if self._timer is not None:
            self._timer.stop()
        self.phase = "gone"
        self.parent.has_ended(ending)

    def _start_is_over(self) -> None:
        if self.plan.start is not None:
            self.obey(self.plan.start)
            return
        self.phase = "up"
        self.parent.is_up()
        if self._asked:
            self._leave()

    def _leave(self) -> None:
        self.phase = "leaving"
        self._then(self.plan.leave_s, lambda: self.obey(self.plan.says or Ending(Word.RETURN)))

    def _then(self, seconds: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.machine.after(seconds, what, self.harmless())


@attrs.define(eq=False)
class Mail:
    """A mailbox that drops its oldest message when it is full."""

    capacity: float
    queued: list[int] = attrs.field(factory=list)
    in_hand: list[int] = attrs.field(factory=list)
    accepted: int = 0
    done: int = 0
    evicted: int = 0

    def come(self, count: int) -> None:
        for _ in range(count):
            self.accepted += 1
            self.queued.append(self.accepted)
            if len(self.queued) > self.capacity:
                self.queued.pop(0)
                self.evicted += 1

    def take(self, count: int) -> None:
        self.in_hand += self.queued[:count]
        del self.queued[:count]

    def finish(self, count: int) -> None:
        self.done += len(self.in_hand[:count])
        del self.in_hand[:count]

    def give_back(self) -> None:
        """B4: its reader's life is over."""
        self.queued = self.in_hand + self.queued
        self.in_hand = []
