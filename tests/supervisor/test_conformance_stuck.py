"""Children that will not go: trio cannot kill, so they are reported, left alone, and never doubled (A12, D3)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, Life, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import BRUTAL, AlreadyStarted, ChildState, ChildStuck, Refused, Running, Strategy, SupervisorStopped, trap_exit


async def hold_the_door(life: Life) -> None:
    """Shield for an hour from whatever comes."""
    life.ready()
    with trio.CancelScope(shield=True):
        await trio.sleep(3600)


@case("A12", "D3")
@seeds(200)
async def test_a_stuck_child_is_reported_once_with_its_stack_and_holds_up_no_sibling(world: Sim) -> None:
    async with world.running(root(world.child("a"), world.child("b", hold_the_door, shutdown_s=2), world.child("c", tidy_up(1)))) as sup:
        await trio.sleep(100)
        await sup.stop()

        assert trio.current_time() == 3600
        (stuck,) = world.events(ChildStuck)
        assert (stuck.path, stuck.incarnation, stuck.since_cancel_s) == ("root/b", 1, 2)
        assert "hold_the_door" in stuck.stack
        assert [time for time, event in world.trace if isinstance(event, ChildStuck)] == [103]
        assert world.words("down") == ["down c", "down a", "down b"]
        assert world.times("cancelled", "a") == [103]
        assert [event.took_s for event in world.events(SupervisorStopped)] == [3500]


@case("D3")
@seeds(200)
async def test_a_trapping_child_is_stuck_only_after_the_second_limit(world: Sim) -> None:
    """Asked, then cancelled at its grace; only what still runs after that is stuck."""

    async def deaf(life: Life) -> None:
        trap_exit()
        await hold_the_door(life)

    async with world.running(root(world.child("a", deaf, shutdown_s=2))) as sup:
        await sup.stop()

        (stuck_at,) = [time for time, event in world.trace if isinstance(event, ChildStuck)]
        assert 2 < stuck_at <= 4


@case("A12", "D3")
@seeds(200)
async def test_a_stuck_child_is_never_doubled_and_its_supervisor_answers(world: Sim) -> None:
    async with world.running(root(world.child("a"), world.child("b", hold_the_door, shutdown_s=2))) as sup:

        async def terminate() -> None:
            with pytest.raises(Refused):
                await sup.terminate_child("b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminate)
            await trio.sleep(1)

            assert states(sup)["b"] is ChildState.STOPPING

            await trio.sleep(10)

            assert states(sup) == {"b": ChildState.STUCK, "a": ChildState.RUNNING}
            with pytest.raises(AlreadyStarted):
                await sup.start_child(world.child("b"))
            with pytest.raises(Running):
                await sup.restart_child("b")
            with pytest.raises(Running):
                await sup.delete_child("b")
            await sup.start_child(world.child("c"))
            await sup.terminate_child("c")
            nursery.cancel_scope.cancel()

        assert len(world.events(ChildStuck)) == 1
        assert world.starts("b") == 1

        await trio.sleep(4000)

        assert states(sup)["b"] is ChildState.STOPPED


@case("D3")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
@seeds(200)
async def test_a_group_restart_never_doubles_a_stuck_member(world: Sim, strategy: Strategy) -> None:
    """Refuses a second incarnation; the siblings are still stopped in order."""
    spec = root(
        world.child("a"), world.child("b", tidy_up(1)), world.child("c", hold_the_door, shutdown_s=2), world.child("d"), strategy=strategy
    )
    async with world.running(spec) as sup:
        await world.end_and_settle("a", Boom())
        await trio.sleep(500)

        assert world.starts("c") == 1
        assert len(world.events(ChildStuck)) == 1
        assert world.words("down") == ["down a", "down d", "down b"]
        assert (world.times("down", "d"), world.times("down", "b")) == ([0], [3])
        assert states(sup)["c"] is ChildState.STUCK


@case("A12", "D3")
@pytest.mark.parametrize(("grace_s", "limit_s"), [(BRUTAL, 1), (0.5, 1), (2, 2)])
@seeds(200)
async def test_a_child_without_a_grace_has_a_second_to_go_before_it_is_called_stuck(world: Sim, grace_s: float, limit_s: float) -> None:
    """A cancellation needs a turn to arrive, however little time is granted."""
    children = [
        world.child("a", tidy_up(limit_s + 0.125), shutdown_s=grace_s),
        world.child("b", tidy_up(limit_s - 0.125), shutdown_s=grace_s),
    ]
    async with world.running(root(*children)) as sup:
        for name in "ba":
            world.forget()
            began_at = trio.current_time()
            try:
                await sup.terminate_child(name)
            except Running:
                world.note("stuck", name)

            assert (["stuck a"] if name == "a" else []) == world.words("stuck")
            assert ([limit_s] if name == "a" else [limit_s - 0.125]) == [trio.current_time() - began_at]
            assert ([limit_s] if name == "a" else []) == [event.since_cancel_s for event in world.events(ChildStuck)]
