"""What happens in a tree, as values. Rendering them is `log.py`'s business, deciding on them is yours.

Every event names the child by its `path` (``root/service/link/connection``); every duration is in
seconds. An `Emit` is a plain function: it is called from the decision loop and must neither block nor raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

import attrs

from .restart import ExitKind


@attrs.frozen
class ChildStarted:
    """A child can take messages. `incarnation` counts from 1; `took_s` is the time `start` needed."""

    path: str
    incarnation: int
    took_s: float


@attrs.frozen
class ChildExited:
    """An incarnation ended. `ran_s` since `started()`; `in_start`: it never got that far; `asked`: by its supervisor."""

    path: str
    incarnation: int
    kind: ExitKind
    error: BaseException | None
    ran_s: float
    in_start: bool
    asked: bool


@attrs.frozen
class RestartScheduled:
    """The child comes back in `delay_s` (the delay that is really waited). `attempt` counts failures in a row from 1.

    `used` of `limit` restarts within `period_s` are spent, this one included when it counts.
    """

    path: str
    attempt: int
    delay_s: float
    used: int
    limit: int
    period_s: float


@attrs.frozen
class GroupRestart:
    """A failure takes siblings down: `members` (ids, start order) stop now and come back together, after `failed`'s delay."""

    path: str
    failed: str
    members: tuple[str, ...]


@attrs.frozen
class IntensityExceeded:
    """The supervisor at `path` gives up because of `child_id`; `limit` says which limit was passed."""

    path: str
    child_id: str
    limit: str


@attrs.frozen
class ChildStuck:
    """A child ignores cancellation. `since_cancel_s`: how long already; `stack` says where it hangs. It is never replaced."""

    path: str
    incarnation: int
    since_cancel_s: float
    stack: str


@attrs.frozen
class SupervisorStopped:
    """The supervisor at `path` and everything below it is gone.

    `reason`: "shutdown", or the name of what it raises; `took_s` since the stop began.
    """

    path: str
    reason: str
    took_s: float


@attrs.frozen
class LoopBlocked:
    """The event loop has not moved for `silent_s`: every actor stands still. `where` it hangs, `stack` how it got there."""

    silent_s: float
    where: str
    stack: str

    level: ClassVar[str] = "error"


@attrs.frozen
class LoopFree:
    """It moves again, after `blocked_s`; it hung at `where`."""

    blocked_s: float
    where: str

    level: ClassVar[str] = "warning"


Event: TypeAlias = (
    ChildStarted
    | ChildExited
    | RestartScheduled
    | GroupRestart
    | IntensityExceeded
    | ChildStuck
    | SupervisorStopped
    | LoopBlocked
    | LoopFree
)
Emit: TypeAlias = Callable[[Event], None]
