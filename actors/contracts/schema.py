"""A contract as JSON Schema: what `encode` writes and `structure` reads, as data for documents and other languages.

Only words that drafts 07 and 2020-12 have in common: OpenAPI and AsyncAPI differ there.

The law: what a class writes satisfies its schema, and every type a message may be made of has one (`converter`). Unknown
fields are refused, so ``additionalProperties`` is false. Not in it: what an old sender may add or name otherwise
(`also_read_as`, `IGNORED_WHEN_READ`), and a rule over several fields (`MoveArmParams`).
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeVar, get_args, get_origin
from uuid import UUID

import attrs

from .compound import ANYTHING, is_class, is_literal, is_mapping, is_sequence, is_union, is_wrapper, unwrapped
from .fields import Between

JsonSchema = dict[str, Any]
Refer = Callable[[type], JsonSchema]  # what stands for a class inside another one

_SCALARS: Final = ((str, "string"), (bool, "boolean"), (int, "integer"), (float, "number"), (NoneType, "null"), (None, "null"))
_TEXTS: Final = ((datetime, "date-time"), (UUID, "uuid"))
_INT_KEYS: Final = "^(0|-?[1-9][0-9]*)$"
_NO_DEFAULT: Final = (attrs.NOTHING, dataclasses.MISSING)


def refer(cls: type) -> JsonSchema:
    """A reference into ``#/components/schemas``, where OpenAPI and AsyncAPI keep their schemas."""
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def json_schema(cls: type, *, refer: Refer = refer) -> JsonSchema:
    """The schema of a contract. Raises TypeError for a field whose type has no words in JSON Schema."""
    fields = list(_fields(cls))
    return {
        "title": cls.__name__,
        "type": "object",
        "properties": {name: value_schema(annotation, refer) | _default(field) for name, annotation, field in fields},
        "required": [name for name, _, field in fields if _is_required(field)],
        "additionalProperties": False,
    }


def parts(cls: type) -> tuple[type, ...]:
    """The contracts inside a contract, at any depth, each once, in the order they are met; itself if it is among them."""
    found: dict[type, None] = {}

    def look(at: type) -> None:
        for _, annotation, _ in _fields(at):
            for part in _classes(annotation):
                if part not in found:
                    found[part] = None
                    look(part)

    look(cls)
    return tuple(found)


def value_schema(  # noqa: C901, PLR0911 - one line per kind of type
    annotation: Any, refer: Refer = refer
) -> JsonSchema:
    """The schema of one value. Raises TypeError."""
    for scalar, name in _SCALARS:
        if annotation is scalar:
            return {"type": name}
    for text, name in _TEXTS:
        if annotation is text:
            return {"type": "string", "format": name}
    if annotation in ANYTHING or isinstance(annotation, TypeVar):
        return {}
    if is_wrapper(annotation):
        return value_schema(unwrapped(annotation), refer) | _range(annotation)
    if is_literal(annotation):
        return _one_of(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of(annotation)
    if is_union(annotation):
        return _union([value_schema(member, refer) for member in get_args(annotation)])
    if is_sequence(annotation):
        items = value_schema((*get_args(annotation), Any)[0], refer)
        return {"type": "array"} | ({"items": items} if items else {})
    if is_mapping(annotation):
        return _mapping(get_args(annotation), refer)
    if is_class(annotation):
        return refer(get_origin(annotation) or annotation)
    raise TypeError(f"{annotation!r} has no JSON Schema here")


def _one_of(values: Any) -> JsonSchema:
    """A closed set. Its type is said too: for people, and because a generator of code asks for it."""
    found = [value.value if isinstance(value, Enum) else value for value in values]
    kinds = list(dict.fromkeys(name for value in found for kind, name in _SCALARS if type(value) is kind))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": found} if kinds else {"enum": found}


def _range(annotation: Any) -> JsonSchema:
    limits: JsonSchema = {}
    for between in getattr(annotation, "__metadata__", ()):
        if isinstance(between, Between):
            ends = {"minimum": between.at_least, "maximum": between.at_most}
            limits |= {word: end for word, end in ends.items() if end is not None and math.isfinite(end)}
    return limits


def _union(members: list[JsonSchema]) -> JsonSchema:
    """``X | None`` stays one schema, with "null" among its types; anything else is one of several."""
    others = [member for member in members if member != {"type": "null"}]
    if len(others) == len(members) or len(others) > 1 or not isinstance(others[0].get("type"), str):
        return {"anyOf": members}
    nullable = {**others[0], "type": [others[0]["type"], "null"]}
    return nullable | ({"enum": [*nullable["enum"], None]} if "enum" in nullable else {})


def _mapping(args: tuple[Any, ...], refer: Refer) -> JsonSchema:
    key, item = args or (str, Any)
    named = value_schema(key, refer)
    names = {"type": "string", "pattern": _INT_KEYS} if named.get("type") == "integer" else named
    items = value_schema(item, refer)
    return {
        "type": "object",
        **({} if names == {"type": "string"} else {"propertyNames": {word: names[word] for word in ("pattern", "enum") if word in names}}),
        **({"additionalProperties": items} if items else {}),
    }


# -- fields --------------------------------------------------------------------------------------


def _fields(cls: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and field of what is on the wire: an attrs class or a dataclass."""
    fields: Sequence[Any] = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
    read: Mapping[str, Any] = typing.get_type_hints(cls, include_extras=True) if any(isinstance(each.type, str) for each in fields) else {}
    for field in fields:
        if field.init:
            yield field.name, read.get(field.name, field.type), field


def _is_required(field: Any) -> bool:
    return field.default in _NO_DEFAULT and getattr(field, "default_factory", dataclasses.MISSING) is dataclasses.MISSING


def _default(field: Any) -> JsonSchema:
    """The field's default, as JSON has it. What is made anew for each message (an id, a time) is none, and neither is an object."""
    made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
    factory = field.default.factory if made else getattr(field, "default_factory", None)
    if factory in (dict, list, tuple):
        return {"default": {} if factory is dict else []}
    if field.default in _NO_DEFAULT:
        return {}
    default = field.default.value if isinstance(field.default, Enum) else field.default
    if isinstance(default, tuple | list):
        return {"default": list(default)} if all(map(_is_json, default)) else {}
    return {"default": default} if _is_json(default) else {}


def _is_json(value: object) -> bool:
    """Can JSON say it, as the codec writes JSON: finite, and no integer over 64 bits?"""
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, str)


def _classes(annotation: Any) -> Iterator[type]:
    if is_class(annotation):
        yield get_origin(annotation) or annotation
    if is_wrapper(annotation):
        yield from _classes(unwrapped(annotation))
        return
    for argument in () if is_literal(annotation) else get_args(annotation):
        if argument is not Ellipsis:
            yield from _classes(argument)
