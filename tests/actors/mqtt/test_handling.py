"""Many messages under one scope: each has its own time all the same, and what one does to the scope is not another's affair."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import MockClock

from support.service import Seen, running
from tars.actors import Actor, Context, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed
from tars.actors.mqtt.handling import TimeLimit

LIMIT_S = 10.0


class Sleeper:
    """An actor whose messages say how long they take (seconds), or "block 11": without a wait, until it is too late."""

    def __init__(self, clock: MockClock) -> None:
        self.clock = clock
        self.seen = Seen()
        self.gate = trio.Event()

    def actor(self) -> type[Actor]:
        async def on_in(_self: Actor, event: bytes) -> None:
            await self.gate.wait()  # the first one: all the others queue up behind it
            word, _, seconds = event.decode().rpartition(" ")
            if word == "block":
                self.clock.jump(float(seconds))
            else:
                await trio.sleep(float(seconds))
            self.seen.add(event)

        return type("Subject", (Actor,), {"on_in": subscribe("in")(on_in)})


@pytest.mark.parametrize(
    ("messages", "handled", "late"),
    [
        pytest.param(["6", "6", "6", "6"], ["6", "6", "6", "6"], [], id="together they take longer than one may"),
        pytest.param(["0", "0.005", "9.9", "0"], ["0", "0.005", "9.9", "0"], [], id="nearly all of its time, behind short ones"),
        pytest.param(["1", "11", "9"], ["1", "9"], ["11"], id="the one in the middle takes too long"),
        pytest.param(["11", "9", "12", "9"], ["9", "9"], ["11", "12"], id="every other one does"),
        pytest.param(["block 11", "9"], ["block 11", "9"], [], id="its time went by without a wait, and it succeeded"),
        pytest.param(["block 10", "block 10", "9"], ["block 10", "block 10", "9"], [], id="twice, to the second"),
    ],
)
async def test_each_has_its_own_time(_virtual: MockClock, messages: list[str], handled: list[str], late: list[str]) -> None:
    sleeper = Sleeper(_virtual)
    limits = {"subject": {"handler_timeout_s": LIMIT_S, "max_attempts": 1, "overflow": "block", "max_failures_in_a_row": 100}}
    async with running(sleeper.actor(), actors=limits) as world:
        for message in messages:
            await world.deliver("in", message.encode())
        sleeper.gate.set()
        await world.settled()

        assert [each.encode() for each in handled] == sleeper.seen.items
        assert [(Why.CRASHED, each.encode()) for each in late] == [(letter.why, letter.payload) for letter in world.store.letters]
        assert len(late) == len(world.events_of(HandlerFailed))


async def test_one_that_waits_for_room_in_the_outbox_does_so_on_nobodys_time(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, event: bytes, ctx: Context) -> None:
            await trio.sleep(0.4)
            await ctx.publish_raw("out", event)
            await trio.sleep(0.4)
            seen.add(event)

    async with running(
        Subject, actors={"subject": {"handler_timeout_s": 1.0, "overflow": "block"}}, config={"mqtt": {"outbox": 1}}
    ) as world:
        for number in range(6):
            await world.deliver("in", b"%d" % number)
        await world.settled()

        assert [b"%d" % number for number in range(6)] == seen.items
        assert [] == world.events_of(HandlerFailed)


def test_a_limit_is_moved_on_for_the_next_and_left_where_it_is_within_a_thousandth() -> None:
    limit = TimeLimit(10.0, 100.0)

    assert (True, 110.0) == (limit.move_on(100.009), limit.scope.deadline)
    assert (True, 115.0) == (limit.move_on(105.0), limit.scope.deadline)
    assert not limit.move_on(115.0)


def test_a_limit_that_somebody_else_has_set_is_of_no_more_use() -> None:
    limit = TimeLimit(10.0, 100.0)
    limit.scope.deadline = 200.0

    assert not limit.move_on(101.0)


async def test_ticks_that_take_longer_than_their_interval_leave_room_for_messages(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        @every(1.0)
        async def look(self) -> None:
            await trio.sleep(1.5)

        @every(1.0)
        async def look_elsewhere(self) -> None:
            await trio.sleep(1.5)

        @subscribe("in")
        async def on_in(self, event: bytes) -> None:
            seen.add(event)

    async with running(Subject) as world:
        await trio.sleep(1.1)
        for number in range(3):
            await world.deliver("in", b"%d" % number)
        await world.settled()

        assert [b"0", b"1", b"2"] == seen.items
        assert trio.current_time() < 7.0


async def test_a_handler_that_computes_and_never_waits_holds_others_up_for_one_message_at_a_time(_virtual: MockClock) -> None:
    gate = trio.Event()
    seen = Seen()
    between: list[int] = []

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, event: bytes) -> None:
            if not gate.is_set():
                await gate.wait()  # the first one: all the others queue up behind it
            _virtual.jump(0.1)
            seen.add(event)

    class Other(Actor):
        @every(0.1)
        async def look(self) -> None:
            between.append(len(seen.items))

    async with running(Subject, Other) as world:
        for number in range(50):
            await world.deliver("in", b"%d" % number)
        await world.quiet()
        between.clear()
        gate.set()
        await world.settled()

    assert max(after - before for before, after in itertools.pairwise([0, *between])) <= 3


@pytest.mark.parametrize("in_nursery", [False, True])
async def test_a_message_whose_handling_is_cancelled_is_not_at_fault(_virtual: MockClock, in_nursery: bool) -> None:
    attempts: list[int] = []
    running_now = trio.Event()

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes, ctx: Context) -> None:
            attempts.append(ctx.attempt)
            if len(attempts) > 1:
                return
            running_now.set()
            async with trio.open_nursery() as nursery:
                if in_nursery:
                    nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()

        @subscribe("other")
        async def on_other(self, event: bytes) -> None:
            pass

    limits = {"handler_timeout_s": 1000.0}
    async with running(Subject, actors={"subject": limits}) as world:
        await world.deliver("in", b"x")
        await running_now.wait()
        await world.reload(Subject, actors={"subject": {**limits, "topics": {"other": "new"}}})  # it must stop, and does not
        await world.settled()

    assert [1, 1] == attempts


async def test_one_whose_time_is_up_and_that_fails_on_the_way_out_of_a_nursery_takes_the_ladder(_virtual: MockClock) -> None:
    attempts: list[int] = []

    async def fails_on_the_way_out() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("late")

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes, ctx: Context) -> None:
            attempts.append(ctx.attempt)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_on_the_way_out)
                nursery.start_soon(trio.sleep_forever)

    async with running(Subject, actors={"subject": {"handler_timeout_s": LIMIT_S, "max_attempts": 2}}) as world:
        await world.deliver("in", b"x")
        await world.settled()

        assert [1, 2] == attempts
        assert [Why.CRASHED] == [letter.why for letter in world.store.letters]
        assert [False, True] == [each.final for each in world.events_of(HandlerFailed)]
