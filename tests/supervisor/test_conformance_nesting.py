"""Supervisors under supervisors: escalation, multiplication, automatic shutdown (A15, A16, D1)."""

from __future__ import annotations

import functools

import attrs
import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, fail_to_start, obey, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    NO_BACKOFF,
    AutoShutdown,
    ChildExited,
    ChildSpec,
    ChildState,
    ExitKind,
    IntensityExceeded,
    Restart,
    RestartIntensityExceeded,
    RestartScheduled,
    StartFailed,
    Stop,
    Strategy,
    Supervisor,
    SupervisorSpec,
    SupervisorStopped,
    supervise,
)


@attrs.define
class Handles:
    """Supervisors by id: the newest incarnation's handle of each."""

    world: Sim
    found: dict[str, Supervisor] = attrs.field(factory=dict)

    def child(self, spec: SupervisorSpec) -> ChildSpec:
        """`spec` as a child whose handle the test can get at."""
        return ChildSpec(spec.id, functools.partial(self._run, spec), restart=spec.restart, shutdown_s=spec.shutdown_s)

    async def _run(self, spec: SupervisorSpec, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        async with trio.open_nursery() as nursery:
            self.found[spec.id] = await self.world.start(nursery, spec)
            task_status.started(self.found[spec.id])


def inner(name: str, *children: ChildSpec | SupervisorSpec, **spec: object) -> SupervisorSpec:
    return SupervisorSpec(name, children, **{"backoff": NO_BACKOFF, **spec})  # type: ignore[arg-type]


@case("D1")
@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
@seeds(200)
async def test_a_supervisor_that_gave_up_is_restarted_by_its_parent(world: Sim, restart: Restart) -> None:
    """Giving up is abnormal to every parent, so a transient supervisor comes back, unlike OTP's."""
    spec = root(inner("s", world.child("a"), world.child("b"), max_restarts=0, restart=restart), world.child("c"))
    async with world.running(spec) as sup:
        await world.end_and_settle("a", Boom())

        assert states(sup) == {"c": ChildState.RUNNING, "s": ChildState.RUNNING}
        assert [world.starts(name) for name in "abc"] == [2, 2, 1]
        assert [event.path for event in world.events(IntensityExceeded)] == ["root/s"]
        (ended,) = [event for event in world.events(ChildExited) if event.path == "root/s"]
        assert ended.kind is ExitKind.CRASH
        assert isinstance(ended.error, RestartIntensityExceeded)


@case("A5", "A15")
@seeds(200)
async def test_a_temporary_supervisor_that_gave_up_is_gone(world: Sim) -> None:
    spec = root(inner("s", world.child("a"), max_restarts=0, restart=Restart.TEMPORARY), world.child("b"))
    async with world.running(spec) as sup:
        await world.end_and_settle("a", Boom())

        assert states(sup) == {"b": ChildState.RUNNING}


@case("A15")
@seeds(200)
async def test_restarts_at_two_levels_multiply(world: Sim) -> None:
    """3 above 3: at most (3+1)*(3+1) incarnations of the leaf."""

    async def dies(life: object) -> None:
        life.ready()  # type: ignore[attr-defined]
        raise Boom

    found = await world.outcome(root(inner("s", world.child("leaf", dies), max_restarts=3, period_s=100), max_restarts=3, period_s=100))

    assert [type(error) for error in found] == [RestartIntensityExceeded]
    assert world.starts("leaf") == 16


@case("A15", "D2")
@seeds(200)
async def test_escalation_rebuilds_the_static_tree_only(world: Sim) -> None:
    """Afterwards s1 has its static children anew, s2 is empty again, s3, stopped by an operator, stays so (D2)."""
    handles = Handles(world)
    spec = root(
        inner("s1", world.child("a"), world.child("b")),
        handles.child(inner("s2", max_restarts=1)),
        inner("s3", world.child("c"), restart=Restart.TRANSIENT),
        strategy=Strategy.ONE_FOR_ALL,
    )
    async with world.running(spec) as sup:
        await sup.terminate_child("s3")
        old = handles.found["s2"]
        await old.start_child(world.child("x"))
        await old.start_child(world.child("y", obey, fail_to_start(Boom())))
        await world.end_and_settle("y", Boom())

        assert [world.starts(name) for name in ("a", "b", "c", "x", "y")] == [2, 2, 1, 1, 2]
        assert states(sup) == {"s3": ChildState.STOPPED, "s2": ChildState.RUNNING, "s1": ChildState.RUNNING}
        assert handles.found["s2"] is not old
        assert handles.found["s2"].which_children() == ()
        assert [event.path.split("/")[-1] for event in world.events(IntensityExceeded)] == ["s2"]


@case("A2", "A15")
@seeds(200)
async def test_a_nested_tree_stops_depth_first_in_reverse(world: Sim) -> None:
    spec = root(
        inner("s1", world.child("a", tidy_up(1)), world.child("b", tidy_up(1))),
        world.child("c", tidy_up(1)),
        inner("s2", inner("s3", world.child("d", tidy_up(1)), world.child("e", tidy_up(1)))),
    )
    async with world.running(spec) as sup:
        await sup.stop()

        assert world.words("down") == [f"down {name}" for name in "edcba"]
        assert trio.current_time() == 5
        assert [event.path for event in world.events(SupervisorStopped)] == ["root/s2/s3", "root/s2", "root/s1", "root"]


@case("A1")
@seeds(200)
async def test_a_nested_first_start_that_fails_rolls_the_whole_tree_back(world: Sim) -> None:
    bug = Boom("deep")
    spec = root(
        world.child("a", tidy_up(1)),
        inner("s", world.child("b", tidy_up(1)), inner("t", world.child("c", tidy_up(1)), world.child("d", fail_to_start(bug)))),
        world.child("e"),
    )
    (failure,) = await world.outcome(spec)

    assert world.words("down") == ["down d", "down c", "down b", "down a"]
    assert world.starts("e") == 0
    chain: list[BaseException | None] = [failure]
    while chain[-1] is not None and len(chain) < 10:
        cause = chain[-1].__cause__
        chain.append(cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause)
    assert bug in chain
    assert [error.child_id for error in chain if isinstance(error, StartFailed)] == ["s", "t", "d"]


@case("A3", "A15")
@seeds(200)
async def test_a_crash_of_a_nested_supervisors_sibling_takes_the_subtree_down_in_order(world: Sim) -> None:
    spec = root(world.child("a"), inner("s", world.child("b", tidy_up(1)), world.child("c", tidy_up(2))), strategy=Strategy.REST_FOR_ONE)
    async with world.running(spec):
        world.forget()
        world.end("a", Boom())
        await trio.sleep(10)

        assert world.words("down", "up") == ["down a", "down c", "down b", "up a", "up b", "up c"]
        assert len(world.events(RestartScheduled)) == 1


@case("A15")
@seeds(200)
async def test_a_supervisor_may_run_inside_a_worker(world: Sim) -> None:
    """Its path hangs under the worker's; a crash of the worker ends it."""

    async def host(life: object) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(supervise, inner("mine", world.child("x", tidy_up(1))), world.emit))
            await obey(life)  # type: ignore[arg-type]

    async with world.running(root(world.child("host", host))):
        world.end("host", Boom())
        await trio.sleep(5)

        assert world.starts("x") == 2
        assert "root/host/mine/x" in {event.path for event in world.events(ChildExited)}


ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


def boss(world: Sim, name: str, restart: Restart = Restart.TRANSIENT) -> ChildSpec:
    return world.child(name, tidy_up(1), restart=restart, significant=True)


@case("A16")
@pytest.mark.parametrize("ending", [None, Stop("done")], ids=["return", "Stop"])
@seeds(200)
async def test_any_the_first_significant_child_that_ends_stops_the_supervisor(world: Sim, ending: Exception | None) -> None:
    spec = root(world.child("a", tidy_up(1)), boss(world, "b"), boss(world, "c"), world.child("d", tidy_up(1)), auto_shutdown=ANY)

    async def finish(_: Supervisor) -> None:
        world.end("b", ending)

    assert [] == await world.outcome(spec, finish)
    assert world.words("down") == ["down b", "down d", "down c", "down a"]
    assert [event.reason for event in world.events(SupervisorStopped)] == ["shutdown"]


@case("A16")
@seeds(200)
async def test_all_only_the_last_significant_child_stops_the_supervisor(world: Sim) -> None:
    spec = root(world.child("a"), boss(world, "b"), boss(world, "c"), auto_shutdown=ALL)

    async def finish(sup: Supervisor) -> None:
        await world.end_and_settle("c")
        await trio.sleep(10)
        assert states(sup) == {"c": ChildState.STOPPED, "b": ChildState.RUNNING, "a": ChildState.RUNNING}
        world.end("b")

    assert [] == await world.outcome(spec, finish)
    assert trio.current_time() == 10


@case("A16")
@pytest.mark.parametrize("auto_shutdown", [ANY, ALL])
@seeds(200)
async def test_a_transient_significant_child_that_crashes_is_restarted(world: Sim, auto_shutdown: AutoShutdown) -> None:
    """Not a trigger."""
    async with world.running(root(world.child("a"), boss(world, "b"), auto_shutdown=auto_shutdown)) as sup:
        await world.end_and_settle("b", Boom())

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A16")
@pytest.mark.parametrize("auto_shutdown", [ANY, ALL])
@seeds(200)
async def test_a_temporary_significant_child_that_crashes_is_a_trigger(world: Sim, auto_shutdown: AutoShutdown) -> None:
    spec = root(world.child("a"), boss(world, "b", Restart.TEMPORARY), auto_shutdown=auto_shutdown)

    async def crash(_: Supervisor) -> None:
        world.end("b", Boom())

    assert [] == await world.outcome(spec, crash)
    assert world.words("down") == ["down b", "down a"]


@case("A16")
@pytest.mark.parametrize("auto_shutdown", [ANY, ALL])
@seeds(200)
async def test_what_the_api_or_a_sibling_ended_is_no_trigger(world: Sim, auto_shutdown: AutoShutdown) -> None:
    spec = root(
        world.child("a"), boss(world, "b"), boss(world, "t", Restart.TEMPORARY), auto_shutdown=auto_shutdown, strategy=Strategy.ONE_FOR_ALL
    )
    async with world.running(spec) as sup:
        world.end("a", Boom())
        await trio.sleep(10)

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}

        await sup.terminate_child("b")
        await trio.sleep(10)

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}


@case("A16")
@pytest.mark.parametrize("significant", [True, False])
@seeds(200)
async def test_an_automatic_shutdown_escalates_only_through_a_significant_supervisor(world: Sim, significant: bool) -> None:
    """Nested supervisors."""
    nested = inner("s", boss(world, "b"), auto_shutdown=ANY, restart=Restart.TRANSIENT, significant=significant)
    spec = root(world.child("a"), nested, auto_shutdown=ANY)

    async def finish(sup: Supervisor) -> None:
        await world.end_and_settle("b")
        assert states(sup) == {"s": ChildState.STOPPED, "a": ChildState.STOPPED if significant else ChildState.RUNNING}
        if not significant:
            await trio.sleep(10)
            await sup.stop()

    assert [] == await world.outcome(spec, finish)
    assert trio.current_time() == (0 if significant else 10)
    assert world.starts("b") == 1
