"""What is wrong with a configuration, in the words of someone who writes TOML.

Pure text. Law: a value that may be a secret is never shown, whatever is wrong with it.
"""

from __future__ import annotations

import difflib
import enum
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from .redact import is_secret, redact

KeyPath: TypeAlias = tuple[str, ...]
"""``("mqtt", "backoff", "initial_s")``; an array's element is ``"[3]"``."""

Key: TypeAlias = str | KeyPath
"""A key path as callers give it: dotted, or a tuple when a part may hold a dot (an actor's name)."""

UNIONS: Final = (Union, types.UnionType)
ARRAYS: Final = (list, tuple, frozenset)

_SHOWN_CHARS: Final = 60
_SHOWN_BITS: Final = 128
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+|\[\d+\]")
_WORDS: Final[Mapping[Any, str]] = types.MappingProxyType(
    {bool: "true or false", int: "an integer", float: "a number", str: "a string", Path: "a path (a string)"},
)


@attrs.frozen
class Problem:
    """One mistake: the key path it stands at, and a sentence without secrets."""

    key: KeyPath
    message: str


class Mismatch(ValueError):
    """A value is not what was asked for. `expected` completes "expected ...", `hint` may follow."""

    def __init__(self, expected: str, found: object, hint: str = "") -> None:
        super().__init__(expected, found, hint)
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        return f"expected {self.expected}, found {show(self.found)}{self.hint}"


class Unstructurable(ValueError):
    """`structure` failed; `problems` holds all of them, at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)


def parts(key: Key) -> KeyPath:
    """A key path as a tuple, however the caller gave it."""
    return tuple(key.split(".")) if isinstance(key, str) else key


def dotted(key: KeyPath) -> str:
    """A key path as TOML writes it: ``actors."front door".topics[2]``."""
    parts = (part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key)
    return ".".join(parts).replace(".[", "[")


def sentence(error: BaseException, at: KeyPath, *, hidden: bool = False) -> str:
    """What `error` says about the value at `at`. A secret's value is not in it, nor is one `hidden` in the repr of its class."""
    secret = any(is_secret(part) for part in at)
    if isinstance(error, Mismatch):
        unseen = secret or hidden
        return f"expected {error.expected}, found {show(error.found, secret=unseen)}{'' if unseen else error.hint}"
    if secret:
        return "is not acceptable"  # somebody else's validator may quote the value
    # attrs' validators and __attrs_post_init__: the first argument is a sentence
    return redact(str(error.args[0] if error.args else type(error).__name__))


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean "..."?`` when something known looks like `word`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def show(value: object, *, secret: bool = False) -> str:
    """What was found, fit for a report: its kind always, its text when short and no secret."""
    match value:
        case dict():
            return "a table"
        case list():
            return "an array"
        case bool():
            kind, text = "a boolean", str(value).lower()
        case str():
            kind, text = "a string", json.dumps(redact(value), ensure_ascii=False)
        case int():
            kind, text = "an integer", str(value) if value.bit_length() < _SHOWN_BITS else "a huge number"
        case float():
            kind, text = "a float", str(value)
        case _:
            kind, text = f"a {type(value).__name__}", str(value)
    if secret:
        return kind
    return f"{text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + '...'} ({kind})"


def describe(kind: Any) -> str:
    """A type in the words of someone who writes TOML."""
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in get_args(kind))
    if origin in UNIONS:
        return " or ".join(describe(member) for member in get_args(kind) if member is not types.NoneType)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    if origin in ARRAYS or kind in ARRAYS:
        return "an array" if origin is None else f"an array ({describe(get_args(kind)[0])} each)"
    if origin is dict or kind is dict or attrs.has(kind):
        return "a table"
    return _WORDS.get(kind, "a value")
