"""Environment variables that replace values of the file, and what their text may be.

Law: text is read as strictly as TOML is: a number is a number, a truth value one of eight words.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from .problem import Key, Mismatch

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


@attrs.frozen
class Override:
    """The environment variable `name` replaces the value at `key`. An unset one replaces nothing.

    Neither does one that is blank, since compose files write ``NAME=``; unless `blank_counts`: for a text, say, whose
    blank means silence. `parse` turns its text into what TOML would give (`text`, `integer`, `number`, `boolean`, or
    your own that raises ValueError). Of several for one key, the first that is set wins.
    """

    name: str
    key: Key
    parse: Callable[[str], object]
    blank_counts: bool = False

    def found_in(self, environ: Mapping[str, str]) -> str | None:
        """The variable's text, None when it replaces nothing."""
        found = environ.get(self.name)
        return None if found is None or (found.strip() == "" and not self.blank_counts) else found


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
