"""Restart intensity in the tree: what counts, when it gives up, and how (A6, A7, A8, D1, D7)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, after, fail_to_start, obey, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    Backoff,
    ChildExited,
    ChildState,
    Escalate,
    IntensityExceeded,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    Strategy,
    Supervisor,
    SupervisorSpec,
    SupervisorStopped,
    Unavailable,
    supervise,
)

STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


@case("A6", "D5")
@pytest.mark.parametrize(
    ("max_restarts", "period_s", "times", "verdict"),
    [
        (0, 5, [0], 0),
        (1, 1, [0, 2.125, 4.25, 6.375], None),
        (1, 1, [0, 0.5], 0.5),
        (1, 1, [0, 1.0], 1.0),
        (1, 1, [0, 1.001], None),
        (5, 30, [6.125 * n for n in range(40)], None),
        (5, 30, [6.0 * n for n in range(6)], 30.0),
    ],
)
@seeds(200)
async def test_gives_up_at_exactly(world: Sim, max_restarts: int, period_s: float, times: list[float], verdict: float | None) -> None:

    async def crash(sup: Supervisor) -> None:
        for moment in times:
            await trio.sleep_until(moment)
            await world.end_and_settle("a", Boom())
        await sup.stop()

    found = await world.outcome(root(world.child("a"), max_restarts=max_restarts, period_s=period_s), crash)

    assert [type(error) for error in found] == ([] if verdict is None else [RestartIntensityExceeded])
    assert trio.current_time() == (times[-1] if verdict is None else verdict)
    assert world.starts("a") == len(times) + (1 if verdict is None else 0)


@case("A6")
@seeds(200)
async def test_all_children_share_one_window(world: Sim) -> None:
    """2 in 3600 s: a, b, then any: the third is not restarted."""

    async def crash(_: Supervisor) -> None:
        for name in "abc":
            await world.end_and_settle(name, Boom(name))
            await trio.sleep(100)

    (failure,) = await world.outcome(root(*(world.child(name) for name in "abc"), max_restarts=2, period_s=3600), crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert [world.starts(name) for name in "abc"] == [2, 2, 1]
    assert [str(cause) for cause in failure.causes] == ["a", "b", "c"]


@case("A7")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_giving_up_stops_the_survivors_in_reverse_with_their_grace_and_then_fails(world: Sim, strategy: Strategy) -> None:
    bug = Boom("b")
    spec = root(
        world.child("a", tidy_up(1)),
        world.child("b"),
        world.child("c", trap(2)),
        world.child("d", tidy_up(3)),
        strategy=strategy,
        max_restarts=0,
    )

    async def crash(_: Supervisor) -> None:
        await trio.sleep(10)
        world.forget()
        world.end("b", bug)

    (failure,) = await world.outcome(spec, crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert (failure.child_id, failure.causes) == ("b", (bug,))
    assert "0 restarts" in failure.limit
    assert "5" in failure.limit
    assert world.words("down") == ["down b", "down d", "down c", "down a"]
    assert [world.times("asked", name) for name in "dca"] == [[10], [13], [15]]
    assert trio.current_time() == 16
    (exceeded,) = world.events(IntensityExceeded)
    assert (exceeded.path, exceeded.child_id, exceeded.limit) == ("root", "b", failure.limit)
    assert [event.asked for event in world.events(ChildExited) if event.path == "root/b"] == [False]
    assert world.events(RestartScheduled) == []
    kinds = [type(event).__name__ for _, event in world.trace if not isinstance(event, tuple)]
    assert kinds == ["ChildExited", "IntensityExceeded", "ChildExited", "ChildExited", "ChildExited", "SupervisorStopped"]


@case("A7")
@seeds(200)
async def test_giving_up_comes_out_of_supervise_bare(world: Sim) -> None:
    with pytest.raises(RestartIntensityExceeded) as failure:
        await supervise(root(world.child("a", after(0, Boom())), max_restarts=3), world.emit)

    assert len(failure.value.causes) == 4


@case("A8")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_restarts_that_fail_are_counted_one_by_one(world: Sim, strategy: Strategy) -> None:
    """4 in 3600 s, every restart of b raises in its start: gives up on the fifth."""
    script = [obey, *(fail_to_start(Boom(str(n))) for n in (2, 3, 4, 5)), fail_to_start(Boom("too many"))]
    spec = root(world.child("a"), world.child("b", *script), world.child("c"), strategy=strategy, max_restarts=4, period_s=3600)

    async def crash(_: Supervisor) -> None:
        world.end("b", Boom("1"))

    (failure,) = await world.outcome(spec, crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert failure.child_id == "b"
    assert [str(cause) for cause in failure.causes] == ["1", "2", "3", "4", "5"]
    assert world.starts("b") == 5
    assert [event.used for event in world.events(RestartScheduled)] == [1, 2, 3, 4]
    assert [event.in_start for event in world.events(ChildExited) if event.path == "root/b"] == [False, True, True, True, True]


@case("A6", "A14")
@seeds(200)
async def test_an_operators_calls_cost_no_restart(world: Sim) -> None:
    """Initial failures, restart_child and failed start_child do not count."""
    async with world.running(root(world.child("a"), max_restarts=0)) as sup:
        for _ in range(5):
            await sup.terminate_child("a")
            await sup.restart_child("a")
            with pytest.RaisesExc(Exception, check=lambda error: type(error).__name__ == "StartFailed"):
                await sup.start_child(world.child("b", fail_to_start(Boom())))

        assert states(sup) == {"a": ChildState.RUNNING}
        assert world.events(RestartScheduled) == []


@case("A7")
@seeds(200)
async def test_giving_up_does_not_wait_for_a_backoff(world: Sim) -> None:
    slow = Backoff(initial_s=1000, max_s=1000, jitter=0)
    spec = root(world.child("a", backoff=slow), world.child("b"), max_restarts=1, period_s=100)

    async def crash(_: Supervisor) -> None:
        await world.end_and_settle("a", Boom())
        world.end("b", Boom())

    (failure,) = await world.outcome(spec, crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert trio.current_time() == 0
    assert world.starts("a") == 1


@case("D7")
@seeds(200)
async def test_consecutive_failures_are_a_second_limit(world: Sim) -> None:
    """A 3-in-5-s window never fills when a crash comes every 20 s."""
    spec = root(
        world.child("a", after(20, Boom())),
        max_consecutive=3,
        backoff=Backoff(initial_s=0, max_s=0, jitter=0, stable_s=30),
    )
    (failure,) = await world.outcome(spec)

    assert isinstance(failure, RestartIntensityExceeded)
    assert trio.current_time() == 80
    assert world.starts("a") == 4
    assert "3" in failure.limit
    assert "5 s" not in failure.limit


@case("B3")
@pytest.mark.parametrize(("ran_s", "survives"), [(9.875, False), (10.0, True), (11.0, True)])
@seeds(200)
async def test_only_a_run_of_the_stable_period_gives_the_consecutive_budget_back(world: Sim, ran_s: float, survives: bool) -> None:
    """See firstmate#2942."""
    script = [after(ran_s, Boom())] * 30
    spec = root(world.child("a", *script, obey), max_consecutive=3, backoff=Backoff(initial_s=0, max_s=0, jitter=0, stable_s=10))

    async def watch(sup: Supervisor) -> None:
        await trio.sleep(1000)
        await sup.stop()

    found = await world.outcome(spec, watch)

    assert [type(error) for error in found] == ([] if survives else [RestartIntensityExceeded])
    assert world.starts("a") == (31 if survives else 4)


@case("D7")
@seeds(200)
async def test_consecutive_failures_are_counted_per_child(world: Sim) -> None:
    """Three children that fail twice each are no child that fails six times."""
    twice: list[Behaviour] = [after(20, Boom()), after(20, Boom()), obey]
    async with world.running(root(*(world.child(name, *twice) for name in "abc"), max_restarts=9, max_consecutive=2)) as sup:
        await trio.sleep(100)

        assert set(states(sup).values()) == {ChildState.RUNNING}


@case("D6", "D7")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_unavailable_costs_neither_limit(world: Sim, strategy: Strategy) -> None:
    """Running or in start, a missing outside restarts for ever."""
    script: list[Behaviour] = [after(0.1, Unavailable("x"))] * 10 + [fail_to_start(Unavailable("x"))] * 10 + [obey]
    spec = root(world.child("a", *script), world.child("b"), strategy=strategy, max_restarts=0, max_consecutive=0)
    async with world.running(spec) as sup:
        await trio.sleep(100)

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert world.starts("a") == 21
        assert {event.used for event in world.events(RestartScheduled)} == {0}


@case("D6")
@seeds(200)
async def test_unavailable_says_itself_when_to_come_back(world: Sim) -> None:
    spec = root(world.child("a", after(0, Unavailable("x", retry_after_s=7.5)), obey))
    async with world.running(spec):
        await trio.sleep(100)

        assert world.times("start", "a") == [0, 7.5]
        assert [event.delay_s for event in world.events(RestartScheduled)] == [7.5]


@case("D6")
@seeds(200)
async def test_a_bug_beside_unavailable_still_costs(world: Sim) -> None:
    """Losing the broker costs nothing, a bug in the connection actor does."""
    both = ExceptionGroup("both", [Unavailable("x"), Boom()])
    (failure,) = await world.outcome(root(world.child("a", after(1, both)), max_restarts=0))

    assert isinstance(failure, RestartIntensityExceeded)


@case("D7")
@pytest.mark.parametrize("restart", Restart)
@seeds(200)
async def test_escalate_gives_up_without_a_restart_at_every_level(world: Sim, restart: Restart) -> None:
    """It bypasses both limits."""
    inner = SupervisorSpec("inner", [world.child("a", tidy_up(1)), world.child("b", restart=restart)], max_restarts=50)
    middle = SupervisorSpec("middle", [inner, world.child("c", tidy_up(1))], max_restarts=50)
    word = Escalate("refused credentials")

    async def raise_it(_: Supervisor) -> None:
        world.end("b", word)

    found = await world.outcome(root(middle, world.child("d", tidy_up(1)), max_restarts=50), raise_it)

    assert [type(error) for error in found] == [Escalate]
    assert isinstance(found[0], Escalate)
    assert found[0].reason == "refused credentials"
    assert world.words("down") == ["down b", "down a", "down c", "down d"]
    assert all(world.starts(name) == 1 for name in "abcd")
    assert world.events(RestartScheduled) == []
    assert [event.path for event in world.events(SupervisorStopped)] == ["root/middle/inner", "root/middle", "root"]


@case("D7")
@seeds(200)
async def test_escalate_out_of_a_restarts_start_gives_up_at_once(world: Sim) -> None:
    async def crash(_: Supervisor) -> None:
        world.end("a", Boom())

    found = await world.outcome(root(world.child("a", obey, fail_to_start(Escalate("no"))), world.child("b"), max_restarts=50), crash)

    assert [type(error) for error in found] == [Escalate]
    assert world.starts("a") == 2
