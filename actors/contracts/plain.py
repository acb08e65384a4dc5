"""Free-form values (a field typed ``dict`` or ``Any``) made plain: what is left is only what JSON can carry.

JSON has no NaN, no infinity and no keys but strings; the writer would turn the first two into null without a word. So
they are refused here, with the path to the culprit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import attrs

from .refusal import Mismatch

# How deep arrays and objects may nest, envelope included, both ways. Far more than any message needs, and little
# enough that whatever walks a message recursively is safe, and that what was read can be written again.
MAX_DEPTH: Final = 64

Path = tuple["Path", object] | None  # the way down, last step first: cheap to build, rendered only for an error


def plain(  # noqa: C901, PLR0911 - one case per kind of value
    value: Any, unstructure: Callable[[Any], Any], path: Path = None, depth: int = 0
) -> Any:
    """A copy of `value` made of dict, list, str, int, float, bool and None only.

    Int and enum keys become strings. Instances of attrs classes and dataclasses go through `unstructure`. Raises Mismatch
    for anything else, for NaN and infinity, and for nesting deeper than `MAX_DEPTH` (so also for a value that contains itself).
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value, unstructure, path, depth)
        case str() | int():
            return value
        case float():
            if not math.isfinite(value):
                raise Mismatch(_at("a finite number", path), value)
            return value
        case dict() | list() | tuple() if depth >= MAX_DEPTH:
            raise Mismatch(f"no more than {MAX_DEPTH} levels", value)
        case dict():
            return {_key(key, path): plain(item, unstructure, (path, key), depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, unstructure, (path, index), depth + 1) for index, item in enumerate(value)]
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _ if attrs.has(type(value)) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
            return unstructure(value)
        case _:
            raise Mismatch(_at("a JSON value", path), value)


def key_text(key: object) -> str:
    """The JSON key for a dict key: a string as it is, an int as its digits, an enum as its value. Mismatch for others."""
    match key:
        case Enum():
            return key_text(key.value)
        case str():
            return key
        case int() if not isinstance(key, bool):
            return str(key)
        case _:
            raise Mismatch("a key of str or int", key)


def _key(key: object, path: Path) -> str:
    try:
        return key_text(key)
    except Mismatch as refusal:
        raise Mismatch(_at(refusal.expected, path), key) from None


def _at(expected: str, path: Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step!r:.40}]")
    return expected if not steps else f"{expected} at {''.join(reversed(steps))}"
