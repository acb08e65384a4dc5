"""The stop protocol: asking, grace, cancelling, and children that will not go (A12, D3)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, raise_in_finally, swallow_cancel, tidy_up, trap
from support.sim_world import Sim, root, states
from tars.supervisor import (
    BRUTAL,
    INFINITY,
    ChildExited,
    ChildSpec,
    ChildState,
    ChildStuck,
    Escalate,
    ExitKind,
    ExitReason,
    ExitRequest,
    Strategy,
    Supervisor,
    SupervisorSpec,
    trap_exit,
)


def exits(world: Sim) -> dict[str, ExitKind]:
    return {event.path.split("/")[-1]: event.kind for event in world.events(ChildExited)}


@case("A12", "O3")
@seeds(200)
async def test_a_child_that_goes_within_its_grace_was_shut_down(world: Sim) -> None:
    async with world.running(root(world.child("a", trap(2), shutdown_s=5), world.child("b", tidy_up(4), shutdown_s=5))) as sup:
        await sup.stop()

        assert trio.current_time() == 6
        assert exits(world) == {"a": ExitKind.SHUTDOWN, "b": ExitKind.SHUTDOWN}
        assert all(event.asked for event in world.events(ChildExited))
        assert world.words("cancelled") == ["cancelled b"]
        assert world.events(ChildStuck) == []


@case("A12")
@seeds(200)
async def test_a_child_that_ignores_the_request_is_cancelled_at_exactly_its_grace(world: Sim) -> None:
    async with world.running(root(world.child("a", trap(1000), shutdown_s=5))) as sup:
        await sup.stop()

        assert world.times("cancelled", "a") == [5]
        assert exits(world) == {"a": ExitKind.KILLED}
        assert world.events(ChildStuck) == []


@case("A12")
@seeds(200)
async def test_brutal_gives_no_grace_even_to_a_child_that_traps_exits(world: Sim) -> None:
    async with world.running(root(world.child("a", trap(1000), shutdown_s=BRUTAL), world.child("b", shutdown_s=BRUTAL))) as sup:
        await sup.stop()

        assert trio.current_time() == 0
        assert world.words("cancelled") == ["cancelled b", "cancelled a"]


@case("A12")
@pytest.mark.parametrize("slow", [trap(120), tidy_up(120)], ids=["traps", "shields"])
@seeds(200)
async def test_infinity_waits_however_long_it_takes(world: Sim, slow: Behaviour) -> None:
    async with world.running(root(world.child("a", slow, shutdown_s=INFINITY))) as sup:
        await sup.stop()

        assert trio.current_time() == 120
        assert exits(world) == {"a": ExitKind.SHUTDOWN}
        assert world.events(ChildStuck) == []


@case("A12")
@seeds(200)
async def test_a_worker_has_five_seconds_unless_told_otherwise(world: Sim) -> None:
    async with world.running(root(world.child("a", trap(1000)), world.child("b", trap(4.9)))) as sup:
        await sup.stop()

        assert world.times("cancelled", "a") == [9.9]
        assert world.times("cancelled", "b") == []


@case("A12")
@seeds(200)
async def test_a_supervisor_child_is_waited_for_without_limit(world: Sim) -> None:
    inner = SupervisorSpec("inner", [world.child("a", trap(30), shutdown_s=60), world.child("b", trap(40), shutdown_s=60)])
    async with world.running(root(inner)) as sup:
        await sup.stop()

        assert trio.current_time() == 70
        assert set(exits(world).values()) == {ExitKind.SHUTDOWN}


@case("A12")
@seeds(200)
async def test_static_children_take_the_sum_of_their_times(world: Sim) -> None:
    async with world.running(root(world.child("a", trap(3)), world.child("b", trap(3)))) as sup:
        await sup.stop()

        assert trio.current_time() == 6


@case("A12")
@seeds(200)
async def test_children_that_stop_together_are_all_asked_at_once_under_one_grace(world: Sim) -> None:
    children = [world.child(name, trap(float(name)), shutdown_s=2) for name in ("1", "3", "9")]
    async with world.running(root(world.child("before"), SupervisorSpec("s", children, stops_together=True))) as sup:
        await trio.sleep(10)
        await sup.stop()

        assert trio.current_time() == 12
        assert [world.times("asked", name) for name in ("1", "3", "9")] == [[10]] * 3
        assert {"cancelled 3", "cancelled 9"} == set(world.words("cancelled")[:-1])


@case("A12")
@seeds(200)
async def test_the_request_says_why_and_until_when(world: Sim) -> None:
    """SHUTDOWN when it will not come back, RESTART when a sibling's failure takes it down."""
    seen: list[tuple[ExitReason | None, float]] = []
    before: list[ExitReason | None] = []

    def look(request: ExitRequest) -> None:
        seen.append((request.reason, request.deadline))

    async def trapping(life: Life) -> None:
        before.append(trap_exit().reason)
        await trap(1, seen=look)(life)

    spec = root(world.child("a"), world.child("b", trapping, shutdown_s=7), strategy=Strategy.ONE_FOR_ALL)
    async with world.running(spec) as sup:
        await trio.sleep(3)
        world.end("a", Boom())
        await trio.sleep(2)
        await sup.terminate_child("b")
        await sup.restart_child("b")
        await sup.stop()

        assert seen == [(ExitReason.RESTART, 10.0), (ExitReason.SHUTDOWN, 12.0), (ExitReason.SHUTDOWN, 13.0)]
        assert before == [None, None, None]


@case("A12")
@seeds(200)
async def test_trap_exit_belongs_to_one_incarnation(world: Sim) -> None:
    """An incarnation that does not trap is cancelled when asked, whatever the one before it did."""
    spec = root(world.child("a", trap(4), swallow_cancel), world.child("b"), strategy=Strategy.REST_FOR_ONE)
    async with world.running(spec) as sup:
        await sup.terminate_child("a")
        await sup.restart_child("a")

        assert trio.current_time() == 4

        await sup.terminate_child("a")

        assert trio.current_time() == 4
        assert world.times("asked", "a") == [0, 4]


@case("D4")
@seeds(200)
async def test_a_child_that_swallows_its_cancellation_is_gone_all_the_same(world: Sim) -> None:
    """The trap of retry loops that catch everything."""
    async with world.running(root(world.child("a", swallow_cancel), world.child("b", swallow_cancel))) as sup:
        await sup.stop()

        assert trio.current_time() == 0
        assert world.words("down") == ["down b", "down a"]
        assert (world.starts("a"), world.starts("b")) == (1, 1)


@case("O3", "D4")
@seeds(200)
async def test_a_failure_in_clean_up_is_reported_and_stops_nothing(world: Sim) -> None:
    """A group mixing our Cancelled with a real error is a crash; OTP's shutdown_error."""
    bug = Boom("clean-up")
    async with world.running(root(world.child("a"), world.child("b", raise_in_finally(bug)), world.child("c"))) as sup:
        await sup.stop()

        assert world.words("down") == ["down c", "down b", "down a"]
        assert exits(world) == {"c": ExitKind.SHUTDOWN, "b": ExitKind.CRASH, "a": ExitKind.SHUTDOWN}
        assert world.starts("b") == 1


@case("B6")
@seeds(200)
async def test_a_child_may_ask_its_own_supervisor_to_end_it(world: Sim) -> None:
    """A child that calls the API on itself neither deadlocks nor comes back."""
    calls: list[str] = []

    async def suicidal(life: Life) -> None:
        life.ready()
        await life.obey()
        calls.append("terminate")
        await sup.terminate_child("a")

    async with world.running(root(world.child("a", suicidal), world.child("b"))) as sup:
        await world.end_and_settle("a")

        assert calls == ["terminate"]
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.STOPPED}


@case("B6")
@seeds(200)
async def test_a_child_may_stop_its_own_supervisor(world: Sim) -> None:
    async def suicidal(life: Life) -> None:
        life.ready()
        await life.obey()
        await sup.stop()

    async with world.running(root(world.child("a", tidy_up(1)), world.child("b", suicidal), world.child("c", tidy_up(1)))) as sup:
        await world.end_and_settle("b")
        await sup.stop()

        assert world.words("down") == ["down c", "down b", "down a"]


def test_trap_exit_outside_a_child_says_so() -> None:
    with pytest.raises(RuntimeError, match="trap_exit"):
        trap_exit()


@case("A12")
@seeds(200)
async def test_one_child_stops_while_another_is_still_asked_for(world: Sim) -> None:
    """Two operators, two children: terminating one does not wait for the other's grace under one_for_one."""
    async with world.running(root(world.child("a"), world.child("b", tidy_up(3)))) as sup:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sup.terminate_child, "b")
            await world.settle()
            assert states(sup) == {"b": ChildState.STOPPING, "a": ChildState.RUNNING}
            assert sup.count_children().specs == 2

        assert isinstance(sup.spec.children[0], ChildSpec)
        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}


@case("A7", "A12")
@pytest.mark.parametrize("ending", [Boom(), Escalate("no")], ids=["limit", "Escalate"])
@seeds(200)
async def test_a_supervisor_that_gives_up_asks_its_children_to_get_out_of_the_way(world: Sim, ending: Exception) -> None:
    """RESTART: a failure takes the tree down. At every level, also where the supervisor above asks."""
    seen: list[ExitReason | None] = []

    def trapping(name: str) -> ChildSpec:
        return world.child(name, trap(1, seen=lambda request: seen.append(request.reason)))

    inner = SupervisorSpec("inner", [trapping("a")])

    async def fail(_: Supervisor) -> None:
        world.end("c", ending)

    await world.outcome(root(inner, trapping("b"), world.child("c"), max_restarts=0), fail)

    assert [ExitReason.RESTART] * 2 == seen


@case("A12", "A15")
@pytest.mark.parametrize("levels", [1, 2])
@seeds(200)
async def test_a_supervisor_child_passes_on_the_reason_its_own_supervisor_gave(world: Sim, levels: int) -> None:
    """RESTART where a sibling's failure takes it down, SHUTDOWN where it will not come back."""
    seen: list[ExitReason | None] = []
    below: ChildSpec | SupervisorSpec = world.child("a", trap(1, seen=lambda request: seen.append(request.reason)))
    for level in range(levels):
        below = SupervisorSpec(f"inner{level}", [below])

    async with world.running(root(below, world.child("b"), strategy=Strategy.ONE_FOR_ALL)) as sup:
        world.end("b", Boom())
        await trio.sleep(2)

        assert [ExitReason.RESTART] == seen

        await sup.terminate_child(below.id)
        await sup.restart_child(below.id)
        await sup.stop()

        assert [ExitReason.RESTART, ExitReason.SHUTDOWN, ExitReason.SHUTDOWN] == seen
