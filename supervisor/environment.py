"""Environment variables that replace values of the file, and what their text may be.

Law: text is read as strictly as TOML is: a number is a number, a truth value one of eight words.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Final

import attrs

from .problem import Key, Mismatch

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


@attrs.frozen
class Override:
    """The environment variable `name` replaces the value at `key`. An unset or empty one replaces nothing.

    `parse` turns its text into what TOML would give (`text`, `integer`, `number`, `boolean`, or your own that
    raises ValueError). Of several for one key, the first that is set wins.
    """

    name: str
    key: Key
    parse: Callable[[str], object]


def text(found: str) -> str:
    """The text as it is."""
    return found


def integer(found: str) -> int:
    """A decimal integer, blanks around it allowed."""
    if _INTEGER.fullmatch(found.strip()):
        with contextlib.suppress(ValueError):  # longer than int() takes
            return int(found)
    raise Mismatch("an integer", found)


def number(found: str) -> float:
    """A decimal number, finite."""
    if _NUMBER.fullmatch(found.strip()):
        return float(found)
    raise Mismatch("a number", found)


def boolean(found: str) -> bool:
    """1/true/yes/on or 0/false/no/off, in any case."""
    word = found.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Mismatch("one of 1, true, yes, on, 0, false, no, off", found)
