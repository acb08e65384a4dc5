"""Medians, spread and ratios of what was measured. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen
class Spread:
    """The median of some measurements, the lowest and the highest, and how many there were (at least 1)."""

    median: float
    low: float
    high: float
    count: int

    @property
    def relative(self) -> float:
        """How far lowest and highest are apart, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value. Raises ValueError for none."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: what disturbs the machine for a while disturbs both. A round that one of them lacks counts for nobody."""
    return [mine / other for mine, other in zip(ours, theirs, strict=False) if other > 0]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0..1] of all are not above. Raises ValueError for none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
