"""How arrays, maps, unions and the other compound types are read and written. Factories for the converter's hooks.

Each takes ``(type, converter)`` and does all its looking at types then, once; the hook it returns does none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import Converter, IterableValidationError, IterableValidationNote

from .fields import Between
from .plain import key_text, plain
from .refusal import MAX_PROBLEMS, Mismatch, Refusals
from .scalars import read_key

Read = Callable[[Any, Any], Any]  # (JSON value, type) -> value; raises what `Refusals` names
Write = Callable[[Any], Any]  # value -> JSON value

ANYTHING = (Any, object)


def is_class(cls: Any) -> bool:
    """An attrs class or dataclass, generic or not: an object in JSON."""
    return attrs.has(get_origin(cls) or cls) or dataclasses.is_dataclass(get_origin(cls) or cls)


def is_sequence(cls: Any) -> bool:
    """A list, a sequence or a tuple of one item type: an array in JSON. A tuple of several types is no wire type."""
    origin = get_origin(cls) or cls
    return origin in (list, Sequence, MutableSequence) or (origin is tuple and (not get_args(cls) or get_args(cls)[-1] is Ellipsis))


def is_mapping(cls: Any) -> bool:
    """A dict or mapping: an object in JSON, its keys not known beforehand."""
    return (get_origin(cls) or cls) in (dict, Mapping, MutableMapping)


def is_literal(cls: Any) -> bool:
    """``Literal[...]``."""
    origin: Any = get_origin(cls)
    return origin is Literal


def is_union(cls: Any) -> bool:
    """``X | Y``, ``X | None``."""
    return get_origin(cls) in (Union, UnionType)


def is_wrapper(cls: Any) -> bool:
    """``Annotated[X, ...]``, a NewType, ``type Name = X``: read as its X."""
    return get_origin(cls) is Annotated or isinstance(cls, NewType) or type(cls).__name__ == "TypeAliasType"


def unwrapped(cls: Any) -> Any:
    """The X of what `is_wrapper` says yes to."""
    if isinstance(cls, NewType):
        return cls.__supertype__
    return get_args(cls)[0] if get_origin(cls) is Annotated else cls.__value__


def _reader(cls: Any, converter: Converter) -> Read:
    try:
        return converter.get_structure_hook(cls)
    except RecursionError:  # cattrs' sign for a class that contains itself: look it up when it is used
        return converter.structure


# -- arrays and maps -----------------------------------------------------------------------------


def sequence_reader(cls: Any, converter: Converter) -> Read:
    """An array, item by item; strings are no arrays. Stops after `MAX_PROBLEMS` wrong items."""
    make = tuple if (get_origin(cls) or cls) is tuple else list
    item_type = get_args(cls)[0] if get_args(cls) else Any
    read_item = _reader(item_type, converter)

    def read(value: Any, _: Any) -> Any:
        if type(value) not in (list, tuple):
            raise Mismatch("an array", value)
        items: list[Any] = []
        errors: list[Exception] = []
        for index, item in enumerate(value):
            try:
                items.append(read_item(item, item_type))
            except Refusals as refusal:
                if _noted(errors, refusal, index, item_type):
                    break
        if errors:
            raise IterableValidationError("an array has wrong items", errors, cls)
        return make(items)

    return read


def mapping_reader(cls: Any, converter: Converter) -> Read:
    """An object, entry by entry. Stops after `MAX_PROBLEMS` wrong entries."""
    key_type, item_type = get_args(cls) or (str, Any)
    read_plain_key, read_item = _reader(key_type, converter), _reader(item_type, converter)
    as_it_is = key_type is str and item_type in ANYTHING

    def read(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        if as_it_is:
            return value
        items: dict[Any, Any] = {}
        errors: list[Exception] = []
        for key, item in value.items():
            try:
                items[read_plain_key(read_key(key, key_type), key_type)] = read_item(item, item_type)
            except Refusals as refusal:
                if _noted(errors, refusal, key, item_type):
                    break
        if errors:
            raise IterableValidationError("an object has wrong entries", errors, cls)
        return items

    return read


def _noted(errors: list[Exception], refusal: Exception, where: Any, cls: Any) -> bool:
    """Collect a refusal with its place. True when there are enough of them."""
    refusal.add_note(IterableValidationNote("", where if isinstance(where, int) else str(where)[:40], cls))
    errors.append(refusal)
    return len(errors) == MAX_PROBLEMS


def sequence_writer(cls: Any, converter: Converter) -> Write:
    """A list of the items, written."""
    item_type = get_args(cls)[0] if get_args(cls) else Any
    if item_type in ANYTHING:
        return free_writer(cls, converter)
    write_item = converter.get_unstructure_hook(item_type)
    return lambda value: [write_item(item) for item in value]


def mapping_writer(cls: Any, converter: Converter) -> Write:
    """A dict of string keys: JSON has no others, so ``{7: x}`` goes out as ``{"7": x}`` and `read_key` makes it 7 again."""
    item_type = get_args(cls)[1] if get_args(cls) else Any
    if item_type in ANYTHING:
        return free_writer(cls, converter)
    write_item = converter.get_unstructure_hook(item_type)
    return lambda value: {key_text(key): write_item(item) for key, item in value.items()}


# -- the rest ------------------------------------------------------------------------------------


def literal_reader(cls: Any, _: Converter) -> Read:
    """One of the values, and of that value's own type."""
    allowed = {(type(value), value): value for value in get_args(cls)}
    allowed |= {(type(value.value), value.value): value for value in get_args(cls) if isinstance(value, Enum)}
    kinds = frozenset(kind for kind, _ in allowed)
    expected = "one of " + ", ".join(repr(value) for value in get_args(cls))

    def read(value: Any, _: Any) -> Any:
        if type(value) in kinds and (type(value), value) in allowed:
            return allowed[type(value), value]
        raise Mismatch(expected, value)

    return read


def wrapper_reader(cls: Any, converter: Converter) -> Read:
    """What is wrapped, and in its range if it has one."""
    inner = unwrapped(cls)
    read_inner = _reader(inner, converter)
    ranges = [extra for extra in getattr(cls, "__metadata__", ()) if isinstance(extra, Between)]
    if not ranges:
        return lambda value, _: read_inner(value, inner)

    def read(value: Any, _: Any) -> Any:
        number = read_inner(value, inner)
        for between in ranges:
            if not between.holds(number):
                raise Mismatch(f"{getattr(inner, '__name__', inner)} {between}", value)
        return number

    return read


def union_reader(cls: Any, converter: Converter) -> Read:
    """By what JSON says: each member must look different there, so that one look decides."""
    by_kind: dict[type, tuple[Read, Any]] = {}
    for member in get_args(cls):
        for kind in _json_kinds(member):
            if kind in by_kind and not (kind is int and member is float):  # int | float: an int stays an int
                raise TypeError(f"{cls!r}: {by_kind[kind][1]!r} and {member!r} look the same in JSON")
            by_kind.setdefault(kind, (_reader(member, converter), member))
    expected = " or ".join("null" if kind is NoneType else kind.__name__ for kind in by_kind)

    def read(value: Any, _: Any) -> Any:
        chosen = by_kind.get(type(value))
        if chosen is None:
            raise Mismatch(expected, value)
        return chosen[0](value, chosen[1])

    return read


def _json_kinds(cls: Any) -> tuple[type, ...]:  # noqa: PLR0911 - one line per kind of type
    """The Python types the JSON reader gives for a value of `cls`."""
    if is_wrapper(cls):
        return _json_kinds(unwrapped(cls))
    if is_literal(cls):
        return tuple({type(value.value if isinstance(value, Enum) else value) for value in get_args(cls)})
    if isinstance(cls, type) and issubclass(cls, Enum):
        return tuple({type(member.value) for member in cls})
    if is_sequence(cls):
        return (list, tuple)
    if is_mapping(cls) or is_class(cls):
        return (dict,)
    if cls is float:
        return (int, float)
    return (NoneType if cls is None else str if cls in (datetime, UUID) else cls,)


def free_writer(_: Any, converter: Converter) -> Write:
    """Whatever the value is at run time: for Any and for unions."""
    return lambda value: plain(value, converter.unstructure)
