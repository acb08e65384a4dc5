"""Costs that must not grow, and small ones that must stay small: what a figure is, the straight line through many, the table. Pure.

Each sentence that is promised is at least one `Cost`. Where a duration is made of work, the same is told in processor time: on a busy
machine the clock measures the neighbours.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

import attrs

from .machine import Machine
from .statistics import Spread

SETTLED_PART: Final = 0.2
"""Of a long run, the beginning that says nothing about growth: windows and caches fill."""


@attrs.frozen
class Cost:
    """`value`: its median is `ok` up to `target`, in `unit`; a target of None: told for comparison only."""

    name: str
    value: Spread
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """None where nothing is promised."""
        return None if self.target is None else self.value.median <= self.target


@attrs.frozen
class Point:
    """So much memory (bytes, or blocks of the allocator) after so many of whatever is counted."""

    count: int
    size: int


def growth(points: Sequence[Point]) -> float:
    """What the straight line through `points`, the beginning left out, gains over the whole run. Raises ValueError for fewer than 2."""
    first, last = points[0].count, points[-1].count
    late = [each for each in points if each.count >= first + SETTLED_PART * (last - first)]
    if len(late) < 2:
        raise ValueError("a line needs two points")
    slope = statistics.linear_regression([each.count for each in late], [each.size for each in late]).slope
    return slope * (last - first)


def one(value: float) -> Spread:
    """What was measured once."""
    return Spread(value, value, value, 1)


def as_json(costs: Sequence[Cost], failures: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "machine": attrs.asdict(machine),
        "costs": [{**attrs.asdict(each), "ok": each.ok} for each in costs],
        "failures": list(failures),
    }


def as_text(costs: Sequence[Cost], failures: Sequence[str]) -> str:
    """A table for people."""
    lines = ["# Costs that grow", "", "| cost | measured | lowest to highest | target | ok |", "|---|---:|---:|---:|---|"]
    lines += [_row(each) for each in costs]
    notes = [f"* {each.name}: {each.note}" for each in costs if each.note]
    failed = [f"* {each}" for each in failures]
    return "\n".join([*lines, "", *notes, *(["", "## What failed", "", *failed] if failed else [])]) + "\n"


def _row(cost: Cost) -> str:
    value = cost.value
    target = "" if cost.target is None else f"≤ {cost.target:,.5g} {cost.unit}"
    verdict = {True: "yes", False: "NO", None: ""}[cost.ok]
    between = f"{value.low:,.4g} to {value.high:,.4g} ({value.count})" if value.count > 1 else ""
    return f"| {cost.name} | {value.median:,.4g} {cost.unit} | {between} | {target} | {verdict} |"
