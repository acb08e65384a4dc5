"""The real tree against the pure model, on any tree and any list of commands that Hypothesis can think of.

``MODEL_EXAMPLES=10000 python -m pytest tests/supervisor/test_model.py`` looks for longer, and elsewhere every time. A
failure shows, shrunk, the tree, the commands, the seed and the timeline, and what the model expected in place of what came.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, example, given, note, reject, settings

from support.model_draw import cases
from support.model_machine import Tie
from support.model_play import script
from support.model_real import check
from support.model_shapes import Case, Command, Edge, Ending, Group, Operate, Order, Pass, Plan, Post, Word, Worker
from support.sim import sim
from tars.supervisor import Backoff, Restart, Strategy

EXAMPLES = os.environ.get("MODEL_EXAMPLES")

LAST_WORD = Plan(clean_s=1, says=Ending(Word.EXIT))
GIVES_UP_AND_EXITS = Case(Group("root", (Worker("a", usual=LAST_WORD), Worker("b")), max_restarts=0), (Order(1, Ending(Word.CRASH)),))
"""A SystemExit while the supervisor stops because it gave up: so seldom drawn that it is given."""

SLOW_START = Worker("c", lives=(Plan(start_s=1),))
LATE = Case(
    Group("root", (Worker("a"), Worker("b")), (SLOW_START,), strategy=Strategy.ONE_FOR_ALL, backoff=Backoff(initial_s=0.5, jitter=0)),
    (Order(0, Ending(Word.CRASH)), Operate("start", 0, 2), Pass(3)),
)
"""A child whose start by an operator is under way when the group comes back: likewise."""


@given(cases())
@example(GIVES_UP_AND_EXITS)
@example(LATE)
@settings(
    deadline=None,
    max_examples=int(EXAMPLES or 500),
    derandomize=EXAMPLES is None,
    database=None,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
def test_the_tree_does_what_the_model_says(case: Case) -> None:
    """Every rule of OTP and every decision of ours, in any combination; after every step everything that can be observed."""
    try:
        steps = script(case)
    except Tie:
        reject()
    note(repr(case))
    sim(case.seed, check, case, steps)


def crash(worker: int) -> Order:
    return Order(worker, Ending(Word.CRASH))


A, B, C = Worker("a"), Worker("b"), Worker("c")
MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


@pytest.mark.parametrize(
    ("tree", "commands", "otherwise"),
    [
        pytest.param(Group("root", (A,), max_restarts=1), [crash(0), crash(0)], {"max_restarts": 2}, id="one restart too many"),
        pytest.param(
            Group("root", (A,), max_restarts=1), [crash(0), Edge(0, beyond=False), crash(0)], {"period_s": 4.999}, id="the window's edge"
        ),
        pytest.param(
            Group("root", (A, B, C), strategy=Strategy.REST_FOR_ONE), [crash(1)], {"strategy": Strategy.ONE_FOR_ALL}, id="who goes down"
        ),
        pytest.param(Group("root", (A, B)), [crash(0)], {"strategy": Strategy.ONE_FOR_ALL}, id="who goes down with it"),
        pytest.param(Group("root", (A,)), [crash(0)], {"backoff": MINUTE}, id="when it comes back"),
        pytest.param(Group("root", (A,), max_consecutive=0), [crash(0)], {"max_consecutive": 1}, id="failures in a row"),
        pytest.param(Group("root", (A, B)), [], {"children": (B, A)}, id="the order"),
        pytest.param(
            Group("root", (A, attrs.evolve(B, restart=Restart.TEMPORARY)), strategy=Strategy.ONE_FOR_ALL),
            [crash(0)],
            {"children": (A, attrs.evolve(B, restart=Restart.TRANSIENT))},
            id="a temporary child revived",
        ),
        pytest.param(
            Group("root", (attrs.evolve(A, usual=Plan(traps=True, leave_s=3)),)),
            [Operate("terminate", 0), Pass(2)],
            {"children": (attrs.evolve(A, usual=Plan(traps=True, leave_s=3), shutdown_s=1),)},
            id="its grace",
        ),
        pytest.param(
            Group("root", (attrs.evolve(A, capacity=2),)),
            [Post("send", 0, 2)],
            {"children": (attrs.evolve(A, capacity=1),)},
            id="a message lost",
        ),
    ],
)
def test_the_check_sees_a_tree_that_does_otherwise(tree: Group, commands: list[Command], otherwise: dict[str, Any]) -> None:
    """A check that cannot fail proves nothing: here the real tree is another than the model's."""
    case = Case(tree, tuple(commands))
    steps = script(case)
    sim(0, check, case, steps)

    with pytest.raises(AssertionError, match=r"expected .*\n.*actual"):
        sim(0, check, attrs.evolve(case, tree=attrs.evolve(tree, **otherwise)), steps)
