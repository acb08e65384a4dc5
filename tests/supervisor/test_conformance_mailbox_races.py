"""Mailboxes and questions at the instant of an ending: a put against a restart, a request to a child that dies (B4, B6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from support.cases import case
from support.sim import seeds, sim
from support.sim_children import Behaviour, Boom, Life
from support.sim_world import Sim, root
from tars.supervisor import (
    Ask,
    AskFailed,
    Backoff,
    Mailbox,
    MailboxClosed,
    MailboxFull,
    Overflow,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    ask,
)

STRATEGIES = [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
OFTEN = 10_000
SOON = Backoff(initial_s=3, max_s=3, jitter=0)


def clerk(mailbox: Mailbox[object], done: Callable[[object], None], *, takes_s: float = 0) -> Behaviour:
    """An actor: deals with one message after the other, replies to a question with its message, and ends when it is ordered to."""

    async def run(life: Life) -> None:
        life.ready()
        async with trio.open_nursery() as nursery:

            async def ordered() -> None:
                await life.obey()
                nursery.cancel_scope.cancel()

            nursery.start_soon(ordered)
            while True:
                async with mailbox.receive_batch(2) as batch:
                    for taken in batch:
                        await trio.sleep(takes_s)
                        if isinstance(taken.item, Ask):
                            taken.item.reply(taken.item.message)
                        else:
                            done(taken.item)
                        batch.done(taken)

    return run


def unexpected(item: object) -> None:
    raise AssertionError(item)


def assert_balanced(mailbox: Mailbox[object]) -> None:
    now = mailbox.statistics()

    assert now.accepted == now.done + now.in_hand + now.evicted + now.queued


# -- a put against a restart -----------------------------------------------------------------------


@case("B4")
@pytest.mark.parametrize(("capacity", "strategy"), [(1, Strategy.ONE_FOR_ONE), (3, Strategy.ONE_FOR_ALL), (100, Strategy.REST_FOR_ONE)])
@seeds(200)
async def test_what_is_put_at_the_instant_of_a_restart_is_handled_once_and_in_its_senders_order(
    world: Sim, capacity: int, strategy: Strategy
) -> None:
    """Three senders, who wait for room when there is none, and a plague, all at the same moments."""
    mailbox: Mailbox[object] = world.mailbox(capacity)
    handled: list[object] = []

    async def send(name: str) -> None:
        for number in range(6):
            await trio.sleep_until(number // 2)
            await mailbox.send((name, number))

    spec = root(world.child("a", clerk(mailbox, handled.append)), world.child("b"), strategy=strategy, max_restarts=OFTEN)
    async with world.running(spec):
        async with trio.open_nursery() as nursery:
            for name in "xyz":
                nursery.start_soon(send, name)
            for moment in range(3):
                await trio.sleep_until(moment)
                world.end("a", Boom())
        await trio.sleep(10)

    assert [(name, number) for name in "xyz" for number in range(6)] == sorted(handled)  # type: ignore[type-var]
    for name in "xyz":
        assert [(name, number) for number in range(6)] == [item for item in handled if item[0] == name]  # type: ignore[index]
    assert (18, 18, 0, 0) == (
        mailbox.statistics().accepted,
        mailbox.statistics().done,
        mailbox.statistics().queued,
        mailbox.statistics().in_hand,
    )


@case("B4")
@pytest.mark.parametrize("overflow", Overflow)
@seeds(200)
async def test_what_is_put_at_the_instant_of_an_ending_is_handled_or_told_of_never_both_never_neither(
    world: Sim, overflow: Overflow
) -> None:
    """Whatever the mailbox does when it is full: the sender was refused, or the message was evicted with a word, or it was handled."""
    evicted: list[object] = []
    refused: list[object] = []
    handled: list[object] = []
    mailbox: Mailbox[object] = world.mailbox(2, overflow, on_evicted=lambda item, _: evicted.append(item))

    async def put(number: int) -> None:
        try:
            mailbox.send_nowait(number)
        except MailboxFull:
            refused.append(number)

    spec = root(world.child("a", clerk(mailbox, handled.append, takes_s=1)), max_restarts=OFTEN, backoff=SOON)
    async with world.running(spec):
        for number in (0, 10, 20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.end_and_settle, "a", Boom())
                for more in range(4):
                    nursery.start_soon(put, number + more)
            await trio.sleep(10)
        assert_balanced(mailbox)

    assert [number + more for number in (0, 10, 20) for more in range(4)] == sorted([*handled, *evicted, *refused])  # type: ignore[type-var]
    assert len(handled) >= 6


@case("A12", "B4")
@seeds(200)
async def test_what_is_put_at_the_instant_of_a_stop_is_handled_evicted_or_refused(world: Sim) -> None:
    evicted: list[object] = []
    handled: list[object] = []
    refused: list[object] = []
    mailbox: Mailbox[object] = world.mailbox(1, on_evicted=lambda item, _: evicted.append(item))

    async def send(number: int) -> None:
        try:
            await mailbox.send(number)
        except MailboxClosed:
            refused.append(number)

    async def stop(sup: Supervisor) -> None:
        await sup.stop()
        mailbox.close("stopped")

    async with world.running(root(world.child("a", clerk(mailbox, handled.append)))) as sup, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(send, number)
        nursery.start_soon(stop, sup)

    assert list(range(5)) == sorted([*handled, *evicted, *refused])  # type: ignore[type-var]
    assert_balanced(mailbox)


@case("A14", "B4")
@seeds(200)
async def test_what_is_put_while_an_operator_stops_and_starts_the_reader_waits_for_it(world: Sim) -> None:
    mailbox: Mailbox[object] = world.mailbox(2)
    handled: list[object] = []
    async with world.running(root(world.child("a", clerk(mailbox, handled.append)))) as sup:

        async def again() -> None:
            await sup.terminate_child("a")
            await sup.restart_child("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(again)
            for number in range(6):
                nursery.start_soon(mailbox.send, number)
        await world.settle()

    assert list(range(6)) == sorted(handled)  # type: ignore[type-var]


# -- a request to a child that dies ----------------------------------------------------------------


async def outcome_of_a_question(mailbox: Mailbox[object]) -> str:
    try:
        return str(await ask(mailbox, "yes", 60))
    except AskFailed as failed:
        return type(failed).__name__


async def ask_one_who_dies(world: Sim, outcomes: list[str], error: Exception | None, restart: Restart, backoff: Backoff) -> None:
    """Two questions and the ending, all at one instant, the ending a few steps earlier or later."""
    mailbox: Mailbox[object] = world.mailbox(3)
    spec = SupervisorSpec("root", [world.child("a", clerk(mailbox, unexpected), restart=restart)], backoff=backoff)

    async def question() -> None:
        outcomes.append(await outcome_of_a_question(mailbox))
        world.note("told")

    async def end() -> None:
        for _ in range(world.random.randrange(6)):
            await trio.lowlevel.checkpoint()
        world.end("a", error)

    async with world.running(spec), trio.open_nursery() as nursery:
        nursery.start_soon(question)
        nursery.start_soon(end)
        nursery.start_soon(question)

    assert [0, 0] == world.times("told")


@pytest.mark.parametrize(
    ("error", "restart", "expected"),
    [
        (Boom(), Restart.PERMANENT, {"yes", "ActorRestarting"}),
        (None, Restart.PERMANENT, {"yes", "ActorRestarting"}),
        (None, Restart.TRANSIENT, {"yes", "ActorStopped"}),
        (Boom(), Restart.TEMPORARY, {"yes", "ActorStopped"}),
    ],
)
@case("B6")
@seeds(200)
async def test_a_question_to_an_actor_that_ends_at_that_instant_is_answered_at_once_one_way_or_the_other(
    world: Sim, error: Exception | None, restart: Restart, expected: set[str]
) -> None:
    outcomes: list[str] = []
    await ask_one_who_dies(world, outcomes, error, restart, SOON)

    assert expected >= set(outcomes)
    assert 2 == len(outcomes)


@pytest.mark.parametrize(("restart", "refusal"), [(Restart.PERMANENT, "ActorRestarting"), (Restart.TEMPORARY, "ActorStopped")])
def test_the_order_of_tasks_decides_what_a_question_to_a_dying_actor_gets(restart: Restart, refusal: str) -> None:
    """Both happen: else there was no race in the test above."""
    outcomes: list[str] = []
    for seed in range(50):
        sim(seed, ask_one_who_dies, outcomes, Boom(), restart, SOON)

    assert {"yes", refusal} == set(outcomes)


@case("B6")
@seeds(200)
async def test_an_answer_given_in_the_last_step_of_a_life_is_an_answer(world: Sim) -> None:
    """Replied, and crashed before anybody else ran: the question is answered, and not told of the restart."""
    mailbox: Mailbox[object] = world.mailbox(3)

    async def last_word(life: Life) -> None:
        life.ready()
        async with mailbox.receive_batch(1) as batch:
            for taken in batch:
                assert isinstance(taken.item, Ask)
                taken.item.reply("last word")
                batch.done(taken)
            raise Boom

    async with world.running(root(world.child("a", last_word), max_restarts=5)):
        assert "last word" == await ask(mailbox, "?", 60)

    assert 1 == mailbox.statistics().done


@case("B6")
@seeds(200)
async def test_a_question_given_up_at_the_instant_of_its_answer_leaves_nothing(world: Sim) -> None:
    """Timeout, reply and restart in one instant: whoever wins, the asker knows, and nobody waits any more."""
    mailbox: Mailbox[object] = world.mailbox(3)
    outcomes: list[str] = []
    spec = root(world.child("a", clerk(mailbox, unexpected, takes_s=5)), max_restarts=5)

    async def question() -> None:
        try:
            outcomes.append(str(await ask(mailbox, "yes", 5)))
        except AskFailed as failed:
            outcomes.append(type(failed).__name__)

    async with world.running(spec):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(question)
            await trio.sleep(5)
            world.end("a", Boom())

        assert 5 == trio.current_time()

    assert {"yes", "TooSlow", "ActorRestarting"} >= set(outcomes)
    assert 1 == len(outcomes)


@case("B6")
@pytest.mark.parametrize("strategy", STRATEGIES)
@seeds(200)
async def test_a_question_between_siblings_at_the_instant_of_a_group_restart_is_answered(world: Sim, strategy: Strategy) -> None:
    """The one who asks may go down in the middle of it, too: then it takes no answer, and leaves no question behind."""
    mailbox: Mailbox[object] = world.mailbox(3)

    async def asks(life: Life) -> None:
        life.ready()
        await trio.sleep(1)
        world.note("outcome", await outcome_of_a_question(mailbox))
        await life.obey()

    spec = root(world.child("a", clerk(mailbox, unexpected)), world.child("b", asks), strategy=strategy, max_restarts=5, backoff=SOON)
    async with world.running(spec):
        await trio.sleep(1)
        await world.end_and_settle("a", Boom())
        await trio.sleep(20)

    assert {"outcome yes", "outcome ActorRestarting"} >= set(world.words("outcome"))
    assert world.words("outcome")
