"""What the broker keeps as the service's health when the link leaves without a drain, by its own will.

A DISCONNECT discards the Will, so the link says itself what the Will would: ``lost``. When it only starts again,
``reconnected`` follows.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from support.service import HEALTH, World, running
from tars.actors import Escalate, subscribe
from tars.actors.mqtt.events import LinkDown, LinkUp

BEATS = {"heartbeat": {"enabled": True, "interval_s": 5.0, "deadline_s": 2.0}}


@subscribe("in")
async def gives_up(_event: bytes) -> None:
    raise Escalate("no such key")


@subscribe("in")
async def sink(_event: bytes) -> None:
    """Takes what comes."""


def told(world: World) -> list[tuple[bool, str]]:
    """What was said of the service's health, in order."""
    pings: list[dict[str, Any]] = [orjson.loads(entry.payload)["data"] for entry in world.said(HEALTH)]
    return [(ping["ok"], ping["event"]) for ping in pings]


def kept(world: World) -> tuple[bool, str]:
    """What somebody who asks only now is told."""
    ping = orjson.loads(world.broker.retained[HEALTH])["data"]
    return ping["ok"], ping["event"]


async def test_a_service_that_gives_up_is_lost_for_whoever_asks_later(_virtual: MockClock) -> None:
    async with running(gives_up) as world:
        await world.health("ready")
        await world.deliver("in", b"x")
        await world.over()

        assert [(True, "ready"), (False, "lost")] == told(world)
        assert (False, "lost") == kept(world)
        assert ["given up"] == [each.reason for each in world.events_of(LinkDown)]


async def test_a_service_that_gives_up_with_health_disabled_says_nothing(_virtual: MockClock) -> None:
    async with running(gives_up, config={"health": {"enabled": False}}) as world:
        await world.deliver("in", b"x")
        await world.over()

        assert [] == told(world)


async def test_a_service_that_gives_up_while_the_broker_is_gone_ends_all_the_same(_virtual: MockClock) -> None:
    hold = trio.Event()

    @subscribe("in")
    async def waits(_event: bytes) -> None:
        await hold.wait()
        raise Escalate("no such key")

    async with running(waits) as world:
        await world.health("ready")
        await world.deliver("in", b"x")
        await world.quiet()
        world.broker.kill()
        hold.set()
        await world.over()

        assert [(True, "ready")] == told(world)


async def test_after_a_restart_of_the_link_alone_the_service_is_well_again(_virtual: MockClock) -> None:
    async with running(sink, config=BEATS) as world:
        await world.health("ready")
        world.broker.freeze()
        down = await world.event(LinkDown)
        world.broker.thaw()  # the broker has had it all, and works it off now
        while_away = (told(world), kept(world))
        await world.event(LinkUp, count=2)
        await world.health("reconnected")

        assert "given up" == down.reason
        assert ([(True, "ready"), (False, "lost")], (False, "lost")) == while_away
        assert [(True, "ready"), (False, "lost"), (True, "reconnected")] == told(world)
        assert (True, "reconnected") == kept(world)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_link_that_drains_or_breaks_says_no_farewell_of_this_kind(_virtual: MockClock, asked: bool) -> None:
    async with running(sink) as world:
        await world.health("ready")
        if asked:
            await world.stop()
        else:
            world.broker.kill()
            world.broker.restart()
            await world.health("reconnected")

        assert (False, "lost") not in told(world)
