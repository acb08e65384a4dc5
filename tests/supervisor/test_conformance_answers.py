"""Who asks is told, at once and the truth: across full mailboxes, across levels, and beside another operator (B6, A14)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, fail_to_start, obey
from support.sim_world import Sim, root
from tars.supervisor import (
    ActorRestarting,
    ActorStopped,
    AskFailed,
    Backoff,
    ChildSpec,
    Mailbox,
    ReaderState,
    Restart,
    StartFailed,
    Supervisor,
    SupervisorSpec,
    ask,
)

MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


def takes_one(mailbox: Mailbox[object]) -> Behaviour:
    """A reader that takes one message and never ends with it."""

    async def run(life: Life) -> None:
        life.ready()
        async with mailbox.receive_batch(1):
            await life.obey()

    return run


@case("B6")
@pytest.mark.parametrize(
    ("restart", "expected"), [(Restart.PERMANENT, ActorRestarting), (Restart.TEMPORARY, ActorStopped)], ids=["permanent", "temporary"]
)
@seeds(200)
async def test_a_question_that_waits_for_room_is_answered_when_the_reader_ends(
    world: Sim, restart: Restart, expected: type[AskFailed]
) -> None:
    mailbox: Mailbox[object] = world.mailbox(1)
    spec = root(world.child("a", takes_one(mailbox), obey, restart=restart), backoff=MINUTE)
    async with world.running(spec), trio.open_nursery() as nursery:

        async def asks() -> None:
            with pytest.raises(expected):
                await ask(mailbox, "anyone?", 600)
            world.note("told")

        for filler in ("in hand", "queued"):
            mailbox.send_nowait(filler)
            await world.settle()
        nursery.start_soon(asks)
        await trio.sleep(1)
        world.end("a", Boom())

        await world.settle()
        assert [1] == world.times("told")


@case("B6")
@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TEMPORARY])
@seeds(200)
async def test_the_reader_below_a_supervisor_that_gave_up_comes_back_only_if_that_supervisor_does(world: Sim, restart: Restart) -> None:
    mailbox: Mailbox[object] = world.mailbox(9)
    inner = SupervisorSpec("s", [world.child("a", takes_one(mailbox))], max_restarts=0, restart=restart)
    async with world.running(root(inner, backoff=MINUTE)):
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())

        assert {Restart.PERMANENT: ReaderState.RESTARTING, Restart.TEMPORARY: ReaderState.STOPPED}[restart] is mailbox.reader


@case("B6")
@pytest.mark.parametrize("how", ["terminated", "stopped"])
@seeds(200)
async def test_a_reader_whose_supervisor_is_given_up_in_its_backoff_has_stopped(world: Sim, how: str) -> None:
    mailbox: Mailbox[object] = world.mailbox(9)
    inner = SupervisorSpec("s", [SupervisorSpec("t", [world.child("a", takes_one(mailbox))], max_restarts=0)], max_restarts=0)
    async with world.running(root(inner, backoff=MINUTE)) as sup:
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())

        assert ReaderState.RESTARTING is mailbox.statistics().reader

        await (sup.terminate_child("s") if how == "terminated" else sup.stop())

        assert ReaderState.STOPPED is mailbox.reader
        with pytest.raises(ActorStopped):
            await ask(mailbox, "anyone?", 60)


@attrs.define
class Handle:
    """The supervisor of `spec`, as a child that is that supervisor, and the way to get at its newest incarnation."""

    world: Sim
    spec: SupervisorSpec
    newest: Supervisor | None = None
    _status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED

    async def run(self, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        self._status = task_status
        await self.world.supervise(self.spec, task_status=self)

    def started(self, value: Any = None) -> None:
        self.newest = value
        self._status.started(value)


@case("A15", "B6")
@seeds(200)
async def test_who_waits_for_a_child_added_at_run_time_is_told_when_its_supervisor_comes_back_without_it(world: Sim) -> None:
    lost: Mailbox[object] = world.mailbox(9)
    kept: Mailbox[object] = world.mailbox(9)
    handle = Handle(world, SupervisorSpec("s", [world.child("a", takes_one(kept)), world.child("b")], max_restarts=0))
    async with world.running(root(ChildSpec("s", handle.run), backoff=MINUTE)):
        assert handle.newest is not None
        await handle.newest.start_child(world.child("w", takes_one(lost)))
        for mailbox in (lost, kept):
            mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("b", Boom())

        assert (ReaderState.RESTARTING, ReaderState.RESTARTING) == (lost.reader, kept.reader)

        await trio.sleep(61)

        assert (2, 1) == (world.starts("a"), world.starts("w"))
        assert (ReaderState.STOPPED, ReaderState.PRESENT) == (lost.reader, kept.reader)


@case("A14")
@seeds(200)
async def test_a_start_that_failed_is_told_to_who_asked_for_it_whoever_starts_the_child_next(world: Sim) -> None:
    async with world.running(root(world.child("a", obey, fail_to_start(Boom("no")), obey))) as sup:
        await sup.terminate_child("a")

        async def first() -> None:
            with pytest.raises(StartFailed) as failed:
                await sup.restart_child("a")
            assert isinstance(failed.value.__cause__, Boom)

        async def second() -> None:
            while world.starts("a") < 2 or world.alive():
                await trio.lowlevel.checkpoint()
            await sup.restart_child("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(second)

        assert 3 == world.starts("a")
