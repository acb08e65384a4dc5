"""An actor's own failure budget: any handled message gives it back, spending it parks the actor. Pure.

It is kept by the tree, since the incarnations that fail do not live to count. The supervisor's restart
intensity is not touched by a failure that a message caused: two poison messages in different actors would
otherwise restart them all.
"""

from __future__ import annotations

from typing import Final

import attrs

MAX_PARK_S: Final = 3600.0
"""Doubling ends here."""


@attrs.define(eq=False)
class Ledger:
    """`max_failures_in_a_row` >= 1; `park_s` seconds for the first time, doubled at each failed trial."""

    max_failures_in_a_row: int
    park_s: float
    failures: int = attrs.field(default=0, init=False)
    parked: bool = attrs.field(default=False, init=False)  # gets no messages: they become dead letters
    on_trial: bool = attrs.field(default=False, init=False)
    _parks: int = attrs.field(default=0, init=False)

    def failed(self) -> float | None:
        """One more failure. Seconds to park for when the budget is spent (a trial has a budget of one), else None."""
        self.failures += 1
        if not self.on_trial and self.failures < self.max_failures_in_a_row:
            return None
        park_s = min(MAX_PARK_S, self.park_s * 2.0**self._parks)
        self._parks = min(self._parks + 1, 64)
        self.parked = True
        self.on_trial = False
        return park_s

    def begin(self) -> None:
        """An incarnation begins: if the actor was parked, this is its trial."""
        if self.parked:
            self.parked = False
            self.on_trial = True

    def succeeded(self) -> bool:
        """A message was handled. True when that ended a trial."""
        recovered = self.on_trial
        self.failures = self._parks = 0
        self.on_trial = False
        return recovered
