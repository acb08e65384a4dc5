"""What a supervisor's restarts may cost, in the pure model: the window (D5), the limit of failures in a row, the delay (D7)."""

from __future__ import annotations

import attrs

from tars.supervisor import Backoff

from .model_child import Line
from .model_shapes import JITTER_CHANCE, Group, Worker


@attrs.define(eq=False)
class Budget:
    """Of one incarnation of a supervisor. `restarts`: when each of them was recorded."""

    shape: Group
    restarts: list[float] = attrs.field(factory=list)

    def delay_s(self, line: Line, at: float) -> float:
        """Until the next start of a child that failed `at`; longer every time, until a stable run forgives (B1, B3)."""
        backoff = self.backoff_of(line)
        if line.up_at is not None and at - line.up_at >= backoff.stable_s:
            line.failures = line.consecutive = 0
        ceiling_s = min(backoff.max_s, backoff.initial_s * backoff.factor**line.failures)
        line.failures += 1
        return ceiling_s * (1 - backoff.jitter * JITTER_CHANCE)

    def backoff_of(self, line: Line) -> Backoff:
        """The child's own, else its supervisor's."""
        return (line.shape.backoff if isinstance(line.shape, Worker) else None) or self.shape.backoff

    def used(self, at: float) -> int:
        """D5: a restart that is exactly as old as the period still counts."""
        return sum(at - restart <= self.shape.period_s for restart in self.restarts)

    def passed_limit(self, line: Line, at: float) -> str:
        """Record a restart; name the limit it passes, or ""."""
        line.consecutive += 1
        self.restarts.append(at)
        if self.used(at) > self.shape.max_restarts:
            return "intensity"
        most = self.shape.max_consecutive
        return "consecutive" if most is not None and line.consecutive > most else ""

    def oldest(self, now: float) -> float:
        """The oldest restart that still counts, or the newest of all."""
        return next((restart for restart in self.restarts if now - restart <= self.shape.period_s), self.restarts[-1])
