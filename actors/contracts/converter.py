"""The wire's own cattrs converter: which Python types a message may be made of, and how strictly JSON is read into them.

The law: a value is taken only if JSON says exactly what the type says. A bool is not an int, ``"1"`` is not 1, a
float field takes an int but never a bool, NaN and infinity are refused because JSON cannot carry them, an unknown
field is an error. cattrs by itself reads ``"false"`` as True and 1.9 as 1.

The types: str int float bool None Any, Literal, Enum (by value), datetime (ISO 8601), UUID, ``list[X]``,
``tuple[X, ...]``, ``Sequence[X]``, ``dict[K, V]`` with keys of str, int, Enum or Literal, unions whose members look
different in JSON, ``Annotated`` (a `Between` is checked), NewType and type aliases, attrs classes and dataclasses. Any other type is
refused with TypeError when its hook is compiled, not when the first message arrives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Final, NoReturn, get_origin
from uuid import UUID

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .compound import (
    ANYTHING,
    Read,
    Write,
    free_writer,
    is_class,
    is_literal,
    is_mapping,
    is_sequence,
    is_union,
    is_wrapper,
    literal_reader,
    mapping_reader,
    mapping_writer,
    sequence_reader,
    sequence_writer,
    union_reader,
    wrapper_reader,
)
from .fields import ABSENT_WHEN_NONE, ALSO_READ_AS, IGNORED_WHEN_READ
from .quick import quick_reader
from .refusal import Mismatch
from .scalars import read_anything, read_bool, read_enum, read_float, read_int, read_none, read_nothing, read_str, read_text, write_str

Holds = Callable[[Any], bool]  # whether a type is of this kind

_NOTHING: Final = (None, NoneType)


def make_converter() -> Converter:
    """A converter that knows the wire's types and nothing else. Hooks are compiled once per type and cached in it."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    # Classes first: cattrs looks here before it asks the predicates below, and finds subclasses (enums) too.
    readers: tuple[tuple[type, Read], ...] = (
        (str, read_str),
        (int, read_int),
        (bool, read_bool),
        (float, read_float),
        (Enum, read_enum),
        (bytes, read_nothing),
        (Path, read_nothing),
        (datetime, read_text(datetime.fromisoformat, "an ISO 8601 time")),
        (UUID, read_text(UUID, "a UUID")),
    )
    for kind, read in readers:
        converter.register_structure_hook(kind, read)
    converter.register_unstructure_hook(str, write_str)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_unstructure_hook(UUID, str)
    # The last registered is asked first.
    read_factories: tuple[tuple[Holds, Callable[[Any, Converter], Read]], ...] = (
        (lambda _: True, _refuse_type),
        (is_class, _class_reader),
        (is_literal, literal_reader),
        (is_sequence, sequence_reader),
        (is_mapping, mapping_reader),
        (is_union, union_reader),
        (is_wrapper, wrapper_reader),
        (lambda cls: cls in _NOTHING, lambda _, __: read_none),
        (lambda cls: cls in ANYTHING, lambda _, __: read_anything),
    )
    for holds, read_factory in read_factories:
        converter.register_structure_hook_factory(holds, read_factory)
    write_factories: tuple[tuple[Holds, Callable[[Any, Converter], Write]], ...] = (
        (is_class, _class_writer),
        (is_sequence, sequence_writer),
        (is_mapping, mapping_writer),
        (is_union, free_writer),
        (lambda cls: cls in ANYTHING, free_writer),
    )
    for holds, write_factory in write_factories:
        converter.register_unstructure_hook_factory(holds, write_factory)
    return converter


def _refuse_type(cls: Any, _: Converter) -> NoReturn:
    raise TypeError(f"{cls!r} is not a type a message can be made of")


def _class_reader(cls: Any, converter: Converter) -> Read:
    fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
    fields = _fields(cls)
    older = {str(field.metadata[ALSO_READ_AS]): field.name for field in fields if ALSO_READ_AS in field.metadata}
    ignored: frozenset[str] = getattr(cls, IGNORED_WHEN_READ, frozenset())

    def read(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        return fill(value, cls)

    def read_older(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        if older.keys() & value.keys() or ignored & value.keys():
            both = [old for old, new in older.items() if old in value and new in value]
            if both:
                raise Mismatch(f"only one of {both[0]!r} and {older[both[0]]!r}", value)
            value = {older.get(name, name): item for name, item in value.items() if name not in ignored}
        return fill(value, cls)

    return read_older if older or ignored else quick_reader(cls, read)


def _class_writer(cls: Any, converter: Converter) -> Write:
    absent: dict[str, Any] = {field.name: override(omit_if_default=True) for field in _fields(cls) if ABSENT_WHEN_NONE in field.metadata}
    return make_dict_unstructure_fn(cls, converter, **absent)


def _fields(cls: Any) -> Sequence[Any]:
    kind = get_origin(cls) or cls
    return attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind)
