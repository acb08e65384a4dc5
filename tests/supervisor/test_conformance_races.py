"""Two things at once: failures, operators and starts that meet in the same instant (B2, B6, D4)."""

from __future__ import annotations

import contextlib
import math

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, after, fail_to_start, obey, start_slowly, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    ActorRestarting,
    Backoff,
    ChildExited,
    ChildState,
    Escalate,
    ExitKind,
    Mailbox,
    Refused,
    RestartScheduled,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorSpec,
    SupervisorStopped,
    Unavailable,
    ask,
)

GROUPED = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


async def start_and_raise(life: Life) -> None:
    """Crash in the same step as `started`."""
    life.ready()
    raise Boom


async def leak_an_old_cancellation(life: Life) -> None:
    """Raise a Cancelled whose scope is long closed, as a careless retry helper does."""
    life.ready()
    caught: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
    raise caught[0]


@case("D4")
@seeds(200)
async def test_a_cancellation_that_is_not_the_supervisors_is_a_crash_like_any_other(world: Sim) -> None:
    """See suture#77: it neither passes for a stop nor takes the siblings down."""
    async with world.running(root(world.child("a"), world.child("b", leak_an_old_cancellation, obey), max_restarts=5)) as sup:
        await world.settle()

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}
        assert (world.starts("a"), world.starts("b")) == (1, 2)
        assert [event.kind for event in world.events(ChildExited)] == [ExitKind.CRASH]


@case("B2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_restart_that_overtakes_restart_child_loses_no_child(world: Sim, strategy: Strategy) -> None:
    """Once the group has taken the child over, its failing start is retried like any other."""
    spec = root(world.child("a"), world.child("b", obey, start_slowly(5), fail_to_start(Boom()), obey), strategy=strategy, max_restarts=50)
    async with world.running(spec) as sup:
        await sup.terminate_child("b")
        answered: list[str] = []

        async def restart() -> None:
            with contextlib.suppress(StartFailed, Refused):
                await sup.restart_child("b")
            answered.append("b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart)
            await trio.sleep(1)
            world.end("a", Boom())
        await trio.sleep(100)

        assert answered == ["b"]
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A3", "A4")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_child_that_a_group_restart_has_taken_over_from_an_operator_waits_for_its_turn(world: Sim, strategy: Strategy) -> None:
    """An operator's start goes ahead of the earlier siblings; a group's does not."""
    spec = root(world.child("a", obey, start_slowly(3)), world.child("b", obey, start_slowly(5), obey), strategy=strategy)
    async with world.running(spec) as sup:
        await sup.terminate_child("b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sup.restart_child, "b")
            await trio.sleep(1)
            world.end("a", Boom())
        await trio.sleep(10)

        assert world.times("start", "b") == [0, 0, 4]
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("B2")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_a_group_restart_that_overtakes_start_child_leaves_it_running_or_refused(world: Sim, strategy: Strategy) -> None:
    """A caller told of success has a child that lives; a caller told of failure left nothing behind."""
    spec = root(world.child("a"), strategy=strategy, max_restarts=50)
    async with world.running(spec) as sup:
        outcome: list[bool] = []

        async def add() -> None:
            try:
                await sup.start_child(world.child("b", start_slowly(5), fail_to_start(Boom()), obey))
            except (StartFailed, Refused):
                outcome.append(False)
            else:
                outcome.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            await trio.sleep(1)
            world.end("a", Boom())
        await trio.sleep(100)

        expected = {"b": ChildState.RUNNING, "a": ChildState.RUNNING} if outcome == [True] else {"a": ChildState.RUNNING}
        assert expected == states(sup)


@case("A14")
@seeds(200)
async def test_start_child_answers_when_the_child_has_started_even_if_it_dies_at_once(world: Sim) -> None:
    """It started; that it crashed is the supervisor's affair, and so is the minute until it returns."""
    async with world.running(root(backoff=MINUTE)) as sup:
        await sup.start_child(world.child("a", start_and_raise, obey))

        assert trio.current_time() == 0

        await world.settle()

        assert states(sup) == {"a": ChildState.BACKOFF}
        assert len(world.events(RestartScheduled)) == 1


@case("A14")
@seeds(200)
async def test_start_child_is_not_told_of_success_when_the_child_was_terminated_while_starting(world: Sim) -> None:
    async with world.running(root()) as sup:
        told: list[str] = []

        async def add() -> None:
            try:
                told.append(await sup.start_child(world.child("a", start_slowly(5))))
            except (StartFailed, Refused):
                told.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            await trio.sleep(1)
            await sup.terminate_child("a")

        assert told == ["refused"]
        assert trio.current_time() == 1


@case("A4")
@seeds(200)
async def test_two_that_fall_during_the_first_start_are_one_group_restart(world: Sim) -> None:
    """What falls before everybody is up is looked at afterwards, once."""
    spec = root(
        world.child("a", after(1, Boom()), obey),
        world.child("b", after(1, Boom()), obey),
        world.child("c", start_slowly(5)),
        strategy=Strategy.ONE_FOR_ALL,
        max_restarts=1,
        period_s=100,
    )
    async with world.running(spec) as sup:
        await trio.sleep(50)

        assert set(states(sup).values()) == {ChildState.RUNNING}
        assert len(world.events(RestartScheduled)) == 1


@case("B6")
@seeds(200)
async def test_an_actor_that_falls_during_the_first_start_is_restarting_not_stopped(world: Sim) -> None:
    """A sibling that asks it while still starting is told the truth."""
    mailbox: Mailbox[object] = world.mailbox(3)
    mailbox.send_nowait("work")

    async def reads_and_falls(life: Life) -> None:
        life.ready()
        async with mailbox.receive_batch(1):
            raise Boom

    async def asks(life: Life) -> None:
        await trio.sleep(1)
        with pytest.raises(ActorRestarting):
            await ask(mailbox, "are you there?", 60)
        await obey(life)

    async with world.running(root(world.child("a", reads_and_falls, obey), world.child("b", asks))) as sup:
        await world.settle()

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("B6", "D6")
@pytest.mark.parametrize("stop_first", [True, False])
@seeds(200)
async def test_a_question_right_after_an_operators_start_is_delivered(world: Sim, stop_first: bool) -> None:
    """Started means it can take messages; "stopped for good" would be a lie."""
    mailbox: Mailbox[object] = world.mailbox(3)

    async def answers(life: Life) -> None:
        life.ready()
        while True:
            async with mailbox.receive_batch(1) as batch:
                for taken in batch:
                    taken.item.reply("yes")  # type: ignore[attr-defined]
                    batch.done(taken)

    async with world.running(root(world.child("a", answers))) as sup:
        assert await ask(mailbox, "up?", 1) == "yes"
        if stop_first:
            await sup.terminate_child("a")
            await sup.restart_child("a")

        assert await ask(mailbox, "up?", 1) == "yes"


@case("B2")
@pytest.mark.parametrize("retry_after_s", [math.nan, -1.0])
@seeds(200)
async def test_a_senseless_retry_after_loses_no_child(world: Sim, retry_after_s: float) -> None:
    """In backoff with a live timer, or not in backoff."""

    async def senseless(life: Life) -> None:
        life.ready()
        raise Unavailable(retry_after_s=retry_after_s)

    async with world.running(root(world.child("a", senseless, obey), max_restarts=5)) as sup:
        await trio.sleep(100)

        assert states(sup) == {"a": ChildState.RUNNING}
        assert all(event.delay_s >= 0 for event in world.events(RestartScheduled))


@case("D7")
@seeds(200)
async def test_escalate_in_the_first_start_is_escalate_not_a_failed_start(world: Sim) -> None:
    """Refused credentials at boot read the same as refused credentials later."""
    inner = SupervisorSpec("s", [world.child("b", tidy_up(1)), world.child("c", fail_to_start(Escalate("refused")))])
    found = await world.outcome(root(world.child("a", tidy_up(1)), inner))

    assert [type(error) for error in found] == [Escalate]
    assert world.words("down") == ["down c", "down b", "down a"]


@case("D4")
@seeds(200)
async def test_an_interrupt_is_not_lost_when_the_program_is_cancelled_meanwhile(world: Sim) -> None:
    """KeyboardInterrupt and SystemExit propagate."""
    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(world.child("a", tidy_up(3)), world.child("b")))
            world.end("b", SystemExit(3))
            await trio.sleep(1)
            scope.cancel()

    assert world.alive() == []


@case("B2", "B6")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, *GROUPED])
@seeds(200)
async def test_operators_in_parallel_with_failures_are_all_answered_and_lose_nobody(world: Sim, strategy: Strategy) -> None:
    """Four impatient operators and a plague; afterwards everybody is where the last word put them."""
    names = "abcd"
    kinds: list[Behaviour] = [after(1, Boom()), after(0.5), fail_to_start(Boom(), 0.25), start_slowly(1), tidy_up(1), start_and_raise]
    children = [world.child(name, obey, *world.random.choices(kinds, k=20), obey) for name in names]
    spec = root(*children, strategy=strategy, max_restarts=10_000, backoff=Backoff(initial_s=0.1, max_s=2, jitter=0.5))

    async def operate(sup: Supervisor) -> None:
        for _ in range(8):
            await trio.sleep(world.random.choice([0, 0.1, 0.5, 1.5]))
            name = world.random.choice(names)
            call = world.random.choice([sup.terminate_child, sup.restart_child, sup.restart_child])
            with contextlib.suppress(Refused, StartFailed), trio.fail_after(100):
                await call(name)

    async with world.running(spec) as sup:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(operate, sup)
        for name in names:
            with contextlib.suppress(Refused, StartFailed):
                await sup.restart_child(name)
        await trio.sleep(1000)
        stopped = [name for name, state in states(sup).items() if state is ChildState.STOPPED]
        for name in stopped:
            # only a restart_child that failed may leave a child down, and its caller was told
            assert any(event.in_start for event in world.events(ChildExited) if event.path == f"root/{name}")

        assert {ChildState.RUNNING, ChildState.STOPPED} >= set(states(sup).values())
        assert sorted(world.alive()) == sorted(name for name in names if name not in stopped)


@case("D4", "A7")
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@seeds(200)
async def test_an_interrupt_during_a_giving_up_is_what_comes_out(world: Sim, interrupt: type[BaseException]) -> None:
    """The first verdict stands, but what ends the program anyway goes before it; a bug does not."""
    late = [world.child("a", trap(1, Boom())), world.child("b", trap(1, interrupt())), world.child("c", trap(1, Boom()))]
    with pytest.RaisesGroup(interrupt, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await world.start(nursery, root(*late, world.child("d"), max_restarts=0))
            world.end("d", Boom())

    assert ["down d", "down c", "down b", "down a"] == world.words("down")
    assert [interrupt.__name__] == [event.reason for event in world.events(SupervisorStopped)]
