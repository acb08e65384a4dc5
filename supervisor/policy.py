"""The table a supervisor decides from, and the decisions: what to stop next, what to start next.

A supervisor is level-triggered. Exits, operator calls and failures only change rows; after every change
these functions are asked what the table calls for *now*. A backoff is a row in state BACKOFF with a
`due_at`, so there is no timer that could bring back a child nobody wants (klarna/supervisor3#14), and
every row is in one of six states.

Pure: times are numbers handed in.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence

import attrs

from .restart import Restart
from .spec import Child


class ChildState(enum.Enum):
    """Where a child is. BACKOFF is OTP's ``restarting``."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STUCK = "stuck"
    BACKOFF = "backoff"
    STOPPED = "stopped"

    @property
    def active(self) -> bool:
        """Is there a task?"""
        return self not in (ChildState.BACKOFF, ChildState.STOPPED)


class Goal(enum.Enum):
    """What a row is heading for. Everything but UP means: stop it first."""

    UP = "up"
    AGAIN = "again"  # stop, then start again: a sibling's failure
    DOWN = "down"  # stop, keep the spec
    GONE = "gone"  # stop, forget the spec


@attrs.define(eq=False)
class Row:
    """One child in the table."""

    spec: Child
    path: str
    index: int  # start order
    state: ChildState = ChildState.STOPPED
    goal: Goal = Goal.UP
    due_at: float = 0.0  # BACKOFF, or goal AGAIN: not before
    incarnation: int = 0
    failures: int = 0  # in a row: the exponent of the backoff
    consecutive: int = 0  # those of them that count against max_consecutive
    held: bool = False  # an operator stopped it: no group restart revives it (D2)
    by_operator: bool = False  # the start under way was asked for by a call, which answers for its failure
    refusal: BaseException | None = None  # why that start failed
    ups: int = 0  # how often it has started

    @property
    def doomed(self) -> bool:
        """Is there a task that must end?"""
        return self.goal is not Goal.UP and self.state.active

    @property
    def at_rest(self) -> bool:
        """Does the table call for nothing here?"""
        return self.goal is Goal.UP and self.state in (ChildState.RUNNING, ChildState.STOPPED)


def to_stop(rows: Iterable[Row], *, in_parallel: bool) -> Sequence[Row]:
    """The rows to ask now. One at a time in reverse start order, each gone before the next; or all at once.

    A stuck child holds up nobody: its siblings go on stopping.
    """
    doomed = [row for row in rows if row.doomed and row.state is not ChildState.STUCK]
    if not in_parallel and doomed:
        doomed = [max(doomed, key=lambda row: row.index)]
    return [row for row in doomed if row.state is not ChildState.STOPPING]


def to_start(rows: Iterable[Row], now: float, *, grouped: bool) -> Sequence[Row]:
    """The rows to start now.

    Children of a grouped strategy depend on the earlier ones: nobody starts before all that must stop has
    stopped, nor before every earlier sibling is up again. Otherwise a row waits for its own time only, so
    that a sibling hanging in its start delays nobody.
    """
    waiting = [row for row in rows if not row.at_rest]
    if not grouped:
        return [row for row in waiting if _due(row, now)]
    if any(row.doomed and row.state is not ChildState.STUCK for row in waiting):
        return []
    wanted = [row for row in waiting if row.by_operator and _due(row, now)]
    first = min(waiting, key=lambda row: row.index, default=None)
    if first is not None and _due(first, now) and first not in wanted:
        wanted.append(first)
    return wanted


def next_due_at(rows: Iterable[Row], now: float) -> float:
    """When the next backoff ends; infinity when none is running.

    What is due already, and still waits, waits for another row to move, not for time.
    """
    return min((row.due_at for row in rows if row.state is ChildState.BACKOFF and row.due_at > now), default=math.inf)


def _due(row: Row, now: float) -> bool:
    return row.state is ChildState.BACKOFF and row.goal is Goal.UP and row.due_at <= now


def join_group(row: Row, due_at: float) -> None:
    """Take `row` into a group restart that comes back at `due_at` (a sibling failed, the strategy reaches it)."""
    row.by_operator = False  # from here on its failures are the supervisor's affair
    if row.state.active:
        if row.goal in (Goal.UP, Goal.AGAIN):
            row.goal = Goal.GONE if row.spec.restart is Restart.TEMPORARY else Goal.AGAIN
            row.due_at = due_at
    elif not row.held and row.spec.restart is not Restart.TEMPORARY:  # the finished are revived, as OTP does; not the held (D2)
        row.state = ChildState.BACKOFF
        row.due_at = due_at


def land(row: Row) -> None:
    """The task of a doomed row has ended: what its goal says becomes true. GONE is the caller's to remove."""
    row.state = ChildState.BACKOFF if row.goal is Goal.AGAIN else ChildState.STOPPED
    row.goal = Goal.UP
