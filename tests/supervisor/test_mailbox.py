"""Mailboxes: nothing vanishes, counters balance, order holds, whatever the reader's life (B4)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from support.cases import case
from support.sim import seeds
from support.sim_world import Sim
from tars.supervisor import Mailbox, MailboxClosed, MailboxFull, Overflow

DROPPING = [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.DEAD_LETTER]


class Crash(Exception):
    """The reader dies."""


@seeds(200)
async def test_what_a_crash_leaves_goes_to_the_next_reader_in_order_with_the_attempt_counted(world: Sim) -> None:
    mailbox: Mailbox[str] = world.mailbox(10)
    for item in "abcde":
        await mailbox.send(item)
    with contextlib.suppress(Crash):
        async with mailbox.receive_batch(4) as batch:
            for taken in batch:
                if taken.item == "a":
                    batch.done(taken)
                if taken.item == "c":
                    raise Crash
    async with mailbox.receive_batch(10) as batch:
        again = [(taken.item, taken.attempt) for taken in batch]

    assert again == [("b", 2), ("c", 2), ("d", 1), ("e", 1)]


@seeds(200)
async def test_a_cancelled_reader_gives_everything_back(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(10)
    mailbox.send_nowait(1)
    mailbox.send_nowait(2)

    async def read() -> None:
        async with mailbox.receive_batch(2) as batch:
            for _ in batch:
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await world.settle()
        assert (0, 2) == (mailbox.statistics().queued, mailbox.statistics().in_hand)
        nursery.cancel_scope.cancel()

    async with mailbox.receive_batch(2) as batch:
        assert [(taken.item, taken.attempt) for taken in batch] == [(1, 2), (2, 1)]


@seeds(200)
async def test_a_wait_for_messages_that_is_cancelled_as_one_arrives_loses_nothing(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(1)
    got: list[int] = []

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            async with mailbox.receive_batch(1) as batch:
                for taken in batch:
                    batch.done(taken)
                    got.append(taken.item)

    async def cancel(scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        scope.cancel()

    for item in range(10):
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, scope)
            nursery.start_soon(cancel, scope)
            nursery.start_soon(mailbox.send, item)
        if mailbox.statistics().queued:
            await read(trio.CancelScope())

    assert list(range(10)) == got


@seeds(200)
async def test_blocked_senders_get_in_first_come_first_served(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(1)
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        for item in range(6):
            nursery.start_soon(mailbox.send, item)
            await world.settle()
        assert mailbox.statistics().accepted == 1
        while len(got) < 6:
            async with mailbox.receive_batch(1) as batch:
                for taken in batch:
                    batch.done(taken)
                    got.append(taken.item)

    assert list(range(6)) == got


@seeds(200)
async def test_a_blocked_send_that_is_cancelled_was_never_accepted_and_keeps_no_place(world: Sim) -> None:
    mailbox: Mailbox[str] = world.mailbox(1)
    mailbox.send_nowait("first")
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as given_up:
            await mailbox.send("given up")
        nursery.start_soon(mailbox.send, "second")
        await world.settle()
        async with mailbox.receive_batch(1) as batch:
            for taken in batch:
                batch.done(taken)

    assert given_up.cancelled_caught
    assert (2, 1) == (mailbox.statistics().accepted, mailbox.statistics().queued)


@seeds(200)
async def test_a_send_cancelled_at_the_instant_of_admission_is_in_or_out_never_half(world: Sim) -> None:
    mailbox: Mailbox[str] = world.mailbox(1)
    mailbox.send_nowait("first")
    outcome: list[str] = []

    async def sender(scope: trio.CancelScope) -> None:
        with scope:
            await mailbox.send("second")
            outcome.append("accepted")

    async def reader() -> None:
        async with mailbox.receive_batch(1) as batch:
            for taken in batch:
                batch.done(taken)

    async def canceller(scope: trio.CancelScope) -> None:
        scope.cancel()

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender, scope)
        await world.settle()
        nursery.start_soon(reader)
        nursery.start_soon(canceller, scope)

    assert len(outcome) == mailbox.statistics().queued
    assert 1 + len(outcome) == mailbox.statistics().accepted


@seeds(200)
async def test_under_block_send_nowait_refuses_and_keeps_nothing(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(1)
    mailbox.send_nowait(1)
    with pytest.raises(MailboxFull, match="1 of 1"):
        mailbox.send_nowait(2)

    assert mailbox.statistics().accepted == 1


@case("B4")
@pytest.mark.parametrize(
    ("overflow", "kept", "evicted"),
    [(Overflow.DROP_OLDEST, [3, 4], [1, 2]), (Overflow.DROP_NEWEST, [1, 2], [3, 4]), (Overflow.DEAD_LETTER, [1, 2], [3, 4])],
)
@seeds(200)
async def test_a_full_mailbox_evicts_by_policy_and_never_blocks(
    world: Sim, overflow: Overflow, kept: list[int], evicted: list[int]
) -> None:
    """Overflow during backoff goes to dead letters by policy."""
    out: list[tuple[int, str]] = []
    mailbox: Mailbox[int] = world.mailbox(2, overflow, on_evicted=lambda item, reason: out.append((item, reason)))
    for item in (1, 2, 3):
        mailbox.send_nowait(item)
    await mailbox.send(4)
    async with mailbox.receive_batch(10) as batch:
        assert kept == [taken.item for taken in batch]

    assert [(item, "overflow") for item in evicted] == out


@pytest.mark.parametrize("overflow", DROPPING)
@seeds(200)
async def test_what_comes_back_after_a_crash_is_not_evicted_for_want_of_room(world: Sim, overflow: Overflow) -> None:
    """A message once accepted is not thrown out because others came while it was in hand."""
    out: list[int] = []
    mailbox: Mailbox[int] = world.mailbox(2, overflow, on_evicted=lambda item, _: out.append(item))
    mailbox.send_nowait(1)
    mailbox.send_nowait(2)
    with contextlib.suppress(Crash):
        async with mailbox.receive_batch(2):
            mailbox.send_nowait(3)
            mailbox.send_nowait(4)
            raise Crash

    assert out == []
    async with mailbox.receive_batch(10) as batch:
        assert [1, 2, 3, 4] == [taken.item for taken in batch]


@case("B4")
@seeds(200)
async def test_closing_evicts_what_is_queued_and_ends_waiting_senders_and_readers(world: Sim) -> None:
    """On final stop all leftovers are dead-lettered."""
    out: list[tuple[int, str]] = []
    mailbox: Mailbox[int] = world.mailbox(2, on_evicted=lambda item, reason: out.append((item, reason)))
    ended: list[str] = []
    mailbox.send_nowait(1)
    mailbox.send_nowait(2)

    async def send() -> None:
        with pytest.raises(MailboxClosed):
            await mailbox.send(3)
        ended.append("sender")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await world.settle()
        mailbox.close("stopped")

    assert [(1, "stopped"), (2, "stopped")] == out
    assert ended == ["sender"]
    with pytest.raises(MailboxClosed):
        mailbox.send_nowait(4)
    with pytest.raises(MailboxClosed):
        async with mailbox.receive_batch(1):
            ended.append("never")

    assert ended == ["sender"]


@seeds(200)
async def test_closing_ends_a_reader_that_waits(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(1)

    async def read() -> None:
        with pytest.raises(MailboxClosed):
            async with mailbox.receive_batch(1):
                pass
        world.note("told")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await world.settle()
        mailbox.close("stopped")

    assert world.times("told") == [0]


@seeds(200)
async def test_what_is_given_back_to_a_closed_mailbox_is_evicted(world: Sim) -> None:
    out: list[tuple[int, str]] = []
    mailbox: Mailbox[int] = world.mailbox(3, on_evicted=lambda item, reason: out.append((item, reason)))
    for item in (1, 2, 3):
        mailbox.send_nowait(item)
    async with mailbox.receive_batch(2) as batch:
        for taken in batch:
            batch.done(taken)
            break
        mailbox.close("stopped")
        mailbox.close("again")

    assert [(3, "stopped"), (2, "stopped")] == out
    assert (3, 1, 2) == (mailbox.statistics().accepted, mailbox.statistics().done, mailbox.statistics().evicted)


@asynccontextmanager
async def occupied(mailbox: Mailbox[int]) -> AsyncIterator[None]:
    mailbox.send_nowait(1)
    async with mailbox.receive_batch(1):
        yield


@seeds(200)
async def test_a_second_reader_at_the_same_time_is_refused(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(3)
    async with occupied(mailbox):
        with pytest.raises(RuntimeError, match="one reader"):
            async with mailbox.receive_batch(1):
                pass


@seeds(200)
async def test_done_twice_is_an_error_not_a_count(world: Sim) -> None:
    mailbox: Mailbox[int] = world.mailbox(3)
    mailbox.send_nowait(1)
    async with mailbox.receive_batch(1) as batch:
        for taken in batch:
            batch.done(taken)
            with pytest.raises(KeyError):
                batch.done(taken)

    assert mailbox.statistics().done == 1


@pytest.mark.parametrize("capacity", [0, -1, 1.5, math.nan])
def test_a_capacity_that_cannot_hold_anything_is_refused(capacity: float) -> None:
    with pytest.raises(ValueError, match="holds 1 or more"):
        Mailbox(capacity)
