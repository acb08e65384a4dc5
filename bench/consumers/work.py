"""The work every consumer does for a message, for those that bring nothing of their own for it.

Receive, decode the JSON envelope into the contract, drop duplicates within a window, find the one of ten handlers whose
filter matches, handle (count), acknowledge. Law: this is the fast way to write each step, not the obvious one. A peer is
never slow because of what the benchmark wrote around it: compiled hooks without detailed errors, topics found in a cache.
"""

from __future__ import annotations

import re
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

import attrs
import cattrs
import orjson

from bench.contract import FILTERS, HANDLERS, Reading
from bench.pump import say

TTL_S: Final = 30.0
MAX_ENTRIES: Final = 100_000
"""The dedup window, as this project's own is by default."""
RECEIVE_MAXIMUM: Final = 256
HOST: Final = "127.0.0.1"
CLIENT_ID: Final = "bench-consumer"


@attrs.frozen
class Envelope:
    """The wire's five fields."""

    id: str
    type: str
    ts: float
    source: str
    data: Reading


class Last(Protocol):
    """A `Reading`, in whatever class a consumer decodes it into."""

    @property
    def last(self) -> bool:
        """The last message of a phase."""


@attrs.define
class Handler:
    """One of the ten: counts, and reports when its last message of a phase is there."""

    number: int
    count: int = 0

    async def handle(self, event: Last) -> None:
        """The author's code."""
        if event.last:
            say_last(self.number, self.count)
            self.count = 0
        else:
            self.count += 1


def say_last(handler: int, count: int) -> None:
    """The line that ends a phase for a handler."""
    say(f"last {handler} {count}")


def say_ready() -> None:
    """The line that says that the subscriptions stand."""
    say("ready")


def arguments() -> tuple[int, str]:
    """Port and protocol, from the command line."""
    return int(sys.argv[1]), sys.argv[2]


@attrs.define
class Window:
    """What was seen in the last `TTL_S` seconds, at most `MAX_ENTRIES`."""

    _seen: OrderedDict[tuple[str, str, str, int], float] = attrs.field(factory=OrderedDict)

    def repeats(self, key: tuple[str, str, str, int]) -> bool:
        """Has `key` been here before? From now on it has."""
        now = time.monotonic()
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if now - seen[oldest] <= TTL_S and len(seen) <= MAX_ENTRIES:
                break
            del seen[oldest]
        if key in seen:
            return True
        seen[key] = now
        return False


@attrs.define
class Table:
    """Which handler a topic belongs to: compiled filters behind a bounded cache."""

    _filters: Sequence[tuple[re.Pattern[str], Handler]]
    _known: dict[str, Handler] = attrs.field(factory=dict)

    def find(self, topic: str) -> Handler:
        """The handler of the first filter that matches. Raises LookupError."""
        handler = self._known.get(topic)
        if handler is None:
            handler = next((each for pattern, each in self._filters if pattern.fullmatch(topic)), None)
            if handler is None:
                raise LookupError(topic)
            if len(self._known) < MAX_ENTRIES:
                self._known[topic] = handler
        return handler


def make_table() -> Table:
    """The ten filters and their handlers."""
    patterns = [re.compile(re.escape(text).replace(r"\+", "[^/]+")) for text in FILTERS]
    return Table(list(zip(patterns, map(Handler, range(HANDLERS)), strict=True)))


@attrs.define
class Work:
    """All of it, for a loop that gets topic and payload."""

    _table: Table = attrs.field(factory=make_table)
    _window: Window = attrs.field(factory=Window)
    _structure: Any = attrs.field(
        factory=lambda: cattrs.Converter(forbid_extra_keys=True, detailed_validation=False).get_structure_hook(Envelope)
    )

    async def do(self, topic: str, payload: bytes | bytearray) -> None:
        """Everything between receiving and acknowledging."""
        envelope: Envelope = self._structure(orjson.loads(payload), Envelope)
        if not self._window.repeats((topic, envelope.type, envelope.id, envelope.data.seq)):
            await self._table.find(topic).handle(envelope.data)
