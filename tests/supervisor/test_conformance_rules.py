"""What OTP's documentation rules beside the listed cases: ignore, stop reasons, reports, pools (O1-O5)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, decline, fail_to_start, obey, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    BRUTAL,
    INFINITY,
    ActorStopped,
    AutoShutdown,
    Backoff,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildState,
    ChildStuck,
    Escalate,
    ExitKind,
    GroupRestart,
    IntensityExceeded,
    NotFound,
    Restart,
    RestartScheduled,
    Running,
    Stop,
    Strategy,
    SupervisorSpec,
    SupervisorStopped,
    Unavailable,
    trap_exit,
)

MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)
POOL = Strategy.SIMPLE_ONE_FOR_ONE


@case("O1", "A12", "D7")
def test_the_defaults_are_otps_but_for_elixirs_limit() -> None:
    async def start(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    child, supervisor = ChildSpec("a", start), SupervisorSpec("s", [])

    assert (Restart.PERMANENT, 5.0, False) == (child.restart, child.shutdown_s, child.significant)
    assert (Restart.PERMANENT, INFINITY, False) == (supervisor.restart, supervisor.shutdown_s, supervisor.significant)
    assert (Strategy.ONE_FOR_ONE, 3, 5.0, None) == (
        supervisor.strategy,
        supervisor.max_restarts,
        supervisor.period_s,
        supervisor.max_consecutive,
    )


# -- ignore ---------------------------------------------------------------------------------------


@case("O2", "A14")
@seeds(200)
async def test_a_child_that_declines_its_restart_by_hand_stays_stopped_and_can_be_asked_again(world: Sim) -> None:
    async with world.running(root(world.child("a", obey, decline, obey))) as sup:
        await sup.terminate_child("a")
        await sup.restart_child("a")

        assert states(sup) == {"a": ChildState.STOPPED}

        await sup.restart_child("a")

        assert states(sup) == {"a": ChildState.RUNNING}


@case("O2", "O5")
@seeds(200)
async def test_an_instance_that_declines_leaves_nothing(world: Sim) -> None:
    async with world.running(root(world.child("w", decline), strategy=POOL)) as sup:
        await sup.start_child("x")

        assert sup.which_children() == ()


# -- what a child says while it is being stopped --------------------------------------------------


@case("O3", "D4")
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (None, ExitKind.SHUTDOWN),
        (Stop("done"), ExitKind.SHUTDOWN),
        (Unavailable("broker"), ExitKind.SHUTDOWN),
        (Boom(), ExitKind.CRASH),
        (Escalate("no"), ExitKind.ESCALATE),
        (ExceptionGroup("both", [Stop(), Boom()]), ExitKind.CRASH),
    ],
    ids=["return", "Stop", "Unavailable", "crash", "Escalate", "group"],
)
@seeds(200)
async def test_what_is_said_at_the_end_of_a_stop_is_a_shutdown_unless_it_is_a_fault(
    world: Sim, said: Exception | None, kind: ExitKind
) -> None:
    """OTP's shutdown_error; nothing comes back, and the stop goes on."""
    async with world.running(root(world.child("a"), world.child("b", trap(1, then=said)), world.child("c"), max_restarts=0)) as sup:
        await sup.stop()

        assert {event.path: event.kind for event in world.events(ChildExited)}["root/b"] is kind
        assert all(event.asked for event in world.events(ChildExited))
        assert world.words("down") == ["down c", "down b", "down a"]
        assert [event.reason for event in world.events(SupervisorStopped)] == ["shutdown"]


@case("D4", "O3")
@seeds(200)
async def test_an_interrupt_in_the_clean_up_of_a_stop_still_comes_out(world: Sim) -> None:
    """KeyboardInterrupt and SystemExit propagate, whenever they come; the others are stopped first."""
    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            sup = await world.start(nursery, root(world.child("a", tidy_up(1)), world.child("b", trap(1, then=SystemExit(3)))))
            nursery.start_soon(sup.stop)

    assert world.words("down") == ["down b", "down a"]


@case("A12")
@seeds(200)
async def test_a_child_that_calls_its_stopping_supervisor_is_answered_or_cancelled_and_never_holds_it_up(world: Sim) -> None:
    """A call that changes something is refused, a query is answered, and waiting for the stop itself ends with the grace."""

    async def calls(life: Life) -> None:
        request = trap_exit()
        life.ready()
        await request.wait()
        assert sup.count_children().specs == 2
        with pytest.raises(ActorStopped):
            await sup.terminate_child("b")
        life.note("refused")
        await sup.stop()

    async with world.running(root(world.child("a"), world.child("b", calls, shutdown_s=3))) as sup:
        await sup.stop()

        assert world.times("refused", "b") == [0]
        assert world.times("down", "b") == [3]
        assert world.events(ChildStuck) == []


# -- reports --------------------------------------------------------------------------------------


@case("O4")
@seeds(200)
async def test_a_failing_life_is_told_event_by_event(world: Sim) -> None:
    """OTP's progress, start_error, child_terminated and shutdown reports, in the order in which things happened."""

    async def crash(_: object) -> None:
        world.end("b", Boom())

    spec = root(world.child("a"), world.child("b", obey, fail_to_start(Boom())), strategy=Strategy.ONE_FOR_ALL, max_restarts=1)
    await world.outcome(spec, crash)

    assert [(type(event), getattr(event, "path", "")) for _, event in world.trace if not isinstance(event, tuple)] == [
        (ChildStarted, "root/a"),
        (ChildStarted, "root/b"),
        (ChildExited, "root/b"),
        (RestartScheduled, "root/b"),
        (GroupRestart, "root"),
        (ChildExited, "root/a"),
        (ChildStarted, "root/a"),
        (ChildExited, "root/b"),
        (IntensityExceeded, "root"),
        (ChildExited, "root/a"),
        (SupervisorStopped, "root"),
    ]
    assert [(event.incarnation, event.in_start, event.asked) for event in world.events(ChildExited)] == [
        (1, False, False),
        (1, False, True),
        (2, True, False),
        (2, False, True),
    ]


@case("O4")
@seeds(200)
async def test_incarnations_are_counted_anew_in_each_life_of_their_supervisor(world: Sim) -> None:
    """The child of a new supervisor is a new child, as it would be a new process in OTP."""
    inner = SupervisorSpec("s", [world.child("a")], max_restarts=1, backoff=Backoff(initial_s=0))
    async with world.running(root(inner)):
        for _ in range(3):
            await world.end_and_settle("a", Boom())

        assert [event.incarnation for event in world.events(ChildStarted) if event.path == "root/s/a"] == [1, 2, 1, 2]
        assert [event.incarnation for event in world.events(ChildStarted) if event.path == "root/s"] == [1, 2]


# -- pools ----------------------------------------------------------------------------------------


@case("O5", "A14")
@seeds(200)
async def test_the_calls_on_an_instance_are_answered_as_on_any_child(world: Sim) -> None:
    """Terminated, it is gone: nothing of it is there to restart or to delete."""
    async with world.running(root(world.child("w"), strategy=POOL)) as sup:
        name = await sup.start_child("x")
        for call in (sup.restart_child, sup.delete_child):
            with pytest.raises(Running):
                await call(name)
        await sup.terminate_child(name)
        for call in (sup.terminate_child, sup.restart_child, sup.delete_child):
            with pytest.raises(NotFound):
                await call(name)

        assert await sup.start_child("x") != name
        assert sup.count_children().specs == 1


@case("O5", "A5")
@pytest.mark.parametrize("ending", [None, Stop(), Boom()], ids=["return", "Stop", "crash"])
@seeds(200)
async def test_a_temporary_instance_is_gone_however_it_ends_and_costs_nothing(world: Sim, ending: Exception | None) -> None:
    async with world.running(root(world.child("w", restart=Restart.TEMPORARY), strategy=POOL, max_restarts=0)) as sup:
        kept = await sup.start_child("x")
        await sup.start_child("y")
        await world.end_and_settle("w/y", ending)

        assert states(sup) == {kept: ChildState.RUNNING}


@case("O5", "A12", "D8")
@pytest.mark.parametrize(
    ("behaviour", "shutdown_s", "takes_s"),
    [(trap(100), BRUTAL, 0), (tidy_up(120), INFINITY, 120), (trap(120), INFINITY, 120), (trap(100), 7, 7)],
    ids=["brutal", "infinity shields", "infinity traps", "grace"],
)
@seeds(200)
async def test_a_pool_stops_under_the_same_protocol_all_at_once(
    world: Sim, behaviour: Behaviour, shutdown_s: float, takes_s: float
) -> None:
    async with world.running(root(world.child("w", behaviour, shutdown_s=shutdown_s), strategy=POOL)) as sup:
        for name in "xyz":
            await sup.start_child(name)
        await sup.stop()

        assert trio.current_time() == takes_s
        assert world.events(ChildStuck) == []


@case("O5", "D8")
@seeds(200)
async def test_a_stuck_instance_holds_up_no_other_and_no_new_one(world: Sim) -> None:
    async def by_argument(life: Life) -> None:
        await tidy_up(3600 if life.name == "w/x" else 1)(life)

    async with world.running(root(world.child("w", by_argument, shutdown_s=2), strategy=POOL)) as sup:
        stuck = await sup.start_child("x")
        other = await sup.start_child("y")
        with pytest.raises(Running):
            await sup.terminate_child(stuck)
        await sup.terminate_child(other)
        await sup.start_child("z")

        assert trio.current_time() == 3
        assert states(sup)[stuck] is ChildState.STUCK
        await sup.stop()
        assert world.times("down", "w/z") == [4]


# -- backoff and automatic shutdown ---------------------------------------------------------------


@case("A16")
@seeds(200)
async def test_a_significant_child_in_backoff_has_not_ended(world: Sim) -> None:
    """all_significant: it is still to come, so the end of the other is not the last."""
    bosses = [world.child(name, restart=Restart.TRANSIENT, significant=True) for name in "ab"]
    async with world.running(root(*bosses, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, backoff=MINUTE)) as sup:
        await world.end_and_settle("a", Boom())
        await world.end_and_settle("b")

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.BACKOFF}

        await trio.sleep(100)

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}


@case("D6", "A1")
@seeds(200)
async def test_a_connection_that_finds_nothing_outside_at_boot_has_started_all_the_same(world: Sim) -> None:
    """It starts disconnected; what it misses costs nothing, however long, and its siblings notice nothing."""

    async def dial(life: Life) -> None:
        life.ready()
        if life.number < 50:
            await trio.sleep(1)
            raise Unavailable("broker")
        await life.obey()

    async with world.running(root(world.child("link", dial), world.child("b"), max_restarts=0, max_consecutive=0)) as sup:
        assert trio.current_time() == 0

        await trio.sleep(100)

        assert states(sup) == {"b": ChildState.RUNNING, "link": ChildState.RUNNING}
        assert (world.starts("link"), world.starts("b")) == (50, 1)
