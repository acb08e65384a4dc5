"""What a failure costs: how long until the next attempt, and whether there is a next one.

Law: an attempt counts at its exit, before its delay. `Unavailable` costs time only, no restart: what is missing
outside is not the child's fault. Pure: times are numbers handed in.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from .backoff import Backoff
from .errors import Unavailable
from .intensity import RestartWindow
from .policy import Row
from .restart import Exit, ExitKind, leaves
from .spec import SupervisorSpec


@attrs.define(eq=False)
class Tally:
    """The failures of one supervisor's children. `chance` supplies the jitter, in [0, 1)."""

    spec: SupervisorSpec
    chance: Callable[[], float]
    _window: RestartWindow = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._window = RestartWindow(self.spec.max_restarts, self.spec.period_s)

    def go_on_under(self, spec: SupervisorSpec) -> None:
        """Its limits and backoff count from now."""
        self.spec = spec
        self._window.max_restarts, self._window.period_s = spec.max_restarts, spec.period_s

    def delay_s(self, row: Row, ended: Exit, ran_s: float | None) -> float:
        """Count one more failure in a row; seconds until the next attempt. `ran_s` None: it had not started."""
        backoff = self._backoff_of(row)
        if ran_s is not None and ran_s >= backoff.stable_s:
            row.failures = row.consecutive = 0
        delay_s = backoff.delay_s(row.failures, self.chance())
        row.failures += 1
        return _asked_for(ended, delay_s) if ended.kind is ExitKind.UNAVAILABLE else delay_s

    def passed_limit(self, row: Row, ended: Exit, now: float) -> str | None:
        """Charge one restart; which limit that passes, if any."""
        if ended.kind is ExitKind.UNAVAILABLE:
            return None
        row.consecutive += 1
        if not self._window.record(now, ended.error):
            return f"{self.spec.max_restarts} restarts in {self.spec.period_s:g} s"
        most = self.spec.max_consecutive
        if most is not None and row.consecutive > most:
            return f"{most} failures in a row"
        return None

    def used(self, now: float) -> int:
        """How many restarts are spent at `now`."""
        return self._window.used(now)

    def causes(self) -> tuple[BaseException | None, ...]:
        """What they were spent on, oldest first."""
        return self._window.causes()

    def _backoff_of(self, row: Row) -> Backoff:
        """The child's own backoff, else the supervisor's."""
        own = None if isinstance(row.spec, SupervisorSpec) else row.spec.backoff
        return own or self.spec.backoff


def _asked_for(ended: Exit, delay_s: float) -> float:
    """The longest `retry_after_s` among the `Unavailable`s, else the computed delay."""
    asked = [leaf.retry_after_s for leaf in leaves(ended.error) if isinstance(leaf, Unavailable)] if ended.error else []
    known = [seconds for seconds in asked if seconds is not None and seconds >= 0]  # NaN is no number of seconds either
    return max(known) if known else delay_s
