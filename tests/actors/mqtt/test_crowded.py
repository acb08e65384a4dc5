"""When an actor overflows, as arithmetic: `ActorBox.overflows_at` over a share of 2 and a patience of 1 second.

Law: only a slow actor overflows. A burst condemns nobody while it still pours in; an actor hung on one message
overflows even then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from tars.actors.mqtt.box import ActorBox
from tars.actors.mqtt.in_flight import Delivery, Work
from tars.actors.mqtt.ledger import Ledger
from tars.actors.mqtt.subscription import Subscription
from tars.actors.mqtt.topics import parse_template
from tars.actors.mqtt.transport import Inbound
from tars.supervisor import Custody, Mailbox, Overflow

ON_IN = Subscription("subject:in", "subject", "root/service/handlers/subject", parse_template("in"), 1)


@attrs.define(eq=False)
class Desk:
    """An actor's box and the hand that works on it. Times are seconds since it was set up."""

    box: ActorBox
    custody: Custody[Work]
    began: float

    def receives(self, count: int) -> None:
        for serial in range(count):
            self.box.mailbox.send_nowait(Work(Delivery(Inbound("in", b"x"), serial), ON_IN))

    def handles(self, count: int) -> None:
        for taken in self.custody.receive_nowait(count):
            self.custody.begin(taken)
            self.custody.done(taken)

    def hangs(self) -> None:
        self.box.busy_since = trio.current_time()

    def overflows_at(self, *, crowded: bool = False) -> float | None:
        at = self.box.overflows_at(trio.current_time(), crowded=crowded)
        return None if at is None else at - self.began

    async def until(self, at_s: float) -> None:
        await trio.sleep_until(self.began + at_s)


@asynccontextmanager
async def desk(overflow: Overflow = Overflow.DEAD_LETTER) -> AsyncIterator[Desk]:
    mailbox: Mailbox[Work] = Mailbox(1_000)
    box = ActorBox(name="subject", path=ON_IN.path, mailbox=mailbox, ledger=Ledger(1, 1.0), share=2, overflow=overflow)
    async with mailbox.custody() as custody:
        yield Desk(box, custody, trio.current_time())


async def test_an_actor_that_does_nothing_overflows_a_second_after_the_first_look(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(5)

        assert 1.0 == it.overflows_at()
        await it.until(0.9)

        assert 1.0 == it.overflows_at()


async def test_a_burst_after_a_rest_finds_it_fresh_though_nobody_looked_meanwhile(_virtual: MockClock) -> None:
    """Nobody looks at a lane while all of its actor's hold less than their share, nor at the only actor when nothing comes."""
    async with desk() as it:
        it.receives(5)
        it.overflows_at()
        await it.until(1.0)

        assert 1.0 == it.overflows_at()
        it.handles(5)
        await it.until(100.0)
        it.receives(5)

        assert 101.0 == it.overflows_at(crowded=True)
        await it.until(100.5)

        assert 101.5 == it.overflows_at(crowded=True)


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_what_is_within_the_share_never_overflows(_virtual: MockClock, count: int) -> None:
    async with desk() as it:
        it.receives(count)
        it.hangs()
        await it.until(100.0)

        assert it.overflows_at() is None
        assert it.overflows_at(crowded=True) is None


async def test_block_never_overflows(_virtual: MockClock) -> None:
    async with desk(Overflow.BLOCK) as it:
        it.receives(5)
        it.hangs()
        await it.until(100.0)

        assert it.overflows_at() is None


async def test_a_burst_condemns_nobody_while_messages_still_pour_in(_virtual: MockClock) -> None:
    async with desk() as it:
        for tenth in range(1, 50):
            it.receives(10)
            at = it.overflows_at(crowded=True)

            assert at is not None
            assert at == pytest.approx(tenth / 10 - 0.1 + 1.0)  # always a whole second ahead
            await it.until(tenth / 10)


async def test_a_crowd_that_comes_and_goes_takes_no_time_from_an_actor_that_is_slow_by_itself(_virtual: MockClock) -> None:
    async with desk() as it:
        at = []
        for fifth in range(1, 6):
            it.receives(10)
            at += [it.overflows_at(crowded=True), it.overflows_at()]
            await it.until(fifth / 5)

        assert [1.0] * 10 == at


async def test_a_crowd_that_never_ends_is_forgiven_ten_times_the_patience_and_no_more(_virtual: MockClock) -> None:
    async with desk() as it:
        tenth = 0
        it.receives(3)
        while (it.overflows_at(crowded=True) or 0.0) > tenth / 10:
            tenth += 1
            await it.until(tenth / 10)

        assert 11.0 == tenth / 10


async def test_each_share_that_is_done_begins_a_new_forgiveness(_virtual: MockClock) -> None:
    async with desk() as it:
        at = 0.0
        for tenth in range(1, 200):
            it.receives(3)
            at = it.overflows_at(crowded=True) or 0.0
            if tenth % 90 == 0:
                it.handles(2)
            await it.until(tenth / 10)

        assert 19.8 + 1.0 == pytest.approx(at)


async def test_one_that_overflowed_is_given_no_grace_before_it_has_done_a_share_in_time_and_then_it_is(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(100)
        it.overflows_at()
        await it.until(2.0)

        assert 1.0 == it.overflows_at()
        it.handles(2)  # in 2 seconds
        it.receives(1)
        at = it.overflows_at(crowded=True)

        assert at is not None
        assert at <= 2.0
        await it.until(2.5)
        it.handles(2)  # in half a one
        await it.until(3.0)

        assert 4.0 == it.overflows_at(crowded=True)
        await it.until(3.5)

        assert 4.5 == it.overflows_at(crowded=True)


async def test_after_the_crowd_an_actor_has_a_second_of_its_own(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(100)
        await it.until(5.0)

        assert 6.0 == it.overflows_at(crowded=True)
        await it.until(5.5)

        assert 6.0 == it.overflows_at()


async def test_an_actor_that_finishes_its_share_in_the_second_does_not_overflow(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(100)
        at = [it.overflows_at()]
        for half in range(1, 10):
            await it.until(half / 2)
            it.handles(1)
            at.append(it.overflows_at())

        # seen at 0, then at every second message: 1.0, 2.0, ...
        assert [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0] == at


async def test_an_actor_that_finishes_less_than_its_share_in_the_second_overflows(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(100)
        it.overflows_at()
        await it.until(1.0)
        it.handles(1)

        assert 1.0 == it.overflows_at()


@pytest.mark.parametrize("crowded", [True, False])
async def test_an_actor_hung_on_one_message_overflows_however_crowded_it_is(_virtual: MockClock, crowded: bool) -> None:
    async with desk() as it:
        it.receives(5)
        it.handles(1)
        it.hangs()
        at = []
        for tenth in range(1, 11):
            at.append(it.overflows_at(crowded=crowded))
            await it.until(tenth / 10)
            it.receives(5)

        assert [1.0] * 10 == at


async def test_an_actor_busy_with_each_message_for_a_moment_is_not_hung(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(100)
        await it.until(3.0)
        it.handles(1)
        await it.until(3.9)
        it.hangs()

        assert 4.9 == pytest.approx(it.overflows_at(crowded=True))


async def test_an_empty_mailbox_begins_anew(_virtual: MockClock) -> None:
    async with desk() as it:
        it.receives(3)
        it.overflows_at()
        it.handles(3)
        await it.until(9.0)

        assert it.overflows_at() is None
        it.receives(3)

        assert 10.0 == it.overflows_at()
