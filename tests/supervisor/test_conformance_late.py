"""What a group restart does about siblings that come, or fail to go, while the failed child waits in its backoff (A3, A4, D2, D3)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, Life, after, obey, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import Backoff, ChildState, GroupRestart, Restart, Strategy

GROUPED = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
SLOW = Backoff(initial_s=10, max_s=10, jitter=0)


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_sibling_that_an_operator_starts_during_the_backoff_is_started_anew_with_the_group(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=SLOW)) as sup:
        await sup.terminate_child("b")
        await world.end_and_settle("a", Boom())
        await trio.sleep(1)
        await sup.restart_child("b")
        await sup.start_child(world.child("c"))
        await sup.start_child(world.child("d", restart=Restart.TEMPORARY))

        assert (1, 2, 1, 1) == tuple(world.starts(name) for name in "abcd")

        world.forget()
        await trio.sleep(20)

        assert ["down d", "down c", "down b", "up a", "up b", "up c"] == world.words("down", "up")
        assert [("root", "a", ("a", "b", "c"))] == [(each.path, each.failed, each.members) for each in world.events(GroupRestart)]
        assert (2, 3, 2, 1) == tuple(world.starts(name) for name in "abcd")
        assert dict.fromkeys("abc", ChildState.RUNNING) == states(sup)


@case("A3")
@seeds(200)
async def test_a_sibling_before_the_failed_one_is_no_part_of_its_group_whenever_it_starts(world: Sim) -> None:
    async with world.running(root(world.child("a"), world.child("b"), strategy=Strategy.REST_FOR_ONE, backoff=SLOW)) as sup:
        await sup.terminate_child("a")
        await world.end_and_settle("b", Boom())
        await sup.restart_child("a")
        await trio.sleep(20)

        assert (2, 2) == (world.starts("a"), world.starts("b"))


@case("D2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_the_group_revives_who_was_started_and_has_finished_during_the_backoff_but_not_who_was_stopped(
    world: Sim, strategy: Strategy
) -> None:
    children = [world.child("a"), world.child("b", obey, after(1), obey, restart=Restart.TRANSIENT), world.child("c")]
    async with world.running(root(*children, strategy=strategy, backoff=SLOW)) as sup:
        for name in "bc":
            await sup.terminate_child(name)
        await world.end_and_settle("a", Boom())
        for name in "bc":
            await sup.restart_child(name)
        await sup.terminate_child("c")
        await trio.sleep(2)

        assert ChildState.STOPPED is states(sup)["b"]

        await trio.sleep(20)

        assert {"a": ChildState.RUNNING, "b": ChildState.RUNNING, "c": ChildState.STOPPED} == states(sup)


@case("A9")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_failed_child_that_an_operator_stops_in_its_backoff_takes_nobody_down_later(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=SLOW)) as sup:
        await sup.terminate_child("b")
        await world.end_and_settle("a", Boom())
        await sup.terminate_child("a")
        await sup.restart_child("b")
        await sup.restart_child("a")
        await trio.sleep(20)

        assert (2, 2) == (world.starts("a"), world.starts("b"))


@case("A9")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_failed_child_that_an_operator_stops_and_starts_at_once_takes_nobody_down(world: Sim, strategy: Strategy) -> None:
    """It comes back for the operator's sake, not for the group's; also when the supervisor had no turn in between."""
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=SLOW)) as sup:
        await sup.terminate_child("b")
        await world.end_and_settle("a", Boom())
        await sup.restart_child("b")
        await sup.terminate_child("a")
        await sup.restart_child("a")
        await trio.sleep(20)

        assert (2, 2) == (world.starts("a"), world.starts("b"))


@case("D3")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_stuck_member_holds_back_those_after_it_and_not_those_before_it(world: Sim, strategy: Strategy) -> None:
    """What comes before it does not depend on it in rest_for_one; and in both a service goes on with what it has."""

    async def hold_the_door(life: Life) -> None:
        life.ready()
        with trio.CancelScope(shield=True):
            await trio.sleep(3600)

    children = [world.child("a"), world.child("b", hold_the_door, obey, shutdown_s=2), world.child("c")]
    async with world.running(root(*children, strategy=strategy)) as sup:
        await world.end_and_settle("a", Boom())
        await trio.sleep(1000)

        assert {"a": ChildState.RUNNING, "b": ChildState.STUCK, "c": ChildState.BACKOFF} == states(sup)

        await trio.sleep(3600)

        assert dict.fromkeys("abc", ChildState.RUNNING) == states(sup)
        assert (2, 2, 2) == tuple(world.starts(name) for name in "abc")
        assert ["up a", "up b", "up c"] == world.words("up")[-3:]


@case("A4")
@pytest.mark.parametrize("failed", ["a", "b", "c"])
@seeds(200)
async def test_no_member_comes_back_before_the_delay_of_the_failed_child_is_over_wherever_it_stands(world: Sim, failed: str) -> None:
    """Those before it in start order wait for it as those behind it do; the delay is counted from the failure."""
    children = [world.child(name, tidy_up(1)) for name in "abc"]
    async with world.running(root(*children, strategy=Strategy.ONE_FOR_ALL, backoff=SLOW)) as sup:
        world.forget()
        await world.end_and_settle(failed, Boom())
        await trio.sleep(9.5)

        assert dict.fromkeys("abc", ChildState.BACKOFF) == states(sup)
        assert [0.5] * 3 == [each.due_in_s for each in sup.which_children()]

        await trio.sleep(10)

        assert ["up a", "up b", "up c"] == world.words("up")
        assert [[10]] * 3 == [world.times("start", name) for name in "abc"]
