"""A log read back: JSON lines from files, rotated ones, standard input; one line in memory at a time.

Law: a line that is no JSON object is counted and passed over, never fatal. What has no time of its own has the time of
the line before it.
"""

from __future__ import annotations

import datetime as dt
import heapq
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs
import orjson

LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer one counts as broken; no line of ours is."""


@attrs.frozen
class Entry:
    """One line. `at`: Unix epoch seconds, 0 when no line so far said; `source`: where it stood; `raw`: as it stood."""

    source: str
    at: float
    values: Mapping[str, Any]
    raw: str

    def text(self, key: str) -> str:
        """The value if it is a string, else ""."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""


@attrs.define
class Tally:
    """How many lines there were, and how many of them were broken."""

    lines: int = 0
    broken: int = 0


def with_rotated(path: Path) -> list[Path]:
    """`path` and what was rotated away from it (``path.1`` is the youngest), oldest first."""
    numbered = [
        (int(each.name.removeprefix(f"{path.name}.")), each)
        for each in path.parent.glob(f"{path.name}.*")
        if each.name.removeprefix(f"{path.name}.").isdecimal()
    ]
    return [each for _, each in sorted(numbered, reverse=True)] + [path]


def entries(source: str, lines: Iterable[bytes], tally: Tally) -> Iterator[Entry]:
    """The lines of one log, read."""
    at = 0.0
    for line in lines:
        if not line.strip():
            continue
        tally.lines += 1
        values = _object(line)
        if values is None:
            tally.broken += 1
            continue
        at = _epoch(values.get("ts"), at)
        yield Entry(source, at, values, line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


def merged(logs: Sequence[Iterable[Entry]]) -> Iterator[Entry]:
    """Several logs as one, by time."""
    return heapq.merge(*logs, key=lambda entry: entry.at)


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Line by line; of an endless one only its beginning."""
    while line := stream.readline(LONGEST_LINE_BYTES):
        yield line
        while len(line) == LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE_BYTES)


def lines_of_files(paths: Iterable[Path]) -> Iterator[bytes]:
    """The lines of these files, one after the other. Raises OSError."""
    for path in paths:
        with path.open("rb") as stream:
            yield from lines_of(stream)


def followed(path: Path, pause: Callable[[], None]) -> Iterator[bytes]:
    """Every line there is and every one that comes, across rotations; never ends. `pause` waits a little. Raises OSError."""
    stream, begun, is_old = path.open("rb"), b"", False
    try:
        while True:
            line = stream.readline(LONGEST_LINE_BYTES)
            begun += line
            if line.endswith(b"\n") or len(begun) >= LONGEST_LINE_BYTES:
                yield begun
                begun = b""
            elif not line and is_old:
                stream.close()
                stream, begun, is_old = path.open("rb"), b"", False
            elif not line:
                is_old = _was_rotated(path, stream)  # then read once more: it may have got a last line meanwhile
                if not is_old:
                    pause()
    finally:
        stream.close()


def _was_rotated(path: Path, stream: BinaryIO) -> bool:
    """Is there another file under this name now, or did this one shrink?"""
    try:
        now = path.stat()
    except FileNotFoundError:  # between two files
        return False
    return now.st_ino != os.fstat(stream.fileno()).st_ino or now.st_size < stream.tell()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:  # what our own log writes, and orjson does not read: lone surrogates
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _epoch(ts: object, before: float) -> float:
    try:
        moment = dt.datetime.fromisoformat(ts) if isinstance(ts, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return before
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)).timestamp()
