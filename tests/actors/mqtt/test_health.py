"""What the service says of itself: ready, degraded, reconnected, shutdown, and lost, which the broker says for it."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, HEALTH, MemoryStore, Seen, World, running
from tars.actors import Reject, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import LinkUp
from tars.actors.mqtt.memory import MemoryBroker
from tars.supervisor import ChildExited, IntensityExceeded


def told(world: World) -> list[tuple[str, bool]]:
    return [(ping["event"], ping["ok"]) for entry in world.said(HEALTH) for ping in [orjson.loads(entry.payload)["data"]]]


@subscribe("bad")
async def bad(_event: bytes) -> None:
    raise Reject("always")


async def test_it_says_ready_then_reconnected_then_shutdown(_virtual: MockClock) -> None:
    async with running(bad) as world:
        await world.health("ready")
        world.broker.kill()
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.health("reconnected")
        await world.stop()

        assert [("ready", True), ("reconnected", True), ("shutdown", False)] == told(world)
        assert orjson.loads(world.broker.retained[HEALTH])["data"]["event"] == "shutdown"


async def test_a_health_message_is_enveloped_retained_and_qos_1(_virtual: MockClock) -> None:
    async with running(bad) as world:
        await world.health("ready")
        (entry,) = world.said(HEALTH)
        envelope = orjson.loads(entry.payload)

        assert (1, True) == (entry.qos, entry.retain)
        assert ("health.status", CLIENT) == (envelope["type"], envelope["source"])
        assert {"message_id", "ok", "event", "timestamp"} == set(envelope["data"])


async def test_a_connection_that_ends_without_a_goodbye_is_lost_by_its_will(_virtual: MockClock) -> None:
    async with running(bad) as world:
        await world.health("ready")
        world.broker.drop_link(CLIENT)
        await world.health("lost")
        will = world.said(HEALTH)[1]

        assert (True, 1, True) == (will.will, will.qos, will.retain)
        await world.health("reconnected")

        assert [("ready", True), ("lost", False), ("reconnected", True)] == told(world)


async def test_disabled_it_says_nothing_and_has_no_will(_virtual: MockClock) -> None:
    async with running(bad, config={"health": {"enabled": False}}) as world:
        world.broker.drop_link(CLIENT)
        await world.event(LinkUp, count=2)
        await world.stop()

        assert ([], {}) == (world.said(HEALTH), dict(world.broker.retained))


async def test_problems_are_told_as_they_come_and_go(_virtual: MockClock) -> None:
    async with running(bad) as world:
        await world.health("ready")
        world.estate.health.report("one", "broken")
        ping = await world.health("degraded")

        assert (False, "one: broken") == (ping["ok"], ping["err"])
        world.estate.health.report("two", "bent")
        ping = await world.health("degraded", 2)

        assert "one: broken; two: bent" == ping["err"]
        world.estate.health.report("one", None)
        world.estate.health.report("two", None)
        ping = await world.health("ready", 2)

        assert (True, None) == (ping["ok"], ping.get("err"))


async def test_a_problem_from_before_the_link_was_up_is_told_at_once(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.kill()
    async with running(bad, broker=broker, up=False) as world:
        world.estate.health.report("one", "broken")
        broker.restart()
        await world.health("degraded")

        assert [("degraded", False)] == told(world)


async def test_a_problem_of_the_very_moment_the_link_comes_up_is_told(_virtual: MockClock) -> None:
    def complains(ports: Any) -> Any:
        def emit(event: object) -> None:
            ports.emit(event)
            if isinstance(event, LinkUp):
                ports.health.report("one", "broken")

        return attrs.evolve(ports, emit=emit)

    async with running(bad, ports={"connection": complains}) as world:
        await world.health("degraded")

        assert ("degraded", False) == told(world)[-1]


# -- the store ------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_the_start", [True, False])
async def test_while_the_store_is_down_what_needs_it_does_not_settle_and_all_else_runs(_virtual: MockClock, from_the_start: bool) -> None:
    seen = Seen()

    @subscribe("good")
    async def good(event: bytes) -> None:
        seen.add(event)

    store = MemoryStore(fault="the disk is full" if from_the_start else None)
    async with running(bad, good, store=store) as world:
        store.fail("the disk is full")
        await world.deliver("bad", b"1")
        await world.deliver("good", b"2")
        await seen.until(1)
        ping = await world.health("degraded")
        await trio.sleep(600)

        assert "store: the disk is full" == ping["err"]
        assert (["bad"], (2,), []) == (world.unacked, world.broker.acked(CLIENT), store.letters)
        assert {"root/store"} == {each.path for each in world.events_of(ChildExited)}
        assert [] == world.events_of(IntensityExceeded)
        store.mend()
        await world.settled()

        assert [(Why.REJECTED, b"1")] == [(letter.why, letter.payload) for letter in store.letters]
        assert {} == world.estate.health.problems
        assert ("ready", True) == told(world)[-1]
