"""What the service publishes: the order, the broker's window, refusals, expiry, a full outbox, and whose debt it is."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed, LinkDown, LinkUp
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.testing import NO_LIMITS, ServerLimits
from tars.supervisor import ChildExited


def says(count: int, *, qos: int = 1) -> type[Actor]:
    """An actor that answers each message with `count` numbered ones."""

    class Says(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes, ctx: Context) -> None:
            for number in range(count):
                await ctx.publish_raw("out", b"%d" % number, qos=qos)

    return Says


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_a_delivery_settles_only_when_its_publishes_are_confirmed(_virtual: MockClock) -> None:
    async with running(says(3)) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        await world.published("out", 3)
        await world.quiet()

        assert (["in"], 1) == (world.unacked, len(world.estate.table))
        world.broker.release_pubacks()
        await world.settled()

        assert (1,) == world.broker.acked(CLIENT)


async def test_a_qos_0_publish_is_nobody_s_debt(_virtual: MockClock) -> None:
    async with running(says(3, qos=0)) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        await world.settled()

        assert [0, 0, 0] == [entry.qos for entry in world.said("out")]


async def test_what_is_unconfirmed_when_the_link_breaks_goes_out_again_in_order_and_first(_virtual: MockClock) -> None:
    async with running(says(5)) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", {"n": 1})
        await world.published("out", 5)
        world.broker.kill()
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.published("out", 10)
        await world.settled()

        said = world.said("out")

        assert numbers(5) * 2 == [entry.payload for entry in said]
        assert [entry.user_properties for entry in said[:5]] == [entry.user_properties for entry in said[5:]]


@pytest.mark.parametrize("window", [1, 2, 7])
async def test_the_window_of_the_broker_is_kept(_virtual: MockClock, window: int) -> None:
    limits = ServerLimits(session_present=False, receive_maximum=window)
    async with running(says(20), broker=MemoryBroker(limits=limits)) as world:
        await world.health("ready")
        await world.quiet()
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        await world.published("out", window)
        await world.quiet()

        assert window == len(world.said("out"))
        world.broker.release_pubacks()
        await world.settled()

        assert numbers(20) == [entry.payload for entry in world.said("out")]
        assert [] == world.events_of(LinkDown)


async def test_what_the_service_says_of_itself_keeps_the_window_too(_virtual: MockClock) -> None:
    limits = ServerLimits(session_present=False, receive_maximum=1)
    async with running(says(3), broker=MemoryBroker(limits=limits)) as world:
        await world.health("ready")
        await world.quiet()
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        await world.published("out")
        for problem in ("one", "two", None):
            world.estate.health.report("test", problem)
            await world.quiet()

        assert [] == world.events_of(LinkDown)
        world.broker.release_pubacks()
        await world.health("ready", 2)
        await world.settled()

        assert numbers(3) == [entry.payload for entry in world.said("out")]
        assert [] == world.events_of(LinkDown)


async def test_a_publish_the_broker_refuses_is_a_dead_letter_and_counts_as_confirmed(_virtual: MockClock) -> None:
    async with running(says(2)) as world:
        world.broker.refuse_publish("out", 0x97)
        await world.deliver("in", {"a": 1})
        letters = await world.store.until(2)
        await world.settled()

        assert [(Why.REFUSED, "out", "out", b"0"), (Why.REFUSED, "out", "out", b"1")] == [
            (letter.why, letter.direction, letter.topic, letter.payload) for letter in letters
        ]
        assert "the broker refused it (code 0x97)" == letters[0].error
        assert "root/service/handlers/says" == letters[0].actor
        assert [entry.user_properties for entry in world.said("out")] == [letter.user_properties for letter in letters]


async def test_a_packet_too_large_for_the_broker_is_a_dead_letter_and_counts_as_confirmed(_virtual: MockClock) -> None:
    @subscribe("in")
    async def large(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x" * 2000)
        await ctx.publish_raw("out", b"small")

    limits = ServerLimits(session_present=False, max_packet_bytes=1000)
    async with running(large, broker=MemoryBroker(limits=limits)) as world:
        await world.deliver("in", b"x")
        (letter,) = await world.store.until(1)
        await world.settled()

        assert (Why.REFUSED, b"x" * 2000) == (letter.why, letter.payload)
        assert [b"small"] == [entry.payload for entry in world.said("out")]
        assert [] == world.events_of(ChildExited)


async def test_a_refused_publish_settles_only_when_its_dead_letter_is_stored(_virtual: MockClock) -> None:
    async with running(says(1)) as world:
        world.store.fail("the disk is full")
        world.broker.refuse_publish("out")
        await world.deliver("in", b"x")
        await world.published("out")
        await world.quiet()

        assert ["in"] == world.unacked
        world.store.mend()
        await world.settled()

        assert 1 == len(world.store.letters)


async def test_expires_s_travels_with_the_message(_virtual: MockClock) -> None:
    @subscribe("in")
    async def brief(_event: bytes, ctx: Context) -> None:
        for expires_s in (None, 0.2, 1.4, 60):
            await ctx.publish_raw("out", b"x", expires_s=expires_s)

    async with running(brief) as world:
        await world.deliver("in", b"x")
        await world.settled()

        assert [None, 1, 1, 60] == [entry.expires_s for entry in world.said("out")]


async def test_what_expired_before_it_could_be_sent_is_a_dead_letter_and_what_did_not_is_sent(_virtual: MockClock) -> None:
    go = trio.Event()

    @subscribe("in")
    async def brief(_event: bytes, ctx: Context) -> None:
        await go.wait()
        await ctx.publish_raw("out", b"brief", expires_s=5)
        await ctx.publish_raw("out", b"lasting", expires_s=5000)

    async with running(brief) as world:
        await world.deliver("in", {"n": 1})
        await world.quiet()
        world.broker.kill()
        await world.event(LinkDown)
        go.set()
        await trio.sleep(100)
        world.broker.restart()
        (letter,) = await world.store.until(1)
        await world.settled()

        assert (Why.EXPIRED, b"brief") == (letter.why, letter.payload)
        assert [b"lasting"] == [entry.payload for entry in world.said("out")]


async def test_what_waited_for_the_link_has_that_much_less_to_live_at_the_broker(_virtual: MockClock) -> None:
    @subscribe("in")
    async def brief(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"1", expires_s=60)
        await ctx.publish_raw("out", b"0", qos=0, expires_s=60)

    async with running(brief, config={"mqtt": {"backoff": {"max_s": 0.5}}}) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", {"n": 1})
        await world.published("out", 2)
        world.broker.kill()
        await world.event(LinkDown)
        await trio.sleep(50)
        world.broker.restart()
        world.broker.release_pubacks()
        await world.published("out", 3)
        await world.settled()

        assert [(b"1", 60), (b"0", 60), (b"1", 10)] == [(entry.payload, entry.expires_s) for entry in world.said("out")]


# -- a full outbox --------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_full_outbox_during_an_outage_blocks_the_handlers_and_loses_nothing(_virtual: MockClock, qos: int) -> None:
    go, seen = trio.Event(), Seen()

    @subscribe("in", qos=1)
    async def replies(event: dict[str, Any], ctx: Context) -> None:
        await go.wait()
        seen.add(event["n"])
        await ctx.publish_raw("out", b"%d" % event["n"], qos=qos)

    options = {"replies": {"mailbox": 1000, "overflow": "block", "handler_timeout_s": 1.0}}
    config = {"mqtt": {"outbox": 10}, "dedup": {"ttl_s": 3600}}
    async with running(replies, config=config, actors=options) as world:
        for n in range(100):
            await world.deliver("in", {"n": n})
        await world.quiet()
        world.broker.kill()
        await world.event(LinkDown)
        go.set()
        await trio.sleep(600)

        assert (list(range(11)), 10) == (seen.items, len(world.estate.outbox))
        world.broker.restart()
        await world.published("out", 100)
        await world.settled()

        assert numbers(100) == [entry.payload for entry in world.said("out")]
        assert (list(range(100)), []) == (seen.items, world.events_of(HandlerFailed))


async def test_a_handler_that_publishes_several_at_once_still_has_its_time_limit(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def replies(_event: bytes, ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ctx.publish_raw, "out", b"%d" % number)
        seen.add(trio.current_time())
        await trio.sleep(3600)

    options = {"replies": {"handler_timeout_s": 1.0, "max_attempts": 1}}
    async with running(replies, actors=options) as world:
        await world.deliver("in", b"x")
        failed = await world.event(HandlerFailed)

        assert isinstance(failed.error, TimeoutError)
        assert [trio.current_time() - 1.0] == seen.items


# -- bursts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("outbox", [1, 1000])
async def test_a_burst_of_5000_with_a_reply_each_ends(_virtual: MockClock, qos: int, outbox: int) -> None:
    @subscribe("in", qos=1)
    async def replies(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x", qos=qos)

    broker = MemoryBroker(limits=NO_LIMITS)
    async with running(replies, config={"mqtt": {"outbox": outbox}}, broker=broker) as world:
        for number in range(5000):
            broker.deliver("in", b"%d" % number, qos)
        await world.published("out", 5000)
        await world.settled()

        assert (5000, 0, []) == (len(world.said("out")), len(world.estate.table), world.store.letters)
