"""How long to wait before a restart. Arithmetic only: the random number comes from the caller."""

from __future__ import annotations

import math
from typing import Final

import attrs

from .errors import SpecError


@attrs.frozen
class Backoff:
    """Exponential backoff, capped, with jitter taken *downwards*: a delay never exceeds `max_s`.

    All times in seconds. `jitter` runs from 0 (none) to 1 (full: anything between 0 and the computed
    delay; AWS's "full jitter"). An incarnation that ran for `stable_s` or longer resets the count.
    ``Backoff(initial_s=0)`` restarts at once, always.
    """

    initial_s: float = 0.1
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 1.0
    stable_s: float = 10.0

    def __attrs_post_init__(self) -> None:
        number = {name: _number(name, getattr(self, name)) for name in ("initial_s", "max_s", "factor", "jitter", "stable_s")}
        rules = (
            ("initial_s", number["initial_s"] >= 0, ">= 0"),
            ("max_s", number["max_s"] >= number["initial_s"], ">= initial_s"),
            ("factor", number["factor"] >= 1, ">= 1"),
            ("jitter", 0 <= number["jitter"] <= 1, "in 0..1"),
            ("stable_s", number["stable_s"] >= 0, ">= 0"),
        )
        for name, holds, rule in rules:
            if not holds:
                msg = f"Backoff.{name} must be {rule}, got {number[name]!r}"
                raise SpecError(msg)

    def delay_s(self, attempt: int, chance: float) -> float:
        """The delay before attempt `attempt` (0 for the first restart); `chance` in [0, 1).

        ``ceiling*(1-jitter) <= delay <= ceiling`` with ``ceiling = min(max_s, initial_s * factor**attempt)``.
        """
        if self.initial_s == 0:
            return 0.0  # and not 0 * inf
        try:
            ceiling = min(self.max_s, self.initial_s * self.factor**attempt)
        except OverflowError:
            ceiling = self.max_s
        return ceiling * (1 - self.jitter * chance)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        msg = f"Backoff.{name} must be a finite number, got {value!r}"
        raise SpecError(msg)
    return value


NO_BACKOFF: Final = Backoff(initial_s=0.0, max_s=0.0, jitter=0.0)
