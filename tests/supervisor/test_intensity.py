"""Restart intensity: the exact vectors of A6, and the closed window as an invariant (D5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.cases import case
from tars.supervisor.intensity import RestartWindow

VECTORS = [
    ("no restart allowed", 0, 5.0, [0.0], 0),
    ("far enough apart", 1, 1.0, [0.0, 2.1, 4.2, 6.3], None),
    ("too close", 1, 1.0, [0.0, 0.5], 1),
    ("the edge is inclusive", 1, 1.0, [0.0, 1.0], 1),
    ("just past the edge", 1, 1.0, [0.0, 1.001], None),
    ("two an hour", 2, 3600.0, [0.0, 10.0, 20.0], 2),
    ("every 6.1 s for ever", 5, 30.0, [6.1 * n for n in range(500)], None),
    ("every 6.0 s", 5, 30.0, [6.0 * n for n in range(7)], 5),
    ("all at one instant", 3, 5.0, [7.0] * 4, 3),
]


def gives_up_at(max_restarts: int, period_s: float, times: list[float]) -> int | None:
    """The index of the first attempt the window refuses."""
    window = RestartWindow(max_restarts, period_s)
    return next((index for index, now in enumerate(times) if not window.record(now)), None)


@case("A6", "D5")
@pytest.mark.parametrize(("max_restarts", "period_s", "times", "verdict"), [row[1:] for row in VECTORS], ids=[row[0] for row in VECTORS])
def test_gives_up_exactly_at(max_restarts: int, period_s: float, times: list[float], verdict: int | None) -> None:

    assert verdict == gives_up_at(max_restarts, period_s, times)


ATTEMPTS = st.lists(st.integers(0, 40), max_size=60).map(sorted)


@case("A6", "D5")
@given(st.integers(0, 5), st.integers(1, 10), ATTEMPTS)
def test_never_more_than_max_restarts_inside_any_closed_window(max_restarts: int, period: int, times: list[int]) -> None:
    window = RestartWindow(max_restarts, float(period))
    allowed: list[int] = []
    for now in times:
        granted = window.record(float(now))
        in_window = sum(1 for then in allowed if now - then <= period) + 1

        assert granted is (in_window <= max_restarts)

        if not granted:
            break
        allowed.append(now)


@case("O6")
@given(st.integers(0, 5), st.integers(1, 10), ATTEMPTS)
def test_the_window_holds_no_more_than_it_needs(max_restarts: int, period: int, times: list[int]) -> None:
    window = RestartWindow(max_restarts, float(period))
    for now in times:
        granted = window.record(float(now))

        assert len(window) <= max_restarts + 1

        if not granted:
            break


def test_the_causes_are_those_of_the_window_oldest_first() -> None:
    first, second, third = ValueError("1"), None, ValueError("3")
    window = RestartWindow(2, 10.0)
    for now, cause in ((0.0, first), (5.0, second), (11.0, third)):
        window.record(now, cause)

    assert (second, third) == window.causes()
