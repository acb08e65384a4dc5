"""What every contract is made of: the `contract` decorator, ranges, and the automatic id and timestamp.

This is the only place of the contracts that reads a clock or makes an id; both are default factories, so a caller
that passes `message_id` and `ts` itself gets a value that depends on nothing else.

A module that uses `contract` has no ``from __future__ import annotations``: the decorator reads the types.
"""

import time
import types
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

import attrs

T = TypeVar("T")


def new_id() -> str:
    """A fresh random id: uuid4 as 32 hex digits."""
    return uuid.uuid4().hex


def now_s() -> float:
    """Seconds since the Unix epoch."""
    return time.time()


def now_utc() -> datetime:
    """The time, with its zone: UTC."""
    return datetime.now(UTC)


@attrs.frozen
class Between:
    """A range, both ends included; None leaves an end open. Stands in ``Annotated[float, Between(0, 1)]``."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range. NaN never is."""
        return (self.at_least is None or self.at_least <= value) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        if self.at_least is None:
            return "of any size" if self.at_most is None else f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_most is None else f"in {self.at_least:g}..{self.at_most:g}"


ZeroToOne = Annotated[float, Between(0, 1)]
NonNegative = Annotated[float, Between(at_least=0)]
NonNegativeInt = Annotated[int, Between(at_least=0)]
PositiveInt = Annotated[int, Between(at_least=1)]

# Keys of field metadata, read by the converter.
ABSENT_WHEN_NONE: Final = "tars.absent_when_none"
ALSO_READ_AS: Final = "tars.also_read_as"

# A class attribute, read by the converter: names of fields (a frozenset) that an old sender adds and nobody needs.
IGNORED_WHEN_READ: Final = "IGNORED_WHEN_READ"


def absent_when_none() -> dict[str, Any]:
    """Field metadata: a None is left out of the JSON instead of being written as null. The default must be None."""
    return {ABSENT_WHEN_NONE: True}


def also_read_as(name: str) -> dict[str, Any]:
    """Field metadata: an older name of the field, read like the field itself and never written."""
    return {ALSO_READ_AS: name}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def contract(cls: type[T]) -> type[T]:
    """A class that stands for one message on the wire: frozen, slotted, its fields given by name.

    Where it travels stands in the class attribute ``PAIR``, if it is one event type on one topic.

    A range (`Between`) or a closed set (`Literal`, `Enum`) is enforced when a value is made, so a value that exists is one
    that can be sent. Raises ValueError then. Plain types are the type checker's and, at both ends of the wire, the codec's.
    """
    return attrs.frozen(kw_only=True, field_transformer=_with_checks)(cls)


def _with_checks(cls: type, fields: list["attrs.Attribute[Any]"]) -> list["attrs.Attribute[Any]"]:
    if any(isinstance(field.type, str) for field in fields):
        raise TypeError(f"{cls.__qualname__}: @contract reads the types, remove `from __future__ import annotations` from {cls.__module__}")
    return [_with_check(field) for field in fields]


def _with_check(field: "attrs.Attribute[Any]") -> "attrs.Attribute[Any]":
    rule = _rule(field.type)
    if rule is None or field.validator is not None:
        return field
    holds, words = rule

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not holds(value):
            raise ValueError(f"{type(instance).__name__}.{attribute.name} must be {words}, got {value!r:.40}")

    return field.evolve(validator=check)


def _rule(annotation: Any) -> tuple[Callable[[Any], bool], str] | None:
    """The test a field's type asks for, and its words; None for a type that asks for none."""
    if get_origin(annotation) in (Union, types.UnionType) and types.NoneType in get_args(annotation):
        others = [member for member in get_args(annotation) if member is not types.NoneType]
        rule = _rule(others[0]) if len(others) == 1 else None
        return None if rule is None else (lambda value: value is None or rule[0](value), f"{rule[1]} or None")
    if get_origin(annotation) is Literal:
        allowed = get_args(annotation)
        return (lambda value: value in allowed, "one of " + ", ".join(map(repr, allowed)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return (lambda value: isinstance(value, annotation), f"a {annotation.__name__}")
    if get_origin(annotation) is Annotated:
        for extra in annotation.__metadata__:
            if isinstance(extra, Between):
                return extra.holds, str(extra)
    return None
