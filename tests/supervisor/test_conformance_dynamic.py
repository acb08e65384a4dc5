"""The dynamic API, call by call (A14)."""

from __future__ import annotations

import functools

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Boom, Life, decline, fail_to_start, obey, start_slowly, tidy_up
from support.sim_world import Sim, root, states
from tars.supervisor import (
    AlreadyPresent,
    AlreadyStarted,
    ChildState,
    NotFound,
    Restart,
    RestartScheduled,
    Running,
    SpecError,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorSpec,
)


@case("A14")
@seeds(200)
async def test_start_child_answers_by_what_is_there(world: Sim) -> None:
    async with world.running(root(world.child("a"))) as sup:
        with pytest.raises(AlreadyStarted):
            await sup.start_child(world.child("a"))
        await sup.terminate_child("a")
        with pytest.raises(AlreadyPresent):
            await sup.start_child(world.child("a"))
        await sup.delete_child("a")

        assert await sup.start_child(world.child("a")) == "a"
        assert states(sup) == {"a": ChildState.RUNNING}


@case("A14")
@seeds(200)
async def test_a_start_child_that_fails_leaves_no_spec_and_costs_nothing(world: Sim) -> None:
    bug = Boom("no")
    async with world.running(root(world.child("a"), max_restarts=0)) as sup:
        with pytest.raises(StartFailed) as failure:
            await sup.start_child(world.child("b", fail_to_start(bug)))

        assert failure.value.child_id == "b"
        assert failure.value.__cause__ is bug
        assert states(sup) == {"a": ChildState.RUNNING}
        assert world.events(RestartScheduled) == []
        assert world.starts("b") == 1


@case("A14")
@seeds(200)
async def test_a_restart_child_that_fails_leaves_the_child_stopped_and_costs_nothing(world: Sim) -> None:
    """OTP: the error is the caller's, the spec stays."""
    async with world.running(root(world.child("a"), world.child("b", obey, fail_to_start(Boom()), obey), max_restarts=0)) as sup:
        await sup.terminate_child("b")
        with pytest.raises(StartFailed):
            await sup.restart_child("b")

        assert states(sup) == {"b": ChildState.STOPPED, "a": ChildState.RUNNING}
        await trio.sleep(1000)
        await sup.restart_child("b")
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A14")
@seeds(200)
async def test_the_refusals_of_an_unknown_a_running_and_a_stopped_child(world: Sim) -> None:
    async with world.running(root(world.child("a"))) as sup:
        for call in (sup.terminate_child, sup.restart_child, sup.delete_child):
            with pytest.raises(NotFound):
                await call("nobody")
        for call in (sup.restart_child, sup.delete_child):
            with pytest.raises(Running) as refusal:
                await call("a")
            assert refusal.value.child_id == "a"
        await sup.terminate_child("a")
        await sup.terminate_child("a")

        assert states(sup) == {"a": ChildState.STOPPED}


@case("A14")
@seeds(200)
async def test_children_are_listed_newest_first_and_counted_by_kind(world: Sim) -> None:
    inner = SupervisorSpec("inner", [world.child("x")])
    async with world.running(root(world.child("a"), inner, world.child("b"))) as sup:
        await sup.start_child(world.child("c"))
        await sup.terminate_child("a")

        assert [(child.id, child.path, child.kind) for child in sup.which_children()] == [
            ("c", "root/c", "worker"),
            ("b", "root/b", "worker"),
            ("inner", "root/inner", "supervisor"),
            ("a", "root/a", "worker"),
        ]
        counts = sup.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (4, 3, 1, 3)


@case("A14")
@seeds(200)
async def test_two_who_start_the_same_child_get_one_child(world: Sim) -> None:
    async with world.running(root()) as sup:
        refused: list[str] = []

        async def add() -> None:
            try:
                await sup.start_child(world.child("a", start_slowly(1)))
            except AlreadyStarted:
                refused.append("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            nursery.start_soon(add)

        assert refused == ["a"]
        assert world.starts("a") == 1


@case("A14")
@seeds(200)
async def test_two_who_terminate_the_same_child_are_both_answered_when_it_is_gone(world: Sim) -> None:
    async with world.running(root(world.child("a", tidy_up(3)))) as sup:

        async def end() -> None:
            await sup.terminate_child("a")
            assert world.alive() == []
            assert trio.current_time() == 3

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            nursery.start_soon(end)


@case("B7")
@seeds(200)
async def test_a_caller_that_gives_up_leaves_a_supervisor_in_order(world: Sim) -> None:
    """A cancelled call neither loses the child nor doubles it."""
    async with world.running(root(world.child("a", tidy_up(3)))) as sup:
        with trio.move_on_after(1):
            await sup.terminate_child("a")
        with trio.move_on_after(1):
            await sup.start_child(world.child("b", start_slowly(5)))
        await trio.sleep(100)

        listed = states(sup)
        assert listed.pop("a") is ChildState.STOPPED
        assert listed in ({}, {"b": ChildState.RUNNING})
        assert world.alive() == list(listed)


@case("A14")
@seeds(200)
async def test_a_child_added_at_run_time_lives_by_the_same_rules(world: Sim) -> None:
    async with world.running(root(world.child("a"), strategy=Strategy.REST_FOR_ONE)) as sup:
        await sup.start_child(world.child("b", restart=Restart.TRANSIENT))
        await world.end_and_settle("b", Boom())
        await world.end_and_settle("a", Boom())

        assert world.starts("b") == 3
        assert states(sup) == {"b": ChildState.RUNNING, "a": ChildState.RUNNING}


@case("A16", "A17")
@seeds(200)
async def test_a_child_that_no_parent_can_hold_is_refused_before_anything_starts(world: Sim) -> None:
    async with world.running(root(world.child("a"))) as sup:
        with pytest.raises(SpecError, match="significant"):
            await sup.start_child(world.child("b", restart=Restart.TRANSIENT, significant=True))

        assert world.starts("b") == 0
        assert states(sup) == {"a": ChildState.RUNNING}


@case("O2")
@seeds(200)
async def test_start_child_with_a_child_that_declines_keeps_its_spec(world: Sim) -> None:
    async with world.running(root()) as sup:
        await sup.start_child(world.child("a", decline))
        await sup.start_child(world.child("t", decline, restart=Restart.TEMPORARY))

        assert states(sup) == {"a": ChildState.STOPPED}


@case("A9", "A14")
@seeds(200)
async def test_queries_are_answered_at_any_moment(world: Sim) -> None:
    """Listing and counting never wait, and never disagree, whatever is under way."""
    spec = root(world.child("a", tidy_up(2)), world.child("b", start_slowly(2)), world.child("c"), strategy=Strategy.ONE_FOR_ALL)
    async with trio.open_nursery() as nursery:
        sup = await world.start(nursery, spec)
        world.end("c", Boom())
        nursery.start_soon(functools.partial(look, sup, 20))
        await trio.sleep(5)
        await sup.stop()


async def look(sup: Supervisor, times: int) -> None:
    for _ in range(times):
        children, counts = sup.which_children(), sup.count_children()

        assert counts.specs == len(children) == counts.supervisors + counts.workers
        assert counts.active == sum(child.state not in (ChildState.BACKOFF, ChildState.STOPPED) for child in children)
        await trio.sleep(0.5)


@seeds(200)
async def test_the_value_given_to_started_is_the_childs_own_affair(world: Sim) -> None:
    async def run(life: Life) -> None:
        life.ready(object())
        await trio.sleep_forever()

    async with world.running(root(world.child("a", run))) as sup:
        assert states(sup) == {"a": ChildState.RUNNING}


@case("O4")
@seeds(200)
async def test_terminating_reports_the_life_it_ended(world: Sim) -> None:
    async def idle(life: Life) -> None:
        life.ready()
        await trio.sleep_forever()

    async with world.running(root(world.child("a", idle))) as sup:
        await trio.sleep(7)
        await sup.terminate_child("a")

        assert world.words("down") == ["down a"]
        assert trio.current_time() == 7


@case("A14", "B6")
@seeds(200)
async def test_terminate_child_returns_when_the_life_it_saw_is_gone_though_another_has_begun(world: Sim) -> None:
    """Whoever is woken first may have the child started again before the other looks."""
    async with world.running(root(world.child("a", tidy_up(3), start_slowly(5)))) as sup:

        async def end(*, and_start: bool) -> None:
            with trio.fail_after(4):
                await sup.terminate_child("a")

            assert trio.current_time() == 3

            if and_start:
                await sup.restart_child("a")

        async with trio.open_nursery() as nursery:
            for and_start in (True, False):
                nursery.start_soon(functools.partial(end, and_start=and_start))

        assert trio.current_time() == 8
        assert world.starts("a") == 2
        assert states(sup) == {"a": ChildState.RUNNING}
