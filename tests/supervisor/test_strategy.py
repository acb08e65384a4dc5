"""Who goes down with a failed child: every strategy over every start order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.supervisor import Strategy
from tars.supervisor.strategy import affected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["3"]),
        (Strategy.SIMPLE_ONE_FOR_ONE, ["3"]),
        (Strategy.ONE_FOR_ALL, ["1", "2", "3", "4", "5"]),
        (Strategy.REST_FOR_ONE, ["3", "4", "5"]),
    ],
)
def test_a_failure_of_the_third_of_five_takes_down(strategy: Strategy, expected: list[str]) -> None:
    assert expected == list(affected(strategy, ["1", "2", "3", "4", "5"], "3"))


ORDERS = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(st.sampled_from(Strategy), ORDERS, st.data())
def test_the_failed_child_is_always_among_them_and_start_order_is_kept(strategy: Strategy, order: list[str], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(order))
    members = list(affected(strategy, order, failed))

    assert failed in members
    assert [child for child in order if child in members] == members


@given(ORDERS, st.data())
def test_rest_for_one_spares_exactly_those_started_before(order: list[str], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(order))

    assert order == order[: order.index(failed)] + list(affected(Strategy.REST_FOR_ONE, order, failed))


def test_only_group_strategies_reach_siblings() -> None:
    assert [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE] == [strategy for strategy in Strategy if strategy.grouped]
