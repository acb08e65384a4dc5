"""Which siblings go down with a failure, and how they come back (A3, A4, A11, D2)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, after, decline, fail_to_start, hang_in_start, obey, raise_in_finally, start_slowly, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    Backoff,
    ChildExited,
    ChildState,
    GroupRestart,
    IntensityExceeded,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    Strategy,
    Supervisor,
)

GROUPED = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


@case("O1")
@seeds(200)
async def test_one_for_one_restarts_the_failed_child_only(world: Sim) -> None:
    async with world.running(root(*(world.child(name, tidy_up(1)) for name in "abc"))) as sup:
        world.forget()
        await world.end_and_settle("b", Boom())

        assert world.words("down", "start", "up", "asked") == ["down b", "start b", "up b"]
        assert world.events(GroupRestart) == []
        assert set(states(sup).values()) == {ChildState.RUNNING}


@case("A3")
@seeds(200)
async def test_rest_for_one_takes_those_started_later_in_reverse_and_brings_them_back_in_order(world: Sim) -> None:
    spec = root(*(world.child(name, tidy_up(2)) for name in "12345"), strategy=Strategy.REST_FOR_ONE, max_restarts=1, period_s=3600)
    async with world.running(spec):
        world.forget()
        world.end("3", Boom())
        await trio.sleep(10)

        assert world.words("down", "up") == ["down 3", "down 5", "down 4", "up 3", "up 4", "up 5"]
        assert (world.times("asked", "5"), world.times("asked", "4"), world.times("start", "3")) == ([0], [2], [4])
        assert [world.starts(name) for name in "12345"] == [1, 1, 2, 2, 2]
        (scheduled,) = world.events(RestartScheduled)
        assert (scheduled.path, scheduled.used, scheduled.limit) == ("root/3", 1, 1)
        (group,) = world.events(GroupRestart)
        assert (group.path, group.failed) == ("root", "3")
        assert {"4", "5"} <= set(group.members) <= {"3", "4", "5"}
        assert list(group.members) == sorted(group.members)


@case("A4")
@seeds(200)
async def test_one_for_all_stops_all_in_reverse_and_starts_all_anew(world: Sim) -> None:
    async with world.running(root(*(world.child(name, tidy_up(1)) for name in "abc"), strategy=Strategy.ONE_FOR_ALL)):
        world.forget()
        world.end("b", Boom())
        await trio.sleep(5)

        assert world.words("down", "up") == ["down b", "down c", "down a", "up a", "up b", "up c"]
        assert (world.times("asked", "c"), world.times("asked", "a"), world.times("start", "a")) == ([0], [1], [2])
        assert [world.starts(name) for name in "abc"] == [2, 2, 2]


@case("A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_restart_costs_one_restart_however_many_it_takes_down(world: Sim, strategy: Strategy) -> None:
    """2 in 3600 s survives two such crashes and gives up on the third."""

    async def crash_thrice(_: Supervisor) -> None:
        for start in (2, 3, 4):
            await world.end_and_settle("a", Boom(str(start)))
            await trio.sleep(10)
            assert world.starts("c") == min(start, 3)

    spec = root(*(world.child(name) for name in "abc"), strategy=strategy, max_restarts=2, period_s=3600)
    (failure,) = await world.outcome(spec, crash_thrice)

    assert isinstance(failure, RestartIntensityExceeded)
    assert failure.child_id == "a"
    assert [str(cause) for cause in failure.causes] == ["2", "3", "4"]
    assert [event.used for event in world.events(RestartScheduled)] == [1, 2]


@case("A4")
@seeds(200)
async def test_two_that_fall_at_the_same_instant_are_one_group_restart(world: Sim) -> None:
    """The second is found dead while its group is being stopped, which costs nothing."""
    async with world.running(root(*(world.child(name) for name in "abc"), strategy=Strategy.ONE_FOR_ALL, max_restarts=1)) as sup:
        world.end("a", Boom())
        world.end("c", Boom())
        await world.settle()

        assert [world.starts(name) for name in "abc"] == [2, 2, 2]
        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.events(IntensityExceeded) == []


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_member_that_fails_while_it_is_taken_down_costs_nothing_more(world: Sim, strategy: Strategy) -> None:
    spec = root(world.child("a"), world.child("b", raise_in_finally(Boom("b")), obey), world.child("c"), strategy=strategy, max_restarts=1)
    async with world.running(spec) as sup:
        await world.end_and_settle("a", Boom())

        assert [world.starts(name) for name in "abc"] == [2, 2, 2]
        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert len(world.events(RestartScheduled)) == 1


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_comes_back_together_after_the_failed_childs_delay(world: Sim, strategy: Strategy) -> None:
    """Stopped at once, started together, in order."""
    spec = root(*(world.child(name) for name in "abc"), strategy=strategy, backoff=Backoff(initial_s=10, max_s=10, jitter=0))
    async with world.running(spec) as sup:
        world.forget()
        await world.end_and_settle("a", Boom())

        assert set(states(sup).values()) == {ChildState.BACKOFF}
        assert world.words("down") == ["down a", "down c", "down b"]
        assert sup.count_children().active == 0

        await trio.sleep(20)

        assert world.words("up") == ["up a", "up b", "up c"]
        assert [world.times("up", name) for name in "abc"] == [[10], [10], [10]]


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_starts_each_member_only_when_the_one_before_is_up(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(*(world.child(name, start_slowly(2)) for name in "abc"), strategy=strategy)):
        world.forget()
        world.end("a", Boom())
        await trio.sleep(10)

        assert world.words("start", "up") == ["start a", "up a", "start b", "up b", "start c", "up c"]
        assert world.times("up", "c") == [12]


@case("A8", "B2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_member_that_cannot_come_back_keeps_the_later_ones_down_until_it_does(world: Sim, strategy: Strategy) -> None:
    spec = root(
        world.child("a"),
        world.child("b", obey, fail_to_start(Boom("b")), fail_to_start(Boom("b")), obey),
        world.child("c"),
        strategy=strategy,
        backoff=Backoff(initial_s=4, max_s=4, jitter=0),
        max_restarts=3,
        period_s=100,
    )
    async with world.running(spec) as sup:
        world.forget()
        await world.end_and_settle("a", Boom())
        await trio.sleep(100)

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.words("up")[-1] == "up c"
        assert world.starts("c") == 2
        assert len(world.events(RestartScheduled)) == 3


@case("A11")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_temporary_bystander_is_taken_down_and_forgotten(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a"), world.child("b", restart=Restart.TEMPORARY), strategy=strategy)) as sup:
        await world.end_and_settle("a")

        assert states(sup) == {"a": ChildState.RUNNING}
        assert (world.starts("a"), world.starts("b")) == (2, 1)

        await sup.start_child(world.child("b"))

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("D2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_restart_revives_a_transient_child_that_had_finished(world: Sim, strategy: Strategy) -> None:
    """As OTP does."""
    async with world.running(root(world.child("a"), world.child("b", restart=Restart.TRANSIENT), strategy=strategy)) as sup:
        await world.end_and_settle("b")

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}

        await world.end_and_settle("a", Boom())

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("D2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_restart_respects_an_operators_stop_until_an_operators_start(world: Sim, strategy: Strategy) -> None:
    """Unlike OTP."""
    async with world.running(root(world.child("a"), world.child("b"), world.child("c"), strategy=strategy)) as sup:
        await sup.terminate_child("b")
        await world.end_and_settle("a", Boom())

        assert states(sup) == {"c": ChildState.RUNNING, "b": ChildState.STOPPED, "a": ChildState.RUNNING}

        await sup.restart_child("b")
        await world.end_and_settle("a", Boom())

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.starts("b") == 3


@case("A9", "D2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_an_operators_stop_in_the_middle_of_a_group_restart_is_respected(world: Sim, strategy: Strategy) -> None:
    """No resurrection by the restart that was under way."""
    spec = root(world.child("a"), world.child("b", tidy_up(2)), world.child("c", tidy_up(2)), strategy=strategy)
    async with world.running(spec) as sup:
        world.end("a", Boom())
        await trio.sleep(1)
        await sup.terminate_child("b")
        await trio.sleep(100)

        assert states(sup) == {"c": ChildState.RUNNING, "b": ChildState.STOPPED, "a": ChildState.RUNNING}
        assert [world.starts(name) for name in "abc"] == [2, 1, 2]


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_failure_during_a_group_restart_goes_on_from_there(world: Sim, strategy: Strategy) -> None:
    """a is back and crashes again while c is still starting: everything goes down and comes up once more, in order."""
    spec = root(
        world.child("a", obey, after(1, Boom()), obey), world.child("b"), world.child("c", obey, hang_in_start, obey), strategy=strategy
    )
    async with world.running(spec) as sup:
        world.forget()
        world.end("a", Boom())
        await trio.sleep(10)

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.words("up") == ["up a", "up b", "up a", "up b", "up c"]
        assert len(world.events(RestartScheduled)) == 2


@case("O2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_member_that_declines_to_come_back_does_not_hold_up_the_rest(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(world.child("a"), world.child("b", obey, decline), world.child("c"), strategy=strategy)) as sup:
        await world.end_and_settle("a", Boom())

        assert states(sup) == {"c": ChildState.RUNNING, "b": ChildState.STOPPED, "a": ChildState.RUNNING}


@case("A9")
@seeds(200)
async def test_one_for_one_siblings_restart_independently(world: Sim) -> None:
    """A restart that hangs in its start blocks nobody else's."""
    async with world.running(root(world.child("a", obey, hang_in_start), world.child("b"), world.child("c"))) as sup:
        await world.end_and_settle("a", Boom())

        assert states(sup)["a"] is ChildState.STARTING

        await world.end_and_settle("b", Boom())
        await world.end_and_settle("c", Boom())

        assert states(sup) == {"c": ChildState.RUNNING, "b": ChildState.RUNNING, "a": ChildState.STARTING}

        await sup.terminate_child("a")

        assert states(sup)["a"] is ChildState.STOPPED
        assert world.starts("a") == 2


@case("O4")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, *GROUPED])
@seeds(200)
async def test_dying_in_hand_is_reported_once_per_incarnation(world: Sim, strategy: Strategy) -> None:
    async with world.running(root(*(world.child(name) for name in "abc"), strategy=strategy)):
        for name in "abc":
            await world.end_and_settle(name, Boom())

    exits = [(event.path, event.incarnation) for event in world.events(ChildExited)]

    assert len(set(exits)) == len(exits) == len(world.lives)
