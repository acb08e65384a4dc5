"""Hot change of a running tree (B9): only what changed restarts."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, decline, fail_to_start, obey, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    ActorStopped,
    Backoff,
    ChildSpec,
    ChildState,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    SpecError,
    StartFailed,
    Strategy,
    SupervisorSpec,
)
from tars.supervisor.reconfigure import difference

SLOW = Backoff(initial_s=60, max_s=60, jitter=0)


def made(world: Sim, name: str, version: object, *script: Any, **spec: Any) -> ChildSpec:
    return world.child(name, *script, made_from=version, **spec)


# -- the pure half --------------------------------------------------------------------------------


async def nothing(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()


async def something(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        (ChildSpec("a", nothing), ChildSpec("a", nothing), False),
        (ChildSpec("a", nothing), ChildSpec("a", something), True),
        (ChildSpec("a", nothing, made_from=1), ChildSpec("a", something, made_from=1), False),
        (ChildSpec("a", nothing, made_from=1), ChildSpec("a", nothing, made_from=2), True),
        (ChildSpec("a", nothing, made_from=1), ChildSpec("a", nothing), True),
        (ChildSpec("a", nothing), ChildSpec("a", nothing, restart=Restart.TEMPORARY, shutdown_s=1), False),
        (ChildSpec("a", nothing), SupervisorSpec("a", []), True),
        (SupervisorSpec("a", []), SupervisorSpec("a", [], max_restarts=9), False),
        (SupervisorSpec("a", [], made_from=1), SupervisorSpec("a", [ChildSpec("b", nothing)], made_from=1), False),
        (SupervisorSpec("a", [], made_from=1), SupervisorSpec("a", [], made_from=2), True),
        (SupervisorSpec("a", []), SupervisorSpec("a", [], strategy=Strategy.ONE_FOR_ALL), True),
    ],
)
def test_a_child_is_replaced_when_what_it_was_made_from_differs(old: Any, new: Any, *, replaced: bool) -> None:
    found = difference({"a": old}, {"a": new})

    assert (("a",) if replaced else ()) == found.replaced
    assert (() if replaced else ("a",)) == found.kept


# -- on a running tree ------------------------------------------------------------------------------


@case("B9")
@seeds(200)
async def test_a_spec_that_says_the_same_changes_nothing(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1), made(world, "b", 1))) as sup:
        changes = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 1)))

        assert not changes
        assert 1 == world.starts("a") == world.starts("b")


@case("B9")
@seeds(200)
async def test_only_the_child_that_differs_restarts_and_that_costs_nothing(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1), made(world, "b", 1), made(world, "c", 1), max_restarts=0)) as sup:
        changes = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 2), made(world, "c", 1), max_restarts=0))

        assert ("root/b",) == changes.restarted
        assert (1, 2, 1) == (world.starts("a"), world.starts("b"), world.starts("c"))
        assert [] == world.events(RestartScheduled)


@case("B9")
@seeds(200)
async def test_a_removed_child_is_stopped_and_a_new_one_started_in_its_place(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1), made(world, "b", 1, tidy_up(3)), made(world, "d", 1))) as sup:
        changes = await sup.reconfigure(root(made(world, "a", 1), made(world, "c", 1), made(world, "d", 1)))

        assert ("root/b",) == changes.stopped
        assert ("root/c",) == changes.started
        assert ["d", "c", "a"] == list(states(sup))
        assert (1, 1) == (world.starts("a"), world.starts("d"))
        world.forget()
    assert ["cancelled d", "cancelled c", "cancelled a"] == world.words("cancelled")


@case("B9")
@seeds(200)
@pytest.mark.parametrize(("strategy", "restarted"), [(Strategy.ONE_FOR_ALL, "abc"), (Strategy.REST_FOR_ONE, "bc")])
async def test_those_the_strategy_ties_to_it_restart_with_it_in_order(world: Sim, strategy: Strategy, restarted: str) -> None:
    def spec(version: int) -> SupervisorSpec:
        return root(made(world, "a", 1), made(world, "b", version), made(world, "c", 1), strategy=strategy)

    async with world.running(spec(1)) as sup:
        world.forget()
        await sup.reconfigure(spec(2))

        assert [f"down {name}" for name in reversed(restarted)] == world.words("down")
        assert [f"up {name}" for name in restarted] == world.words("up")


@case("B9")
@seeds(200)
async def test_changed_limits_apply_without_a_restart(world: Sim) -> None:
    raised = []
    spec = root(made(world, "a", 1), max_restarts=5, period_s=100)

    async def tighten(sup: Any) -> None:
        await sup.reconfigure(root(made(world, "a", 1), max_restarts=0, period_s=100))
        assert 1 == world.starts("a")
        world.end("a", Boom())

    raised = await world.outcome(spec, tighten)

    assert [RestartIntensityExceeded] == [type(error) for error in raised]


@case("B9")
@seeds(200)
async def test_the_children_of_a_kept_supervisor_are_compared_in_turn(world: Sim) -> None:
    def spec(version: int) -> SupervisorSpec:
        inner = SupervisorSpec("s", [made(world, "x", version), made(world, "y", 1)])
        return root(made(world, "a", 1), inner)

    async with world.running(spec(1)) as sup:
        changes = await sup.reconfigure(spec(2))

        assert ("root/s/x",) == changes.restarted
        assert (1, 2, 1) == (world.starts("a"), world.starts("x"), world.starts("y"))


@case("B9")
@seeds(200)
async def test_a_supervisor_made_from_something_else_starts_nobody_before_all_are_gone(world: Sim) -> None:
    def spec(version: int, names: str) -> SupervisorSpec:
        children = [made(world, name, 1, tidy_up(3)) for name in names]
        return root(made(world, "z", 1), SupervisorSpec("s", children, made_from=version, stops_together=True))

    async with world.running(spec(1, "ab")) as sup:
        world.forget()
        changes = await sup.reconfigure(spec(2, "abc"))

        assert ("root/s",) == changes.restarted
        assert ["down a", "down b"] == sorted(world.words("down"))
        assert ["up a", "up b", "up c"] == world.words("up")
        assert [3] * 3 == [world.times("up", name)[-1] for name in "abc"]
        assert 1 == world.starts("z")


@case("B9")
@seeds(200)
async def test_a_supervisor_whose_strategy_changes_is_replaced_whole(world: Sim) -> None:
    def spec(strategy: Strategy) -> SupervisorSpec:
        return root(made(world, "a", 1), SupervisorSpec("s", [made(world, "x", 1)], strategy=strategy))

    async with world.running(spec(Strategy.ONE_FOR_ONE)) as sup:
        changes = await sup.reconfigure(spec(Strategy.ONE_FOR_ALL))

        assert ("root/s",) == changes.restarted
        assert (1, 2) == (world.starts("a"), world.starts("x"))


@case("B9")
@seeds(200)
async def test_a_replaced_child_in_backoff_comes_back_at_once(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1), backoff=SLOW)) as sup:
        await world.end_and_settle("a", Boom())
        assert ChildState.BACKOFF is states(sup)["a"]
        await sup.reconfigure(root(made(world, "a", 2), backoff=SLOW))

        assert ChildState.RUNNING is states(sup)["a"]
        assert 0 == trio.current_time() - world.times("up", "a")[-1]


@case("B9")
@seeds(200)
async def test_what_an_operator_stopped_stays_down_and_starts_as_the_new_spec_says(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1))) as sup:
        await sup.terminate_child("a")
        await sup.reconfigure(root(made(world, "a", 2)))

        assert ChildState.STOPPED is states(sup)["a"]
        await sup.restart_child("a")
        assert ChildState.RUNNING is states(sup)["a"]


@case("B9")
@seeds(200)
async def test_a_child_added_by_hand_is_left_alone(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1))) as sup:
        await sup.start_child(world.child("hand"))
        await sup.reconfigure(root(made(world, "a", 2)))

        assert {"a", "hand"} == set(states(sup))
        assert 1 == world.starts("hand")


@case("B9")
@seeds(200)
async def test_a_replaced_child_that_fails_to_start_is_retried_under_the_ordinary_rules(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1, obey, fail_to_start(Boom()), obey), backoff=SLOW)) as sup:
        await sup.reconfigure(root(made(world, "a", 2, obey, fail_to_start(Boom()), obey), backoff=SLOW))
        assert ChildState.BACKOFF is states(sup)["a"]
        await trio.sleep(61)

        assert ChildState.RUNNING is states(sup)["a"]


@case("B9")
@seeds(200)
async def test_a_replaced_child_that_declines_is_stopped_and_the_call_returns(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1, obey, decline))) as sup:
        await sup.reconfigure(root(made(world, "a", 2, obey, decline)))

        assert ChildState.STOPPED is states(sup)["a"]


@case("B9")
@seeds(200)
async def test_a_new_child_that_fails_to_start_is_the_callers_to_know_and_the_rest_holds(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1))) as sup:
        changes = await sup.reconfigure(
            root(
                made(world, "a", 1),
                made(world, "b", 1, fail_to_start(Boom())),
                made(world, "c", 1, fail_to_start(Boom())),
                made(world, "d", 1),
            )
        )

        assert ["root/b", "root/c"] == [path for path, _ in changes.failed]
        assert [StartFailed, StartFailed] == [type(failure) for _, failure in changes.failed]
        assert ("root/d",) == changes.started
        assert {"a": ChildState.RUNNING, "d": ChildState.RUNNING} == states(sup)


@case("B9")
@seeds(200)
async def test_the_strategy_of_the_top_cannot_change_and_nothing_else_does_then(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1))) as sup:
        with pytest.raises(SpecError):
            await sup.reconfigure(root(made(world, "a", 2), strategy=Strategy.ONE_FOR_ALL))

        assert 1 == world.starts("a")


@case("B9")
@seeds(200)
async def test_a_stopping_supervisor_cannot_be_reconfigured(world: Sim) -> None:
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, root(made(world, "a", 1)))
        await sup.stop()
        with pytest.raises(ActorStopped):
            await sup.reconfigure(root(made(world, "a", 2)))


@case("B9")
@seeds(200)
async def test_a_stop_in_the_middle_of_a_reconfiguration_ends_both(world: Sim) -> None:
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, root(made(world, "a", 1, tidy_up(10), shutdown_s=20), made(world, "b", 1)))

        async def change() -> None:
            with pytest.raises(ActorStopped):
                await sup.reconfigure(root(made(world, "a", 2, shutdown_s=20), made(world, "b", 1), made(world, "c", 1)))

        nursery.start_soon(change)
        await trio.sleep(world.random.uniform(0, 9))
        await sup.stop()

    assert [] == world.alive()


@case("B9")
@seeds(200)
async def test_a_changed_restart_type_counts_from_the_next_ending_on(world: Sim) -> None:
    """As OTP's code_change: a restart that was due under the old type still takes place."""
    async with world.running(root(made(world, "a", 1, obey), backoff=SLOW)) as sup:
        await world.end_and_settle("a", Boom())
        await sup.reconfigure(root(made(world, "a", 1, obey, restart=Restart.TEMPORARY), backoff=SLOW))
        await trio.sleep(61)

        assert {"a": ChildState.RUNNING} == states(sup)

        await world.end_and_settle("a", Boom())

        assert {} == states(sup)


@case("B9", "A4")
@seeds(200)
async def test_a_group_that_waits_in_its_backoff_comes_back_in_the_new_order(world: Sim) -> None:
    def spec(names: str) -> SupervisorSpec:
        return root(*(made(world, name, 1) for name in names), strategy=Strategy.ONE_FOR_ALL, backoff=SLOW)

    async with world.running(spec("abc")) as sup:
        await world.end_and_settle("b", Boom())
        await sup.reconfigure(spec("cab"))
        world.forget()
        await trio.sleep(61)

        assert ["up c", "up a", "up b"] == world.words("up")
        assert ["b", "a", "c"] == list(states(sup))
        world.forget()
    assert ["down b", "down a", "down c"] == world.words("down")
