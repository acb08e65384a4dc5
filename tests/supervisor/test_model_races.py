"""Two commands at one instant: whatever the order of tasks makes of it, it is something that the model allows.

``MODEL_EXAMPLES=10000`` looks for longer, as in `test_model.py`.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, note, reject, settings

from support.model_draw import races
from support.model_machine import Tie
from support.model_race import NothingToDo, race
from support.model_race_real import check_race
from support.model_shapes import Case, Ending, Group, Operate, Order, Plan, Word, Worker
from support.sim import sim
from tars.supervisor import Restart, Strategy

EXAMPLES = os.environ.get("MODEL_EXAMPLES")


@given(races())
@settings(
    deadline=None,
    max_examples=int(EXAMPLES or 200),
    derandomize=EXAMPLES is None,
    database=None,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)
def test_of_two_commands_at_one_instant_comes_what_one_order_of_events_would_bring(
    drawn: tuple[Case, tuple[Order | Operate, Order | Operate]],
) -> None:
    case, both = drawn
    try:
        expected = race(case, both)
        note(repr(case) + f"\n  then at once: {both}\n  {len(expected.outcomes)} outcomes")
        for seed in range(case.seed, case.seed + 8):
            sim(seed, check_race, expected, case.tree)
    except (Tie, NothingToDo):
        reject()


A, B = Worker("a"), Worker("b")
CRASH_A, CRASH_B = Order(0, Ending(Word.CRASH)), Order(1, Ending(Word.CRASH))
PERHAPS_STARTED_AGAIN = {(("b", 1), ("a", 1)), (("b", 1), ("a", 2))}


def test_the_model_knows_what_may_come_of_a_crash_and_a_stop_by_an_operator() -> None:
    """Stopped for good, whatever comes first; only whether it was started once more in between is open."""
    (*_, last) = zip(*race(Case(Group("root", (A, B)), ()), (CRASH_A, Operate("terminate", 0, 0))).outcomes, strict=True)

    assert {tuple((child, incarnation) for child, _, incarnation, _ in seen.supervisors["root"]) for seen in last} == PERHAPS_STARTED_AGAIN
    assert [{"root/b"}] * len(last) == [set(seen.alive) for seen in last]
    assert {("ok",)} == {seen.answers for seen in last}


@pytest.mark.parametrize(
    ("both", "otherwise"),
    [
        pytest.param((CRASH_A, CRASH_B), {"strategy": Strategy.ONE_FOR_ALL}, id="who goes down"),
        pytest.param((CRASH_A, CRASH_B), {"max_restarts": 1}, id="a limit"),
        pytest.param((CRASH_A, Operate("terminate", 0, 1)), {"children": (attrs.evolve(A, restart=Restart.TEMPORARY), B)}, id="a type"),
        pytest.param((CRASH_A, Operate("stop", 0)), {"children": (A, attrs.evolve(B, usual=Plan(clean_s=1)))}, id="a time"),
    ],
)
def test_the_check_sees_a_tree_that_does_otherwise(both: tuple[Order | Operate, Order | Operate], otherwise: dict[str, Any]) -> None:
    """A check that cannot fail proves nothing: here the real tree is another than the model's."""
    tree = Group("root", (A, B))
    expected = race(Case(tree, ()), both)
    for seed in range(20):
        sim(seed, check_race, expected, tree)

    with pytest.raises(AssertionError, match="no order of events explains it"):
        sim(0, check_race, expected, attrs.evolve(tree, **otherwise))
