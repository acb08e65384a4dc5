"""One life of a child, as seen from inside it: `trap_exit`, and who am I.

The supervisor makes an `Incarnation` per start and binds it to the child's task; whatever the child
starts inherits it (also worker threads). Mailboxes use it to learn when their reader's life ends.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import attrs
import trio


class ExitReason(enum.Enum):
    """Why a child is asked to stop."""

    SHUTDOWN = "shutdown"  # it will not come back: finish what is in hand
    RESTART = "restart"  # a new incarnation follows, or a failure takes the tree down: get out of the way


@attrs.define(eq=False)
class ExitRequest:
    """The supervisor's request to stop. `deadline` (trio time) is when the child will be cancelled."""

    reason: ExitReason | None = None
    deadline: float = math.inf
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    async def wait(self) -> None:
        """Return when the child is asked to stop; `reason` and `deadline` are set by then."""
        await self._asked.wait()

    def is_set(self) -> bool:
        """Has the child been asked?"""
        return self._asked.is_set()

    def fire(self, reason: ExitReason, deadline: float) -> None:
        """Ask. The supervisor's side."""
        self.reason = reason
        self.deadline = deadline
        self._asked.set()


OnEnd = Callable[[bool], None]
"""Called when an incarnation has ended, with True when another one is to follow."""


@attrs.define(eq=False)
class Incarnation:
    """One life: the `number`-th of the child at `path`."""

    path: str
    number: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    request: ExitRequest = attrs.field(factory=ExitRequest)
    traps_exit: bool = False
    began_at: float = 0.0
    started_at: float | None = None
    ended_at: float = math.inf
    asked_at: float | None = None
    cancel_at: float = math.inf
    task: trio.lowlevel.Task | None = None
    _on_end: dict[OnEnd, None] = attrs.field(factory=dict, init=False)
    _below: dict[OnEnd, str] = attrs.field(factory=dict, init=False)  # who waits for children of this one, by the child's path

    def on_end(self, callback: OnEnd) -> None:
        """Have `callback` called when this life is over, and again when the one to follow does not come, or is over.

        Equal callbacks count once. They must neither block nor raise.
        """
        self._on_end[callback] = None

    def follow(self, before: Incarnation) -> None:
        """Be the life that was to follow `before`: whoever asked about that one is told about this. The supervisor's side."""
        self._on_end.update(before._on_end)
        self._below.update(before._below)

    def end(self, *, another_follows: bool) -> None:
        """Tell everyone who asked. The supervisor's side."""
        for callback in list(self._on_end):
            callback(another_follows)
        if not another_follows:
            self.will_not_return(lambda _: True)

    def inherit(self, child: Incarnation) -> None:
        """Answer for a child of this supervisor that is to come back: it does if this one does. A nested supervisor's side."""
        self._below.update(dict.fromkeys(child._on_end, child.path))
        self._below.update(child._below)

    def will_not_return(self, is_lost: Callable[[str], bool]) -> None:
        """Tell who still waits for a child, by its path, that it `is_lost`. The others are no longer this one's affair."""
        below, self._below = self._below, {}
        for callback, path in below.items():
            if is_lost(path):
                callback(False)  # noqa: FBT003 - an `OnEnd`


_current: Final[ContextVar[Incarnation | None]] = ContextVar("tars_incarnation", default=None)


def current() -> Incarnation | None:
    """The incarnation this task belongs to; None outside any supervision tree."""
    return _current.get()


def become(incarnation: Incarnation) -> None:
    """Bind this task, and what it starts from now on, to `incarnation`. The supervisor's side."""
    _current.set(incarnation)


def trap_exit() -> ExitRequest:
    """Ask to be asked (OTP's ``process_flag(trap_exit, true)``). Call it before ``task_status.started()``.

    A child that traps exits is not cancelled when it must stop: its `ExitRequest` fires, and it is
    cancelled `shutdown_s` later if it still runs. Raises RuntimeError outside a supervised child.
    """
    incarnation = current()
    if incarnation is None:
        msg = "trap_exit() is for code that runs as a supervised child; there is no supervisor here"
        raise RuntimeError(msg)
    incarnation.traps_exit = True
    return incarnation.request
