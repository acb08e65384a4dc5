"""Starting in order, rolling back, stopping in order (A1, A2)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, after, decline, fail_to_start, hang_in_start, start_slowly, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    ActorStopped,
    ChildExited,
    ChildStarted,
    ChildState,
    ExitKind,
    IntensityExceeded,
    Restart,
    RestartScheduled,
    StartFailed,
    Strategy,
    SupervisorStopped,
    Unavailable,
    supervise,
)

STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


@case("A1")
@seeds(200)
async def test_children_start_left_to_right_each_up_before_the_next_is_called(world: Sim) -> None:
    spec = root(world.child("c", start_slowly(3)), world.child("a", start_slowly(2)), world.child("b", start_slowly(1)))
    async with world.running(spec) as sup:
        assert trio.current_time() == 6
        assert world.words("start", "up") == ["start c", "up c", "start a", "up a", "start b", "up b"]
        assert [(event.path, event.incarnation, event.took_s) for event in world.events(ChildStarted)] == [
            ("root/c", 1, 3.0),
            ("root/a", 1, 2.0),
            ("root/b", 1, 1.0),
        ]
        assert set(states(sup).values()) == {ChildState.RUNNING}


@case("A1")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_a_failed_first_start_rolls_back_in_reverse_and_is_not_retried(world: Sim, strategy: Strategy) -> None:
    bug = Boom("c")
    spec = root(
        world.child("a", tidy_up(1)),
        world.child("b", tidy_up(2)),
        world.child("c", fail_to_start(bug, 5)),
        world.child("d"),
        strategy=strategy,
    )
    (failure,) = await world.outcome(spec)

    assert isinstance(failure, StartFailed)
    assert failure.child_id == "c"
    assert failure.__cause__ is bug
    assert world.words("down") == ["down c", "down b", "down a"]
    assert (world.times("asked", "b"), world.times("asked", "a")) == ([5], [7])
    assert (world.starts("c"), world.starts("d")) == (1, 0)
    assert world.events(RestartScheduled) == []
    assert world.events(IntensityExceeded) == []
    assert [event.in_start for event in world.events(ChildExited) if event.path == "root/c"] == [True]


@case("A1", "D6")
@seeds(200)
async def test_even_unavailable_is_not_retried_at_the_first_start(world: Sim) -> None:
    """No retry at first start; an actor that can wait for the outside starts disconnected (D6)."""
    (failure,) = await world.outcome(root(world.child("a", fail_to_start(Unavailable("broker")))))

    assert isinstance(failure, StartFailed)
    assert isinstance(failure.__cause__, Unavailable)
    assert world.starts("a") == 1


@case("A1")
@seeds(200)
async def test_start_failed_comes_out_of_supervise_bare(world: Sim) -> None:
    with pytest.raises(StartFailed):
        await supervise(root(world.child("a", fail_to_start(Boom()))), world.emit)


@case("O2")
@seeds(200)
async def test_a_child_may_decline_to_start_and_its_spec_is_kept(world: Sim) -> None:
    """OTP's ignore: kept without a process; dropped when temporary."""
    spec = root(world.child("a"), world.child("b", decline), world.child("c", decline, restart=Restart.TEMPORARY), world.child("d"))
    async with world.running(spec) as sup:
        assert states(sup) == {"d": ChildState.RUNNING, "b": ChildState.STOPPED, "a": ChildState.RUNNING}
        assert world.starts("b") == 1


@case("A2")
@seeds(200)
async def test_children_stop_in_reverse_start_order_each_gone_before_the_next_is_asked(world: Sim) -> None:
    names = ["delta", "alpha", "echo", "bravo", "charlie"]
    async with world.running(root(*(world.child(name, tidy_up(3)) for name in names))) as sup:
        await sup.stop()

        assert trio.current_time() == 15
        assert world.words("asked", "down") == [f"{word} {name}" for name in reversed(names) for word in ("asked", "down")]
        assert [world.times("asked", name) for name in reversed(names)] == [[0], [3], [6], [9], [12]]
        assert {event.kind for event in world.events(ChildExited)} == {ExitKind.SHUTDOWN}
        (stopped,) = world.events(SupervisorStopped)
        assert (stopped.path, stopped.took_s) == ("root", 15)


@case("A2")
@seeds(200)
async def test_stop_returns_only_when_everything_is_gone_to_every_caller(world: Sim) -> None:
    """See suture#12."""
    async with world.running(root(world.child("a", tidy_up(2)), world.child("b", tidy_up(2)))) as sup:

        async def stop_and_look() -> None:
            await sup.stop()

            assert world.alive() == []
            assert trio.current_time() == 4

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(stop_and_look)


@case("A14")
@seeds(200)
async def test_a_stopped_supervisor_refuses_every_change(world: Sim) -> None:
    async with world.running(root(world.child("a"))) as sup:
        await sup.stop()
        for refused in (sup.start_child(world.child("b")), sup.restart_child("a"), sup.terminate_child("a"), sup.delete_child("a")):
            with pytest.raises(ActorStopped):
                await refused

        assert world.starts("b") == 0


@case("A14")
@seeds(200)
async def test_a_stopping_supervisor_refuses_and_still_answers(world: Sim) -> None:
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, root(world.child("a"), world.child("b", tidy_up(4))))
        nursery.start_soon(sup.stop)
        await trio.sleep(1)

        assert states(sup) == {"b": ChildState.STOPPING, "a": ChildState.RUNNING}
        assert sup.count_children().specs == 2
        with pytest.raises(ActorStopped):
            await sup.start_child(world.child("c"))


@case("B6")
@seeds(200)
async def test_a_start_child_that_a_stop_overtakes_is_answered(world: Sim) -> None:
    """No call hangs because its supervisor stops."""
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, root(world.child("a", tidy_up(1))))

        async def add() -> None:
            with pytest.raises((ActorStopped, StartFailed)):
                await sup.start_child(world.child("late", hang_in_start))

        async def end() -> None:
            with pytest.raises((ActorStopped, StartFailed)):
                await sup.restart_child("idle")

        await sup.start_child(world.child("idle", after(1), hang_in_start, restart=Restart.TRANSIENT))
        await trio.sleep(2)
        nursery.start_soon(add)
        nursery.start_soon(end)
        await trio.sleep(1)
        await sup.stop()

        assert world.alive() == []
        assert trio.current_time() == 4


@case("A1")
@seeds(200)
async def test_an_empty_supervisor_starts_waits_and_stops(world: Sim) -> None:
    async with world.running(root()) as sup:
        await trio.sleep(1000)

        assert sup.which_children() == ()


@case("A1")
@seeds(200)
async def test_a_child_that_dies_right_after_started_did_start(world: Sim) -> None:
    """The first start succeeded: what follows is a restart, not a rollback."""
    async with world.running(root(world.child("a", after(0, Boom()), start_slowly(1)), world.child("b"))) as sup:
        await trio.sleep(2)

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.starts("a") == 2
