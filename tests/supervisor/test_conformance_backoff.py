"""Backoff in the tree: the delay that is logged is the one that is waited, and nobody gets lost in it (B1, B2, B3, D6, D7)."""

from __future__ import annotations

import math

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, after, decline, fail_to_start, obey
from support.sim_world import Sim, root, states
from tars.supervisor import (
    Backoff,
    ChildExited,
    ChildState,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    StartFailed,
    Stop,
    Strategy,
    Supervisor,
    Unavailable,
)

STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
PLAIN = Backoff(initial_s=1, max_s=8, factor=2, jitter=0, stable_s=100)


@case("B1")
@seeds(200)
async def test_delays_double_up_to_the_cap(world: Sim) -> None:
    """With no jitter exactly base, 2 base, ..., cap."""
    async with world.running(root(world.child("a", *[after(0, Boom())] * 6, obey), max_restarts=100, backoff=PLAIN)):
        await trio.sleep(1000)

        assert [event.delay_s for event in world.events(RestartScheduled)] == [1, 2, 4, 8, 8, 8]
        assert [event.attempt for event in world.events(RestartScheduled)] == [1, 2, 3, 4, 5, 6]
        assert world.times("start", "a") == [0, 1, 3, 7, 15, 23, 31]


@case("B1")
@pytest.mark.parametrize("ending", [Boom(), Unavailable("x")], ids=["crash", "Unavailable"])
@seeds(200)
async def test_the_delay_that_is_told_is_the_delay_that_is_waited(world: Sim, ending: Exception) -> None:
    """See prefect#22979."""
    backoff = Backoff(initial_s=1, max_s=5, factor=3, jitter=0.5, stable_s=1000)
    async with world.running(
        root(world.child("a", *[after(1, ending), fail_to_start(ending, 2)] * 5, obey), max_restarts=100, backoff=backoff)
    ):
        await trio.sleep(1000)

        told = [event.delay_s for event in world.events(RestartScheduled)]
        waited = [start - end for end, start in zip(world.times("down", "a"), world.times("start", "a")[1:], strict=True)]
        assert len(told) == 10
        assert waited == pytest.approx(told)
        for attempt, delay_s in enumerate(told):
            ceiling_s = min(5, 3**attempt)
            assert ceiling_s * 0.5 <= delay_s <= ceiling_s


@case("B1")
@seeds(200)
async def test_two_children_that_fail_together_do_not_come_back_together(world: Sim) -> None:
    async with world.running(root(world.child("a"), world.child("b"), backoff=Backoff(initial_s=10, max_s=10))):
        world.end("a", Boom())
        world.end("b", Boom())
        await trio.sleep(100)

        first, second = (event.delay_s for event in world.events(RestartScheduled))
        assert first != second


@case("B1")
@seeds(200)
async def test_a_childs_own_backoff_wins_over_its_supervisors(world: Sim) -> None:
    children = world.child("a", backoff=Backoff(initial_s=7, max_s=7, jitter=0)), world.child("b")
    async with world.running(root(*children, backoff=PLAIN)):
        await world.end_and_settle("a", Boom())
        await world.end_and_settle("b", Boom())

        assert [event.delay_s for event in world.events(RestartScheduled)] == [7, 1]


@case("B3")
@pytest.mark.parametrize(("ran_s", "delays"), [(99.5, [1, 2, 4]), (100.0, [1, 1, 1])])
@seeds(200)
async def test_only_a_stable_run_starts_the_delays_over(world: Sim, ran_s: float, delays: list[float]) -> None:
    async with world.running(root(world.child("a", *[after(ran_s, Boom())] * 3, obey), max_restarts=100, backoff=PLAIN)):
        await trio.sleep(1000)

        assert [event.delay_s for event in world.events(RestartScheduled)] == delays


@case("B3")
@seeds(200)
async def test_time_spent_in_a_failing_start_is_no_stable_run(world: Sim) -> None:
    """Only a run counts, and a run begins with started()."""
    async with world.running(
        root(world.child("a", after(0, Boom()), *[fail_to_start(Boom(), 500)] * 3, obey), max_restarts=100, backoff=PLAIN)
    ):
        await trio.sleep(10_000)

        assert [event.delay_s for event in world.events(RestartScheduled)] == [1, 2, 4, 8]


@case("B3")
@seeds(200)
async def test_an_operators_start_begins_the_delays_anew(world: Sim) -> None:
    async with world.running(root(world.child("a", *[after(0, Boom())] * 3, obey), max_restarts=100, backoff=PLAIN)) as sup:
        await trio.sleep(5)
        await sup.terminate_child("a")
        await sup.restart_child("a")
        await world.end_and_settle("a", Boom())

        assert [event.delay_s for event in world.events(RestartScheduled)] == [1, 2, 4, 1]


@case("B2")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_a_child_whose_first_delayed_restart_fails_is_tried_again(world: Sim, strategy: Strategy) -> None:
    """In rabbitmq-common#201 it was lost for ever."""
    script: list[Behaviour] = [obey, fail_to_start(Boom()), fail_to_start(Unavailable("x")), obey]
    async with world.running(root(world.child("a"), world.child("b", *script), strategy=strategy, backoff=PLAIN)) as sup:
        world.end("b", Boom())
        await trio.sleep(100)

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}
        assert world.starts("b") == 4


def trouble(world: Sim) -> list[Behaviour]:
    """Up to eight incarnations of bad luck, then a good one."""
    kinds: list[Behaviour] = [
        after(world.random.uniform(0, 5), Boom()),
        after(world.random.uniform(0, 5), Unavailable("x")),
        after(0, Stop("again")),
        after(0.5),
        fail_to_start(Boom(), world.random.choice([0, 1])),
        fail_to_start(Unavailable("x", retry_after_s=3)),
    ]
    return [obey, *world.random.choices(kinds, k=world.random.randint(0, 8)), obey]


@case("B2")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_no_sequence_of_failures_loses_a_child(world: Sim, strategy: Strategy) -> None:
    """Running, in backoff with a live timer, given up, or stopped by API: no fifth state."""
    names = "abcd"
    spec = root(*(world.child(name, *trouble(world)) for name in names), strategy=strategy, max_restarts=10_000, backoff=PLAIN)
    held: set[str] = set()
    async with world.running(spec) as sup:
        for _ in range(12):
            name = world.random.choice(names)
            match world.random.choice(["crash", "wait", "hold", "release"]):
                case "crash" if name in world.alive():
                    world.end(name, Boom())
                case "hold":
                    await sup.terminate_child(name)
                    held.add(name)
                case "release" if name in held:
                    try:
                        await sup.restart_child(name)
                        held.remove(name)
                    except StartFailed:
                        await sup.terminate_child(name)
                case _:
                    pass
            await trio.sleep(world.random.choice([0, 0.5, 3, 20]))
            for child in sup.which_children():
                if child.id in held:
                    assert child.state is ChildState.STOPPED
                if child.state is ChildState.BACKOFF and strategy is Strategy.ONE_FOR_ONE:
                    assert child.due_in_s is not None
                    assert child.due_in_s <= 8
        await trio.sleep(1000)

        assert {name: ChildState.STOPPED if name in held else ChildState.RUNNING for name in names} == states(sup)


@case("O2")
@seeds(200)
async def test_a_restart_that_declines_ends_the_retries(world: Sim) -> None:
    async with world.running(root(world.child("a", obey, decline), restart=Restart.PERMANENT)) as sup:
        await world.end_and_settle("a", Boom())
        await trio.sleep(100)

        assert states(sup) == {"a": ChildState.STOPPED}
        assert len(world.events(RestartScheduled)) == 1
        assert len(world.events(ChildExited)) == 2


@case("D7", "A14")
@seeds(200)
async def test_an_operators_start_begins_the_count_of_consecutive_failures_anew(world: Sim) -> None:
    async def fail(sup: Supervisor) -> None:
        for _ in range(3):
            for _ in range(2):
                await world.end_and_settle("a", Boom())
            await sup.terminate_child("a")
            await sup.restart_child("a")
        world.note("three")
        for _ in range(3):
            await world.end_and_settle("a", Boom())

    found = await world.outcome(root(world.child("a"), max_restarts=100, max_consecutive=2), fail)

    assert [RestartIntensityExceeded] == [type(error) for error in found]
    assert ["three"] == world.words("three")
    assert 1 + 3 * 3 + 2 == world.starts("a")


@case("D6")
@pytest.mark.parametrize(
    ("asked", "delay_s"),
    [([3, 7, None], 7), ([7, None, 3], 7), ([0.25, 0.5], 0.5), ([None, 0.25], 0.25), ([-3, 2, math.nan], 2), ([None, None], 1)],
)
@seeds(200)
async def test_of_several_that_say_when_to_come_back_the_latest_counts(world: Sim, asked: list[float | None], delay_s: float) -> None:
    """Who does not say, or says nothing that makes sense, is not asked; where nobody says, the child's backoff does."""
    missing = ExceptionGroup("all", [Unavailable("x", retry_after_s=seconds) for seconds in asked[1:]])
    both = ExceptionGroup("more", [Unavailable("y", retry_after_s=asked[0]), missing])
    async with world.running(root(world.child("a", after(0, both), obey), backoff=PLAIN)):
        await trio.sleep(100)

        assert [0, delay_s] == world.times("start", "a")
        assert [delay_s] == [event.delay_s for event in world.events(RestartScheduled)]


@case("A6", "D6", "O4")
@seeds(200)
async def test_what_is_reported_as_used_is_what_still_lies_in_the_window(world: Sim) -> None:
    """Also by an ending that costs nothing itself."""
    script = [after(1, Boom()), after(1, Boom()), after(1, Unavailable("x")), after(4, Unavailable("x")), after(1, Unavailable("x"))]
    async with world.running(root(world.child("a", *script, after(1, Boom()), obey), max_restarts=5, period_s=5)):
        await trio.sleep(100)

        assert [1, 2, 3, 7, 8, 9] == world.times("down", "a")
        assert [1, 2, 2, 1, 0, 1] == [event.used for event in world.events(RestartScheduled)]
