from __future__ import annotations

import pytest

from bench.statistics import Spread, percentile, ratios, spread


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert Spread(2.0, 1.0, 5.0, 3) == spread([5.0, 1.0, 2.0])
    assert 2.0 == spread([5.0, 1.0, 2.0]).relative


def test_of_nothing_there_is_no_spread_and_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        spread([])
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_ratios_are_taken_round_by_round_so_that_a_slow_round_is_slow_for_both() -> None:
    assert [2.0, 2.0, 2.0] == ratios([200.0, 20.0, 100.0], [100.0, 10.0, 50.0])


def test_a_round_that_one_of_them_lacks_counts_for_nobody() -> None:
    assert [2.0] == ratios([200.0, 20.0], [100.0])


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_measured_value(part: float, expected: int) -> None:
    assert expected == percentile([float(value) for value in range(100, 0, -1)], part)
