"""What a service's author derives from and decorates with: `Actor`, `subscribe`, `every`.

Law: a decorator only leaves a frozen mark on the function and checks its own arguments, at once, where the mistake
stands. It registers nothing anywhere and returns the very function, so a decorated function is called and tested like any
other. What the marks come to is decided when a service's config names the actor (`tars.actors.definition`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import attrs

from tars.supervisor.environment import Override

from .mqtt.context import Context
from .mqtt.topics import parse_template

F = TypeVar("F", bound=Callable[..., Any])

_MARKS: Final = "__tars_marks__"


class Actor:
    """Base of a service's actors. One instance per incarnation, one message at a time: attributes need no lock.

    A subclass that has settings annotates ``settings: SomeSettings``, an attrs class; ``[actors.NAME.settings]`` is
    structured into it, and it is there before ``__init__`` runs. ``__init__`` takes no arguments.

    `environment`: variables that replace values of ``[actors.NAME]``, keys from there on: ``Override("ROBOT_SPEED",
    "settings.speed", number)``, or ``("topics", "stt/final")`` for a key with dots or slashes in it.
    """

    environment: ClassVar[tuple[Override, ...]] = ()

    async def started(self, ctx: Context) -> None:
        """Override it to act before the first message of this incarnation. `ctx` is a `Context` without a message."""

    async def stopping(self, ctx: Context) -> None:
        """Override it to act after the last message, in the drain. The link is still up: what is published here is sent."""


# -- marks --------------------------------------------------------------------------------------


@attrs.frozen
class Subscribed:
    """The mark of `subscribe`."""

    template: str
    qos: int


@attrs.frozen
class Ticking:
    """The mark of `every`."""

    every_s: float


Mark: TypeAlias = Subscribed | Ticking


def marks_of(candidate: object) -> tuple[Mark, ...]:
    """The marks a function carries, in the order in which they stand above it; none for anything else."""
    if not inspect.isfunction(candidate):
        return ()
    marks: tuple[Mark, ...] = candidate.__dict__.get(_MARKS, ())
    return marks


# -- decorators ---------------------------------------------------------------------------------


def subscribe(template: str, qos: Literal[0, 1] = 1) -> Callable[[F], F]:
    """Call the decorated method, or plain function, with each message whose topic matches.

    `template` is a topic filter (``+ # $share/GROUP/...``) in which ``{name}`` may fill a level, for ``ctx.params``. The
    first parameter's annotation says what the message is decoded to. May stand more than once above a function. Raises
    ValueError (`TopicError` is one) or TypeError.
    """
    if not isinstance(template, str):
        raise TypeError('write @subscribe("some/topic"): its first argument is the topic')
    asked: object = qos
    if type(asked) is not int or asked not in (0, 1):
        why = ": the client library acknowledges QoS 2 before the message gets here, so a crash would lose it" if asked == 2 else ""
        raise ValueError(f"qos must be 0 or 1, got {asked!r}{why}")
    parse_template(template)
    return _marking(Subscribed(template, qos))


def every(seconds: float) -> Callable[[F], F]:
    """Call the decorated method, or plain function, every `seconds` (> 0), first that long after the start.

    Raises ValueError or TypeError.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError("write @every(5.0): its argument is a number of seconds")
    if not 0 < seconds < math.inf:
        raise ValueError(f"every() takes a number of seconds > 0, got {seconds!r}")
    return _marking(Ticking(float(seconds)))


def _marking(mark: Mark) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if not inspect.isfunction(function):
            raise TypeError(f"decorate a def or async def, not a {type(function).__name__}; no @staticmethod or @classmethod below")
        function.__dict__[_MARKS] = (mark, *marks_of(function))
        return function

    return decorate
