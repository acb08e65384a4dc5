"""Cancellation from outside, at any moment, and determinism (B7, B8, D4)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable

import pytest
import trio

from support.cases import case
from support.sim import seeds, sim
from support.sim_children import Boom, after, fail_to_start, hang_in_start, obey, start_slowly, swallow_cancel, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    NO_BACKOFF,
    Backoff,
    ChildExited,
    ChildState,
    Refused,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
    Strategy,
    SupervisorSpec,
    SupervisorStopped,
)

SLOW = Backoff(initial_s=2, max_s=4, jitter=0.5)


@case("B7", "D4")
@seeds(200)
async def test_cancelled_from_outside_it_stops_in_reverse_order_and_lets_the_cancellation_through(world: Sim) -> None:
    inner = SupervisorSpec("s", [world.child("b", tidy_up(1)), world.child("c", tidy_up(2))])
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a", tidy_up(1)), inner, world.child("d", tidy_up(3))))
            await trio.sleep(10)
            scope.cancel()

    assert scope.cancelled_caught
    assert world.words("down") == ["down d", "down c", "down b", "down a"]
    assert [world.times("asked", name) for name in "dcba"] == [[10], [13], [15], [16]]
    assert trio.current_time() == 17
    assert [event.path for event in world.events(SupervisorStopped)] == ["root/s", "root"]


@case("B7")
@seeds(200)
async def test_cancelled_from_outside_it_does_not_wait_for_a_child_to_answer(world: Sim) -> None:
    """A hard stop: children that trap exits are cancelled without being given their grace."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a", trap(1000), shutdown_s=500), world.child("b", trap(1000), shutdown_s=500)))
            scope.cancel()

    assert scope.cancelled_caught
    assert world.words("down") == ["down b", "down a"]
    assert trio.current_time() == 0


@case("B7")
@seeds(200)
async def test_cancelled_in_the_middle_of_a_stop_it_hurries(world: Sim) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            sup = await world.start(
                nursery, root(world.child("a", trap(1000), shutdown_s=500), world.child("b", trap(1000), shutdown_s=500))
            )
            nursery.start_soon(sup.stop)
            await trio.sleep(5)
            scope.cancel()

    assert world.words("down") == ["down b", "down a"]
    assert trio.current_time() == 5


@case("A1", "B7")
@seeds(200)
async def test_cancelled_while_starting_it_stops_what_is_up_and_starts_nothing_more(world: Sim) -> None:
    with trio.move_on_after(5) as scope:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a", tidy_up(1)), world.child("b", hang_in_start), world.child("c")))

    assert scope.cancelled_caught
    assert world.words("down") == ["down b", "down a"]
    assert world.starts("c") == 0


@case("D4")
@seeds(200)
async def test_a_swallowed_cancellation_does_not_stop_the_stop(world: Sim) -> None:
    """Outer cancellation goes through even when a child eats its own."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a", swallow_cancel), world.child("b", tidy_up(0))))
            scope.cancel()

    assert scope.cancelled_caught
    assert world.words("down") == ["down b", "down a"]
    assert (world.starts("a"), world.starts("b")) == (1, 1)


@case("A7")
@seeds(200)
async def test_a_real_failure_is_not_hidden_by_the_cancellation_it_causes(world: Sim) -> None:
    """Giving up inside a program's own nursery: the error, and nothing but the error, comes out."""
    with pytest.RaisesGroup(RestartIntensityExceeded):
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a"), world.child("b", tidy_up(1)), max_restarts=0))
            nursery.start_soon(trio.sleep_forever)
            world.end("a", Boom())


async def everything(world: Sim, strategy: Strategy) -> None:
    """A busy life: slow starts, failures, backoffs, group restarts, operators, a nested supervisor, a stop."""
    nested = SupervisorSpec("s", [world.child("x", after(1, Boom()), tidy_up(0.5)), world.child("y", tidy_up(1))], backoff=NO_BACKOFF)
    spec = root(
        world.child("a", after(2, Boom()), tidy_up(1)),
        nested,
        world.child("b", trap(0.5), fail_to_start(Boom()), trap(2)),
        world.child("c", start_slowly(0.5), restart=Restart.TRANSIENT),
        world.child("d", swallow_cancel, restart=Restart.TEMPORARY),
        strategy=strategy,
        backoff=SLOW,
        max_restarts=50,
    )
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, spec)
        for act in (
            lambda: sup.start_child(world.child("e", tidy_up(1))),
            lambda: sup.terminate_child("b"),
            lambda: sup.restart_child("b"),
            lambda: sup.start_child(world.child("f", fail_to_start(Boom()))),
            lambda: sup.terminate_child("e"),
            lambda: sup.delete_child("e"),
        ):
            await trio.sleep(0.7)
            await answered(act)
        await trio.sleep(5)
        await sup.stop()


async def answered(act: Callable[[], Awaitable[object]]) -> None:
    with contextlib.suppress(Refused, StartFailed):
        await act()


STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


def assert_ended_in_order(world: Sim) -> None:
    """Every life that began was reported to its end, once, and the supervisor was the last to go."""
    assert world.alive() == []
    exits = [event.path.split("/")[-1] for event in world.events(ChildExited)]
    assert sorted(life.name for life in world.lives) == sorted(name for name in exits if name != "s")
    ends = [event.path for event in world.events(SupervisorStopped)]
    assert ends[-1:] == ["root"] * bool(ends)


@case("B7")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_cancelled_at_any_step_nothing_is_left_and_the_cancellation_comes_through(strategy: Strategy) -> None:
    """Every task step of a busy life, one run for each."""
    scenario = functools.partial(everything, strategy=strategy)
    for seed in range(7):
        for step in range(1 + seed, sim(seed, scenario).steps + 1, 7):
            world = sim(seed, scenario, cancel_at_step=step)

            assert world.outer.cancel_called
            assert_ended_in_order(world)


@case("B8")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_life_a_hundred_times(strategy: Strategy) -> None:
    scenario = functools.partial(everything, strategy=strategy)
    traces = {tuple(sim(11, scenario).render()) for _ in range(100)}

    assert len(traces) == 1


@case("O4", "B7")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_interleaving_leaves_anything_behind(strategy: Strategy) -> None:
    scenario = functools.partial(everything, strategy=strategy)
    for seed in range(200):
        assert_ended_in_order(sim(seed, scenario))


@case("B7")
@seeds(200)
async def test_cleanups_run_in_reverse_order_whenever_the_cancellation_comes(world: Sim) -> None:
    """At a random moment of a tree under restarts, those that are up go in reverse start order."""
    names = "abcde"
    spec = root(*(world.child(name, obey, tidy_up(1)) for name in names), strategy=Strategy.REST_FOR_ONE, backoff=SLOW, max_restarts=100)
    cancelled_at = world.random.uniform(0, 12)
    with trio.move_on_at(cancelled_at):
        async with trio.open_nursery() as nursery:
            sup = await world.start(nursery, spec)
            while True:
                running = [name for name, state in states(sup).items() if state is ChildState.RUNNING]
                if running:
                    world.end(world.random.choice(running), Boom())
                await trio.sleep(2.5)

    stopped = [what[1] for time, what in world.trace if isinstance(what, tuple) and what[0] == "down" and time >= cancelled_at]
    assert world.alive() == []
    assert sorted(stopped, reverse=True) == stopped
