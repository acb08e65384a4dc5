"""Cancellation from outside, at any moment, and determinism (B7, B8, D4)."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, note, reject, settings

from support.cases import case
from support.model_draw import cases
from support.model_machine import Tie
from support.model_play import script
from support.model_real import perform
from support.model_shapes import Case, Operate
from support.replay import SCENARIOS
from support.script import read
from support.script_play import play
from support.sim import cancellations, seeds, sim
from support.sim_children import Boom, after, fail_to_start, hang_in_start, obey, start_slowly, swallow_cancel, tidy_up, trap
from support.sim_order import Ranks, out_of_order, ranks_of_case, ranks_of_scenario
from support.sim_world import Sim, Tree, root, states
from support.timeline import timeline
from tars.supervisor import (
    NO_BACKOFF,
    Backoff,
    ChildExited,
    ChildStarted,
    ChildState,
    ChildStuck,
    ExitKind,
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


# -- B7, at any step of anything ------------------------------------------------------------------
# Every case under `@seeds` is cancelled so, too. What the simulation checks of every run, it checks of these: no task and no
# channel left, no second incarnation, and a Cancelled that came out of the tree. What follows adds the order.


def assert_cancelled_in_order(worlds: Iterable[Sim], ranks: Ranks) -> None:
    """Cancelled while the tree ran, every life was reported to its end, siblings in the reverse of their start order."""
    for world in worlds:
        late = list(out_of_order(*world.around_cancellation(), ranks))

        assert [] == late, "\n".join(timeline(world.trace))


@case("B7")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_cancelled_at_any_step_of_a_busy_life_it_ends_in_order(strategy: Strategy) -> None:
    """Every task step, one run for each, another seed each time."""
    ranks = {f"root/{name}": rank for name, rank in {"a": 0, "s": 1, "c": 3, "d": 4, "f": 5}.items()} | {"root/s/x": 0, "root/s/y": 1}
    worlds = cancellations(functools.partial(everything, strategy=strategy), math.inf)

    assert_cancelled_in_order(worlds, ranks)
    for world in worlds:
        assert_ended_in_order(world)
    assert len(worlds) > 50
    assert sum(bool(world.cancelled) for world in worlds) > len(worlds) * 0.9


@case("B7")
@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_cancelled_at_any_step_of_any_scenario_it_ends_in_order(path: Path) -> None:
    """Every step, three times, each time under another seed."""
    scenario = read(path)
    worlds = [
        world for after in (0, 1000, 2000) for world in cancellations(lambda world: play(world, scenario), math.inf, after_seed=after)
    ]

    assert_cancelled_in_order(worlds, ranks_of_scenario(scenario))
    assert any(world.cancelled for world in worlds)


EXAMPLES = os.environ.get("MODEL_EXAMPLES")


@case("B7")
@given(cases())
@settings(
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    derandomize=EXAMPLES is None,
    database=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)
def test_cancelled_at_any_step_of_any_tree_it_ends_in_order(case: Case) -> None:
    """Trees and commands as the model check draws them; up to forty steps of each."""
    try:
        steps = script(case)
    except Tie:
        reject()
    note(repr(case))
    ranks = ranks_of_case(case, [(step.act, step.path, step.child) for step in steps if isinstance(step.act, Operate)])

    assert_cancelled_in_order(cancellations(lambda world: perform(world, case, steps), after_seed=case.seed), ranks)


@pytest.mark.parametrize(
    ("gone", "late"),
    [
        (["c", "b", "a"], 0),
        (["c", "a", "b"], 1),
        (["a", "c", "b"], 2),
        (["b", "stopped", "c"], 0),  # a stop, and the next
        (["b", "a started", "c"], 0),
        (["b", "c stuck", "c", "a"], 0),
        (["b", "c stuck", "c", "a", "b"], 1),
    ],
)
def test_who_goes_too_late_is_seen(gone: list[str], late: int) -> None:
    ranks = {"root/a": 0, "root/b": 1, "root/c": 2}
    what: dict[str, object] = {
        **{name: ChildExited(f"root/{name}", 1, ExitKind.SHUTDOWN, None, 1.0, in_start=False, asked=True) for name in "abc"},
        "stopped": SupervisorStopped("root", "shutdown", 0.0),
        "a started": ChildStarted("root/a", 2, 0.0),
        "c stuck": ChildStuck("root/c", 1, 1.0, ""),
    }
    told = [*map(what.__getitem__, gone), what["stopped"]]

    assert late == len(list(out_of_order((), told, ranks)))


def test_a_tree_that_keeps_a_cancellation_to_itself_is_seen() -> None:
    """The check can fail: here the call that runs the tree swallows what comes out of it."""

    async def swallow(world: Sim) -> None:
        world.trees.append(Tree("root"))
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep(10)
        world.trees[0].out = []

    with pytest.raises(AssertionError, match="root was cancelled from outside, and out of it came"):
        sim(0, swallow, cancel_at_step=1)


@case("B8")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_life_a_hundred_times(strategy: Strategy) -> None:
    scenario = functools.partial(everything, strategy=strategy)
    traces = {tuple(sim(11, scenario).render()) for _ in range(100)}

    assert len(traces) == 1


@case("O4", "B7")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_no_interleaving_leaves_anything_behind(world: Sim, strategy: Strategy) -> None:
    await everything(world, strategy)

    assert_ended_in_order(world)


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
