"""One child in a supervisor's table: where it is, where it is heading, and how a group restart takes it in.

A supervisor is level-triggered. Exits, operator calls and failures only change rows; after every change
the `agenda` is asked what the rows call for *now*. A backoff is a row in state BACKOFF with a
`due_at`, so there is no timer that could bring back a child nobody wants (klarna/supervisor3#14), and
every row is in one of six states.

Pure: times are numbers handed in.
"""

from __future__ import annotations

import enum

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
    refusal: BaseException | None = None  # why the last such start that failed did
    refused: int = 0  # the incarnation that was
    declined: bool = False  # its last life ended, without a fault, before it had started
    ups: int = 0  # how often it has started

    @property
    def shown(self) -> ChildState:
        """The state as callers see it: a start that an operator asked for has begun, even while it waits for siblings."""
        return ChildState.STARTING if self.by_operator and not self.state.active else self.state

    @property
    def doomed(self) -> bool:
        """Is there a task that must end?"""
        return self.goal is not Goal.UP and self.state.active

    @property
    def at_rest(self) -> bool:
        """Does the table call for nothing here?"""
        return self.goal is Goal.UP and self.state in (ChildState.RUNNING, ChildState.STOPPED)


def join_group(row: Row, due_at: float) -> None:
    """Take `row` into a group restart that comes back at `due_at` (a sibling failed, the strategy reaches it).

    From here on its failures are the supervisor's affair, no longer those of an operator who asked for its start.
    """
    if row.state.active:
        if row.goal in (Goal.UP, Goal.AGAIN):
            row.by_operator = False
            row.goal = Goal.GONE if row.spec.restart is Restart.TEMPORARY else Goal.AGAIN
            row.due_at = due_at
    elif not row.held and row.spec.restart is not Restart.TEMPORARY:  # the finished are revived, as OTP does; not the held (D2)
        row.by_operator = False
        row.state = ChildState.BACKOFF
        row.due_at = due_at


def land(row: Row) -> None:
    """The task of a doomed row has ended: what its goal says becomes true. GONE is the caller's to remove."""
    row.state = ChildState.BACKOFF if row.goal is Goal.AGAIN else ChildState.STOPPED
    row.goal = Goal.UP
