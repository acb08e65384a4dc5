"""Reconfiguring again and again (B9): what could not be done is told, the rest holds, and the next call goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, Life, after, fail_to_start, obey, start_slowly, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import Changes, ChildSpec, ChildState, Restart, Strategy, SupervisorSpec


def made(world: Sim, name: str, version: object, *script: Any, **spec: Any) -> ChildSpec:
    return world.child(name, *script, made_from=version, **spec)


def versions(world: Sim, **each: int) -> SupervisorSpec:
    return root(*(made(world, name, version) for name, version in each.items()))


async def hold_the_door(life: Life) -> None:
    """Stuck for an hour."""
    await tidy_up(3600)(life)


# -- a half applied one ---------------------------------------------------------------------------


@case("B9")
@seeds(200)
async def test_a_new_child_that_failed_to_start_is_tried_again_the_next_time(world: Sim) -> None:
    script = (fail_to_start(Boom()), obey)
    async with world.running(versions(world, a=1)) as sup:
        first = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 1, *script)))
        second = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 1, *script)))
        third = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 1, *script)))

        assert ("root/b",) == tuple(path for path, _ in first.failed)
        assert Changes(started=("root/b",)) == second
        assert not third
        assert {"b": ChildState.RUNNING, "a": ChildState.RUNNING} == states(sup)


@case("B9")
@seeds(200)
async def test_a_failure_in_one_branch_keeps_no_other_branch_from_changing(world: Sim) -> None:
    def spec(version: int, *more: ChildSpec) -> SupervisorSpec:
        return root(SupervisorSpec("s", [made(world, "x", version), *more]), SupervisorSpec("t", [made(world, "y", version)]))

    async with world.running(spec(1)) as sup:
        changes = await sup.reconfigure(spec(2, made(world, "z", 1, fail_to_start(Boom()))))

        assert ("root/s/x", "root/t/y") == changes.restarted
        assert ["root/s/z"] == [path for path, _ in changes.failed]


# -- those that are not there ---------------------------------------------------------------------


@case("B9")
@seeds(200)
async def test_a_temporary_child_that_has_ended_does_not_come_back_unless_it_is_another(world: Sim) -> None:
    def spec(version: int) -> SupervisorSpec:
        return root(made(world, "a", 1), made(world, "job", version, after(1), restart=Restart.TEMPORARY))

    async with world.running(spec(1)) as sup:
        await trio.sleep(2)
        same, other = await sup.reconfigure(spec(1)), await sup.reconfigure(spec(2))

        assert not same
        assert ("root/job",) == other.started
        assert 2 == world.starts("job")


@case("B9")
@seeds(200)
async def test_a_child_an_operator_deleted_stays_away(world: Sim) -> None:
    async with world.running(versions(world, a=1, b=1)) as sup:
        await sup.terminate_child("b")
        await sup.delete_child("b")

        assert not await sup.reconfigure(versions(world, a=1, b=1))
        assert {"a": ChildState.RUNNING} == states(sup)


@case("B9")
@seeds(200)
@pytest.mark.parametrize(("version", "starts"), [(1, 1), (2, 2)])
async def test_a_child_added_by_hand_that_the_spec_names_now_is_taken_over_and_never_doubled(world: Sim, version: int, starts: int) -> None:
    async with world.running(versions(world, a=1)) as sup:
        await sup.start_child(made(world, "b", 1))
        changes = await sup.reconfigure(versions(world, a=1, b=version))

        assert ("root/b",) * (starts - 1) == changes.restarted
        assert starts == world.starts("b")
        assert ["b"] == [name for name in world.alive() if name == "b"]
        assert ("root/b",) == (await sup.reconfigure(versions(world, a=1))).stopped


# -- those that will not go -----------------------------------------------------------------------


@case("B9")
@seeds(200)
async def test_a_removed_child_that_is_stuck_is_told_of_and_when_it_is_wanted_again_it_waits_for_its_old_self(world: Sim) -> None:
    async with world.running(root(made(world, "a", 1), made(world, "b", 1, hold_the_door, obey, shutdown_s=2))) as sup:
        removed = await sup.reconfigure(versions(world, a=1))
        wanted = await sup.reconfigure(root(made(world, "a", 1), made(world, "b", 2, hold_the_door, obey)))

        assert Changes(stuck=("root/b",)) == removed == wanted
        assert ChildState.STUCK is states(sup)["b"]
        assert 1 == world.starts("b")

        await trio.sleep(4000)

        assert ChildState.RUNNING is states(sup)["b"]
        assert ["down b", "start b"] == world.words("down", "start")[-2:]


@case("B9")
@seeds(200)
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_replaced_child_that_is_stuck_holds_up_no_reload_and_is_replaced_when_it_goes(world: Sim, strategy: Strategy) -> None:
    def spec(version: int) -> SupervisorSpec:
        stuck = made(world, "a", version, hold_the_door, obey, shutdown_s=2)
        return root(stuck, made(world, "b", version), strategy=strategy)

    async with world.running(spec(1)) as sup:
        changes = await sup.reconfigure(spec(2))

        assert 2 <= trio.current_time() < 5
        assert ("root/a",) == changes.stuck
        assert 1 == world.starts("a")

        await trio.sleep(4000)

        assert {"a": ChildState.RUNNING, "b": ChildState.RUNNING} == states(sup)
        assert (2, 2) == (world.starts("a"), world.starts("b"))


# -- supervisors that are not up ------------------------------------------------------------------


def nested(world: Sim, version: int, *script: Any, more: tuple[ChildSpec, ...] = ()) -> SupervisorSpec:
    """``s`` is given up on at its first crash, and needs its child's start to be up again."""
    inner = SupervisorSpec("s", [made(world, "x", version, *script), made(world, "y", 1), *more], max_restarts=0)
    return root(made(world, "a", version), inner, max_restarts=5, period_s=1)


@case("B9")
@seeds(200)
async def test_a_supervisor_that_is_starting_again_is_changed_when_it_is_up(world: Sim) -> None:
    script = (obey, start_slowly(10))
    async with world.running(nested(world, 1, *script)) as sup:
        await world.end_and_settle("x", Boom())
        await trio.sleep(5)
        changes = await sup.reconfigure(nested(world, 2, *script, more=(made(world, "z", 1),)))

        assert 20 == trio.current_time()  # the old one was up at 10, the new one ten seconds later
        assert ("root/a", "root/s/x") == changes.restarted
        assert ("root/s/z",) == changes.started
        assert 3 == world.starts("x")
        assert {"a", "x", "y", "z"} == set(world.alive())


@case("B9")
@seeds(200)
async def test_a_supervisor_that_is_being_restarted_comes_back_as_the_new_spec_says(world: Sim) -> None:
    def spec(version: int) -> SupervisorSpec:
        return nested(world, version, tidy_up(3))

    async with world.running(spec(1)) as sup:
        world.end("y", Boom())
        await trio.sleep(1)
        await sup.reconfigure(root(made(world, "a", 2), SupervisorSpec("s", [made(world, "w", 1)]), max_restarts=5, period_s=1))
        await trio.sleep(10)

        assert {"a", "w"} == set(world.alive())
        assert (1, 2) == (world.starts("x"), world.starts("a"))


@case("B9")
@seeds(200)
async def test_a_pool_goes_on_when_its_template_was_made_from_the_same(world: Sim) -> None:
    def spec(version: int) -> SupervisorSpec:
        pool = SupervisorSpec("pool", [made(world, "one", version)], strategy=Strategy.SIMPLE_ONE_FOR_ONE)
        return root(made(world, "a", 1), pool)

    async with world.running(spec(1)) as sup:
        assert not await sup.reconfigure(spec(1))
        assert ("root/pool",) == (await sup.reconfigure(spec(2))).restarted


# -- several at once ------------------------------------------------------------------------------


@case("B9")
@seeds(200)
async def test_two_calls_at_once_are_carried_out_one_after_another_and_the_last_one_holds(world: Sim) -> None:
    async with world.running(versions(world, a=1, b=1)) as sup:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sup.reconfigure, versions(world, a=2, c=1))
            nursery.start_soon(sup.reconfigure, versions(world, a=2, c=1, d=1))
        await sup.reconfigure(versions(world, a=3, d=1))

        assert {"a", "d"} == set(world.alive())
        assert {"a", "d"} == set(states(sup))
        assert (3, 1) == (world.starts("a"), world.starts("c"))
