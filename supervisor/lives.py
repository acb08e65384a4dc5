"""Running the incarnations of one supervisor's children: begin, ask, cancel, find out that one is stuck.

trio can only cancel (decision D3). A child that traps exits is asked, and cancelled `shutdown_s` later; any
other is cancelled when asked. From its cancellation each has `shutdown_s` for its shielded clean-up; what
still runs after that is stuck: reported, left alone, never replaced.

This module knows how a child lives and ends, not what follows from it: that is `engine`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs
import trio

from .events import ChildExited, ChildStarted, ChildStuck, Emit
from .incarnation import ExitReason, Incarnation, become
from .lowest import Lowest
from .policy import ChildState, Row
from .restart import Exit, ExitKind, classify, leaves
from .stacks import stack_of

STUCK_FLOOR_S: Final = 1.0
"""BRUTAL grants no time, but a cancellation needs a turn of the scheduler to arrive."""

StartChild: TypeAlias = Callable[[Row], Callable[..., Awaitable[object]]]
Ended: TypeAlias = Callable[[Row, Incarnation, Exit], None]
Moved: TypeAlias = Callable[[Row], None]


@attrs.define(eq=False)
class Lives:
    """The live incarnations, by child. `moved` is told of every change of a row's state, `ended` of every end."""

    nursery: trio.Nursery
    start_of: StartChild
    emit: Emit
    moved: Moved
    ended: Ended
    _alive: dict[Row, Incarnation] = attrs.field(factory=dict, init=False)
    _asked: dict[Row, Incarnation] = attrs.field(factory=dict, init=False)  # those of them that must end
    _next: Lowest[Row] = attrs.field(factory=Lowest, init=False)  # the asked, by the moment of the next step against them
    _hurried: bool = attrs.field(default=False, init=False)

    def begin(self, row: Row, now: float, *, after: Incarnation | None) -> None:
        """Start the next incarnation of `row`, the one that was to follow `after`; returns at once."""
        row.incarnation += 1
        life = Incarnation(row.path, row.incarnation, began_at=now)
        if after is not None:
            life.follow(after)
        self._alive[row] = life
        row.state = ChildState.STARTING
        self.moved(row)
        self.nursery.start_soon(self._live, row, life, name=row.path)

    def ask(self, row: Row, reason: ExitReason, now: float, *, hard: bool) -> None:
        """Begin to stop `row`'s child. `hard`: cancel without asking first."""
        life = self._alive[row]
        grace_s = row.spec.shutdown_s
        asks = life.traps_exit and not hard and grace_s > 0
        life.asked_at = now
        life.cancel_at = now + grace_s if asks else now
        life.request.fire(reason, life.cancel_at)
        self._asked[row] = life
        self._next.put(row, life.cancel_at)
        row.state = ChildState.STOPPING
        self.moved(row)
        self.press(now)

    def press(self, now: float, *, hard: bool = False) -> None:
        """Cancel whose grace is over (`hard`: everyone who has been asked), report who is stuck."""
        if hard and not self._hurried:
            self._hurried = True  # whoever is asked from now on is asked hard
            for row, life in self._asked.items():
                if not life.scope.cancel_called:
                    life.cancel_at = now
                    self._next.put(row, now)
        for row in self._next.take_up_to(now):
            life = self._asked[row]
            if life.scope.cancel_called:
                self._report_stuck(row, life, now)
            else:
                life.cancel_at = now
                life.scope.cancel()
                self._next.put(row, now + max(row.spec.shutdown_s, STUCK_FLOOR_S))

    def _report_stuck(self, row: Row, life: Incarnation, now: float) -> None:
        row.state = ChildState.STUCK
        where = stack_of(life.task) if life.task else ""
        self.emit(ChildStuck(row.path, life.number, now - life.cancel_at, where))
        self.moved(row)

    def next_press_at(self) -> float:
        """When `press` will next have something to do."""
        first = self._next.first()
        return math.inf if first is None else first[0]

    @property
    def stuck(self) -> int:
        """How many there are now."""
        return sum(row.state is ChildState.STUCK for row in self._asked)

    async def _live(self, row: Row, life: Incarnation) -> None:
        become(life)
        life.task = trio.lowlevel.current_task()
        error: BaseException | None = None
        try:
            with life.scope:
                await self.start_of(row)(task_status=_Started(self, row, life))
        except BaseException as raised:
            if self.nursery.cancel_scope.cancel_called and any(isinstance(leaf, trio.Cancelled) for leaf in leaves(raised)):
                raise  # not of our scope: this supervisor itself is broken, and trio is clearing up
            error = raised
        life.task = None
        life.ended_at = trio.current_time()
        del self._alive[row]
        self._asked.pop(row, None)
        self._next.drop(row)
        ended = self._name(life, error)
        ran_s = 0.0 if life.started_at is None else life.ended_at - life.started_at
        self.emit(ChildExited(row.path, life.number, ended.kind, ended.error, ran_s, life.started_at is None, life.asked_at is not None))
        self.ended(row, life, ended)

    @staticmethod
    def _name(life: Incarnation, error: BaseException | None) -> Exit:
        """D4, and: what a child says while it is being stopped is a shutdown, unless it is a fault of its own."""
        ended = classify(error)
        if life.asked_at is None or ended.kind in (ExitKind.CRASH, ExitKind.FATAL, ExitKind.ESCALATE):
            return ended
        killed = life.scope.cancelled_caught and life.traps_exit
        return Exit(ExitKind.KILLED if killed else ExitKind.SHUTDOWN, ended.error)


@attrs.define(eq=False)
class _Started:
    """trio's TaskStatus, for one incarnation."""

    lives: Lives
    row: Row
    life: Incarnation

    def started(self, value: Any = None) -> None:  # noqa: ARG002 - trio's signature; the value has no reader
        """The child can take messages. Raises RuntimeError when called twice."""
        if self.life.started_at is not None:
            msg = f"{self.row.path}: task_status.started() was called twice by one incarnation"
            raise RuntimeError(msg)
        now = trio.current_time()
        self.life.started_at = now
        self.lives.emit(ChildStarted(self.row.path, self.life.number, now - self.life.began_at))
        if self.row.state is ChildState.STARTING:
            self.row.state = ChildState.RUNNING
            self.row.ups += 1
            self.lives.moved(self.row)


def bind(start: Callable[..., Awaitable[object]], *arguments: object) -> Callable[..., Awaitable[object]]:
    """`start` with `arguments` appended: how a dynamic supervisor's template becomes an instance."""
    return functools.partial(start, *arguments) if arguments else start
