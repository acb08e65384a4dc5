"""A supervisor stays responsive while a child is between two incarnations (A9)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, hang_in_start, obey, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    ChildState,
    Restarting,
    Strategy,
)

STATIC = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


@case("A9")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_child_in_backoff_is_listed_as_restarting_and_the_api_answers_so(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=MINUTE)) as sup:
        await world.end_and_settle("b", Boom())

        listed = {child.id: child for child in sup.which_children()}
        assert listed["b"].state is ChildState.BACKOFF
        assert listed["b"].due_in_s == 60
        assert sup.count_children().active == (0 if strategy is Strategy.ONE_FOR_ALL else 1)
        assert sup.count_children().specs == 2
        with pytest.raises(AlreadyPresent):
            await sup.start_child(world.child("b"))
        with pytest.raises(Restarting):
            await sup.restart_child("b")
        with pytest.raises(Restarting):
            await sup.delete_child("b")
        assert trio.current_time() == 0


@case("A9")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_child_terminated_in_backoff_never_comes_back(world: Sim, strategy: Strategy) -> None:
    """See klarna/supervisor3#14: no timer can resurrect it."""
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=MINUTE)) as sup:
        await world.end_and_settle("b", Boom())
        await trio.sleep(30)
        await sup.terminate_child("b")

        assert states(sup)["b"] is ChildState.STOPPED

        await trio.sleep(10_000)

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}
        assert world.starts("b") == 1

        await sup.delete_child("b")
        await sup.start_child(world.child("b"))

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A9")
@seeds(200)
async def test_a_child_restarted_by_hand_in_the_old_backoffs_time_is_started_once(world: Sim) -> None:
    """The old delay means nothing to the new incarnation."""
    async with world.running(root(world.child("a"), backoff=MINUTE)) as sup:
        await world.end_and_settle("a", Boom())
        await sup.terminate_child("a")
        await trio.sleep(30)
        await sup.restart_child("a")
        await trio.sleep(1000)

        assert world.times("start", "a") == [0, 30]


@case("A9")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_stopping_does_not_wait_for_a_backoff(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a", tidy_up(1)), world.child("b"), strategy=strategy, backoff=MINUTE)) as sup:
        await world.end_and_settle("b", Boom())
        begun = trio.current_time()
        await sup.stop()

        assert trio.current_time() - begun <= 1
        assert world.starts("b") == 1


@case("A9")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_restart_that_hangs_in_its_start_can_be_terminated(world: Sim, strategy: Strategy) -> None:
    """OTP's hanging_restart_loop."""
    async with world.running(root(world.child("a"), world.child("b", obey, hang_in_start), strategy=strategy)) as sup:
        await world.end_and_settle("b", Boom())

        assert states(sup)["b"] is ChildState.STARTING
        with pytest.raises(AlreadyStarted):
            await sup.start_child(world.child("b"))
        await sup.start_child(world.child("c"))
        await sup.terminate_child("b")
        await trio.sleep(1000)

        assert states(sup) == {"c": ChildState.RUNNING, "b": ChildState.STOPPED, "a": ChildState.RUNNING}
        assert world.starts("b") == 2
