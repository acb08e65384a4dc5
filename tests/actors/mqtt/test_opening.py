"""Between CONNACK and SUBACK: the session's messages come already, and nothing else has begun.

What is handled then is drained by a stop as ever, and a broker that falls silent there is found out, though no heartbeat runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson
import pytest
import trio
from trio.testing import MockClock

from support.links import Around, links, silent_at
from support.service import CLIENT, HEALTH, Seen, World, running
from tars.actors import Context, subscribe
from tars.actors.mqtt.events import DrainEnded, LinkDown, LinkUp
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.transport import Inbound, Link, Transport
from tars.supervisor import ChildExited, leaves

PATIENCE_S = 3.0
LATE_S = 0.1
CONFIG: dict[str, dict[str, Any]] = {"mqtt": {"connect_timeout_s": PATIENCE_S}, "service": {"drain_s": 5.0}}
CONNECTION = "root/service/link/connection"


class Gated:
    """One actor that answers what comes, when the gate opens."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.seen = Seen()

    def actor(self) -> object:
        @subscribe("in")
        async def answers(event: bytes, ctx: Context) -> None:
            self.seen.add(event)
            await self.gate.wait()
            await ctx.publish_raw("out", event, qos=1)

        return answers


async def comes_back(world: World, *payloads: bytes) -> None:
    """To a broker that has these for it, and is silent after the CONNACK."""
    await world.health("ready")
    world.broker.drop_link(CLIENT)
    for payload in payloads:
        world.broker.deliver("in", payload)
    await world.broker.wait_connected(CLIENT)
    await world.quiet()


async def test_a_stop_drains_what_the_session_has_brought(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=silent_at(2)) as world:
        await comes_back(world, b"1")
        await it.seen.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.quiet()
            it.gate.set()
            await world.quiet()
            world.broker.thaw()

        assert ((1,), [b"1"]) == (world.broker.acked(CLIENT), [entry.payload for entry in world.said("out")])
        assert ["ready", "lost", "shutdown"] == [orjson.loads(entry.payload)["data"]["event"] for entry in world.said(HEALTH)]
        ended = world.events_of(DrainEnded)[-1]
        assert (0, 0) == (ended.unsettled, ended.unsent)


async def test_a_stop_there_waits_no_longer_for_a_silent_broker_than_elsewhere(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=silent_at(2)) as world:
        await comes_back(world, b"1")
        await it.seen.until(1)
        began = trio.current_time()
        await world.stop()

        assert 5.0 <= trio.current_time() - began <= 5.0 + 3.0
        assert [] == [entry.payload for entry in world.said("out")]


async def test_a_stop_there_with_nothing_in_hand_is_over_at_once(_virtual: MockClock) -> None:
    async with running(Gated().actor(), config=CONFIG, transport=silent_at(1), up=False) as world:
        await world.broker.wait_connected(CLIENT)
        await world.quiet()
        began = trio.current_time()
        await world.stop()

        assert trio.current_time() - began <= 1.25  # its goodbye is heard by nobody


async def test_a_broker_that_is_silent_there_is_left_and_tried_again(_virtual: MockClock) -> None:
    async with running(Gated().actor(), config=CONFIG, transport=silent_at(2)) as world:
        began = trio.current_time()
        await comes_back(world)
        exited = await world.event(ChildExited, lambda event: event.path == CONNECTION, count=2)

        assert PATIENCE_S <= trio.current_time() - began < PATIENCE_S + 1.0
        assert [1] == [each.epoch for each in world.events_of(LinkUp)]
        assert exited.error is not None
        assert f"the broker did not answer a SUBSCRIBE, and sent nothing else, for {PATIENCE_S:g} s" == str(leaves(exited.error)[0])
        world.broker.thaw()
        await world.event(LinkUp, count=2)


class NeverAnswers(Around):
    """A link on which everything works, and no SUBSCRIBE gets through."""

    async def subscribe(self, _filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        await trio.sleep_forever()
        raise AssertionError


def without_suback(last: float = math.inf) -> Callable[[MemoryBroker], Transport]:
    """Connections from the second on, up to `last`, are `NeverAnswers`."""
    return links(lambda number, link: NeverAnswers(link) if 2 <= number <= last else link)


@pytest.mark.parametrize(("pause_s", "is_lost"), [(PATIENCE_S - 0.1, False), (PATIENCE_S + 0.05, False), (PATIENCE_S + 0.15, True)])
async def test_a_broker_that_has_much_to_send_first_is_given_the_time(_virtual: MockClock, pause_s: float, is_lost: bool) -> None:
    it = Gated()
    it.gate.set()
    async with running(it.actor(), config=CONFIG, transport=without_suback()) as world:
        await comes_back(world, b"0")
        for number in range(1, 4):
            await trio.sleep(pause_s)
            world.broker.deliver("in", b"%d" % number)
        await world.quiet()

        assert is_lost is (len(world.events_of(ChildExited, lambda event: event.path == CONNECTION)) > 1)


async def test_what_is_handled_in_a_stop_without_a_suback_is_answered_and_acknowledged(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=without_suback()) as world:
        await comes_back(world, b"1", b"2")
        await it.seen.until(1)
        it.gate.set()
        await it.seen.until(2)
        began = trio.current_time()
        await world.stop()

        assert ((1, 2), [b"1", b"2"]) == (world.broker.acked(CLIENT), [entry.payload for entry in world.said("out")])
        assert began == trio.current_time()


async def test_who_asks_somebody_in_such_a_stop_gets_the_reply(_virtual: MockClock) -> None:
    told = Seen()

    @subscribe("in")
    async def asks(event: bytes, ctx: Context) -> None:
        told.add(event)
        await trio.sleep(0.1)
        told.add((await ctx.request("test.ask", {}, topic="ask", reply="answer", timeout_s=2.0)).data["to"])

    async with running(asks, config=CONFIG, transport=silent_at(2)) as world:
        await comes_back(world, b"1")
        await told.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.quiet()
            world.broker.thaw()
            (question,) = await world.published("ask")
            await world.deliver("answer", {"to": "me"}, envelope_id=orjson.loads(question.payload)["id"])

        assert ((1,), [b"1", "me"]) == (world.broker.acked(CLIENT), told.items)


# -- what comes again -------------------------------------------------------------------------------


class Late(Around):
    """A link on which each message that the broker sends takes its time."""

    def __init__(self, link: Link, late_s: float) -> None:
        super().__init__(link)
        self._late_s = late_s
        self._rest: list[Inbound] = []

    async def receive(self) -> Sequence[Inbound]:
        await trio.sleep(self._late_s)
        if not self._rest:
            self._rest.extend(await self.link.receive())
        return [self._rest.pop(0)]


def late_again(late_s: float) -> Callable[[MemoryBroker], Transport]:
    """Connections from the second on are `Late`."""
    return links(lambda number, link: Late(link, late_s) if number > 1 else link)


@pytest.mark.parametrize("mute", [True, False])
@pytest.mark.parametrize("finished", ["without a link", "in the drain"])
async def test_what_is_in_hand_and_comes_again_in_the_drain_is_acknowledged(_virtual: MockClock, mute: bool, finished: str) -> None:
    it = Gated()

    def again(number: int, link: Link) -> Any:
        return Late(cast("Link", NeverAnswers(link)) if mute else link, LATE_S) if number > 1 else link

    async with running(it.actor(), config=CONFIG, transport=links(again)) as world:
        world.broker.deliver("in", b"1")
        await it.seen.until(1)
        world.broker.drop_link(CLIENT)
        await world.quiet()
        if finished == "without a link":
            it.gate.set()
        await world.broker.wait_connected(CLIENT)
        await world.quiet()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await trio.sleep(LATE_S * 1.1)
            it.gate.set()

        assert ([b"1"], [b"1"], []) == (it.seen.items, [entry.payload for entry in world.said("out")], world.unacked)
        assert (1 if mute else 2) == len(world.events_of(LinkUp)) == len(world.events_of(LinkDown))


async def test_what_comes_again_bit_by_bit_is_waited_for_within_drain_s(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=late_again(0.2)) as world:
        for number in range(40):
            world.broker.deliver("in", b"%d" % number)
        await it.seen.until(1)
        world.broker.kill()
        it.gate.set()
        await it.seen.until(40)
        world.broker.restart()
        await world.event(LinkUp, count=2)
        began = trio.current_time()
        await world.stop()

        assert 5.0 <= trio.current_time() - began <= 5.5
        assert 20 <= len(world.broker.acked(CLIENT)) <= 28


async def test_what_never_comes_again_is_waited_for_a_moment_only(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=late_again(1000.0)) as world:
        world.broker.deliver("in", b"1")
        await it.seen.until(1)
        world.broker.drop_link(CLIENT)
        it.gate.set()
        await world.event(LinkUp, count=2)
        began = trio.current_time()
        await world.stop()

        assert 0.25 == pytest.approx(trio.current_time() - began)
        assert (["in"], [b"1"]) == (world.unacked, [entry.payload for entry in world.said("out")])


async def test_a_link_that_restarts_there_was_never_up(_virtual: MockClock) -> None:
    it = Gated()
    async with running(it.actor(), config=CONFIG, transport=without_suback(last=2)) as world:
        await comes_back(world, b"1")
        await it.seen.until(1)
        it.gate.set()
        await world.reload(it.actor(), config={**CONFIG, "service": {"drain_s": 4.0}})
        await world.up()
        await world.settled()

        assert ((1,), [b"1"]) == (world.broker.acked(CLIENT), [entry.payload for entry in world.said("out")])
        assert [1, 3] == [each.epoch for each in world.events_of(LinkUp)]
        assert [1] == [each.epoch for each in world.events_of(LinkDown)]


async def test_a_service_that_is_unwell_does_not_say_it_is_ready_in_such_a_stop(_virtual: MockClock) -> None:
    async with running(Gated().actor(), config=CONFIG, transport=silent_at(2)) as world:
        await comes_back(world)
        world.estate.health.report("here", "it hurts")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.quiet()
            world.broker.thaw()

        assert ["ready", "lost", "shutdown"] == [orjson.loads(entry.payload)["data"]["event"] for entry in world.said(HEALTH)]


class LosesSuback(Around):
    """A link whose broker takes the SUBSCRIBE, and whose SUBACK does not come."""

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        await self.link.subscribe(filters)
        await trio.sleep_forever()
        raise AssertionError


async def test_what_an_opening_that_failed_may_have_subscribed_is_unsubscribed_when_nobody_wants_it(_virtual: MockClock) -> None:
    @subscribe("gone")
    async def goes(_event: bytes) -> None: ...

    @subscribe("here")
    async def stays(_event: bytes) -> None: ...

    async with running(
        goes, stays, config=CONFIG, transport=links(lambda number, link: LosesSuback(link) if number == 1 else link), up=False
    ) as world:
        await world.broker.wait_subscribed("gone", CLIENT)
        await world.reload(stays, config=CONFIG)
        await world.up()
        await world.quiet()

        assert ["here"] == list(world.broker.sessions[CLIENT].subscriptions)
