"""Many messages under one scope: each has its own time all the same, and what one does to the scope is not another's affair."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from support.service import Seen, running
from tars.actors import Actor, Context, subscribe
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
