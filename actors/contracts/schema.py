"""A contract as JSON Schema (draft 2020-12): what `encode` writes and `structure` reads, as data for documents and other languages.

The law: what a class writes satisfies its schema. Unknown fields are refused, so ``additionalProperties`` is false. Not in it:
what an old sender may add or name otherwise (`also_read_as`, `IGNORED_WHEN_READ`), and a rule over several fields (`MoveArmParams`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs

from .fields import Between

JsonSchema = dict[str, Any]
Refer = Callable[[type], JsonSchema]  # what stands for a class inside another one

_SCALARS: Final = ((str, "string"), (bool, "boolean"), (int, "integer"), (float, "number"), (NoneType, "null"))
_INT_KEYS: Final = "^(0|-?[1-9][0-9]*)$"


def refer(cls: type) -> JsonSchema:
    """A reference into ``#/components/schemas``, where OpenAPI and AsyncAPI keep their schemas."""
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def json_schema(cls: type, *, refer: Refer = refer) -> JsonSchema:
    """The schema of a contract. Raises TypeError for a field whose type has no words in JSON Schema."""
    fields = attrs.fields(cls)
    return {
        "title": cls.__name__,
        "type": "object",
        "properties": {field.name: _with_default(value_schema(field.type, refer), field) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
        "additionalProperties": False,
    }


def parts(cls: type) -> tuple[type, ...]:
    """The contracts inside a contract, at any depth, each once, in the order they are met."""
    found: dict[type, None] = {}
    for field in attrs.fields(cls):
        for part in _classes(field.type):
            found |= dict.fromkeys((part, *parts(part)))
    return tuple(found)


def value_schema(  # noqa: C901, PLR0911 - one line per kind of type
    annotation: Any, refer: Refer = refer
) -> JsonSchema:
    """The schema of one value. Raises TypeError."""
    origin, args = get_origin(annotation), get_args(annotation)
    for scalar, name in _SCALARS:
        if annotation is scalar:
            return {"type": name}
    if annotation is Any:
        return {}
    if annotation is datetime:
        return {"type": "string", "format": "date-time"}
    if origin is Annotated:
        return value_schema(args[0], refer) | _range(annotation)
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    if origin in (Union, UnionType):
        return _union([value_schema(member, refer) for member in args])
    if origin is tuple:
        return {"type": "array", "items": value_schema(args[0], refer)}
    if origin is dict:
        return _mapping(args, refer)
    if attrs.has(annotation):
        return refer(annotation)
    raise TypeError(f"{annotation!r} has no JSON Schema here")


def _range(annotation: Any) -> JsonSchema:
    limits: JsonSchema = {}
    for between in annotation.__metadata__:
        if isinstance(between, Between):
            ends = {"minimum": between.at_least, "maximum": between.at_most}
            limits |= {word: end for word, end in ends.items() if end is not None}
    return limits


def _union(members: list[JsonSchema]) -> JsonSchema:
    """``X | None`` stays one schema, with "null" among its types; anything else is one of several."""
    others = [member for member in members if member != {"type": "null"}]
    if len(others) == len(members) or len(others) > 1 or "type" not in others[0]:
        return {"anyOf": members}
    nullable = {**others[0], "type": [others[0]["type"], "null"]}
    return nullable | ({"enum": [*nullable["enum"], None]} if "enum" in nullable else {})


def _mapping(args: tuple[Any, ...], refer: Refer) -> JsonSchema:
    key, item = args or (str, Any)
    names = {"propertyNames": {"pattern": _INT_KEYS}} if key is int else {}
    items = {} if item is Any else {"additionalProperties": value_schema(item, refer)}
    return {"type": "object", **names, **items}


def _with_default(schema: JsonSchema, field: Any) -> JsonSchema:
    """`schema` with the field's default. What is made anew for each message (an id, a time) is none."""
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return {**schema, "default": {}} if default.factory is dict else schema
    if default is attrs.NOTHING:
        return schema
    return {**schema, "default": list(default) if isinstance(default, tuple) else default}


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and attrs.has(annotation):
        yield annotation
    for argument in get_args(annotation):
        if argument is not Ellipsis and get_origin(annotation) is not Literal:
            yield from _classes(argument)
