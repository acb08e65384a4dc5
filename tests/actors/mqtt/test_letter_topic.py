"""Dead letters on their topic: what they say, before which acknowledgement, and that they go round in no circle."""

from __future__ import annotations

import uuid
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, MemoryStore, World, running
from tars.actors import Actor, Context, Reject, subscribe
from tars.actors.mqtt.dead_letter import DeadLetter, Why
from tars.actors.mqtt.events import DeadLettered, DeadLetterUnpublished, LinkUp
from tars.actors.mqtt.letter_topic import MOST, LetterTopic, facts
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.testing import NO_LIMITS, Published

TOPIC = f"system/dead-letter/{CLIENT}"
PUBLISHED = {"store": {"publish_dead_letters": True}}


@subscribe("in/{n}")
async def rejects(_event: bytes) -> None:
    raise Reject("not today; mqtt://user:hidden@host")


def properties(published: Published) -> dict[str, str]:
    return dict(published.user_properties)


async def test_a_dead_letter_is_published_with_its_bytes_and_the_facts(_virtual: MockClock) -> None:
    async with running(rejects, config=PUBLISHED) as world:
        envelope_id = await world.deliver("in/1", {"n": 1}, message_id="m1")
        await world.settled()
        (said,) = world.said(TOPIC)
        (stored,) = await world.store.until(1)
    told = properties(said)

    assert (1, False, stored.payload) == (said.qos, said.retain, said.payload)
    assert {
        "reason": "rejected",
        "direction": "in",
        "original-topic": "in/1",
        "original-qos": "1",
        "actor": "root/service/handlers/rejects",
        "subscription": stored.subscription,
        "attempts": "1",
        "error": "Reject: not today; mqtt://***@host",
        "original-message-id": "m1",
        "correlation-id": envelope_id,
        "causation-id": "m1",
    } == {name: value for name, value in told.items() if name not in {"at", "message-id"}}
    assert told["at"].endswith("+00:00")
    assert str(uuid.UUID(told["message-id"])) == told["message-id"]


async def test_nothing_is_published_unless_it_is_wanted(_virtual: MockClock) -> None:
    async with running(rejects) as world:
        await world.deliver("in/1", {"n": 1})
        await world.settled()

        assert [] == world.said(TOPIC)
        assert 1 == len(await world.store.until(1))


async def test_the_original_is_acknowledged_after_the_letter_is_stored_and_confirmed(_virtual: MockClock) -> None:
    async with running(rejects, config=PUBLISHED) as world:
        world.broker.hold_pubacks()
        await world.deliver("in/1", {"n": 1})
        await world.published(TOPIC)
        await world.store.until(1)
        await world.quiet()
        waits = list(world.unacked)
        world.broker.release_pubacks()
        await world.settled()

    assert ["in/1"] == waits
    assert (1,) == world.broker.acked(CLIENT)


async def test_while_the_store_is_down_the_original_waits_however_well_the_letter_is_published(_virtual: MockClock) -> None:
    store = MemoryStore()
    store.fail("the disk is full")
    async with running(rejects, config=PUBLISHED, store=store) as world:
        await world.deliver("in/1", {"n": 1})
        await world.published(TOPIC)
        await world.quiet()
        waits = list(world.unacked)
        store.mend()
        await world.settled()

    assert ["in/1"] == waits
    assert 1 == len(world.said(TOPIC))


async def test_a_letter_that_was_not_confirmed_when_the_link_broke_is_published_again_under_the_same_id(_virtual: MockClock) -> None:
    async with running(rejects, config=PUBLISHED) as world:
        world.broker.hold_pubacks()
        await world.deliver("in/1", {"n": 1})
        await world.published(TOPIC)
        world.broker.kill()
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.published(TOPIC, 2)
        world.broker.release_pubacks()
        await world.settled()
        first, second = world.said(TOPIC)

    assert properties(first) == properties(second)
    assert 1 == len(world.events_of(DeadLettered))


async def test_a_reply_that_the_broker_refuses_is_published_as_a_letter_too(_virtual: MockClock) -> None:
    @subscribe("in/{n}")
    async def says(_event: bytes, ctx: Context) -> None:
        await ctx.publish("test.said", {"n": 1}, topic="forbidden")

    async with running(says, config=PUBLISHED) as world:
        world.broker.refuse_publish("forbidden")
        await world.deliver("in/1", b"x", message_id="m1")
        await world.settled()
        (said,) = world.said(TOPIC)
    told = properties(said)

    assert ("refused", "out", "forbidden") == (told["reason"], told["direction"], told["original-topic"])
    assert (1,) == world.broker.acked(CLIENT)


# -- what cannot be published ---------------------------------------------------------------------


async def test_a_letter_that_the_broker_refuses_is_stored_and_the_log_says_so(_virtual: MockClock) -> None:
    async with running(rejects, config=PUBLISHED) as world:
        world.broker.refuse_publish(TOPIC)
        await world.deliver("in/1", {"n": 1}, message_id="m1")
        await world.settled()
        (told,) = world.events_of(DeadLetterUnpublished)

    assert ("in/1", "m1") == (told.topic, told.message_id)
    assert "refused" in told.reason
    assert ([Why.REJECTED], (1,)) == ([each.why for each in world.store.letters], world.broker.acked(CLIENT))


async def test_a_letter_too_large_for_the_broker_goes_without_its_payload(_virtual: MockClock) -> None:
    broker = MemoryBroker(limits=attrs.evolve(NO_LIMITS, max_packet_bytes=1000))
    async with running(rejects, config=PUBLISHED, broker=broker) as world:
        await world.deliver("in/1", bytes(950), message_id="m1")
        await world.settled()
        (said,) = world.said(TOPIC)

    assert (b"", "950 bytes", "m1") == (said.payload, properties(said)["payload-omitted"], properties(said)["original-message-id"])
    assert [950] == [len(each.payload) for each in world.store.letters]
    assert [] == world.events_of(DeadLetterUnpublished)


async def test_facts_too_large_for_the_broker_are_in_the_store_only(_virtual: MockClock) -> None:
    broker = MemoryBroker(limits=attrs.evolve(NO_LIMITS, max_packet_bytes=200))
    async with running(rejects, config={**PUBLISHED, "health": {"enabled": False}}, broker=broker) as world:
        await world.deliver("in/1", bytes(300), message_id="m1")
        await world.settled()

    assert ([], 1, 1) == (world.said(TOPIC), len(world.events_of(DeadLetterUnpublished)), len(world.store.letters))


def letter(number: int = 0, **more: Any) -> DeadLetter:
    return DeadLetter(Why.CRASHED, "in", f"in/{number}", b"x", 1, retain=False, at=0.0, **more)


async def test_without_a_link_a_thousand_wait_and_the_rest_is_in_the_store_only() -> None:
    events: list[Any] = []
    settled: list[int] = []
    topic = LetterTopic(events.append, TOPIC)
    for number in range(MOST + 2):
        topic.publish(letter(number), str(number), lambda number=number: settled.append(number))  # type: ignore[misc]
    waiting = len(topic.waiting)
    topic.close()
    topic.publish(letter(9999), "9999", lambda: settled.append(9999))

    assert (MOST, [MOST, MOST + 1, *range(MOST), 9999]) == (waiting, settled)
    assert f"{MOST} others wait already" == events[0].reason
    assert {"the service stopped before it could be sent"} == {each.reason for each in events[2:]}


async def test_what_waits_for_the_link_at_the_end_of_the_process_is_given_up_and_does_not_hold_it(_virtual: MockClock) -> None:
    async with running(rejects, config=PUBLISHED) as world:
        world.broker.hold_pubacks()
        await world.deliver("in/1", {"n": 1})
        await world.published(TOPIC)
        world.broker.kill()
        await world.stop()

    assert ([1], 1) == ([len(world.store.letters)], len(world.events_of(DeadLetterUnpublished)))


@pytest.mark.parametrize("error", ["a\0b", "half \ud83c", "x" * 5000])
def test_every_fact_can_be_sent(error: str) -> None:
    told = dict(facts(letter(error=error)))["error"]

    assert "\0" not in told
    assert 1 <= len(told.encode()) <= 3000


# -- no circles -----------------------------------------------------------------------------------


async def test_a_dead_letter_of_a_dead_letter_is_stored_and_not_published(_virtual: MockClock) -> None:
    seen: list[str] = []

    class Looker(Actor):
        @subscribe("system/dead-letter/+")
        async def on_letter(self, _event: bytes, ctx: Context) -> None:
            seen.append(ctx.topic)
            raise Reject("me neither")

    async with running(rejects, Looker, config=PUBLISHED) as world:
        await world.deliver("in/1", {"n": 1})
        letters = await world.store.until(2)
        await world.settled()

    assert [TOPIC] == seen
    assert ["in/1", TOPIC] == [each.topic for each in letters]
    assert 1 == len(world.said(TOPIC))


async def test_a_reload_switches_it_on_and_off(_virtual: MockClock) -> None:
    async def said_after(world: World, wanted: bool) -> int:
        await world.reload(rejects, config={"store": {"publish_dead_letters": wanted}})
        await world.deliver("in/1", {"n": 1})
        await world.settled()
        await trio.lowlevel.checkpoint()
        return len(world.said(TOPIC))

    async with running(rejects) as world:
        assert [1, 1, 2] == [await said_after(world, wanted) for wanted in (True, False, True)]
