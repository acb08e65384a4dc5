"""The restart-type matrix, and the reasons in trio's terms (A5, D4)."""

from __future__ import annotations

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, nursery_with, obey, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import ChildExited, ChildState, ExitKind, Restart, RestartScheduled, Stop, Strategy, Unavailable

ENDINGS = {
    "return": (None, ExitKind.NORMAL),
    "Stop()": (Stop(), ExitKind.STOP),
    "Stop(term)": (Stop("done"), ExitKind.STOP),
    "crash": (Boom(), ExitKind.CRASH),
    "group": (ExceptionGroup("two", [Boom(), ExceptionGroup("inner", [Stop()])]), ExitKind.CRASH),
    "Stop in a group": (ExceptionGroup("one", [Stop()]), ExitKind.STOP),
    "Unavailable in a group": (ExceptionGroup("one", [Unavailable("x")]), ExitKind.UNAVAILABLE),
    "someone else's cancellation": (TimeoutError("cancelled"), ExitKind.CRASH),
}
STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


@case("A5")
@pytest.mark.parametrize("ending", ENDINGS)
@seeds(200)
async def test_a_permanent_child_is_always_restarted_and_it_counts(world: Sim, ending: str) -> None:
    error, kind = ENDINGS[ending]
    async with world.running(root(world.child("a"), world.child("b"))) as sup:
        await world.end_and_settle("a", error)

        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}
        assert (world.starts("a"), world.starts("b")) == (2, 1)
        assert [event.kind for event in world.events(ChildExited)] == [kind]
        assert [event.used for event in world.events(RestartScheduled)] == [0 if kind is ExitKind.UNAVAILABLE else 1]


@case("A5")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ending", ENDINGS)
@seeds(200)
async def test_a_transient_child_is_restarted_only_after_a_crash(world: Sim, ending: str, strategy: Strategy) -> None:
    """Else its spec is kept, its siblings are untouched, and the API can start it again."""
    error, kind = ENDINGS[ending]
    async with world.running(root(world.child("a", restart=Restart.TRANSIENT), world.child("b"), strategy=strategy)) as sup:
        await world.end_and_settle("a", error)

        if kind in (ExitKind.CRASH, ExitKind.UNAVAILABLE):
            assert world.starts("a") == 2
        else:
            assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.STOPPED}
            assert (world.starts("a"), world.starts("b")) == (1, 1)
            assert world.events(RestartScheduled) == []
            await sup.restart_child("a")
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A5")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ending", ENDINGS)
@seeds(200)
async def test_a_temporary_child_is_never_restarted_and_its_id_is_free_at_once(world: Sim, ending: str, strategy: Strategy) -> None:
    error, _ = ENDINGS[ending]
    async with world.running(root(world.child("a", restart=Restart.TEMPORARY), world.child("b"), strategy=strategy)) as sup:
        await world.end_and_settle("a", error)

        assert states(sup) == {"b": ChildState.RUNNING}
        assert (world.starts("a"), world.starts("b")) == (1, 1)
        assert world.events(RestartScheduled) == []
        assert await sup.start_child(world.child("a")) == "a"
        assert states(sup) == {"a": ChildState.RUNNING, "b": ChildState.RUNNING}


@case("D4")
@pytest.mark.parametrize(
    ("error", "kind"),
    [(Boom(), ExitKind.CRASH), (Stop(), ExitKind.STOP), (Unavailable("x"), ExitKind.UNAVAILABLE)],
    ids=["crash", "Stop", "Unavailable"],
)
@seeds(200)
async def test_a_failure_out_of_a_childs_own_nursery_keeps_its_meaning(world: Sim, error: Exception, kind: ExitKind) -> None:
    """It arrives in a group, beside the cancellation of its siblings."""
    async with world.running(root(world.child("a", nursery_with(error), obey))) as sup:
        await world.end_and_settle("a")

        (ended,) = world.events(ChildExited)
        assert (ended.kind, ended.asked, ended.in_start) == (kind, False, False)
        assert states(sup) == {"a": ChildState.RUNNING}


@case("D4")
@pytest.mark.parametrize("fatal", [KeyboardInterrupt(), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("restart", Restart)
@seeds(200)
async def test_an_interrupt_is_never_restarted_and_comes_out_after_an_orderly_stop(
    world: Sim, restart: Restart, fatal: BaseException
) -> None:
    spec = root(world.child("a", tidy_up(2)), world.child("b", restart=restart), world.child("c", tidy_up(2)))
    with pytest.RaisesGroup(type(fatal), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await world.start(nursery, spec)
            world.end("b", fatal)

    assert world.words("down") == ["down b", "down c", "down a"]
    assert (world.times("asked", "c"), world.times("asked", "a"), trio.current_time()) == ([0], [2], 4)
    assert world.starts("b") == 1


@case("O4")
@seeds(200)
async def test_an_exit_event_says_how_long_the_incarnation_ran(world: Sim) -> None:
    async with world.running(root(world.child("a"))):
        await trio.sleep(12.5)
        await world.end_and_settle("a", Boom("why"))

        (ended,) = world.events(ChildExited)
        assert (ended.path, ended.incarnation, ended.ran_s, ended.in_start, ended.asked) == ("root/a", 1, 12.5, False, False)
        assert str(ended.error) == "why"
