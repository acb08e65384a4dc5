"""When is a child restarted? Restart types and exit kinds: OTP's ``do_restart/3`` as a table.

Pure: an exit is classified from the exception that ended the incarnation, and from nothing else.
"""

from __future__ import annotations

import enum

import attrs

from .errors import Escalate, Stop, Unavailable


class Restart(enum.Enum):
    """OTP's restart types."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class ExitKind(enum.Enum):
    """How an incarnation ended, in OTP's reasons (decision D4)."""

    NORMAL = "normal"  # returned
    STOP = "stop"  # raised Stop(term): {shutdown, term}
    SHUTDOWN = "shutdown"  # ended because its supervisor asked, within its grace
    KILLED = "killed"  # had to be cancelled after it had been asked
    CRASH = "crash"  # any other exception
    UNAVAILABLE = "unavailable"  # raised Unavailable
    ESCALATE = "escalate"  # raised Escalate
    FATAL = "fatal"  # KeyboardInterrupt, SystemExit: never restarted, ends the tree


@attrs.frozen
class Exit:
    """One ending: its kind and, unless the child simply returned, what it raised."""

    kind: ExitKind
    error: BaseException | None = None

    @property
    def abnormal(self) -> bool:
        """Would OTP call this reason abnormal?"""
        return self.kind in _ABNORMAL


_ABNORMAL = frozenset({ExitKind.CRASH, ExitKind.UNAVAILABLE, ExitKind.ESCALATE, ExitKind.FATAL})


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions at the bottom of nested groups, left to right (an `MqttError` arrives three groups deep)."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def classify(error: BaseException | None) -> Exit:
    """Name the ending. In a group the worst leaf decides: fatal, escalate, crash, unavailable, stop."""
    if error is None:
        return Exit(ExitKind.NORMAL)
    kinds = {_kind_of(leaf) for leaf in leaves(error)}
    worst = next(kind for kind in _WORST_FIRST if kind in kinds)
    return Exit(worst, error)


_WORST_FIRST = (ExitKind.FATAL, ExitKind.ESCALATE, ExitKind.CRASH, ExitKind.UNAVAILABLE, ExitKind.STOP)


def _kind_of(leaf: BaseException) -> ExitKind:
    match leaf:
        case Stop():
            return ExitKind.STOP
        case Unavailable():
            return ExitKind.UNAVAILABLE
        case Escalate():
            return ExitKind.ESCALATE
        case KeyboardInterrupt() | SystemExit():
            return ExitKind.FATAL
        case _:  # an Exception; or a Cancelled of a scope long closed, raised again: a bug of the child's
            return ExitKind.CRASH


def wants_restart(restart: Restart, ended: Exit) -> bool:
    """OTP's table: permanent always, transient when abnormal, temporary never."""
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and ended.abnormal)
