"""Bugs that other supervisors shipped, each as the sentence that is true here. Where it was found stands above each test."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, after, fail_to_start, obey, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    INFINITY,
    ActorStopped,
    AskFailed,
    Backoff,
    ChildExited,
    ChildSpec,
    ChildState,
    ChildStuck,
    Escalate,
    Event,
    ExitKind,
    Mailbox,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    Strategy,
    Supervisor,
    SupervisorSpec,
    ask,
    supervise,
    trap_exit,
)
from tars.supervisor.intensity import RestartWindow

STATIC = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
GROUPED = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


# rabbitmq-common#201, again klarna/supervisor3#24 and #13: the retry's message was ignored, since the child's state was "undefined"
@case("B2")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_child_whose_delayed_restart_fails_to_start_is_tried_again(world: Sim, strategy: Strategy) -> None:
    script: list[Behaviour] = [obey, fail_to_start(Boom()), fail_to_start(Boom()), obey]
    async with world.running(root(world.child("a", *script), world.child("b"), strategy=strategy, backoff=MINUTE, max_restarts=9)) as sup:
        world.end("a", Boom())
        await trio.sleep(150)

        assert states(sup)["a"] is ChildState.BACKOFF

        await trio.sleep(50)

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}
        assert world.times("start", "a") == [0, 60, 120, 180]


# klarna/supervisor3#14: the timer of a delayed restart brought a stopped, or deleted, child back
@case("A9")
@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_child_stopped_or_deleted_while_its_restart_is_pending_does_not_come_back(
    world: Sim, strategy: Strategy, delete: bool
) -> None:
    async with world.running(root(world.child("a"), world.child("b"), strategy=strategy, backoff=MINUTE)) as sup:
        await world.end_and_settle("b", Boom())
        await trio.sleep(59)
        await sup.terminate_child("b")
        if delete:
            await sup.delete_child("b")
        await trio.sleep(1000)

        assert states(sup) == ({"a": ChildState.RUNNING} if delete else {"b": ChildState.STOPPED, "a": ChildState.RUNNING})
        assert world.starts("b") == 1


# prefect#22979: a branch for jitter went past the backoff, and the log went on claiming it
@case("B1")
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@seeds(200)
async def test_the_delay_in_the_event_is_the_delay_that_is_waited_with_and_without_jitter(world: Sim, jitter: float) -> None:
    backoff = Backoff(initial_s=1, max_s=10, jitter=jitter, stable_s=100)
    async with world.running(root(world.child("a", *[after(0, Boom())] * 6, obey), max_restarts=9, backoff=backoff)):
        await trio.sleep(100)

        ends, starts = world.times("down", "a"), world.times("start", "a")[1:]
        assert [event.delay_s for event in world.events(RestartScheduled)] == pytest.approx(
            [start - end for end, start in zip(ends, starts, strict=True)]
        )


# asynkron/protoactor-go, actor/strategy_exponential_backoff.go: "exponential" was count * initial, and it never gave up
@case("B1", "D7")
@seeds(200)
async def test_an_exponential_backoff_doubles_and_the_limit_of_failures_in_a_row_ends_it(world: Sim) -> None:
    backoff = Backoff(initial_s=1, max_s=1000, jitter=0, stable_s=10)
    (failure,) = await world.outcome(root(world.child("a", after(1, Boom())), max_consecutive=6, backoff=backoff))

    assert isinstance(failure, RestartIntensityExceeded)
    assert [event.delay_s for event in world.events(RestartScheduled)] == [1, 2, 4, 8, 16, 32]


# the same: noise of rand(500) nanoseconds is none
@case("B1")
def test_jitter_is_a_share_of_the_delay_not_a_constant() -> None:
    backoff = Backoff(initial_s=1, max_s=1000, jitter=0.5)
    spread = [backoff.delay_s(attempt, 0.0) - backoff.delay_s(attempt, 0.999) for attempt in range(8)]

    assert spread == pytest.approx([0.5 * 2**attempt for attempt in range(8)], rel=0.01)


# pekko, Supervision.scala, calculateDelay: the jitter was multiplied in after the cap
@case("B1")
@given(st.integers(0, 2000), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_a_delay_never_exceeds_the_cap_whatever_the_jitter(attempt: int, chance: float, jitter: float) -> None:
    assert Backoff(initial_s=0.5, max_s=30, jitter=jitter).delay_s(attempt, chance) <= 30


# kunchenguid/firstmate#2942: alive for a moment, then dead, reset the counter of consecutive failures each time (host load 295)
@case("B3")
@seeds(200)
async def test_a_child_that_barely_comes_up_each_time_uses_its_limit_up(world: Sim) -> None:
    backoff = Backoff(initial_s=1, max_s=8, jitter=0, stable_s=10)
    spec = root(world.child("a", after(9.5, Boom())), max_consecutive=5, backoff=backoff)
    (failure,) = await world.outcome(spec)

    assert isinstance(failure, RestartIntensityExceeded)
    assert world.starts("a") == 6


# mode, utils/times.py and supervisors.py: capacity and rate of the limiter were swapped
@case("A6")
@pytest.mark.parametrize(("max_restarts", "period_s"), [(1, 30), (30, 1), (5, 60)])
def test_max_restarts_is_a_number_of_restarts_and_period_s_a_number_of_seconds(max_restarts: int, period_s: float) -> None:
    def granted(gap_s: float) -> int:
        window = RestartWindow(max_restarts, period_s)
        return next((count for count in range(1000) if not window.record(count * gap_s)), 1000)

    assert granted(period_s / max_restarts / 2) == max_restarts
    assert granted(period_s / max_restarts * 1.01) == 1000


# elle-lisp/elle#1211: the window counted messages, two for a crash, and never tripped
@case("A6")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_crash_counts_once_whatever_it_takes_down_and_whatever_is_told_of_it(world: Sim, strategy: Strategy) -> None:
    async def crash(_: Supervisor) -> None:
        for _crash in range(4):
            await world.end_and_settle("a", Boom())

    (failure,) = await world.outcome(root(*(world.child(name) for name in "abc"), strategy=strategy, max_restarts=3), crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert [event.used for event in world.events(RestartScheduled)] == [1, 2, 3]


# Visor.jl#5; mode 0.7.1 left two of five services running after the supervisor had given up
@case("A7")
@pytest.mark.parametrize("strategy", GROUPED)
@seeds(200)
async def test_nothing_runs_on_after_giving_up_in_the_middle_of_a_group_restart(world: Sim, strategy: Strategy) -> None:
    spec = root(
        world.child("a"),
        world.child("b", tidy_up(1)),
        world.child("c", tidy_up(1), fail_to_start(Boom())),
        world.child("d", tidy_up(1)),
        strategy=strategy,
        max_restarts=1,
        period_s=100,
    )

    async def crash(_: Supervisor) -> None:
        world.end("a", Boom())

    (failure,) = await world.outcome(spec, crash)

    assert isinstance(failure, RestartIntensityExceeded)
    assert world.alive() == []
    assert len(world.words("up")) == len([event for event in world.events(ChildExited) if not event.in_start])


# kameo#335: the mailbox was emptied by a restart
@case("B4")
@seeds(200)
async def test_messages_in_the_mailbox_survive_a_restart_in_their_order(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(100)
    handled: list[int] = []

    async def read(life: Life) -> None:
        life.ready()
        while True:
            async with mailbox.receive_batch(3) as batch:
                for taken in batch:
                    if taken.item % 4 == 1 and taken.attempt == 1:
                        raise Boom
                    handled.append(taken.item)
                    batch.done(taken)

    for item in range(20):
        mailbox.send_nowait(item)
    async with world.running(root(world.child("a", read), max_restarts=100)):
        await world.settle()

    assert list(range(20)) == handled


# pathosDev/actor-ts#518: what was stashed was dropped at a stop or a restart, and no dead letter told of it
@case("B4")
@pytest.mark.parametrize("ending", [None, Boom()], ids=["stop", "restart"])
@seeds(200)
async def test_what_an_actor_holds_in_hand_when_it_ends_goes_back_and_what_nobody_will_read_is_evicted(
    world: Sim, ending: Exception | None
) -> None:
    evicted: list[tuple[int, str]] = []
    mailbox: Mailbox[int] = world.mailbox(100, on_evicted=lambda item, reason: evicted.append((item, reason)))

    async def hoard(life: Life) -> None:
        life.ready()
        async with mailbox.receive_batch(2):
            await life.obey()

    for item in range(4):
        mailbox.send_nowait(item)
    async with world.running(root(world.child("a", hoard))) as sup:
        await world.settle()

        assert (2, 2) == (mailbox.statistics().queued, mailbox.statistics().in_hand)

        if ending is not None:
            await world.end_and_settle("a", ending)

            assert (2, 2) == (mailbox.statistics().queued, mailbox.statistics().in_hand)

        await sup.stop()
    mailbox.close("stopped")

    assert [(item, "stopped") for item in range(4)] == evicted


# kameo, tests/supervision_mailbox.rs: a child that asked its stopping parent deadlocked the shutdown
@case("B6")
@pytest.mark.parametrize("strategy", STATIC)
@seeds(200)
async def test_a_child_that_asks_its_stopping_supervisor_or_its_stopped_sibling_holds_up_nothing(world: Sim, strategy: Strategy) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)

    async def answer(life: Life) -> None:
        life.ready()
        async with mailbox.receive_batch(1):
            await life.obey()

    async def asks(life: Life) -> None:
        request = trap_exit()
        life.ready()
        await request.wait()
        with pytest.raises(ActorStopped):
            await sup.restart_child("b")
        with pytest.raises(AskFailed):
            await ask(mailbox, "still there?", 60)
        life.note("answered")

    async with world.running(root(world.child("a", asks, shutdown_s=INFINITY), world.child("b", answer), strategy=strategy)) as sup:
        mailbox.send_nowait("work")
        await world.settle()
        await sup.stop()

        assert trio.current_time() == 0
        assert world.words("answered") == ["answered a"]


# thejerf/suture#34: a stop was reported as timed out, though all had stopped
@case("A12")
@pytest.mark.parametrize("strategy", [*STATIC, Strategy.SIMPLE_ONE_FOR_ONE])
@pytest.mark.parametrize("slow", [trap, tidy_up])
@seeds(200)
async def test_children_that_stop_just_in_time_are_reported_as_stopped(world: Sim, strategy: Strategy, slow: type) -> None:
    spec = root(world.child("w", slow(4.999), shutdown_s=5), strategy=strategy)
    async with world.running(spec) as sup:
        if strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            await sup.start_child()
        await sup.stop()

        assert world.events(ChildStuck) == []
        assert [event.kind for event in world.events(ChildExited)] == [ExitKind.SHUTDOWN]


# thejerf/suture#12: Serve returned before its services had stopped
@case("A2", "A7")
@pytest.mark.parametrize("ending", ["stop", "give up", "escalate", "cancel"])
@seeds(200)
async def test_supervise_returns_only_when_everything_below_it_is_gone(world: Sim, ending: str) -> None:
    spec = root(world.child("a", tidy_up(3)), SupervisorSpec("s", [world.child("b", tidy_up(3))]), world.child("c"), max_restarts=0)

    async def end(sup: Supervisor) -> None:
        match ending:
            case "stop":
                await sup.stop()
            case "give up":
                world.end("c", Boom())
            case "escalate":
                world.end("c", Escalate("no"))
            case _:
                world.outer.cancel()

    await world.outcome(spec, end)

    assert world.alive() == []
    assert world.times("down", "a") == [6]


# AtomVM#1855: one_for_all was documented, and treated as one_for_one
@case("A4")
@pytest.mark.parametrize("failed", ["a", "b", "c"])
@seeds(200)
async def test_one_for_all_takes_every_sibling_down_and_up_whoever_fails(world: Sim, failed: str) -> None:
    async with world.running(root(*(world.child(name) for name in "abc"), strategy=Strategy.ONE_FOR_ALL)):
        await world.end_and_settle(failed, Boom())

        assert [world.starts(name) for name in "abc"] == [2, 2, 2]


# archethic-node#1488: a bootstrap task that had finished was not run again by rest_for_one, since it was temporary
@case("D2", "A11")
@pytest.mark.parametrize(("restart", "runs"), [(Restart.TRANSIENT, 2), (Restart.TEMPORARY, 1)])
@seeds(200)
async def test_a_group_restart_runs_a_finished_transient_task_again_and_a_temporary_one_not(
    world: Sim, restart: Restart, runs: int
) -> None:
    spec = root(world.child("a"), world.child("bootstrap", after(1), restart=restart), world.child("c"), strategy=Strategy.REST_FOR_ONE)
    async with world.running(spec):
        await trio.sleep(5)
        world.end("a", Boom())
        await trio.sleep(5)

        assert world.starts("bootstrap") == runs
        assert world.starts("c") == 2


CRASHES_AS_A_WHOLE = """
import trio
from tars.supervisor import NO_BACKOFF, ChildSpec, Strategy, SupervisorSpec
from tars.supervisor.process import run

async def crash(*, task_status):
    task_status.started()
    await trio.lowlevel.checkpoint()
    raise ValueError("a bug")

children = [ChildSpec(name, crash) for name in "abc"]
spec = SupervisorSpec("root", children, strategy=Strategy.ONE_FOR_ALL, max_restarts=2, backoff=NO_BACKOFF)
raise SystemExit(run(spec, stop_deadline_s=60.0))
"""


# robinhood/faust#301: told to crash as a whole, the process hung
@case("A7")
async def test_a_process_whose_every_child_crashes_exits_with_a_failure_and_does_not_wait_for_its_deadline() -> None:
    with trio.fail_after(30):
        ended = await trio.run_process([sys.executable, "-c", CRASHES_AS_A_WHOLE], capture_stdout=True, capture_stderr=True, check=False)

    assert (1, True) == (ended.returncode, b"gave up" in ended.stderr)


class Ballast:
    """An argument whose end can be seen."""


# OTP-16804: the restarts of temporary children kept their start arguments for ever
@case("O5")
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
async def test_an_ended_instances_arguments_are_let_go(restart: Restart) -> None:
    async def take(_: Ballast, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    held: list[weakref.ref[Ballast]] = []

    def ballast() -> Ballast:
        load = Ballast()
        held.append(weakref.ref(load))
        return load

    def forget(_: Event) -> None:
        """Keep nothing."""

    spec = SupervisorSpec("pool", [ChildSpec("w", take, restart=restart)], strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    async with trio.open_nursery() as nursery:
        supervisor: Supervisor = await nursery.start(supervise, spec, forget)
        for _ in range(50):
            await supervisor.start_child(ballast())
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        left = [each for each in held if each() is not None]
        await supervisor.stop()

    assert left == []
