"""How Hypothesis draws a case: any tree, any list of commands, simple things first, so that shrinking ends at them.

Law: no two durations of a case are equal, nor (but by great chance) two sums of them. The drawn ones are coarse; each
is then lengthened by its own tiny amount, so that what is independent happens one after the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from tars.supervisor import BRUTAL, INFINITY, NO_BACKOFF, AutoShutdown, Backoff, Restart, Strategy

from .model_shapes import Cancel, Case, Command, Edge, Ending, Group, Next, Operate, Order, Pass, Plan, Post, Ripen, Shape, Word, Worker

DEEPEST: Final = 3
LONGEST_S: Final = 2**-8
STEP_S: Final = 2**-24
PRIME: Final = 40503
"""Consecutive numbers times this, modulo 2**16, are spread evenly: their sums and differences seldom meet."""

BACKOFFS: Final = (
    NO_BACKOFF,
    Backoff(initial_s=1, max_s=4, factor=2, jitter=0.5, stable_s=2),
    Backoff(initial_s=0.5, max_s=8, factor=4, jitter=0, stable_s=10),
)
CRASH: Final = Ending(Word.CRASH)
USUAL_ENDINGS: Final = (
    CRASH,
    CRASH,
    Ending(Word.RETURN),
    Ending(Word.STOP),
    Ending(Word.MIXED),
    Ending(Word.UNAVAILABLE),
    Ending(Word.UNAVAILABLE, 3.0),
    Ending(Word.UNAVAILABLE, 0.0),
)
LAST_ENDINGS: Final = (Ending(Word.ESCALATE), Ending(Word.EXIT))

# Whole lives to choose from, not their parts: drawing is what an example costs most.
STOPS: Final = (
    *(Plan(clean_s=clean_s) for clean_s in (0.0, 1.0, 3.0, 40.0)),
    *(Plan(traps=True, leave_s=leave_s, clean_s=clean_s) for leave_s in (0.0, 1.0, 4.0, math.inf) for clean_s in (0.0, 1.0, 40.0)),
    *(Plan(clean_s=1.0, says=says) for says in (*USUAL_ENDINGS[1:5], *LAST_ENDINGS)),
    *(Plan(traps=True, leave_s=1.0, says=says) for says in (*USUAL_ENDINGS[1:5], *LAST_ENDINGS)),
)
USUALS: Final = tuple(attrs.evolve(stop, start_s=start_s) for start_s in (0.0, 1.0, 3.0) for stop in STOPS)
BADS: Final = (
    *(Plan(start_s=start_s, start=start) for start_s in (0.0, 1.0, 3.0) for start in (*USUAL_ENDINGS, *USUAL_ENDINGS, *LAST_ENDINGS)),
    *(attrs.evolve(stop, start_s=math.inf) for stop in STOPS[:18:2]),
    *(attrs.evolve(stop, start_s=1.0, start=CRASH) for stop in STOPS[:18:2]),
    *USUALS[::3],
)
LIVES: Final[Sequence[tuple[Plan, ...]]] = (  # the first one mostly good: a tree that does not start shows little
    *[()] * 20,
    *[(plan,) for plan in (*USUALS[::4], *BADS[::16])],
    *[(Plan(), plan) for plan in (*USUALS[::4], *BADS[::2])],
)


RESTARTS: Final = (Restart.PERMANENT, Restart.TRANSIENT, Restart.PERMANENT, Restart.TEMPORARY)
SHUTDOWNS: Final = (5.0, BRUTAL, 2.0, INFINITY)


@st.composite
def workers(draw: st.DrawFn, name: str, parent: AutoShutdown) -> Worker:
    restart = draw(st.sampled_from(RESTARTS))
    return Worker(
        name,
        restart=restart,
        significant=_may_be_significant(restart, parent) and draw(st.booleans()),
        shutdown_s=draw(st.sampled_from(SHUTDOWNS)),
        backoff=draw(st.sampled_from((*[None] * 8, *BACKOFFS))),
        lives=draw(st.sampled_from(LIVES)),
        usual=draw(st.sampled_from(USUALS)),
        capacity=draw(st.sampled_from([0, 2])),
    )


def _may_be_significant(restart: Restart, parent: AutoShutdown) -> bool:
    return restart is not Restart.PERMANENT and parent is not AutoShutdown.NEVER


@st.composite
def trees(draw: st.DrawFn, name: str = "root", depth: int = 1, parent: AutoShutdown = AutoShutdown.NEVER) -> Group:
    strategy = draw(st.sampled_from(Strategy))
    dynamic = strategy is Strategy.SIMPLE_ONE_FOR_ONE
    auto_shutdown = AutoShutdown.NEVER if dynamic else draw(st.sampled_from((*[AutoShutdown.NEVER] * 6, *AutoShutdown)))
    restart = draw(st.sampled_from(RESTARTS))
    prefix = "" if name == "root" else name
    children: list[Shape] = []
    for number in range(1 if dynamic else draw(st.integers(0, 3) if depth > 1 else st.integers(1, 4))):
        nested = not dynamic and depth < DEEPEST and draw(st.integers(0, 2)) == 2
        deeper: st.SearchStrategy[Shape] = (
            trees(f"{prefix}s{number}", depth + 1, auto_shutdown) if nested else workers(f"{prefix}{'abcd'[number]}", auto_shutdown)
        )
        children.append(draw(deeper))
    return Group(
        name,
        tuple(children),
        () if dynamic else tuple(draw(workers(f"{prefix}{letter}", auto_shutdown)) for letter in "xy"[: draw(st.integers(0, 2))]),
        strategy=strategy,
        max_restarts=draw(st.sampled_from([3, 8, 0, 1, 2, 20])),
        period_s=draw(st.sampled_from([5.0, 1.0, 20.0])),
        max_consecutive=draw(st.sampled_from((*[None] * 12, 3, 2, 1, 0))),
        backoff=draw(st.sampled_from(BACKOFFS)),
        auto_shutdown=auto_shutdown,
        restart=restart,
        significant=_may_be_significant(restart, parent) and draw(st.booleans()),
        shutdown_s=draw(st.sampled_from((*[INFINITY] * 9, *SHUTDOWNS))),
        reached=name == "root" or draw(st.integers(0, 3)) < 3,
    )


INDEX: Final = st.integers(0, 7)
ORDER: Final = st.builds(Order, INDEX, st.sampled_from(USUAL_ENDINGS))
PASS: Final = st.sampled_from([Pass(seconds) for seconds in (0.5, 1.0, 3.0, 10.0)])
STOP: Final = st.builds(Operate, st.just("stop"), INDEX)
ENDS: Final[dict[int, st.SearchStrategy[Command]]] = {
    **dict.fromkeys((25, 26, 27), STOP),
    28: st.builds(Order, INDEX, st.sampled_from(LAST_ENDINGS)),
    29: st.just(Cancel()),
}
"""What may end everything comes seldom, or no example would live long."""
COMMANDS: Final[st.SearchStrategy[Command]] = st.one_of(
    ORDER,
    PASS,
    st.builds(Operate, st.sampled_from(["terminate", "restart", "start", "delete"]), INDEX, INDEX),
    st.builds(Next, INDEX, st.sampled_from(BADS)),
    ORDER,
    PASS,
    ORDER,
    st.builds(Operate, st.sampled_from(["terminate", "restart", "start"]), INDEX, INDEX),
    st.one_of(st.builds(Edge, INDEX, st.booleans()), st.builds(Ripen, INDEX, st.booleans())),
    st.builds(Post, st.sampled_from(["send", "send", "take", "done"]), INDEX, st.integers(1, 3)),
    st.integers(0, 29).flatmap(lambda chance: ENDS.get(chance, ORDER)),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any tree with any commands; durations already set apart."""
    commands = draw(st.lists(st.lists(COMMANDS, max_size=8), max_size=8))  # twice, or few examples would be long
    return set_apart(Case(draw(trees()), tuple(itertools.chain(*commands)), draw(st.integers(0, 2**16))))


FEW: Final = st.integers(0, 2)
RACERS: Final[st.SearchStrategy[Order | Operate]] = st.one_of(
    st.builds(Order, FEW, st.sampled_from(USUAL_ENDINGS)),
    st.builds(Operate, st.sampled_from(["terminate", "restart"]), st.just(0), FEW),
    st.builds(Operate, st.sampled_from(["terminate", "restart", "start", "delete"]), INDEX, INDEX),
    st.builds(Order, FEW, st.sampled_from((*USUAL_ENDINGS, *LAST_ENDINGS))),
    STOP,
)
"""What may meet another command in one instant."""
BEFORE_A_RACE: Final[st.SearchStrategy[Command]] = st.one_of(
    st.builds(Order, FEW, st.just(CRASH)),
    st.builds(Operate, st.sampled_from(["terminate", "terminate", "restart", "start"]), st.just(0), FEW),
    st.builds(Next, FEW, st.sampled_from((*USUALS, *BADS))),
    PASS,
)


@st.composite
def races(draw: st.DrawFn) -> tuple[Case, tuple[Order | Operate, Order | Operate]]:
    """Any case, or oftener one that is small enough for two commands to be about the same child; and two commands."""
    both = draw(st.tuples(RACERS, RACERS))
    if draw(st.integers(0, 3)) == 3:
        return draw(cases()), both
    children = tuple(draw(workers("abc"[number], AutoShutdown.NEVER)) for number in range(draw(st.integers(1, 3))))
    tree = Group(
        "root",
        children,
        (draw(workers("x", AutoShutdown.NEVER)),),
        strategy=draw(st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])),
        max_restarts=draw(st.sampled_from([20, 1])),
        backoff=draw(st.sampled_from(BACKOFFS)),
    )
    return set_apart(Case(tree, tuple(draw(st.lists(BEFORE_A_RACE, max_size=5))), draw(st.integers(0, 2**16)))), both


def set_apart(case: Case) -> Case:
    """The same case with no two durations alike."""
    made = 0

    def apart(value: Any) -> Any:
        nonlocal made
        if isinstance(value, tuple):
            return tuple(map(apart, value))
        if isinstance(value, Backoff) or not attrs.has(type(value)):
            return value
        changed: dict[str, Any] = {}
        for field in attrs.fields(type(value)):
            old = getattr(value, field.name)
            if isinstance(old, float):
                if field.name not in ("period_s", "capacity") and 0 < old < math.inf:
                    made += 1
                    changed[field.name] = old + (made * PRIME % 2**16) * STEP_S
            elif isinstance(old, tuple) or attrs.has(type(old)):
                changed[field.name] = apart(old)
        return attrs.evolve(value, **changed) if changed else value

    apart_case: Case = apart(case)
    return apart_case
