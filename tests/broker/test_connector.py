"""The connector on a real Mosquitto: what the wire sees of it, through a broker's end and back."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest
import trio
import trio.testing

from support.broker import Mosquitto
from support.peer import Peer
from support.proxy import proxied
from support.service import Seen
from tars.actors import Connector
from tars.actors.connector import LinkRefused
from tars.actors.mqtt.events import HandlerFailed, LinkDown, MessageUnmatched
from tars.actors.settings import BackoffTable, HeartbeatSettings, MqttSettings

PATIENCE_S = 10.0
CLIENT = "cascade-7"
STATUS = f"cascade/status/{CLIENT}"
ONLINE, OFFLINE = b'{"status":"online"}', b'{"status":"offline"}'


def connector(broker: Mosquitto, **options: Any) -> Connector:
    mqtt = MqttSettings(protocol=options.pop("protocol", "5"), backoff=BackoffTable(initial_s=0.02, max_s=0.1))
    heartbeat = HeartbeatSettings(interval_s=1.0, deadline_s=1.0)
    return Connector(f"mqtt://127.0.0.1:{broker.port}", **{"client_id": CLIENT, "mqtt": mqtt, "heartbeat": heartbeat, **options})


@attrs.frozen(eq=False)
class Callback:
    """Keeps what it is called with; `until` gives up in real time."""

    seen: Seen = attrs.field(factory=Seen)

    async def __call__(self, topic: str, data: Any) -> None:
        self.seen.add((topic, data))

    async def until(self, count: int) -> list[Any]:
        with trio.fail_after(PATIENCE_S):
            return await self.seen.until(count)


async def ready(link: Connector) -> None:
    with trio.fail_after(PATIENCE_S):
        await link.ready()


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_its_status_is_retained_and_tells_of_birth_and_goodbye(protocol: str) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with connector(broker, protocol=protocol) as link:
            await ready(link)
            await peer.subscribe(STATUS)
            (late,) = await peer.heard(STATUS)

            assert (ONLINE, True, 1) == (late.payload, late.retain, late.qos)
        heard = await peer.heard(STATUS, 2)

    assert [ONLINE, OFFLINE] == [each.payload for each in heard]


async def test_a_connection_that_breaks_is_told_by_the_will_and_its_return_by_a_birth() -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer, proxied(broker.port) as proxy:
        await peer.subscribe(STATUS)
        told = Seen()
        mqtt = MqttSettings(backoff=BackoffTable(initial_s=0.02, max_s=0.1))
        async with Connector(f"mqtt://127.0.0.1:{proxy.port}", client_id=CLIENT, mqtt=mqtt, emit=told.add) as link:
            await ready(link)
            proxy.reset()
            heard = await peer.heard(STATUS, 3)
            await ready(link)
        heard = await peer.heard(STATUS, 4)

    assert [ONLINE, OFFLINE, ONLINE, OFFLINE] == [each.payload for each in heard]


async def test_json_goes_out_and_comes_in_and_leaving_at_once_loses_nothing(protocol: str) -> None:
    came = Callback()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("telemetry/#")
        async with connector(broker, protocol=protocol) as link:
            for number in range(300):  # published before there is a connection
                link.publish("telemetry/events", {"number": number}, qos=1)
            await link.subscribe("control/#", came, qos=1)
            await ready(link)
            await peer.publish("control/a/b", b'{"x":[1,null]}')
            await peer.publish("control", b"")
            await came.until(2)
            link.publish("telemetry/last", b"raw", qos=0)
        heard = await peer.received(301)

    events = [each for each in heard if each.topic == "telemetry/events"]
    assert list(range(300)) == [orjson.loads(each.payload)["number"] for each in events]
    assert [b"raw"] == [each.payload for each in heard if each.topic == "telemetry/last"]  # QoS 0 waits for no window, and may overtake
    assert [("control/a/b", {"x": [1, None]}), ("control", {})] == came.seen.items
    assert 301 == link.statistics().sent


async def test_what_is_retained_has_been_handled_when_subscribe_returns(protocol: str) -> None:
    """More than fits into the broker's window of 20."""
    came = Callback()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        for number in range(60):
            await peer.publish(f"constraints/{number}", b"%d" % number, retain=True)
        async with connector(broker, protocol=protocol) as link:
            await ready(link)
            with trio.fail_after(PATIENCE_S):
                await link.subscribe("constraints/#", came)

            assert list(range(60)) == sorted(data for _, data in came.seen.items)

            again = Callback()
            with trio.fail_after(PATIENCE_S):
                subscription = await link.subscribe("constraints/#", again)

            assert list(range(60)) == sorted(data for _, data in again.seen.items)

            subscription.unsubscribe()


async def test_a_broker_restart_loses_no_publish_and_no_subscription(protocol: str) -> None:
    first, second, told = Callback(), Callback(), Seen()
    async with Mosquitto() as broker:
        async with connector(broker, protocol=protocol, emit=told.add) as link:
            await ready(link)
            await link.subscribe("a/#", first, qos=1)
            await link.subscribe("b/+", second, qos=0)
            broker.kill()
            with trio.fail_after(PATIENCE_S):
                while not any(isinstance(event, LinkDown) for event in told.items):
                    await told.until(len(told.items) + 1)
            for number in range(50):
                link.publish("out", {"number": number}, retain=True)
            await broker.restart()
            await ready(link)
            async with Peer(broker.port) as peer:
                await peer.publish("a/1", b"1", qos=1)
                await peer.publish("b/1", b"2", qos=1)
                await first.until(1)
                await second.until(1)
        async with Peer(broker.port, "after") as peer:
            await peer.subscribe("out")
            (last,) = await peer.received(1)

    assert {"number": 49} == orjson.loads(last.payload)
    assert (50, 0) == (link.statistics().sent, link.statistics().overflowed)
    assert [("a/1", 1)] == first.seen.items
    assert [("b/1", 2)] == second.seen.items


async def test_what_the_broker_kept_while_it_was_away_waits_for_the_callback(protocol: str) -> None:
    before, after, told = Callback(), Callback(), Seen()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with connector(broker, protocol=protocol) as link:
            await link.subscribe("a/#", before)
            await ready(link)
        for number in range(15):  # Mosquitto sends 20 before it waits for us
            await peer.publish(f"a/{number}", str(number).encode(), qos=1)
        async with connector(broker, protocol=protocol, emit=told.add) as link:
            await ready(link)
            with trio.fail_after(PATIENCE_S):
                while link.statistics().received < 15:
                    await trio.testing.wait_all_tasks_blocked(0.01)

            assert 15 == link.statistics().held
            await link.subscribe("a/#", after)
            await after.until(15)
            await ready(link)
        async with connector(broker, protocol=protocol) as link:
            await ready(link)

    assert [(f"a/{number}", number) for number in range(15)] == after.seen.items
    assert (0, 0) == (link.statistics().received, link.statistics().held)
    assert [] == [event for event in told.items if isinstance(event, MessageUnmatched)]


async def test_a_failing_callback_a_hanging_one_and_what_is_no_json_hurt_nobody(protocol: str) -> None:
    came, told = Callback(), Seen()

    async def failing(_topic: str, _data: Any) -> None:
        raise RuntimeError("bug")

    async def hanging(_topic: str, _data: Any) -> None:
        await trio.sleep_forever()

    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with connector(broker, protocol=protocol, emit=told.add, drain_s=0.1) as link:
            await ready(link)
            await link.subscribe("control/#", failing)
            await link.subscribe("control/#", hanging)
            await link.subscribe("control/#", came)
            await peer.publish("control/x", b"no json")
            for number in range(10):
                await peer.publish("control/x", b"%d" % number)
            await came.until(10)
            with trio.fail_after(PATIENCE_S):
                while sum(isinstance(event, HandlerFailed) for event in told.items) < 10:
                    await told.until(len(told.items) + 1)
            inside = link.statistics()

    assert list(range(10)) == [data for _, data in came.seen.items]
    assert (10, 3) == (inside.callback_failures, inside.not_json)


async def test_an_unsubscribed_callback_hears_nothing_more() -> None:
    gone, stays = Callback(), Callback()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with connector(broker) as link:
            await ready(link)
            subscription = await link.subscribe("a", gone)
            await link.subscribe("a", stays)
            await peer.publish("a", b"1")
            await gone.until(1)
            subscription.unsubscribe()
            await peer.publish("a", b"2")
            await stays.until(2)

    assert [("a", 1)] == gone.seen.items


async def test_every_callback_that_matches_is_called_once_whatever_filters_overlap(protocol: str) -> None:
    """Mosquitto sends a message once for each filter under MQTT 5."""
    filters = ("a/1", "a/+", "a/#", "+/1", "#")
    callbacks = {topic_filter: Callback() for topic_filter in filters}
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with connector(broker, protocol=protocol) as link:
            for topic_filter, callback in callbacks.items():
                await link.subscribe(topic_filter, callback, qos=1)
            await ready(link)
            for number in range(5):
                await peer.publish("a/1", b"%d" % number, qos=1)
            await peer.publish("a", b"5", qos=1)  # the parent level matches too
            for topic_filter in ("a/#", "#"):
                await callbacks[topic_filter].until(6)

    ones = [("a/1", number) for number in range(5)]

    for topic_filter, callback in callbacks.items():
        ours = [each for each in callback.seen.items if each[0] in {"a", "a/1"}]
        assert ([*ones, ("a", 5)] if topic_filter in {"a/#", "#"} else ones) == ours


async def test_outside_of_the_block_nothing_is_sent_and_nothing_is_raised(protocol: str) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("out")
        link = connector(broker, protocol=protocol, emit=lambda _: None)
        link.publish("out", {"when": "before"})
        async with link:
            link.publish("out", {"when": "inside"})
        link.publish("out", {"when": "after"})
        await peer.publish("out", b"the last")
        heard = await peer.received(2)

    assert [b'{"when":"inside"}', b"the last"] == [each.payload for each in heard]
    assert (1, 2) == (link.statistics().sent, link.statistics().closed)


async def test_a_frozen_broker_is_found_and_what_was_published_meanwhile_arrives() -> None:
    told = Seen()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("out")
        async with connector(broker, emit=told.add) as link:
            await ready(link)
            broker.freeze()
            link.publish("out", {"while": "frozen"})
            with trio.fail_after(PATIENCE_S):
                while not any(isinstance(event, LinkDown) for event in told.items):
                    await told.until(len(told.items) + 1)
            broker.thaw()
            await ready(link)
            (heard, *_) = await peer.received(1)

    assert {"while": "frozen"} == orjson.loads(heard.payload)


async def test_refused_credentials_come_out_of_the_block_and_no_broker_does_not(protocol: str) -> None:
    async with Mosquitto(config=["allow_anonymous false"]) as broker:
        with pytest.raises(LinkRefused, match=f"refused client id '{CLIENT}'"):  # noqa: PT012 - the block is what raises
            async with connector(broker, protocol=protocol):
                with trio.fail_after(PATIENCE_S):
                    await trio.sleep_forever()
        broker.kill()
        async with connector(broker, protocol=protocol, drain_s=0.1) as link:
            link.publish("t", {})

            assert not link.statistics().connected
    assert 1 == link.statistics().closed
