"""How one JSON scalar is read: exactly, or not at all. Every reader takes ``(value, type)``, as cattrs calls its hooks."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn

from .refusal import Mismatch


def read_str(value: Any, cls: Any) -> Any:
    """A string. `cls` may be an enum that is also a str: cattrs finds this reader for those."""
    if cls is str and isinstance(value, str):
        return value
    return _read_subclass(value, cls, str, "str")


def read_int(value: Any, cls: Any) -> Any:
    """An int; a bool is none, 1.0 is none."""
    if cls is int and type(value) is int:
        return value
    return _read_subclass(value, cls, int, "int")


def read_float(value: Any, cls: Any) -> Any:
    """A finite float; an int is taken for one (JSON writers drop the ``.0``), a bool is not."""
    if cls is float:
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is int and abs(value) < 1 << 1023:  # beyond that no float is near it
            return float(value)
    return _read_subclass(value, cls, float, "a finite float")


def read_bool(value: Any, _: Any) -> bool:
    """``true`` or ``false``."""
    if isinstance(value, bool):
        return value
    raise Mismatch("bool", value)


def read_none(value: Any, _: Any) -> None:
    """``null``."""
    if value is not None:
        raise Mismatch("null", value)


def read_anything(value: Any, _: Any) -> Any:
    """Whatever JSON said."""
    return value


def read_nothing(value: Any, cls: Any) -> NoReturn:
    """For types JSON has no words for."""
    raise Mismatch(f"{cls.__name__}, which JSON cannot carry", value)


def read_enum(value: Any, cls: type[Enum]) -> Enum:
    """A member by its value, of the value's own type: 1 is not the member of value ``True``."""
    for member in cls:
        if type(member.value) is type(value) and member.value == value:
            return member
    raise Mismatch("one of " + ", ".join(repr(member.value) for member in cls), value)


def read_key(value: Any, cls: Any) -> Any:
    """A map's key of type `cls`. JSON's keys are strings: ``"7"`` is the int 7; ``"07"`` and ``"7.0"`` are not."""
    if not (isinstance(cls, type) and issubclass(cls, int)):
        return value
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) <= len("-9223372036854775808"):
        number = int(value)
        return number if str(number) == value else value
    return value


def read_text(parse: Callable[[str], Any], expected: str) -> Callable[[Any, Any], Any]:
    """A reader for what is written as a string and parsed by `parse`, which raises ValueError."""

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch(expected, value)
        try:
            return parse(value)
        except ValueError:
            raise Mismatch(expected, value) from None

    return read


def write_str(value: Any) -> Any:
    """A str; an enum that is also a str becomes its value: cattrs finds this writer for those too.

    What is no str at all stays as it is, for the reader of its contract to refuse.
    """
    return value.value if isinstance(value, Enum) else value


def _read_subclass(value: Any, cls: Any, kind: type, expected: str) -> Any:
    if cls is not kind and issubclass(cls, Enum):
        return read_enum(value, cls)
    raise Mismatch(expected, value)
