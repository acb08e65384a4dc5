"""The heartbeat watchdog: its wire format, and how soon it finds a broker that says nothing any more."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, running
from tars.actors import subscribe
from tars.actors.mqtt.events import LinkDown, LinkUp
from tars.supervisor import ChildExited, ExitKind, IntensityExceeded, RestartScheduled

TOPIC = f"system/keepalive/{CLIENT}"
EVERY_5_S = {"heartbeat": {"enabled": True, "interval_s": 5.0, "deadline_s": 2.0}}


@subscribe("sink")
async def sink(_event: bytes) -> None:
    """Takes what comes."""


async def test_a_beat_is_plain_json_confirmed_and_not_retained(_virtual: MockClock) -> None:
    async with running(sink, config=EVERY_5_S) as world:
        (beat,) = await world.published(TOPIC)

        assert re.fullmatch(rb'\{"ok":true,"event":"heartbeat","timestamp":\d+\.\d+\}', beat.payload)
        assert (1, False) == (beat.qos, beat.retain)


async def test_it_beats_every_interval(_virtual: MockClock) -> None:
    async with running(sink, config=EVERY_5_S) as world:
        await world.published(TOPIC)
        began = trio.current_time()
        await world.published(TOPIC, 13)

        assert 60.0 == pytest.approx(trio.current_time() - began)


@pytest.mark.parametrize("frozen_after_s", [0.1, 1.0, 4.9])
async def test_a_frozen_broker_is_found_within_the_deadline_after_the_next_beat(_virtual: MockClock, frozen_after_s: float) -> None:
    async with running(sink, config=EVERY_5_S) as world:
        await world.published(TOPIC)
        began = trio.current_time()
        await trio.sleep(frozen_after_s)
        world.broker.freeze()
        await world.event(LinkDown)

        assert 7.0 == pytest.approx(trio.current_time() - began)


async def test_a_frozen_broker_costs_the_link_no_intensity_and_it_comes_back(_virtual: MockClock) -> None:
    async with running(sink, config=EVERY_5_S) as world:
        for count in range(2, 7):
            world.broker.freeze()
            await world.event(LinkDown, count=count - 1)
            world.broker.kill()
            world.broker.restart()
            await world.event(LinkUp, count=count)

        exits = world.events_of(ChildExited)

        assert {"root/service/link/connection", "root/service/link/heartbeat"} == {each.path for each in exits}
        assert {ExitKind.UNAVAILABLE, ExitKind.SHUTDOWN} == {each.kind for each in exits}
        assert {0} == {each.used for each in world.events_of(RestartScheduled)}
        assert [] == world.events_of(IntensityExceeded)


async def test_there_is_no_beat_while_the_link_is_down_and_no_alarm_about_it(_virtual: MockClock) -> None:
    async with running(sink, config=EVERY_5_S) as world:
        await world.published(TOPIC)
        world.broker.kill()
        await world.event(LinkDown)
        await trio.sleep(600)

        assert {"root/service/link/connection", "root/service/link/heartbeat"} >= {each.path for each in world.events_of(ChildExited)}
        assert [] == [
            each for each in world.events_of(ChildExited) if each.path.endswith("/heartbeat") and each.kind is not ExitKind.SHUTDOWN
        ]
        world.broker.restart()
        await world.published(TOPIC, 2)

        assert world.estate.link.is_up


async def test_disabled_there_is_none_and_a_frozen_broker_stays_undiscovered(_virtual: MockClock) -> None:
    async with running(sink, config={"heartbeat": {"enabled": False}}) as world:
        world.broker.freeze()
        await trio.sleep(3600)
        world.broker.thaw()

        assert ([], []) == (world.said(TOPIC), world.events_of(LinkDown))
