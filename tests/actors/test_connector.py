"""The connector on the broker in memory, in virtual time: what it promises, and each weakness of the connector it takes the place of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import orjson
import pytest
import trio
import trio.testing

from support.service import Seen
from tars.actors import Connector, Reject
from tars.actors.connector import ConnectorClosed, LinkRefused
from tars.actors.connector_parts import CallbackFailed, NotJson, PublishDropped
from tars.actors.mqtt.events import HandlerFailed, LinkDown, MessageUnmatched
from tars.actors.mqtt.topics import TopicError
from tars.actors.settings import HeartbeatSettings, MqttSettings
from tars.actors.testing import MemoryBroker, MemoryTransport, Published, ServerLimits
from tars.actors.url import UrlError
from tars.supervisor import Escalate, Stop, Unavailable

T = TypeVar("T")

CLIENT = "robot7"
STATUS = f"cascade/status/{CLIENT}"
ONLINE, OFFLINE = b'{"status":"online"}', b'{"status":"offline"}'
QUIET = HeartbeatSettings(enabled=False)


@attrs.define(eq=False)
class World:
    """A broker and what a connector on it told."""

    broker: MemoryBroker = attrs.field(factory=MemoryBroker)
    events: list[Any] = attrs.field(factory=list)

    def connector(self, **options: Any) -> Connector:
        options = {
            "client_id": CLIENT,
            "heartbeat": QUIET,
            "transport": MemoryTransport(self.broker),
            "emit": self.events.append,
            **options,
        }
        return Connector("mqtt://memory", **options)

    def told(self, cls: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, cls)]

    def said(self, topic: str) -> list[Published]:
        return [each for each in self.broker.published if each.topic == topic]

    def statuses(self) -> list[tuple[bytes, bool]]:
        """(payload, was it the Will) of everything on the status topic."""
        return [(each.payload, each.will) for each in self.said(STATUS)]


@asynccontextmanager
async def connected(world: World, **options: Any) -> AsyncIterator[Connector]:
    async with world.connector(**options) as link:
        await link.ready()
        yield link


def hearing(seen: Seen, name: str | None = None) -> Callable[[str, Any], Any]:
    async def callback(topic: str, data: Any) -> None:
        seen.add((topic, data) if name is None else name)

    return callback


async def quiet() -> None:
    await trio.testing.wait_all_tasks_blocked()


# -- what the old connector's tests fixed ------------------------------------------------------------


async def test_it_connects_to_the_host_and_port_of_its_url_with_its_client_id_and_a_will(_virtual: object) -> None:
    world, seen = World(), []

    @attrs.frozen
    class Watched:
        def connect(self, settings: Any) -> Any:
            seen.append(settings)
            return MemoryTransport(world.broker).connect(settings)

    async with Connector("mqtt://me:pw@broker:1999", client_id="c1", source="s1", transport=Watched(), emit=world.events.append) as link:
        await link.ready()
    (settings,) = seen

    assert ("broker", 1999, "c1", "me", "pw") == (settings.host, settings.port, settings.client_id, settings.username, settings.password)
    assert ("cascade/status/s1", OFFLINE, 1, True) == (settings.will.topic, settings.will.payload, settings.will.qos, settings.will.retain)


async def test_it_connects_once_and_says_online_then_offline_and_goodbye(_virtual: object) -> None:
    world = World()
    async with connected(world):
        assert ONLINE == world.broker.retained[STATUS]
        assert world.broker.sessions[CLIENT].connected

    assert [CLIENT] == world.broker.connects
    assert [(ONLINE, False), (OFFLINE, False)] == world.statuses()
    assert OFFLINE == world.broker.retained[STATUS]
    assert [(1, True)] * 2 == [(each.qos, each.retain) for each in world.said(STATUS)]
    assert not world.broker.sessions[CLIENT].connected


async def test_publish_returns_at_once_and_sends_json(_virtual: object) -> None:
    world = World()
    async with connected(world) as link:
        link.publish("telemetry/events", {"run_id": "7"}, qos=1)

        assert [] == world.said("telemetry/events")

        (sent,) = await world.broker.wait_published("telemetry/events")

    assert ({"run_id": "7"}, 1, False) == (orjson.loads(sent.payload), sent.qos, sent.retain)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        ({}, b"{}"),
        ([1, "x"], b'[1,"x"]'),
        ("text", b'"text"'),
        (1.5, b"1.5"),
        (None, b"null"),
        (False, b"false"),
        (b"\x00raw", b"\x00raw"),
        (b"", b""),
        (bytearray(b"raw"), b"raw"),
    ],
)
async def test_what_is_published_is_json_but_bytes_pass_through(_virtual: object, data: object, payload: bytes) -> None:
    world = World()
    async with connected(world) as link:
        link.publish("t", data, qos=0, retain=True)
        (sent,) = await world.broker.wait_published("t")

    assert (payload, 0, True) == (sent.payload, sent.qos, sent.retain)


async def test_publish_before_the_block_does_nothing_and_is_counted_and_told_once(_virtual: object) -> None:
    world = World()
    connector = world.connector()
    connector.publish("t", {"a": 1})
    connector.publish("t", {"a": 2})
    async with connector as link:
        await link.ready()

    assert [] == world.said("t")
    assert 2 == connector.statistics().closed
    assert ["closed"] == [event.reason for event in world.told(PublishDropped)]


async def test_a_callback_gets_the_topic_and_the_json_of_what_matches(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        await link.subscribe("control/#", hearing(seen))
        world.broker.deliver("control", b"1")  # "#" also means the level above it
        world.broker.deliver("control/a/b", b'{"x":[1]}')
        world.broker.deliver("other", b"2")
        came = await seen.until(2)

    assert [("control", 1), ("control/a/b", {"x": [1]})] == came


# -- each weakness of the old one --------------------------------------------------------------------


async def test_the_will_is_retained_and_the_next_connection_says_online_again(_virtual: object) -> None:
    world = World()
    async with connected(world) as link:
        world.broker.drop_link(CLIENT)

        assert OFFLINE == world.broker.retained[STATUS]

        await link.ready()

        assert ONLINE == world.broker.retained[STATUS]

    assert [(ONLINE, False), (OFFLINE, True), (ONLINE, False), (OFFLINE, False)] == world.statuses()


@pytest.mark.parametrize("persistent", [True, False])
async def test_after_a_broker_restart_it_is_connected_and_subscribed_as_before(_virtual: object, persistent: bool) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        await link.subscribe("a/#", hearing(seen), qos=1)
        await link.subscribe("b/+", hearing(seen), qos=0)
        world.broker.kill(persistent=persistent)
        await trio.sleep(60.0)
        link.publish("t", {"during": "the outage"})
        world.broker.restart()
        await link.ready()

        assert {"a/#": 1, "b/+": 0} == dict(world.broker.sessions[CLIENT].subscriptions)

        world.broker.deliver("a/1", b"1")
        world.broker.deliver("b/1", b"2")
        await seen.until(2)
        await world.broker.wait_published("t")

    assert [("a/1", 1), ("b/1", 2)] == sorted(seen.items)
    assert 1 == len(world.said("t"))


async def says(error: BaseException, _topic: str, _data: Any) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"),
        Escalate("not a callback's word"),
        Stop("nor this"),
        Unavailable("nor this"),
        Reject("nor this"),
        ExceptionGroup("both", [Escalate("x"), ValueError("y")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failing_callback_hurts_no_other_and_is_called_again_for_the_next_message(_virtual: object, error: Exception) -> None:
    world, seen = World(), Seen()
    calls: list[Any] = []

    async def failing(topic: str, data: Any) -> None:
        calls.append(data)
        await says(error, topic, data)

    async with connected(world) as link:
        await link.subscribe("control/#", failing)
        await link.subscribe("control/#", hearing(seen, "same filter"))
        await link.subscribe("control/+", hearing(seen, "other filter"))
        for number in range(8):
            world.broker.deliver("control/a", b"%d" % number)
        await seen.until(16)
        await quiet()

        assert list(range(8)) == calls
        assert () == tuple(world.broker.unacked(CLIENT))
        assert 8 == link.statistics().callback_failures

    assert {"same filter": 8, "other filter": 8} == {name: seen.count(name) for name in ("same filter", "other filter")}
    failed = world.told(HandlerFailed)
    assert [(1, True, CallbackFailed, error)] * 8 == [(each.attempt, each.final, type(each.error), each.error.__cause__) for each in failed]
    assert [CLIENT] == world.broker.connects


async def test_a_callback_that_takes_its_time_holds_up_nobody(_virtual: object) -> None:
    world, seen, gate, began = World(), Seen(), trio.Event(), trio.Event()

    async def slow(_topic: str, _data: Any) -> None:
        began.set()
        await gate.wait()
        seen.add("slow")

    async with connected(world) as link:
        await link.subscribe("a", slow)
        await link.subscribe("a", hearing(seen, "fast"))
        world.broker.deliver("a", b"1")
        world.broker.deliver("a", b"2")
        await began.wait()
        link.publish("t", {})
        await seen.until(2)
        await world.broker.wait_published("t")

        assert ["fast", "fast"] == seen.items

        gate.set()
        await seen.until(4)


@pytest.mark.parametrize("ready_first", [True, False], ids=["connected", "just entered"])
async def test_what_was_published_is_sent_before_the_block_is_left(_virtual: object, ready_first: bool) -> None:
    world = World()
    async with world.connector() as link:
        if ready_first:
            await link.ready()
        for number in range(500):
            link.publish("t", {"number": number}, qos=number % 2)

    assert list(range(500)) == [orjson.loads(each.payload)["number"] for each in world.said("t")]
    assert (500, 0) == (link.statistics().sent, link.statistics().queued)
    assert STATUS == world.broker.published[-1].topic


async def test_leaving_the_block_takes_a_bounded_time_when_nobody_confirms(_virtual: object) -> None:
    world = World()
    async with connected(world, drain_s=2.0) as link:
        world.broker.freeze()
        link.publish("t", {})
        began = trio.current_time()

    assert 2.0 <= trio.current_time() - began <= 2.0 + 4.0
    assert (0, 0, 1) == (link.statistics().sent, link.statistics().queued, link.statistics().closed)


async def test_leaving_the_block_with_nothing_to_send_takes_no_time_without_a_broker(_virtual: object) -> None:
    world = World()
    world.broker.kill()
    began = trio.current_time()
    async with world.connector() as link:
        assert not link.statistics().connected

    assert began == trio.current_time()


async def test_two_callbacks_on_one_filter_both_stay_and_the_broker_is_asked_for_the_higher_qos(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        await link.subscribe("a", hearing(seen, "first"), qos=0)
        second = await link.subscribe("a", hearing(seen, "second"), qos=1)

        assert {"a": 1} == dict(world.broker.sessions[CLIENT].subscriptions)

        world.broker.deliver("a", b"1")
        await seen.until(2)
        second.unsubscribe()
        await quiet()

        assert {"a": 0} == dict(world.broker.sessions[CLIENT].subscriptions)

        world.broker.deliver("a", b"2")
        await seen.until(3)

    assert {"first", "second"} == set(seen.items[:2])
    assert ["first"] == seen.items[2:]


async def test_a_filter_within_a_wider_one_is_not_asked_for_twice_and_each_callback_is_called_once(_virtual: object) -> None:
    world, seen = World(), Seen()

    def subscriptions() -> dict[str, int]:
        return dict(world.broker.sessions[CLIENT].subscriptions)

    async with connected(world) as link:
        await link.subscribe("a/1", hearing(seen, "a/1"), qos=1)
        wide = await link.subscribe("a/#", hearing(seen, "a/#"), qos=0)
        await link.subscribe("a/+", hearing(seen, "a/+"), qos=0)
        await quiet()

        assert {"a/#": 1} == subscriptions()
        world.broker.deliver("a/1", b"1")
        await seen.until(3)
        wide.unsubscribe()
        await quiet()

        assert {"a/+": 1} == subscriptions()
        world.broker.deliver("a/1", b"2")
        await seen.until(5)

    assert [["a/#", "a/+", "a/1"], ["a/+", "a/1"]] == [sorted(seen.items[:3]), sorted(seen.items[3:])]


async def test_what_is_retained_comes_for_a_callback_within_a_wider_filter_too(_virtual: object) -> None:
    world, wide, narrow = World(), Seen(), Seen()
    world.broker.deliver("a/1", b"1", retain=True)
    async with connected(world) as link:
        await link.subscribe("a/#", hearing(wide))
        await link.subscribe("a/1", hearing(narrow))

    assert [("a/1", 1)] == narrow.items


async def test_a_wide_filter_that_the_broker_refuses_takes_no_narrow_one_along(_virtual: object) -> None:
    world, seen = World(), Seen()
    world.broker.refuse_subscribe("#")
    async with connected(world) as link:
        await link.subscribe("#", hearing(seen, "never"))
        await link.subscribe("a/1", hearing(seen, "a/1"))
        await quiet()
        world.broker.deliver("a/1", b"1")
        await seen.until(1)

        assert {"a/1": 1} == dict(world.broker.sessions[CLIENT].subscriptions)


async def test_an_unsubscribed_callback_is_not_called_again_and_the_broker_is_told(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        subscription = await link.subscribe("a/#", hearing(seen))
        world.broker.deliver("a/1", b"1")
        await seen.until(1)
        world.broker.deliver("a/2", b"2")  # on its way
        subscription.unsubscribe()
        subscription.unsubscribe()
        await quiet()

        assert {} == dict(world.broker.sessions[CLIENT].subscriptions)
        assert () == tuple(world.broker.unacked(CLIENT))
        assert 0 == link.statistics().subscriptions

    subscription.unsubscribe()
    assert [("a/1", 1)] == seen.items


async def test_an_unsubscription_during_an_outage_reaches_the_session_the_broker_kept(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        subscription = await link.subscribe("a", hearing(seen))
        world.broker.kill(persistent=True)
        await quiet()
        subscription.unsubscribe()
        world.broker.restart()
        await link.ready()
        await quiet()

        assert {} == dict(world.broker.sessions[CLIENT].subscriptions)


async def test_the_source_of_the_status_topic_is_the_client_id_unless_given(_virtual: object) -> None:
    for options, topic in [
        ({}, "cascade/status/robot7"),
        ({"source": "arm"}, "cascade/status/arm"),
        ({"status_topic": "fleet/{source}/state"}, "fleet/robot7/state"),
        ({"status_topic": "fleet/state", "source": "x"}, "fleet/state"),
    ]:
        world = World()
        async with connected(world, **options):
            assert [topic] == [name for name, payload in world.broker.retained.items() if payload == ONLINE]


@pytest.mark.parametrize("count", [1, 100])
async def test_subscribe_returns_when_the_callback_has_had_what_is_retained(_virtual: object, count: int) -> None:
    world, seen = World(MemoryBroker(max_inflight=8)), Seen()
    for number in range(count):
        world.broker.deliver(f"constraints/{number}", b"%d" % number, retain=True)

    async def slow(_topic: str, data: Any) -> None:
        await trio.sleep(0.01)
        seen.add(data)

    async with connected(world) as link:
        await link.subscribe("constraints/#", slow)

        assert list(range(count)) == seen.items

        await link.subscribe("constraints/#", hearing(late := Seen(), "late"))

        assert count == len(late.items)


async def test_a_callback_that_hangs_on_what_is_retained_keeps_nobody_from_subscribing(_virtual: object) -> None:
    world, seen = World(), Seen()
    world.broker.deliver("a", b"1", retain=True)
    async with connected(world, drain_s=0.0) as link:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.subscribe, "a", sleep_for_ever)
            await quiet()
            await link.subscribe("a", hearing(seen))
            nursery.cancel_scope.cancel()

        assert [("a", 1)] == seen.items


async def test_ready_waits_for_the_connection_and_for_what_is_retained(_virtual: object) -> None:
    world, seen = World(), Seen()
    world.broker.deliver("constraints/a", b'{"max":1}', retain=True)
    world.broker.kill()
    async with world.connector() as link:
        await link.subscribe("constraints/#", hearing(seen))

        assert [] == seen.items

        world.broker.restart()
        await link.ready()

        assert [("constraints/a", {"max": 1})] == seen.items


async def test_a_second_callback_on_a_filter_subscribed_while_offline_gets_what_is_retained_too(_virtual: object) -> None:
    world, first, second = World(), Seen(), Seen()
    world.broker.deliver("a", b"1", retain=True)
    world.broker.kill()
    async with world.connector() as link:
        await link.subscribe("a", hearing(first))
        await link.subscribe("a", hearing(second))
        world.broker.restart()
        await link.ready()

        assert {("a", 1)} == set(first.items)
        assert {("a", 1)} == set(second.items)


# -- publish never waits and never raises -------------------------------------------------------------


async def test_during_an_outage_the_newest_are_kept_and_the_drops_counted_and_told_once(_virtual: object) -> None:
    world = World()
    async with connected(world, mqtt=MqttSettings(outbox=10)) as link:
        for outage in range(2):
            world.broker.kill()
            await quiet()
            for number in range(25):
                link.publish(f"t/{outage}", {"number": number})

            assert (10, 15 * (outage + 1)) == (link.statistics().queued, link.statistics().overflowed)

            world.broker.restart()
            await link.ready()
            await world.broker.wait_published(f"t/{outage}", count=10)

    for outage in range(2):
        assert list(range(15, 25)) == [orjson.loads(each.payload)["number"] for each in world.said(f"t/{outage}")]
    assert ["overflowed", "overflowed"] == [event.reason for event in world.told(PublishDropped)]
    assert 20 == link.statistics().sent


async def test_what_a_lost_connection_gives_back_counts_against_the_bound(_virtual: object) -> None:
    world = World()
    async with connected(world, mqtt=MqttSettings(outbox=10)) as link:
        world.broker.hold_pubacks()
        for number in range(10):
            link.publish("t", {"number": number})
        await world.broker.wait_published("t", count=10)
        world.broker.kill()
        await quiet()
        link.publish("t", {"number": 10})

        assert (10, 1) == (link.statistics().queued, link.statistics().overflowed)


async def test_more_given_back_than_there_is_room_for_is_cut_to_the_bound_by_the_next_publish(_virtual: object) -> None:
    world = World()
    async with connected(world, mqtt=MqttSettings(outbox=10)) as link:
        world.broker.hold_pubacks()
        for number in range(15):
            link.publish("t", {"number": number})
            await world.broker.wait_published("t", count=number + 1)  # each is in the connection's hands before the next
        world.broker.kill()
        await quiet()
        link.publish("t", {"number": 15})

        assert (10, 6) == (link.statistics().queued, link.statistics().overflowed)

        world.broker.restart()
        await link.ready()
        await world.broker.wait_published("t", count=25)

    assert list(range(6, 16)) == [orjson.loads(each.payload)["number"] for each in world.said("t")[15:]]
    assert ["overflowed"] == [event.reason for event in world.told(PublishDropped)]


async def test_publish_after_the_block_does_nothing_and_is_counted_and_told_once(_virtual: object) -> None:
    world = World()
    async with connected(world) as link:
        pass
    for _ in range(3):
        link.publish("t", {})

    assert [] == world.said("t")
    assert 3 == link.statistics().closed
    assert ["closed"] == [event.reason for event in world.told(PublishDropped)]


def test_publish_outside_of_trio_does_not_raise() -> None:
    world = World()
    connector = world.connector()
    connector.publish("t", {})

    assert 1 == connector.statistics().closed


def cyclic() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["itself"] = data
    return data


@pytest.mark.parametrize(
    ("topic", "data", "qos"),
    [
        ("a/+", {}, 1),
        ("a/#", {}, 1),
        ("", {}, 1),
        (None, {}, 1),
        ("t", {}, 2),
        ("t", {}, "1"),
        ("t", {"x": float("nan")}, 1),
        ("t", {"x": {1, 2}}, 1),
        ("t", object(), 1),
        ("t", object, 1),
        ("t", {"x": 2**70}, 1),
        ("t", {"x": "\ud800"}, 1),
        ("t", cyclic(), 1),
        ("t", [cyclic()], 1),
    ],
)
async def test_what_can_never_be_sent_is_counted_and_told_once_and_raises_nothing(
    _virtual: object, topic: Any, data: object, qos: Any
) -> None:
    world = World()
    async with connected(world) as link:
        link.publish(topic, data, qos=qos)
        link.publish(topic, data, qos=qos)
        await quiet()

        assert (2, 0, 0) == (link.statistics().unsendable, link.statistics().queued, link.statistics().sent)

    assert ["unsendable"] == [event.reason for event in world.told(PublishDropped)]


async def test_what_the_broker_refuses_is_counted_and_told_once(_virtual: object) -> None:
    world = World(MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=1000)))
    world.broker.refuse_publish("forbidden/#")
    async with connected(world) as link:
        link.publish("forbidden/a", {})
        link.publish("t", b"x" * 2000)
        link.publish("t", {})
        await world.broker.wait_published("t")
        await quiet()

        assert (2, 1, 0) == (link.statistics().refused, link.statistics().sent, link.statistics().queued)

    assert ["refused"] == [event.reason for event in world.told(PublishDropped)]


async def test_publish_works_from_any_thread() -> None:
    world = World()
    async with connected(world) as link:
        await trio.to_thread.run_sync(link.publish, "t", {"from": "a thread"})
        with trio.fail_after(5.0):
            (sent,) = await world.broker.wait_published("t")
    await trio.to_thread.run_sync(link.publish, "t", {"too": "late"})

    assert {"from": "a thread"} == orjson.loads(sent.payload)
    assert 1 == link.statistics().closed


async def test_every_publish_is_in_one_counter(_virtual: object) -> None:
    world = World()
    connector = world.connector(mqtt=MqttSettings(outbox=5), drain_s=0.5)
    connector.publish("t", {})  # closed
    async with connector as link:
        await link.ready()
        world.broker.refuse_publish("no")
        link.publish("no", {})  # refused
        link.publish("t", {"x": object()})  # unsendable
        link.publish("t", {})  # sent
        await quiet()
        world.broker.kill()
        await quiet()
        for _ in range(7):  # 2 overflowed, 5 not sent by the end
            link.publish("t", {})
    inside = link.statistics()

    assert (1, 1, 1, 2, 6, 0) == (inside.sent, inside.refused, inside.unsendable, inside.overflowed, inside.closed, inside.queued)


# -- callbacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "data"),
    [(b"", {}), (b"{}", {}), (b"null", None), (b"[1]", [1]), (b'"x"', "x"), (b"1.5", 1.5)],
)
async def test_an_empty_payload_is_an_empty_dict_and_any_json_is_itself(_virtual: object, payload: bytes, data: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        await link.subscribe("a", hearing(seen))
        world.broker.deliver("a", payload)

        assert [("a", data)] == await seen.until(1)


async def test_what_is_no_json_is_told_and_counted_and_acknowledged(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        await link.subscribe("a", hearing(seen))
        for payload in (b"nope", b"\xff", b"1"):
            world.broker.deliver("a", payload)

        assert [("a", 1)] == await seen.until(1)
        assert 2 == link.statistics().not_json
        assert 0 == link.statistics().callback_failures

        await quiet()

        assert {} == world.broker.unacked(CLIENT)
    assert ["a", "a"] == [event.topic for event in world.told(NotJson)]


async def test_each_callback_gets_data_of_its_own(_virtual: object) -> None:
    world, seen = World(), Seen()

    async def spoiling(_topic: str, data: Any) -> None:
        data.clear()

    async with connected(world) as link:
        await link.subscribe("a", spoiling)
        await link.subscribe("a", hearing(seen))
        world.broker.deliver("a", b'{"x":1}')

        assert [("a", {"x": 1})] == await seen.until(1)


async def test_a_callback_that_is_too_slow_for_too_long_misses_the_oldest_and_the_others_nothing(_virtual: object) -> None:
    world, seen = World(), Seen()

    async with connected(world, mailbox=4, drain_s=0.0) as link:
        await link.subscribe("a", sleep_for_ever)
        await link.subscribe("a", hearing(seen, "fast"))
        for _ in range(20):
            world.broker.deliver("a", b"1")
        await seen.until(20)
        await trio.sleep(2.0)

        assert 15 == link.statistics().missed  # 1 in hand, 4 waiting


async def sleep_for_ever(_topic: str, _data: Any) -> None:
    await trio.sleep_forever()


async def test_a_callback_may_subscribe_publish_and_unsubscribe_itself(_virtual: object) -> None:
    world, seen = World(), Seen()
    world.broker.deliver("inner", b"1", retain=True)
    async with connected(world) as link:

        async def once(_topic: str, _data: Any) -> None:
            subscription.unsubscribe()
            await link.subscribe("inner", hearing(seen))
            link.publish("answer", {})
            await trio.sleep(10.0)
            seen.add("to its end")

        subscription = await link.subscribe("a", once)
        world.broker.deliver("a", b"1")
        world.broker.deliver("a", b"2")

        assert [("inner", 1), "to its end"] == await seen.until(2)
        assert 1 == link.statistics().subscriptions

    assert 1 == len(world.said("answer"))


async def test_a_subscription_that_was_cancelled_is_none(_virtual: object) -> None:
    world = World()
    async with connected(world) as link:
        world.broker.freeze()
        with trio.move_on_after(1.0):
            await link.subscribe("a", hearing(Seen()))
        world.broker.thaw()
        await quiet()

        assert {} == dict(world.broker.sessions[CLIENT].subscriptions)
        assert 0 == link.statistics().subscriptions


async def test_a_subscription_in_an_outage_does_not_wait(_virtual: object) -> None:
    world, seen = World(), Seen()
    async with connected(world) as link:
        world.broker.freeze()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.subscribe, "a", hearing(seen))
            await quiet()
            world.broker.kill()  # while the broker is asked
        await link.subscribe("b", hearing(seen))
        world.broker.restart()
        await link.ready()

        assert {"a": 1, "b": 1} == dict(world.broker.sessions[CLIENT].subscriptions)


@pytest.mark.parametrize(
    ("topic_filter", "callback", "qos", "error"),
    [
        ("a/#/b", says, 1, TopicError),
        ("", says, 1, TopicError),
        ("a", says, 2, ValueError),
        ("a", print, 1, TypeError),
        ("a", lambda *_: None, 1, TypeError),
    ],
)
async def test_a_subscription_that_means_nothing_is_refused_to_its_caller(
    _virtual: object, topic_filter: str, callback: Any, qos: int, error: type[Exception]
) -> None:
    async with connected(World()) as link:
        with pytest.raises(error):
            await link.subscribe(topic_filter, callback, qos=qos)

        assert 0 == link.statistics().subscriptions


async def test_subscribing_outside_of_the_block_is_refused(_virtual: object) -> None:
    connector = World().connector()
    with pytest.raises(ConnectorClosed):
        await connector.subscribe("a", sleep_for_ever)
    async with connector:
        pass
    with pytest.raises(ConnectorClosed):
        await connector.subscribe("a", sleep_for_ever)


async def test_removing_a_callback_while_others_wait_for_it_wakes_them(_virtual: object) -> None:
    world = World()
    world.broker.deliver("a", b"1", retain=True)
    async with connected(world, drain_s=0.0) as link:
        world.broker.kill()
        await quiet()
        subscription = await link.subscribe("a", sleep_for_ever)
        world.broker.restart()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.ready)
            await trio.sleep(100.0)
            subscription.unsubscribe()

    assert [] == world.told(MessageUnmatched)


# -- how the block ends -------------------------------------------------------------------------------


async def test_without_a_broker_the_block_is_entered_at_once_and_its_end_is_no_error(_virtual: object) -> None:
    world = World()
    world.broker.kill()
    began = trio.current_time()
    async with world.connector() as link:
        assert began == trio.current_time()
        assert (False, 0) == (link.statistics().connected, link.statistics().connections)

        await trio.sleep(3600.0)
        world.broker.restart()
        await link.ready()

        assert (True, 1) == (link.statistics().connected, link.statistics().connections)


async def test_refused_credentials_end_the_block_with_the_broker_s_words(_virtual: object) -> None:
    world, reached = World(MemoryBroker(users={"me": "right"})), False
    with pytest.raises(LinkRefused, match=r"broker memory:1883 refused client id 'robot7'") as caught:  # noqa: PT012 - the block is what raises
        async with Connector("mqtt://me:wrong@memory", client_id=CLIENT, transport=MemoryTransport(world.broker), emit=world.events.append):
            await trio.sleep_forever()
            reached = True

    assert not reached
    assert caught.value.code >= 0x80
    assert "wrong" not in str(caught.value)


async def test_a_takeover_ends_the_block(_virtual: object) -> None:
    world = World()
    with pytest.raises(LinkRefused):  # noqa: PT012 - the block is what raises
        async with connected(world):
            async with connected(World(world.broker)):
                await trio.sleep_forever()


async def test_an_exception_of_the_program_comes_out_as_itself_after_a_goodbye(_virtual: object) -> None:
    world = World()
    error = KeyError("the program's own")
    with pytest.raises(KeyError) as caught:  # noqa: PT012 - the block is what raises
        async with connected(world) as link:
            link.publish("t", {})
            raise error

    assert error is caught.value
    assert 1 == len(world.said("t"))
    assert OFFLINE == world.broker.retained[STATUS]


async def test_a_cancelled_program_says_goodbye_too(_virtual: object) -> None:
    world = World()
    with trio.CancelScope() as scope:
        async with connected(world) as link:
            link.publish("t", {})
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert 1 == len(world.said("t"))
    assert [(ONLINE, False), (OFFLINE, False)] == world.statuses()


async def test_a_callback_in_progress_may_finish_while_the_block_is_left(_virtual: object) -> None:
    world, seen, began = World(), Seen(), trio.Event()

    async def callback(_topic: str, _data: Any) -> None:
        began.set()
        await trio.sleep(2.0)
        link.publish("answer", {})
        seen.add("finished")

    async with connected(world) as link:
        await link.subscribe("a", callback)
        world.broker.deliver("a", b"1")
        await began.wait()

    assert ["finished"] == seen.items
    assert 1 == len(world.said("answer"))
    assert {} == world.broker.unacked(CLIENT)


async def test_a_callback_that_never_ends_is_cancelled_and_its_message_stays_with_the_broker(_virtual: object) -> None:
    world, began = World(), trio.Event()

    async def callback(_topic: str, _data: Any) -> None:
        began.set()
        await trio.sleep_forever()

    async with connected(world, drain_s=1.0) as link:
        await link.subscribe("a", callback)
        world.broker.deliver("a", b"1")
        await began.wait()
        left = trio.current_time()

    assert trio.current_time() - left <= 1.0 + 4.0
    assert 1 == len(world.broker.unacked(CLIENT))


async def test_a_block_is_entered_once(_virtual: object) -> None:
    connector = World().connector()
    async with connector:
        with pytest.raises(RuntimeError, match="once"):
            await connector.__aenter__()


async def test_a_frozen_broker_is_found_by_the_heartbeat(_virtual: object) -> None:
    world, told = World(), Seen()
    async with connected(world, heartbeat=HeartbeatSettings(interval_s=5.0, deadline_s=2.0), emit=told.add) as link:
        world.broker.freeze()
        began = trio.current_time()
        while not any(isinstance(event, LinkDown) for event in told.items):
            await told.until(len(told.items) + 1)

        assert trio.current_time() - began <= 7.0
        assert not link.statistics().connected

        world.broker.restart()
        await link.ready()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client_id": "a+b"}, TopicError),
        ({"status_topic": "status/#"}, TopicError),
        ({"drain_s": -1.0}, ValueError),
        ({"mailbox": 0}, ValueError),
        ({"url": "http://broker"}, UrlError),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Connector(**{"url": "mqtt://broker", "client_id": "c", **options})


def test_credentials_stand_in_no_repr() -> None:
    assert "secret" not in repr(Connector("mqtt://me:secret@broker", client_id="c"))
