"""Gaps in `seq`: numbers that a publisher gave and that never came here. Pure: the clock is handed in.

What counts together is a stream: one topic, one event type and source, and in the data the `key` or else the `id`. The data
is an envelope's, or a raw JSON object; its `seq` is an integer that grows by one. Laws:

* A stream begins with the first number that is seen of it: what came before, nobody here was told.
* A number seen before is no gap. 0 or 1, seen before, is a publisher that begins again, unless the next number goes on as before.
* What comes late is taken back, for the last `MAX_HOLES` gaps of a stream.
* What is remembered is bounded: `MAX_STREAMS`, the one silent for longest goes first. What has a longer name is not counted.
* The first gap of a stream is told at once, then one line in `QUIET_S` at most tells the sum, in twice as much the next time, as
  long as it goes on: a link that loses every second message, or a publisher that counts over all its topics, must not fill the log.
  What is untold at the end of the process, or when the stream is forgotten, is told then.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attrs

from tars.actors.contracts.errors import DecodeError

from .events import SequenceFilled, SequenceGap

MARK: Final = b'"seq"'
"""A payload without it needs no look: that costs far less than to read it."""
MAX_STREAMS: Final = 4096
MAX_HOLES: Final = 16
MAX_NAME_CHARS: Final = 512
"""Of topic, key, type and source together."""
QUIET_S: Final = 10.0
MAX_QUIET_S: Final = 3600.0
"""Doubling ends here."""
_ENVELOPE: Final = frozenset({"id", "type", "ts", "source", "data"})


@attrs.define(eq=False)
class _Stream:
    """One count. `next`: the number that is due. `holes`: what is missing, first and last number of each gap."""

    topic: str
    key: str
    next: int
    holes: list[tuple[int, int]] = attrs.field(factory=list)
    before: tuple[int, list[tuple[int, int]]] | None = None  # `next` and `holes`, when 0 or 1 came again just now
    missing: int = 0  # over all counts of the stream
    untold: int = 0
    told_at: float = -math.inf
    quiet_s: float = QUIET_S  # until the next line, at least
    expected: int = 0  # of the first gap that is untold
    got: int = 0  # of the last one

    def take(self, seq: int) -> int:
        """`seq` came. How many are missing more than before; -1 when it is one that was."""
        before, self.before = self.before, None
        if before is not None and seq == before[0]:
            self.next, self.holes = before
        if seq == self.next:
            self.next += 1
            return 0
        if seq > self.next:
            return self._skip_to(seq)
        if self._fill(seq):
            return -1
        if seq in (0, 1):
            self.before = (self.next, self.holes)
            self.next, self.holes = seq + 1, []
        return 0

    def _skip_to(self, seq: int) -> int:
        gap = (self.next, seq - 1)
        self.holes.append(gap)
        del self.holes[:-MAX_HOLES]
        if not self.untold:
            self.expected = self.next
        self.got = seq
        self.next = seq + 1
        return gap[1] - gap[0] + 1

    def _fill(self, seq: int) -> bool:
        for at, (first, last) in enumerate(self.holes):
            if first <= seq <= last:
                parts = ((first, seq - 1), (seq + 1, last))
                self.holes[at : at + 1] = [part for part in parts if part[0] <= part[1]]
                del self.holes[:-MAX_HOLES]
                return True
        return False


@attrs.define(eq=False)
class Sequences:
    """The counts of all streams. `emit` gets `SequenceGap` and `SequenceFilled`; `missing`: numbers that never came, over all."""

    emit: Callable[[object], None]
    missing: int = attrs.field(default=0, init=False)
    _streams: OrderedDict[tuple[str, ...], _Stream] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._streams)

    def see(self, topic: str, document: Callable[[], Any], now: float) -> None:
        """A message came for the first time. `document` reads its payload as JSON, or raises `DecodeError`."""
        try:
            found = document()
        except DecodeError:
            return
        if not isinstance(found, dict):
            return
        envelope = found if found.keys() == _ENVELOPE else {}
        data = envelope.get("data", found)
        seq = data.get("seq") if isinstance(data, dict) else None
        if not isinstance(seq, int) or isinstance(seq, bool):
            return
        key = _name(data.get("key")) or _name(data.get("id"))
        kind, source = _name(envelope.get("type")), _name(envelope.get("source"))
        if len(topic) + len(key) + len(kind) + len(source) > MAX_NAME_CHARS:
            return
        place = (topic, key, kind, source)
        stream = self._streams.get(place)
        if stream is None:
            self._begin(place, _Stream(topic, key, seq + 1), now)
            return
        self._streams.move_to_end(place)
        self._count(stream, stream.take(seq), now)

    def tell_all(self, now: float) -> None:
        """The process ends: nothing stays untold."""
        for stream in self._streams.values():
            self._tell(stream, now)

    def _begin(self, place: tuple[str, ...], stream: _Stream, now: float) -> None:
        self._streams[place] = stream
        if len(self._streams) > MAX_STREAMS:
            _, oldest = self._streams.popitem(last=False)
            self._tell(oldest, now)

    def _count(self, stream: _Stream, more: int, now: float) -> None:
        if more:
            stream.missing += more
            self.missing += more
            stream.untold = max(0, stream.untold + more)
        if more < 0 and not stream.missing:
            self.emit(SequenceFilled(stream.topic, stream.key))
        if stream.untold and now - stream.told_at >= stream.quiet_s:
            goes_on = now - stream.told_at < 2 * stream.quiet_s
            stream.quiet_s = min(MAX_QUIET_S, 2 * stream.quiet_s) if goes_on else QUIET_S
            self._tell(stream, now)

    def _tell(self, stream: _Stream, now: float) -> None:
        if stream.untold:
            self.emit(SequenceGap(stream.topic, stream.key, stream.expected, stream.got, stream.untold, stream.missing))
            stream.untold, stream.told_at = 0, now


def _name(value: Any) -> str:  # JSON
    if type(value) is str:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
