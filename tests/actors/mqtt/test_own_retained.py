"""A broker that has lost its memory is told again what this service keeps retained there."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from support.service import CLIENT, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.latest import Latest
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.own_retained import OwnRetained
from tars.actors.mqtt.transport import Outbound
from tars.actors.testing import ServerLimits


class Lamp(Actor):
    """Says what it is told, under the topic it is told."""

    @subscribe("set/#")
    async def on_set(self, event: dict[str, Any], ctx: Context) -> None:
        topic, payload = event["topic"], event["payload"].encode()
        await ctx.publish_raw(topic, payload, qos=event.get("qos", 1), retain=event.get("retain", True), expires_s=event.get("expires_s"))


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_was_retained_is_published_again_when_the_broker_has_forgotten_us(_virtual: MockClock, qos: int) -> None:
    async with running(Lamp) as world:
        told: list[tuple[str, str, dict[str, Any]]] = [
            ("lamp/a", "old", {}),
            ("lamp/b", "on", {}),
            ("lamp/a", "new", {}),
            ("lamp/c", "on", {}),
            ("lamp/c", "", {}),
            ("lamp/event", "click", {"retain": False}),
            ("lamp/soon", "over", {"expires_s": 60}),
        ]
        for topic, payload, more in told:
            await world.deliver("set/it", {"topic": topic, "payload": payload, "qos": qos, **more})
        await world.settled()
        before = dict(world.broker.retained)
        world.broker.kill(persistent=False)

        assert {} == dict(world.broker.retained)

        world.broker.restart()
        await world.health("reconnected")
        await world.quiet()

        expected = {"lamp/a": b"new", "lamp/b": b"on"}
        assert expected == {topic: payload for topic, payload in world.broker.retained.items() if topic.startswith("lamp/")}
        assert {**expected, "lamp/soon": b"over"} == {topic: payload for topic, payload in before.items() if topic.startswith("lamp/")}


async def test_a_broker_that_knows_us_is_told_nothing_twice(_virtual: MockClock) -> None:
    async with running(Lamp) as world:
        await world.deliver("set/it", {"topic": "lamp/a", "payload": "on"})
        await world.settled()
        world.broker.drop_link(CLIENT)
        await world.health("reconnected")
        await world.quiet()

        assert 1 == len(world.said("lamp/a"))


async def test_what_waits_to_be_said_follows_what_is_said_again_and_stays_within_the_window(_virtual: MockClock) -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, receive_maximum=2))
    async with running(Lamp, broker=broker) as world:
        for number in range(5):
            await world.deliver("set/it", {"topic": f"lamp/{number}", "payload": "old"})
        await world.settled()
        world.broker.hold_pubacks()
        await world.deliver("set/it", {"topic": "lamp/0", "payload": "new"})
        await world.published("lamp/0", 2)
        world.broker.kill(persistent=False)
        world.broker.restart()
        world.broker.hold_pubacks()
        await world.health("reconnected")
        await world.quiet()

        assert {"system/health/robot7": True, "lamp/1": False} == {topic: topic.startswith("system") for topic in broker.retained}

        world.broker.release_pubacks()
        await world.quiet()

        expected = {"lamp/0": b"new", **{f"lamp/{number}": b"old" for number in range(1, 5)}}
        assert expected == {topic: payload for topic, payload in broker.retained.items() if topic.startswith("lamp/")}
        assert [b"old", b"new", b"new", b"new"] == [entry.payload for entry in world.said("lamp/0")]


async def test_what_could_never_be_said_is_not_said_again(_virtual: MockClock) -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=1000))
    async with running(Lamp, broker=broker) as world:
        await world.deliver("set/it", {"topic": "lamp/large", "payload": "x" * 2000})
        await world.deliver("set/it", {"topic": "lamp/a", "payload": "on"})
        await world.settled()
        broker.kill(persistent=False)
        broker.restart()
        await world.health("reconnected")
        await world.quiet()

        assert b"on" == broker.retained["lamp/a"]
        assert 1 == len(world.store.letters)


async def test_what_the_broker_takes_no_more_is_a_dead_letter_and_the_rest_is_said_again(_virtual: MockClock) -> None:
    async with running(Lamp) as world:
        for topic, payload in (("lamp/large", "x" * 2000), ("lamp/a", "on")):
            await world.deliver("set/it", {"topic": topic, "payload": payload})
        await world.settled()
        world.broker.kill(persistent=False)
        world.broker.limits = ServerLimits(session_present=False, max_packet_bytes=1000)
        world.broker.restart()
        (letter,) = await world.store.until(1)
        await world.quiet()

        assert (Why.REFUSED, "lamp/large") == (letter.why, letter.topic)
        assert b"on" == world.broker.retained["lamp/a"]


def test_the_topic_told_longest_ago_goes_first() -> None:
    own = OwnRetained(Latest(capacity=2))
    for topic in ("a", "b", "a", "c"):
        own.told(Outbound(topic, b"x", retain=True))

    assert ["a", "c"] == [message.topic for message in own.all()]


def test_the_topic_told_longest_ago_goes_first_also_when_the_bytes_are_too_many() -> None:
    own = OwnRetained(Latest(max_bytes=100))
    for topic in ("a", "b", "a", "c"):
        own.told(Outbound(topic, b"x" * 40, retain=True))

    assert ["a", "c"] == [message.topic for message in own.all()]
