"""Who goes down with a failed child? OTP's strategies as one pure function over start order."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Strategy(enum.Enum):
    """OTP's strategies. SIMPLE_ONE_FOR_ONE: one template, instances added at run time, stopped in parallel (D8)."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"

    @property
    def grouped(self) -> bool:
        """Does a failure reach siblings?"""
        return self in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


class AutoShutdown(enum.Enum):
    """Does a supervisor end when its significant children have? (OTP 24)."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


def affected(strategy: Strategy, order: Sequence[str], failed: str) -> Sequence[str]:
    """The ids, in start order, that a failure of `failed` takes down: itself and, by strategy, its siblings."""
    match strategy:
        case Strategy.ONE_FOR_ALL:
            return list(order)
        case Strategy.REST_FOR_ONE:
            return list(order[order.index(failed) :])
        case _:
            return [failed]
