"""A broker that refuses an actor one of its filters: that actor is parked, the others run on, and it is back when the filter is granted."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, World, running
from tars.actors import Actor, Context, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import ActorParked, ActorRecovered, LinkUp, SubscriptionRefused
from tars.actors.mqtt.memory import MemoryBroker
from tars.supervisor import RestartIntensityExceeded

HANDLERS = "root/service/handlers/"
REFUSED = "subscription half: refused by the broker (code 0x87), which parks deaf"


class Scene:
    """Two actors, of which one listens to two topics. `seen`: (actor, what)."""

    def __init__(self) -> None:
        seen = self.seen = Seen()

        class Deaf(Actor):
            async def started(self, _ctx: Context) -> None:
                seen.add(("deaf", "started"))

            @subscribe("half")
            async def on_half(self, event: bytes) -> None:
                seen.add(("deaf", event))

            @subscribe("other")
            async def on_other(self, event: bytes) -> None:
                seen.add(("deaf", event))

            @every(7.0)
            async def tick(self, _ctx: Context) -> None:
                seen.add(("deaf", "tick"))

        @subscribe("well")
        async def well(event: bytes) -> None:
            seen.add(("well", event))

        self.actors: tuple[Any, ...] = (Deaf, well)
        self.broker = MemoryBroker()
        self.broker.refuse_subscribe("half")

    def of(self, actor: str) -> list[Any]:
        return [what for who, what in self.seen.items if who == actor]


async def parked(world: World, count: int = 1) -> ActorParked:
    event = await world.event(ActorParked, count=count)
    assert isinstance(event, ActorParked)
    return event


async def test_only_the_actor_that_asked_for_the_refused_filter_is_parked_and_everybody_is_told(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        event = await parked(world)
        ping = await world.health("degraded")
        await world.deliver("well", b"1")
        await scene.seen.until(2)
        await world.settled()

        assert [SubscriptionRefused("half", 0x87, "deaf")] == world.events_of(SubscriptionRefused)
        assert ActorParked(f"{HANDLERS}deaf", 0, 30.0, "half", 0x87) == event
        assert (False, REFUSED) == (ping["ok"], ping["err"])
        assert ["started"] == scene.of("deaf")
        assert [b"1"] == scene.of("well")
        assert 1 == len(world.events_of(LinkUp))


async def test_what_comes_for_it_meanwhile_is_a_dead_letter_and_its_ticks_rest(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        await parked(world)
        await trio.sleep(20.0)
        await world.deliver("other", b"1")
        (letter,) = await world.store.until(1)
        await world.settled()

        assert (Why.PARKED, "other", b"1") == (letter.why, letter.topic, letter.payload)
        assert ["started"] == scene.of("deaf")


async def test_a_filter_that_is_granted_at_a_reconnect_brings_the_actor_back_at_once(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        await parked(world)
        scene.broker.refuse_subscribe("half", 0)
        scene.broker.drop_link(CLIENT)
        await world.event(ActorRecovered)
        await world.health("reconnected")
        await world.deliver("half", b"1")
        await world.deliver("other", b"2")
        await scene.seen.until(4)

        assert ["started", "started", b"1", b"2"] == scene.of("deaf")
        assert {} == world.estate.health.problems
        assert [] == world.store.letters
        assert 30.0 > trio.current_time()


async def test_a_filter_that_is_refused_again_at_a_reconnect_leaves_it_parked(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        await parked(world)
        scene.broker.drop_link(CLIENT)
        await world.event(LinkUp, count=2)
        await world.deliver("other", b"1")
        (letter,) = await world.store.until(1)

        assert Why.PARKED is letter.why
        assert [] == world.events_of(ActorRecovered)
        assert ["started"] == scene.of("deaf")


async def test_the_broker_is_asked_again_after_park_s_doubled_each_time_until_it_grants(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        pauses_s = [(await parked(world, count)).park_s for count in (1, 2, 3)]
        scene.broker.refuse_subscribe("half", 0)
        await world.event(ActorRecovered)
        await world.deliver("half", b"1")
        await scene.seen.until(3)

        assert [30.0, 60.0, 120.0] == pauses_s
        assert 210.0 == pytest.approx(trio.current_time(), abs=1.0)
        assert [SubscriptionRefused("half", 0x87, "deaf")] * 3 == world.events_of(SubscriptionRefused)
        assert ["started", "started", b"1"] == scene.of("deaf")
        assert {} == world.estate.health.problems
        assert 1 == len(world.events_of(LinkUp))


async def test_a_service_can_be_stopped_while_an_actor_is_parked_so(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        await parked(world)
        await world.stop()

        assert [] == world.store.letters
        assert [] == world.events_of(RestartIntensityExceeded)
        assert ["started"] == scene.of("deaf")


async def test_a_reload_that_takes_the_refused_filter_away_brings_the_actor_back(_virtual: MockClock) -> None:
    scene = Scene()
    async with running(*scene.actors, broker=scene.broker) as world:
        await parked(world)
        await world.reload(*scene.actors, actors={"deaf": {"topics": {"half": "allowed"}}})
        await world.broker.wait_until(lambda: "allowed" in world.broker.sessions[CLIENT].subscriptions)
        await world.deliver("allowed", b"1")
        await scene.seen.until(3)

        assert ["started", "started", b"1"] == scene.of("deaf")
        assert {} == world.estate.health.problems
