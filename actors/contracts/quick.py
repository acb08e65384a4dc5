"""The short way to read a document that is exactly as it should be; whatever is not goes the long way, and is explained there.

Law: it says yes only where the long way would, and to the same value; it never says no. Classes with nothing but scalars and
plain objects have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import attrs

from .compound import ANYTHING, Read

_SCALARS: Final = frozenset({str, int, bool, NoneType})
_OBJECTS: Final = (dict, dict[str, Any], dict[str, object])
MAX_SHAPES: Final = 64
"""Names and types in their order; strangers choose the order, so there is an end to how many are known by heart."""
_EXACT: Final = 1 << 53
"""Integers up to here are floats, too."""


def quick_reader(cls: Any, long_way: Read) -> Read:
    """`long_way`, behind the short one where `cls` allows it: an attrs class whose types are resolved."""
    fields = attrs.fields(cls) if isinstance(cls, type) and attrs.has(cls) else ()
    kinds = {field.name: _kinds(field.type) for field in fields}
    if not kinds or hasattr(cls, "__attrs_post_init__") or not all(map(_is_plain, fields)) or not all(kinds.values()):
        return long_way
    return _reader(cls, kinds, long_way)


def _is_plain(field: Any) -> bool:
    """Does a value go into it as it is?"""
    return field.init and field.alias == field.name and field.validator is None and field.converter is None


def _kinds(wanted: Any) -> frozenset[Any]:
    """The exact types of values that are read as they are; none, when there is more to it."""
    if wanted is None:
        return frozenset({NoneType})
    if wanted in _OBJECTS:
        return frozenset({dict})
    if wanted is float:
        return frozenset({float, int})
    if wanted in ANYTHING:
        return frozenset({str, int, bool, NoneType, float, dict, list})
    if get_origin(wanted) in (Union, UnionType):
        parts = [_kinds(part) for part in get_args(wanted)]
        # In `int | float` an integer stays one: more than a type alone can say.
        return frozenset().union(*parts) if all(parts) and not {float, int} <= set(get_args(wanted)) else frozenset()
    return frozenset({wanted}) if wanted in _SCALARS else frozenset()


def _reader(cls: Any, kinds: Mapping[str, frozenset[Any]], long_way: Read) -> Read:
    count = len(kinds)
    shapes: set[tuple[Any, ...]] = set()  # that have been found to fit
    floats = tuple(field.name for field in attrs.fields(cls) if float in kinds[field.name] and field.type not in ANYTHING)

    def fits(value: dict[Any, Any]) -> bool:
        return len(value) == count and all(name in kinds and type(item) in kinds[name] for name, item in value.items())

    def read(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            return long_way(value, cls)
        shape = (*value, *map(type, value.values()))  # one publisher's messages are all alike
        if shape not in shapes:
            if not fits(value):
                return long_way(value, cls)
            if len(shapes) < MAX_SHAPES:
                shapes.add(shape)
        if floats:
            exact = _with_floats(value, floats)
            return long_way(value, cls) if exact is None else cls(**exact)
        return cls(**value)

    return read


def _with_floats(value: dict[Any, Any], floats: Sequence[str]) -> dict[Any, Any] | None:
    """`value`, with integers made floats where those belong; None when there is one that is not as finite as it should be."""
    for name in floats:
        item = value[name]
        if type(item) is int:
            if not -_EXACT <= item <= _EXACT:
                return None
            value = {**value, name: float(item)}
        elif item is not None and item - item != 0.0:  # infinite, or no number
            return None
    return value
