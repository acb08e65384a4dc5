"""The crash journal's file: which message each actor has in hand, for whoever comes after a death of the process. Blocking.

One slot of `SLOT_BYTES` for each message, a line of JSON that `cat` can show; first a header, then the suspects, then the
actors' own. Laws. The file is mapped, and never synced: what stands in memory that the kernel shares outlives the process, and a
power cut proves nothing against a message. A slot says something new with its first byte, which is written last. The disk's space is
taken before a slot is used, so a full disk is an error there, and not the signal that ends a process which writes to a map.
Reading twice what one death has left counts it once. A file that is none of ours is kept aside. Nobody may shorten it while it is
in use (``cp`` onto it does): the kernel ends a process that writes to a map behind the end of its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import orjson

from .store_files import StoreError, StoreHeld, holder, make_directory

FILE_NAME: Final = "in-hand"
SLOT_BYTES: Final = 4096
MAX_SUSPECTS: Final = 511
"""More are forgotten, the oldest first. So many messages are in hand at a time only where `receive_maximum` is far above its default."""
_HEADER: Final = b"messages in hand, one to a slot: [deaths before, attempt, subscription, message]. 1\n"
_FREE: Final = b" "
_GROWTH: Final = 16
"""Slots that are added at a time."""

Suspect: TypeAlias = tuple[str, str]
"""A subscription's id, and what its message is known by (see `journal.known_by`)."""


@attrs.frozen
class InHand:
    """A message that was in hand when the process died: its `deaths` so far, with that one; `attempt` as the handler counted."""

    deaths: int
    attempt: int
    subscription: str
    message: str


@attrs.define(eq=False)
class JournalFile:
    """The open file. `found`: what the last process had in hand; `suspects`: deaths of each; `aside`: where a strange file went."""

    found: Sequence[InHand]
    suspects: Mapping[Suspect, int]
    aside: Path | None
    _descriptor: int
    _map: mmap.mmap
    _slots: dict[Suspect, int]

    def note(self, place: int, deaths: int, attempt: int, suspect: Suspect) -> None:
        """The actor of `place` (0, 1, ...) begins on it. Raises OSError, the first time a place is used."""
        at = (1 + MAX_SUSPECTS + place) * SLOT_BYTES
        if at >= len(self._map):
            self._grow(at + _GROWTH * SLOT_BYTES)
        line = _line(deaths, attempt, suspect)
        self._map[at + 1 : at + len(line)] = line[1:]
        self._map[at] = line[0]

    def clear(self, place: int) -> None:
        """It has nothing in hand."""
        at = (1 + MAX_SUSPECTS + place) * SLOT_BYTES
        if at < len(self._map):
            self._map[at] = _FREE[0]

    def forget(self, suspect: Suspect) -> None:
        """Nothing is held against it any more."""
        if (slot := self._slots.pop(suspect, None)) is not None:
            self._map[slot * SLOT_BYTES] = _FREE[0]

    def _grow(self, size: int) -> None:
        at = len(self._map)
        _write(self._descriptor, bytes(size - at), at)
        grown = mmap.mmap(self._descriptor, size)  # this may fail as well: then the one there is goes on
        self._map.close()
        self._map = grown

    def close(self) -> None:
        """The end was orderly: nothing is in hand. Raises OSError."""
        self._map.close()
        try:
            os.ftruncate(self._descriptor, (1 + MAX_SUSPECTS) * SLOT_BYTES)
        finally:
            os.close(self._descriptor)


def open_journal(state_dir: Path) -> JournalFile:
    """Open the journal of `state_dir`, for this process alone, and count what was in hand as dead. Raises `StoreError`, `StoreHeld`."""
    path = state_dir / FILE_NAME
    aside: Path | None = None
    with contextlib.ExitStack() as on_failure:
        try:
            make_directory(state_dir)
            descriptor = _held(path, on_failure)
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            if content and not content.startswith(_HEADER):
                aside = _free_name(path)
                path.rename(aside)
                on_failure.close()
                descriptor, content = _held(path, on_failure), b""
            file = _begun(descriptor, content, aside)
        except OSError as error:
            raise StoreError(f"the crash journal {error.filename or path} cannot be used: {error.strerror}") from error
        on_failure.pop_all()
    return file


def _held(path: Path, on_failure: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    on_failure.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreHeld(path.parent, holder(path.parent)) from None
    return descriptor


def _begun(descriptor: int, content: bytes, aside: Path | None) -> JournalFile:
    suspects: dict[Suspect, int] = {}
    found: list[InHand] = []
    for slot, offset in enumerate(range(SLOT_BYTES, len(content), SLOT_BYTES)):
        read = _read(content[offset : offset + SLOT_BYTES])
        if read is None:
            continue
        suspect = (read.subscription, read.message)
        if slot >= MAX_SUSPECTS:
            read = attrs.evolve(read, deaths=max(read.deaths + 1, suspects.pop(suspect, 0)))  # the newest last
            found.append(read)
        suspects[suspect] = max(read.deaths, suspects.get(suspect, 0))
    kept = list(suspects.items())[-MAX_SUSPECTS:]
    lines = [_HEADER, *(_line(deaths, 0, suspect) for suspect, deaths in kept)]
    lines += [_FREE] * (min(len(content) // SLOT_BYTES, 1 + MAX_SUSPECTS) - len(lines))  # what never was written is a hole in the file
    _write(descriptor, b"".join(line.ljust(SLOT_BYTES) for line in lines), 0)
    os.ftruncate(descriptor, (1 + MAX_SUSPECTS) * SLOT_BYTES)  # after that, none is in hand
    mapped = mmap.mmap(descriptor, (1 + MAX_SUSPECTS) * SLOT_BYTES)
    return JournalFile(found, dict(kept), aside, descriptor, mapped, {suspect: slot for slot, (suspect, _) in enumerate(kept, 1)})


def _write(descriptor: int, content: bytes, at: int) -> None:
    """All of it, or OSError: a full disk takes a part first, and nothing then."""
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], at + written)


def _line(deaths: int, attempt: int, suspect: Suspect) -> bytes:
    said = (deaths, attempt, *suspect)
    try:
        line = orjson.dumps(said)
    except TypeError:  # what is no unicode
        line = json.dumps(said).encode()
    return line + b"\n" if len(line) < SLOT_BYTES else _FREE


def _read(slot: bytes) -> InHand | None:
    """What stands in a slot; None when it is free, or was written in part."""
    line, _, _ = slot.partition(b"\n")
    try:
        deaths, attempt, subscription, message = json.loads(line)
        return InHand(int(deaths), int(attempt), str(subscription), str(message))
    except (ValueError, TypeError):
        return None


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
