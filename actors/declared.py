"""`publishes`: what an actor says it publishes, for the documents made of a service. Nothing at run time reads it.

Law: as with `subscribe`, a decorator leaves a frozen mark, checks its own arguments at once, and registers nothing. What is
said here is neither checked nor limited when the actor publishes; it is what its author promises to others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, Literal, TypeVar

import attrs

from .contracts import Pair
from .mqtt.topics import parse_template, validate_topic

T = TypeVar("T", bound=Callable[..., Any])  # a class is callable too

_MARKS: Final = "__tars_publishes__"


@attrs.frozen
class Declared:
    """The mark of `publishes`. `model` None: unknown data; `topic` None: the registry's."""

    event_type: str
    model: type[Any] | None
    topic: str | None
    qos: int
    retain: bool


def publishes(
    event_type: str, model: type[Any] | None = None, *, topic: str | None = None, qos: Literal[0, 1] = 1, retain: bool = False
) -> Callable[[T], T]:
    """Say that the decorated actor, or method, or plain function, publishes this event: ``tars asyncapi`` shows it.

    The arguments are those of ``ctx.publish``, with the class of the data in place of the data; where the topic registry knows the event,
    neither class nor topic need be said. A level of `topic` may be a ``{name}`` that stands for many. May stand more than
    once. Raises ValueError (`TopicError` is one) or TypeError.
    """
    if not isinstance(event_type, str) or not event_type:
        raise TypeError('write @publishes("event.type"): its first argument is the event type')
    if model is not None and not (isinstance(model, type) and attrs.has(model)):
        raise TypeError(f"publishes() takes the class of the data, an attrs class, got {model!r}")
    if topic is not None:
        validate_topic(topic)
        parse_template(topic)
    Pair(event_type, event_type if topic is None else topic, qos)  # refuses a bad placeholder, and any other QoS
    mark = Declared(event_type, model, topic, qos, retain)

    def decorate(target: T) -> T:
        if not isinstance(target, (type, FunctionType)):
            raise TypeError(f"decorate a class, a def or an async def, not a {type(target).__name__}")
        setattr(target, _MARKS, (mark, *_marks(target)))
        return target

    return decorate


def declared_by(use: object) -> tuple[Declared, ...]:
    """What an actor class, its bases and their methods declare, or a plain function; each once."""
    if not isinstance(use, type):
        return tuple(dict.fromkeys(_marks(use)))
    classes = [mark for base in reversed(use.__mro__) for mark in _marks(base)]
    names = dict.fromkeys(name for base in reversed(use.__mro__) for name in vars(base))
    methods = [mark for name in names for mark in _marks(inspect.getattr_static(use, name))]
    return tuple(dict.fromkeys((*classes, *methods)))


def _marks(target: object) -> tuple[Declared, ...]:
    marks: tuple[Declared, ...] = vars(target).get(_MARKS, ()) if isinstance(target, (type, FunctionType)) else ()
    return marks
