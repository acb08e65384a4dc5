"""A broker that grants less than was asked for: QoS 1 is promised nowhere then, so it is told, and the actor works on."""

from __future__ import annotations

from typing import Any

from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import subscribe
from tars.actors.mqtt.events import ActorParked, SubscriptionRefused, SubscriptionWeakened
from tars.actors.mqtt.memory import MemoryBroker


def actors(seen: Seen) -> list[Any]:
    @subscribe("weak", qos=1)
    async def careful(event: bytes) -> None:
        seen.add(("careful", event))

    @subscribe("light", qos=0)
    async def careless(event: bytes) -> None:
        seen.add(("careless", event))

    return [careful, careless]


def weak() -> MemoryBroker:
    broker = MemoryBroker()
    broker.grant_at_most("weak", 0)
    broker.grant_at_most("light", 0)
    return broker


async def test_a_filter_granted_below_what_was_asked_for_is_a_warning_with_names_and_degrades_health(_virtual: MockClock) -> None:
    async with running(*actors(Seen()), broker=weak()) as world:
        ping = await world.health("degraded")

        assert [SubscriptionWeakened("weak", "careful", asked=1, granted=0)] == world.events_of(SubscriptionWeakened)
        assert "warning" == SubscriptionWeakened.level
        expected = "subscription weak: granted by the broker at QoS 0 where 1 was asked for: messages for careful may be lost"
        assert (False, expected) == (ping["ok"], ping["err"])


async def test_its_actor_is_not_parked_and_gets_what_comes(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(*actors(seen), broker=weak()) as world:
        await world.deliver("weak", b"1")
        await world.deliver("light", b"2")
        await seen.until(2)

        assert [("careful", b"1"), ("careless", b"2")] == sorted(seen.items)
        assert [] == world.events_of(ActorParked) + world.events_of(SubscriptionRefused)
        assert [] == world.store.letters


async def test_it_is_over_when_the_next_connection_is_granted_what_it_asks_for(_virtual: MockClock) -> None:
    async with running(*actors(Seen()), broker=weak()) as world:
        await world.health("degraded")
        world.broker.grant_at_most("weak", 1)
        world.broker.drop_link(CLIENT)

        assert (await world.health("reconnected"))["ok"]
        assert {} == world.estate.health.problems
        assert 1 == len(world.events_of(SubscriptionWeakened))


async def test_each_connection_that_is_granted_less_tells_it_again(_virtual: MockClock) -> None:
    async with running(*actors(Seen()), broker=weak()) as world:
        await world.health("degraded")
        world.broker.drop_link(CLIENT)
        await world.event(SubscriptionWeakened, count=2)

        assert not (await world.health("degraded", 2))["ok"]
