"""The dedup window: which subscriptions have finished which message, for `ttl_s`, at most `max_entries` messages.

Pure: the clock is handed in. The time runs from the first success and does not slide: a message repeated
for ever is not suppressed for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs


@attrs.define(eq=False)
class DoneWindow:
    """`ttl_s` seconds (0: remember nothing), `max_entries` messages (the oldest go first)."""

    ttl_s: float
    max_entries: int
    _entries: OrderedDict[str, tuple[float, frozenset[str]]] = attrs.field(factory=OrderedDict, init=False)

    def record(self, key: str, subscriptions: Iterable[str], now: float) -> None:
        """`subscriptions` have handled the message `key` with success."""
        if self.ttl_s <= 0 or self.max_entries <= 0:
            return
        self._expire(now)  # first: a success must not be added to an entry whose time is up
        first, known = self._entries.get(key, (now, frozenset[str]()))
        self._entries[key] = (first, known.union(subscriptions))
        while len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)

    def finished(self, key: str, now: float) -> frozenset[str]:
        """The subscriptions that handled `key` within the last `ttl_s` seconds."""
        self._expire(now)
        return self._entries[key][1] if key in self._entries else frozenset()

    def __len__(self) -> int:
        return len(self._entries)

    def _expire(self, now: float) -> None:
        while self._entries:
            first, _ = next(iter(self._entries.values()))
            if now - first <= self.ttl_s:
                return
            self._entries.popitem(last=False)
