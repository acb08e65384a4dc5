"""Mailboxes under a supervisor, and questions that always get an answer (B4, B6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_children import Behaviour, Boom, Life, decline, tidy_up
from support.sim_world import Sim, root
from tars.supervisor import (
    ActorRestarting,
    ActorStopped,
    Ask,
    AskFailed,
    Backoff,
    Mailbox,
    Overflow,
    ReaderState,
    Restart,
    Strategy,
    TooSlow,
    ask,
    trap_exit,
)

MINUTE = Backoff(initial_s=60, max_s=60, jitter=0)


def reader(mailbox: Mailbox[object], handle: Callable[[object, int], None]) -> Behaviour:
    """An actor: takes messages one batch at a time, done when `handle` returns; answers questions with twice the message."""

    async def run(life: Life) -> None:
        life.ready()
        while True:
            async with mailbox.receive_batch(4) as batch:
                for taken in batch:
                    await trio.sleep(0.1)
                    if isinstance(taken.item, Ask):
                        taken.item.reply(("re", taken.item.message))
                    else:
                        handle(taken.item, taken.attempt)
                    batch.done(taken)

    return run


@case("B4")
@seeds(200)
async def test_a_restart_loses_no_message_and_keeps_their_order(world: Sim) -> None:
    """The one in hand is tried again, with its attempt counted."""
    mailbox: Mailbox[object] = world.mailbox(100)
    handled: list[tuple[object, int]] = []

    def handle(item: object, attempt: int) -> None:
        if item in (3, 7) and attempt < 3:
            raise Boom
        handled.append((item, attempt))

    for item in range(10):
        mailbox.send_nowait(item)
    async with world.running(root(world.child("a", reader(mailbox, handle)), max_restarts=100)):
        await trio.sleep(100)

    assert [(item, 3 if item in (3, 7) else 1) for item in range(10)] == handled
    now = mailbox.statistics()
    assert (10, 10, 0, 0) == (now.accepted, now.done, now.queued, now.in_hand)


@case("B4")
@seeds(200)
async def test_senders_never_notice_a_restart(world: Sim) -> None:
    """Mailboxes outlive incarnations; overflow during backoff goes by policy."""
    mailbox: Mailbox[object] = world.mailbox(
        3, Overflow.DEAD_LETTER, on_evicted=lambda item, reason: world.note("evicted", str(item), reason)
    )
    handled: list[object] = []
    script = reader(mailbox, lambda item, _: handled.append(item))

    async def dies_at_once(life: Life) -> None:
        life.ready()
        raise Boom

    spec = root(world.child("a", dies_at_once, script), backoff=Backoff(initial_s=10, max_s=10, jitter=0))
    async with world.running(spec):
        for item in range(5):
            await mailbox.send(item)
        await trio.sleep(20)

    assert [0, 1, 2] == handled
    assert world.words("evicted") == ["evicted 3 overflow", "evicted 4 overflow"]


@case("B6")
@seeds(200)
async def test_a_question_is_answered(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", reader(mailbox, lambda *_: None)))):
        assert ("re", "who?") == await ask(mailbox, "who?", 1)

    assert mailbox.statistics().done == 1


async def takes_and_obeys(life: Life, mailbox: Mailbox[object]) -> None:
    life.ready()
    async with mailbox.receive_batch(1) as batch:
        for _ in batch:
            await life.obey()


@case("B6")
@seeds(200)
async def test_a_question_to_an_actor_that_crashes_is_answered_at_once(world: Sim) -> None:
    """Not after the timeout."""
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox)))):
        async with trio.open_nursery() as nursery:

            async def asker() -> None:
                with pytest.raises(ActorRestarting):
                    await ask(mailbox, "who?", 60)
                world.note("told")

            nursery.start_soon(asker)
            await trio.sleep(5)
            world.end("a", Boom())

        assert world.times("told") == [5]


@case("B6")
@seeds(200)
async def test_a_question_to_an_actor_in_backoff_is_refused_at_once(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    spec = root(world.child("a", lambda life: takes_and_obeys(life, mailbox)), backoff=Backoff(initial_s=10, max_s=10, jitter=0))
    async with world.running(spec):
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())
        with pytest.raises(ActorRestarting):
            await ask(mailbox, "who?", 60)

        assert trio.current_time() == 0


@case("B6")
@seeds(200)
async def test_a_question_to_an_actor_that_ended_for_good_is_refused_at_once(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    child = world.child("a", lambda life: takes_and_obeys(life, mailbox), restart=Restart.TEMPORARY)
    async with world.running(root(child)):
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())
        with pytest.raises(ActorStopped):
            await ask(mailbox, "who?", 60)

        assert trio.current_time() == 0


@case("B6")
@seeds(200)
async def test_a_question_put_while_the_supervisor_stops_is_told_that_nobody_will_come(world: Sim) -> None:
    """The reader was in backoff when the stop began; the question is asked, or already waiting, while a sibling cleans up."""
    mailbox: Mailbox[object] = world.mailbox(3)
    spec = root(world.child("b", tidy_up(5)), world.child("a", lambda life: takes_and_obeys(life, mailbox)), backoff=MINUTE)
    async with world.running(spec) as sup:
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())

        assert mailbox.reader is ReaderState.RESTARTING

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sup.stop)
            await trio.sleep(1)
            with pytest.raises(ActorStopped):
                await ask(mailbox, "who?", 60)

        assert trio.current_time() == 5


@case("A9", "B6")
@seeds(200)
async def test_a_reader_that_an_operator_terminates_in_backoff_has_stopped(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox)), backoff=MINUTE)) as sup:
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())
        await sup.terminate_child("a")

        assert mailbox.reader is ReaderState.STOPPED


@case("B6")
@seeds(200)
async def test_a_reader_whose_restart_declines_has_stopped(world: Sim) -> None:
    """The incarnation that was to follow never read, and never will."""
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox), decline))):
        mailbox.send_nowait("work")
        await world.settle()
        await world.end_and_settle("a", Boom())

        assert mailbox.reader is ReaderState.STOPPED


@case("B6")
@seeds(200)
async def test_a_reader_that_restarts_many_times_is_reported_once_each_time(world: Sim) -> None:
    """What one life was asked to tell, the next one tells, and nobody hears it twice."""
    mailbox: Mailbox[object] = world.mailbox(3)
    told: list[int] = []
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox)), max_restarts=50)):
        mailbox.send_nowait("work")
        await world.settle()
        for number in range(10):
            left = trio.Event()
            unwatch = mailbox.watch_reader(left)
            world.end("a", Boom())
            try:
                await left.wait()
            finally:
                unwatch()
            await world.settle()
            told.append(number)

            assert mailbox.reader is ReaderState.PRESENT

    assert list(range(10)) == told


@case("B6")
@seeds(200)
async def test_a_question_nobody_answers_in_time_is_too_slow(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox)))):
        with pytest.raises(TooSlow, match="2 s"):
            await ask(mailbox, "who?", 2)

        assert trio.current_time() == 2


@case("B6")
@seeds(200)
async def test_a_question_that_finds_no_room_is_too_slow_and_leaves_nothing(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(1)
    mailbox.send_nowait("full")
    with pytest.raises(TooSlow):
        await ask(mailbox, "who?", 2)

    assert trio.current_time() == 2
    assert mailbox.statistics().accepted == 1


@case("B6")
@seeds(200)
async def test_a_question_to_a_mailbox_that_closes_is_answered(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(1)
    async with trio.open_nursery() as nursery:

        async def asker() -> None:
            with pytest.raises(ActorStopped):
                await ask(mailbox, "who?", 60)

        nursery.start_soon(asker)
        nursery.start_soon(asker)
        await trio.sleep(1)
        mailbox.close("stopped")

    assert trio.current_time() == 1
    with pytest.raises(ActorStopped):
        await ask(mailbox, "who?", 60)


@case("B6")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
@seeds(200)
async def test_a_child_that_asks_its_sibling_while_all_are_stopped_holds_nothing_up(world: Sim, strategy: Strategy) -> None:
    """Kameo's deadlock: the answerer, started later, is gone first; the asker learns it before its timeout."""
    mailbox: Mailbox[object] = world.mailbox(3)
    answers: list[str] = []

    async def asker(life: Life) -> None:
        request = trap_exit()
        life.ready()
        await request.wait()
        try:
            await ask(mailbox, "last words?", 60)
        except AskFailed as failed:
            answers.append(type(failed).__name__)

    spec = root(world.child("asker", asker, shutdown_s=100), world.child("b", reader(mailbox, lambda *_: None)), strategy=strategy)
    async with world.running(spec) as sup:
        mailbox.send_nowait("work")
        await trio.sleep(5)
        await sup.stop()

        assert trio.current_time() == 5
        assert answers == ["ActorStopped"]


@case("B7")
@seeds(200)
async def test_cancelling_a_question_lets_the_cancellation_through(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(3)
    async with world.running(root(world.child("a", lambda life: takes_and_obeys(life, mailbox)), world.child("b", tidy_up(0)))):
        with trio.move_on_after(3) as scope:
            await ask(mailbox, "who?", 60)

        assert scope.cancelled_caught
        assert trio.current_time() == 3
