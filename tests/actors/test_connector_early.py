"""What the broker kept for a connector's client id comes with the connection: it waits for the callback that wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from support.service import Seen
from tars.actors import Connector
from tars.actors.connector_early import PAUSE_S
from tars.actors.mqtt.events import MessageUnmatched
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.settings import HeartbeatSettings, MqttSettings

CLIENT = "robot7"
QUIET = HeartbeatSettings(enabled=False)


def callback(seen: Seen) -> Callable[[str, Any], Any]:
    async def heard(topic: str, data: Any) -> None:
        seen.add((topic, data))

    return heard


def connector(broker: MemoryBroker, told: Seen, *, receive_maximum: int = 256) -> Connector:
    mqtt = MqttSettings(receive_maximum=receive_maximum)
    return Connector("mqtt://memory", client_id=CLIENT, heartbeat=QUIET, mqtt=mqtt, transport=MemoryTransport(broker), emit=told.add)


@asynccontextmanager
async def kept(*topics: str, receive_maximum: int = 256) -> AsyncIterator[tuple[MemoryBroker, Connector, Seen]]:
    """A connector in its block, connected, that was away while these came for its subscriptions to ``a/#`` and ``b/#``."""
    broker, told = MemoryBroker(), Seen()
    async with connector(broker, told, receive_maximum=receive_maximum) as before:
        for topic_filter in ("a/#", "b/#"):
            await before.subscribe(topic_filter, callback(Seen()))
        await before.ready()
    for number, topic in enumerate(topics):
        broker.deliver(topic, str(number).encode())
    async with connector(broker, told, receive_maximum=receive_maximum) as link:
        await broker.wait_connected(CLIENT)
        await trio.testing.wait_all_tasks_blocked()
        yield broker, link, told


def unmatched(told: Seen) -> list[str]:
    return [event.topic for event in told.items if isinstance(event, MessageUnmatched)]


async def acknowledged(broker: MemoryBroker) -> None:
    with trio.fail_after(1.0):
        await broker.wait_until(lambda: not broker.unacked(CLIENT))


async def test_what_came_before_its_callback_waits_for_it_in_order_and_is_acknowledged_when_handled(_virtual: object) -> None:
    seen = Seen()
    async with kept("a/1", "a/2", "a/3") as (broker, link, told):
        held = (link.statistics().held, len(broker.unacked(CLIENT)))
        await link.subscribe("a/#", callback(seen))
        broker.deliver("a/4", b"3")
        await seen.until(4)
        await acknowledged(broker)

        assert (3, 3) == held
        assert [("a/1", 0), ("a/2", 1), ("a/3", 2), ("a/4", 3)] == seen.items
        assert (0, 0, []) == (link.statistics().held, link.statistics().unmatched, unmatched(told))


async def test_it_waits_for_as_long_as_the_program_subscribes_nothing(_virtual: object) -> None:
    seen = Seen()
    async with kept("a/1") as (_, link, _told):
        await link.ready()  # nothing is subscribed yet: this is no word about the subscriptions
        await trio.sleep(3600.0)
        await link.subscribe("a/#", callback(seen))
        await seen.until(1)

    assert [("a/1", 0)] == seen.items


async def test_each_subscription_takes_its_own_and_the_next_may_take_its_time(_virtual: object) -> None:
    one, two = Seen(), Seen()
    async with kept("a/1", "b/1", "a/2") as (_, link, told):
        await link.subscribe("a/#", callback(one))
        await one.until(2)
        await trio.sleep(PAUSE_S - 0.1)
        await link.subscribe("b/#", callback(two))
        await two.until(1)

    assert ([("a/1", 0), ("a/2", 2)], [("b/1", 1)], []) == (one.items, two.items, unmatched(told))


@pytest.mark.parametrize("says_so", [True, False])
async def test_when_the_first_subscriptions_are_made_the_rest_is_acknowledged_counted_and_told(_virtual: object, says_so: bool) -> None:
    async with kept("a/1", "b/1", "b/2") as (broker, link, told):
        await link.subscribe("a/#", callback(Seen()))
        if says_so:
            await link.ready()
        else:
            await trio.sleep(PAUSE_S + 0.1)
        await acknowledged(broker)

        assert (["b/1", "b/2"], 2, 0) == (unmatched(told), link.statistics().unmatched, link.statistics().held)
        broker.deliver("b/3", b"3")  # the session still has that filter
        await acknowledged(broker)

        assert ["b/1", "b/2", "b/3"] == unmatched(told)


async def test_what_is_retained_is_had_when_ready_returns_also_behind_a_window_full_of_what_nobody_wants(_virtual: object) -> None:
    seen = Seen()
    async with kept(*["b/1"] * 4, receive_maximum=4) as (broker, link, told):
        for number in range(8):
            broker.deliver(f"a/{number}", b"{}", retain=True)
        await link.subscribe("a/#", callback(seen))
        await link.ready()

        assert (8, 4) == (len({topic for topic, _ in seen.items}), len(unmatched(told)))


async def test_a_broker_that_minds_no_window_cannot_fill_the_memory_the_oldest_goes_and_is_told(_virtual: object) -> None:
    seen = Seen()
    async with kept() as (broker, link, told):
        early = link._estate.early  # noqa: SLF001 - the bound itself: the broker in memory minds its window
        early.limit = 2
        for number in range(5):
            broker.deliver("a/1", str(number).encode())
        await trio.testing.wait_all_tasks_blocked()
        await link.subscribe("a/#", callback(seen))
        await seen.until(2)

        assert ([("a/1", 3), ("a/1", 4)], ["a/1"] * 3, 3) == (seen.items, unmatched(told), link.statistics().unmatched)


async def test_a_connection_lost_meanwhile_makes_no_second_one_of_it(_virtual: object) -> None:
    seen = Seen()
    async with kept("a/1") as (broker, link, _):
        broker.drop_link(CLIENT)
        await broker.wait_disconnected(CLIENT)
        await broker.wait_connected(CLIENT)
        await trio.testing.wait_all_tasks_blocked()
        await link.subscribe("a/#", callback(seen))
        await link.ready()
        await acknowledged(broker)

    assert [("a/1", 0)] == seen.items


async def test_what_nobody_has_subscribed_to_by_the_end_of_the_block_stays_with_the_broker(_virtual: object) -> None:
    async with kept("a/1", "b/1") as (broker, _, told):
        left = trio.current_time()

    assert ["a/1", "b/1"] == [entry.topic for entry in broker.unacked(CLIENT).values()]
    assert ([], True) == (unmatched(told), trio.current_time() - left <= 1.0)


async def test_a_filter_that_was_unsubscribed_is_wanted_by_nobody_until_it_is_subscribed_again(_virtual: object) -> None:
    seen = Seen()
    async with kept() as (broker, link, told):
        subscription = await link.subscribe("a/#", callback(Seen()))
        subscription.unsubscribe()
        broker.deliver("a/1", b"1")  # before the broker has heard of it
        await acknowledged(broker)

        assert ["a/1"] == unmatched(told)
        await link.subscribe("a/#", callback(seen))
        broker.deliver("a/2", b"2")
        await seen.until(1)

    assert [("a/2", 2)] == seen.items


async def test_qos_0_is_not_held(_virtual: object) -> None:
    async with kept() as (broker, link, told):
        broker.deliver("a/1", b"1", 0)
        await trio.testing.wait_all_tasks_blocked()

        assert (0, ["a/1"]) == (link.statistics().held, unmatched(told))
