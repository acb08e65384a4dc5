"""Restart intensity: OTP's ``add_restart/1``, on a float clock (decision D5).

The window is inclusive: an attempt exactly `period_s` old still counts.
"""

from __future__ import annotations

from collections import deque

import attrs


@attrs.define
class RestartWindow:
    """The recorded attempts of one supervisor; shared by all its children.

    `max_restarts` >= 0, `period_s` > 0. At most ``max_restarts + 1`` entries are ever held, each is added
    and dropped once: the check is O(1) amortised.
    """

    max_restarts: int
    period_s: float
    _attempts: deque[tuple[float, BaseException | None]] = attrs.field(factory=deque, init=False)

    def record(self, now: float, cause: BaseException | None = None) -> bool:
        """Record an attempt at `now` (seconds, monotonic). False: one too many, give up."""
        self._attempts.append((now, cause))
        return self.used(now) <= self.max_restarts

    def used(self, now: float) -> int:
        """How many attempts count at `now`; an attempt exactly `period_s` old still does."""
        while self._attempts and now - self._attempts[0][0] > self.period_s:
            self._attempts.popleft()
        return len(self._attempts)

    def causes(self) -> tuple[BaseException | None, ...]:
        """What the recorded attempts died of, oldest first."""
        return tuple(cause for _, cause in self._attempts)

    def __len__(self) -> int:
        return len(self._attempts)
