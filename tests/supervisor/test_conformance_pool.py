"""Dynamic supervisors: one template, instances at run time, stopped all at once (A9, A12, A14, D8)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, fail_to_start, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    Backoff,
    ChildState,
    Restart,
    RestartIntensityExceeded,
    SpecError,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorSpec,
)

MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


def pool(world: Sim, *script: Behaviour, restart: Restart = Restart.PERMANENT) -> SupervisorSpec:
    return root(world.child("w", *script, restart=restart), strategy=Strategy.SIMPLE_ONE_FOR_ONE)


@case("O5")
@seeds(200)
async def test_a_dynamic_supervisor_starts_empty_and_numbers_its_instances(world: Sim) -> None:
    async with world.running(pool(world)) as sup:
        assert sup.which_children() == ()

        ids = [await sup.start_child("x"), await sup.start_child("y")]

        assert len(set(ids)) == 2
        assert all(child_id.startswith("w:") for child_id in ids)
        assert [child.id for child in sup.which_children()] == ids[::-1]
        assert world.words("up") == ["up w/x", "up w/y"]


@case("O5")
@seeds(200)
async def test_an_instance_is_restarted_with_its_own_arguments(world: Sim) -> None:
    async with world.running(pool(world)) as sup:
        for name in "xyz":
            await sup.start_child(name)
        await world.end_and_settle("w/y", Boom())

        assert [world.starts(f"w/{name}") for name in "xyz"] == [1, 2, 1]
        assert sup.count_children().active == 3


@case("A9")
@seeds(200)
async def test_an_instance_in_backoff_can_be_terminated_and_is_forgotten(world: Sim) -> None:
    """OTP's hanging_restart_loop_simple."""
    spec = root(world.child("w"), strategy=Strategy.SIMPLE_ONE_FOR_ONE, backoff=MINUTE)
    async with world.running(spec) as sup:
        child_id = await sup.start_child("x")
        await world.end_and_settle("w/x", Boom())

        assert states(sup) == {child_id: ChildState.BACKOFF}

        await sup.terminate_child(child_id)
        await trio.sleep(1000)

        assert sup.which_children() == ()
        assert world.starts("w/x") == 1


@case("O5")
@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
@seeds(200)
async def test_a_finished_instance_is_forgotten(world: Sim, restart: Restart) -> None:
    """Memory bound: what has ended and will not return keeps no spec and no arguments."""
    async with world.running(pool(world, restart=restart)) as sup:
        for number in range(20):
            await sup.start_child(str(number))
            await world.end_and_settle(f"w/{number}")

        assert sup.which_children() == ()


@case("A14", "O5")
@seeds(200)
async def test_an_instance_that_cannot_start_is_the_callers_error(world: Sim) -> None:
    async with world.running(pool(world, fail_to_start(Boom("no")))) as sup:
        with pytest.raises(StartFailed):
            await sup.start_child("x")

        assert sup.which_children() == ()


@case("A7", "D8")
@seeds(200)
async def test_instances_share_the_limit_and_giving_up_stops_them_all_at_once(world: Sim) -> None:
    spec = root(world.child("w", tidy_up(2)), strategy=Strategy.SIMPLE_ONE_FOR_ONE, max_restarts=1)

    async def crash(sup: Supervisor) -> None:
        for name in "xyz":
            await sup.start_child(name)
        await world.end_and_settle("w/x", Boom())
        world.end("w/y", Boom())

    (failure,) = await world.outcome(spec, crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert trio.current_time() == 2
    assert world.times("asked", "w/x") == world.times("asked", "w/z") == [0]


@case("A12", "D8")
@seeds(200)
async def test_dynamic_children_stop_all_at_once_under_one_grace(world: Sim) -> None:
    """1 s, 1 s and 5 s with a grace of 2 s take 2 s: not 4, not 5."""

    async def by_argument(life: Life) -> None:
        await trap(float(life.name.split("/")[1]))(life)

    async with world.running(root(world.child("w", by_argument, shutdown_s=2), strategy=Strategy.SIMPLE_ONE_FOR_ONE)) as sup:
        for name in ("1", "1.0", "5"):
            await sup.start_child(name)
        await trio.sleep(10)
        await sup.stop()

        assert trio.current_time() == 12
        assert [world.times("asked", f"w/{name}") for name in ("1", "1.0", "5")] == [[10], [10], [10]]
        assert world.words("cancelled") == ["cancelled w/5"]


@case("A14")
@seeds(200)
async def test_a_template_that_is_a_supervisor_makes_supervisors_and_takes_no_arguments(world: Sim) -> None:
    """Arguments nobody would see are refused, and nothing starts."""
    template = SupervisorSpec("s", [])
    async with world.running(root(template, strategy=Strategy.SIMPLE_ONE_FOR_ONE)) as sup:
        ids = [await sup.start_child(), await sup.start_child()]
        with pytest.raises(SpecError, match="takes no arguments"):
            await sup.start_child("x")

        assert [child.id for child in sup.which_children()] == ids[::-1]
        assert {child.kind for child in sup.which_children()} == {"supervisor"}
        counts = sup.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 2, 2, 0)
