"""Events and exceptions as log lines: a level, a name, values. Pure; the one place that decides how an event reads.

Law: no payload (a field with ``repr=False`` is left out), no local variables of a traceback, every duration in ms steps.
"""

from __future__ import annotations

import enum
import logging
import re
import reprlib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs

from .events import ChildExited, ChildStarted, ChildStuck, GroupRestart, IntensityExceeded, SupervisorStopped
from .redact import HIDDEN, is_secret, redact
from .restart import ExitKind, leaves

Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]
Rendered: TypeAlias = tuple[Level, str, dict[str, object]]

_LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error", "critical")
_NUMBERS: Final[Mapping[Level, int]] = MappingProxyType({level: getattr(logging, level.upper()) for level in _LEVELS})
_TEXT_CHARS: Final = 16_000
_ERROR_CHARS: Final = 2_000
_NAME_CHARS: Final = 500
_NAMES: Final = frozenset({"topic", "message_id", "correlation_id", "causation_id"})
"""What a stranger chooses, as long as 64 KiB each, and every line about the message says."""
_DEPTH: Final = 6
_LEAVES_SHOWN: Final = 5
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RENAMED: Final = ("event", "level", "ts", "exc_info", "stack_info")  # words that structlog or the line keep for themselves


def render(event: object) -> Rendered:
    """One event as ``(level, snake_case name, values)``. `path` becomes `actor`; any attrs class will do.

    A class that is not of `events.py` says its level in an attribute ``level``; without one it is "info".
    """
    level = _level(event)
    values: dict[str, object] = {}
    kind: type[Any] = type(event)
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        if not field.repr:
            continue
        value = getattr(event, field.name)
        if isinstance(value, BaseException):
            values |= error_values(value, with_traceback=_has_traceback(event, level))
        elif value is not None:
            values[_key(field.name)] = _value(field.name, value)
    return level, _HUMP.sub("_", kind.__name__).lower(), values


def event_logger(logger: Any) -> Callable[[object], None]:
    """An `Emit` that writes every event, rendered, to a structlog logger; one below the logger's level is not even rendered."""

    def emit(event: object) -> None:
        if not logger.is_enabled_for(_NUMBERS[_level(event)]):
            return
        level, name, values = render(event)
        getattr(logger, level)(name, **values)

    return emit


def error_values(error: BaseException, *, with_traceback: bool) -> dict[str, object]:
    """``error``, ``error_type`` and, if wanted, ``traceback``. A group of one is named by what is in it.

    An exception whose own ``__str__`` raises does no harm here.
    """
    found = leaves(error)
    named = found[0] if len(found) == 1 else error
    texts = [said(leaf) if leaf is named else f"{_type_name(leaf)}: {said(leaf)}" for leaf in found[:_LEAVES_SHOWN]]
    values: dict[str, object] = {"error": "; ".join(texts), "error_type": _type_name(named)}
    if with_traceback:
        whole = "".join(traceback.TracebackException.from_exception(error).format())
        values["traceback"] = whole if len(whole) <= _TEXT_CHARS else f"[...]\n{whole[-_TEXT_CHARS:]}"
    return values


def plain(key: str, value: object, depth: int = 0) -> object:
    """`value` as JSON can say it and without secrets; `key` is the name it goes by."""
    if is_secret(key):
        return HIDDEN
    if isinstance(value, enum.Enum):
        return plain(key, value.value, depth)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict) and depth < _DEPTH:
        return {str(name): plain(str(name), inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEPTH:
        return [plain(key, inner, depth + 1) for inner in value]
    text = redact(_text(value))
    return text if len(text) <= _NAME_CHARS or key not in _NAMES else f"{text[:_NAME_CHARS]}..."


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, BaseException):
        return f"{_type_name(value)}: {said(value)}"
    if isinstance(value, Path):
        return str(value)
    return _bounded.repr(value)  # bounded, and swallows a __repr__ that raises


def _level(event: object) -> Level:
    kind = type(event)
    if isinstance(event, ChildExited):
        return _EXIT_LEVELS[event.kind]
    if isinstance(event, SupervisorStopped):
        return "debug" if "/" in event.path else "info"  # one line for the tree, not one per branch
    said = _EVENT_LEVELS.get(kind, getattr(event, "level", "info"))
    return said if said in _LEVELS else "info"


def _has_traceback(event: object, level: Level) -> bool:
    if isinstance(event, ChildExited):
        return event.kind in (ExitKind.CRASH, ExitKind.FATAL)
    return level in ("error", "critical")


def _key(name: str) -> str:
    return "actor" if name == "path" else f"{name}_" if name in _RENAMED else name


def _value(name: str, value: object) -> object:
    if isinstance(value, float) and name.endswith("_s"):
        return round(value, 3)
    return value.value if isinstance(value, enum.Enum) else value


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"


def said(error: BaseException) -> str:
    """``str(error)`` and its notes, through the standard library's formatter, which survives a broken ``__str__``."""
    alone = traceback.TracebackException(type(error), error, None)
    text = "".join(alone.format_exception_only()).rstrip("\n")
    name = _type_name(error)
    text = "" if text == name else text.removeprefix(f"{name}: ")
    return text if len(text) <= _ERROR_CHARS else f"{text[:_ERROR_CHARS]}..."


def _shortener() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxother = short.maxstring = short.maxlong = 300
    return short


_bounded: Final = _shortener()
_EVENT_LEVELS: Final[Mapping[type, Level]] = MappingProxyType(
    {
        ChildStarted: "debug",
        GroupRestart: "warning",
        IntensityExceeded: "critical",
        ChildStuck: "error",
    },
)
_EXIT_LEVELS: Final[Mapping[ExitKind, Level]] = MappingProxyType(
    {
        ExitKind.NORMAL: "info",
        ExitKind.STOP: "info",
        ExitKind.SHUTDOWN: "debug",
        ExitKind.KILLED: "warning",
        ExitKind.CRASH: "error",
        ExitKind.UNAVAILABLE: "warning",
        ExitKind.ESCALATE: "error",
        ExitKind.FATAL: "error",
    },
)
