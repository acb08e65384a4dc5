"""The dedup window: which subscriptions have finished which message, for `ttl_s`, at most `max_entries` messages.

Pure: the clock is handed in. The time runs from the first success and does not slide: a message repeated
for ever is not suppressed for ever.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

import attrs


@attrs.define(eq=False)
class DoneWindow:
    """`ttl_s` seconds (0: remember nothing), `max_entries` messages (the oldest go first)."""

    ttl_s: float
    max_entries: int
    _entries: OrderedDict[str, tuple[float, tuple[str, ...]]] = attrs.field(factory=OrderedDict, init=False)
    _oldest: float = attrs.field(default=-math.inf, init=False)  # no entry is older: a look at one number tells that none has expired

    def record(self, key: str, subscriptions: Iterable[str], now: float) -> None:
        """`subscriptions` have handled the message `key` with success."""
        if self.ttl_s <= 0 or self.max_entries <= 0:
            return
        self._oldest = min(self._oldest, now)  # what another process did may come later
        if now - self._oldest > self.ttl_s:
            self._expire(now)  # first: a success must not be added to an entry whose time is up
        known = self._entries.get(key)
        # Tuples of nothing but text and numbers are soon no affair of the garbage collector's; a hundred thousand sets are.
        self._entries[key] = (now, tuple(subscriptions)) if known is None else (known[0], tuple({*known[1], *subscriptions}))
        while len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)

    def finished(self, key: str, now: float) -> frozenset[str]:
        """The subscriptions that handled `key` within the last `ttl_s` seconds."""
        if now - self._oldest > self.ttl_s:
            self._expire(now)
        known = self._entries.get(key)
        return frozenset() if known is None else frozenset(known[1])

    def __len__(self) -> int:
        return len(self._entries)

    def _expire(self, now: float) -> None:
        while now - self._oldest > self.ttl_s and self._entries:
            self._oldest, _ = next(iter(self._entries.values()))
            if now - self._oldest <= self.ttl_s:
                return
            self._entries.popitem(last=False)
