"""Lines of a log for human eyes: one aligned line per event, and who crashed and came back when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from .log_query import rank
from .log_reading import Entry
from .terminal import Style, Terminal, printable

_NAMES: Final = ("DEBUG", "INFO", "WARN", "ERROR", "CRIT")
_STYLES: Final[tuple[Style, ...]] = ("dim", "green", "yellow", "red", "bold red")
_ACTOR_CHARS: Final = 20
_EVENT_CHARS: Final = 20
_VALUE_CHARS: Final = 300
_ELSEWHERE: Final = frozenset({"ts", "level", "event", "actor", "incarnation", "traceback", "stack", "error_type"})
_ABNORMAL: Final = frozenset({"crash", "unavailable", "escalate", "fatal", "killed"})
_TELLING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "restart_scheduled": "restarts in {delay_s} s, attempt {attempt}",
        "group_restart": "restarts {members}, since {failed} failed",
        "intensity_exceeded": "gives up because of {child_id}: {limit}",
        "child_stuck": "ignores its cancellation for {since_cancel_s} s",
        "actor_parked": "parked for {park_s} s after {failures} failures in a row",
        "actor_recovered": "handles messages again",
        "loop_blocked": "the event loop is blocked in {where}",
        "service_failed": "the service failed: {error}",
    }
)


def line(entry: Entry, to: Terminal, *, with_source: bool = False, with_traceback: bool = False) -> str:
    """One event: time (UTC), level, actor, event, values. What is false or empty is left out."""
    grave = rank(entry)
    parts = [
        to.paint(_time(entry), "dim"),
        *([to.paint(printable(entry.source).ljust(12), "dim")] if with_source else []),
        to.paint(_NAMES[grave].ljust(5), _STYLES[grave]),
        to.paint(_actor(entry).ljust(_ACTOR_CHARS), "cyan"),
        to.paint(printable(entry.text("event")).ljust(_EVENT_CHARS), "bold"),
        " ".join(f"{to.paint(f'{printable(key)}=', 'dim')}{value}" for key, value in _values(entry)),
    ]
    below = [text for key in ("traceback", "stack") if with_traceback and (text := entry.text(key))]
    return "\n".join([" ".join(parts).rstrip(), *(f"    {printable(each)}" for text in below for each in text.rstrip().split("\n"))])


@attrs.define
class Fate:
    """What became of one actor."""

    crashes: int = 0
    restarts: int = 0
    gave_up: int = 0
    last: str = ""
    last_error: str = ""


def crashes(entries: Iterable[Entry], to: Terminal, fates: dict[str, Fate]) -> Iterator[str]:
    """What crashed and came back, line by line as it is read; `fates` is filled by actor meanwhile."""
    for entry in entries:
        event, path = entry.text("event"), entry.text("actor")
        if event == "child_exited" and entry.values.get("kind") in _ABNORMAL:
            fate = fates.setdefault(path, Fate())
            fate.crashes, fate.last, fate.last_error = fate.crashes + 1, _time(entry), _error(entry)
            told = f"{entry.text('kind')}: {_error(entry)}"
        elif event in _TELLING:
            told = _TELLING[event].format_map(_Said(entry.values))
            if event == "restart_scheduled":
                fates.setdefault(path, Fate()).restarts += 1
            elif event == "intensity_exceeded":
                fates.setdefault(path, Fate()).gave_up += 1
        else:
            continue
        yield f"{to.paint(_time(entry), 'dim')} {to.paint(_actor(entry).ljust(_ACTOR_CHARS), 'cyan')} {told}"


def fate_rows(fates: Mapping[str, Fate]) -> list[list[str]]:
    """Rows for a table, most crashes first."""
    ranked = sorted(fates.items(), key=lambda pair: (-pair[1].crashes, pair[0]))
    return [
        [printable(path), str(fate.crashes), str(fate.restarts), str(fate.gave_up), fate.last, fate.last_error] for path, fate in ranked
    ]


FATE_HEAD: Final = ("actor", "crashes", "restarts", "gave up", "last crash", "last error")


class _Said(dict[str, str]):
    """The values of a line as text; what it does not say is "?"."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({key: _value(value) for key, value in values.items()})

    def __missing__(self, _key: str) -> str:
        return "?"


def _time(entry: Entry) -> str:
    if not entry.at:
        return " " * 23
    return dt.datetime.fromtimestamp(entry.at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _actor(entry: Entry) -> str:
    """Its path without what all paths begin with, and which of its lives if it is not the first."""
    path = entry.text("actor")
    short = path.removeprefix("root/").removeprefix("service/") or "-"
    life = entry.values.get("incarnation")
    return printable(f"{short}#{life}" if isinstance(life, int) and life > 1 else short)


def _values(entry: Entry) -> Iterator[tuple[str, str]]:
    for key, value in entry.values.items():
        if key == "error":
            yield key, _quoted(_error(entry))
        elif key not in _ELSEWHERE and value is not None and value is not False and value not in ("", []):
            yield key, _quoted(_value(value))


def _error(entry: Entry) -> str:
    kind, said = entry.text("error_type").rpartition(".")[2], entry.text("error")
    whole = f"{kind}: {said}" if kind and not said.startswith(f"{kind}:") else said
    return _short(printable(whole or "?"))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return _short(printable(", ".join(value)))
    return _short(printable(value if isinstance(value, str) else repr(value)))


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text or text == "" else text
