"""Why a value is not of its type, in words: one refusal, and the list of them a failed structuring carries."""

from __future__ import annotations

from heapq import nsmallest
from typing import Final

from cattrs import BaseValidationError, ForbiddenExtraKeysError, transform_error

MAX_PROBLEMS: Final = 20  # named in one error, and collected in one array or map: a hostile payload must not cost more
MAX_VALUE_CHARS: Final = 40


class Mismatch(ValueError):
    """One value is not what its type asks for. Internal: the codec turns it into a `DecodeError` with the path."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"expected {self.expected}, found {describe(self.found)}"


Refusals = (Mismatch, BaseValidationError)


def describe(value: object) -> str:
    """The type of `value` in Python's words and, for scalars, the value cut to `MAX_VALUE_CHARS` characters."""
    kind = type(value).__name__
    match value:
        case None:
            return "null"
        case bool() | float():
            return f"{kind} {value!r}"
        case int():
            return f"{kind} {value}" if value.bit_length() <= MAX_VALUE_CHARS * 3 else f"{kind} of {value.bit_length()} bits"
        case str():
            return f"{kind} {shorten(value)!r}"
        case dict() | list() | tuple():
            return f"{kind} of {len(value)}"
        case _:
            return kind


def shorten(text: str) -> str:
    """`text`, cut to `MAX_VALUE_CHARS` characters."""
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


def explain(error: Mismatch | BaseValidationError) -> str:
    """Every problem of a failed structuring in one line: ``what @ path``, the path from ``$``."""
    problems = transform_error(error, "$", lambda problem, _: _words(problem))
    shown = "; ".join(problems[:MAX_PROBLEMS])
    return shown if len(problems) <= MAX_PROBLEMS else f"{shown}; and {len(problems) - MAX_PROBLEMS} more"


def _words(problem: BaseException) -> str:
    match problem:
        case Mismatch():
            return str(problem)
        case KeyError():
            return "missing field"
        case ForbiddenExtraKeysError():
            more = len(problem.extra_fields) - MAX_PROBLEMS
            shown = ", ".join(repr(shorten(name)) for name in nsmallest(MAX_PROBLEMS, problem.extra_fields))
            return f"unknown fields {shown}" + (f" and {more} more" if more > 0 else "")
        case _:  # what a field's own validator or converter raised
            return f"{type(problem).__name__}: {str(problem)[:200]}"
