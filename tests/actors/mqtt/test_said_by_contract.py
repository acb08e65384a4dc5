"""What our services say of themselves, read by the contracts that their readers use: topic, QoS, retain flag, every field."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, World, running
from tars.actors import subscribe
from tars.actors.connector import Connector
from tars.actors.contracts import Pair, decode_envelope, decode_json, structure, unstructure
from tars.actors.contracts.health import HealthPing, HeartbeatPayload
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.memory_watch import Published

BEATING = {"heartbeat": {"enabled": True, "interval_s": 5.0, "deadline_s": 2.0}}
HEALTH_TOPIC = HealthPing.PAIR.fill({"client_id": CLIENT})
BEAT_TOPIC = HeartbeatPayload.PAIR.fill({"client_id": CLIENT})


@subscribe("sink")
async def sink(_event: bytes) -> None:
    """Takes what comes."""


def way(entry: Published) -> tuple[int, bool]:
    return entry.qos, entry.retain


def contract(pair: Pair) -> tuple[int, bool]:
    return pair.qos, pair.retain


async def a_whole_life(world: World) -> None:
    """Ready, degraded, well again, lost, reconnected, shutdown."""
    await world.health("ready")
    world.estate.health.report("actor subject", "parked after 5 failures in a row")
    await world.health("degraded")
    world.estate.health.report("actor subject", None)
    await world.health("ready", 2)
    world.broker.drop_link(CLIENT)
    await world.health("reconnected")
    await world.stop()


async def test_every_health_message_of_a_life_is_what_the_contract_says_the_will_too(_virtual: MockClock) -> None:
    async with running(sink, config=BEATING) as world:
        await a_whole_life(world)
        said = world.said(HEALTH_TOPIC)

    envelopes = [decode_envelope(entry.payload) for entry in said]
    pings = [structure(HealthPing, envelope.data) for envelope in envelopes]

    assert {contract(HealthPing.PAIR)} == {way(entry) for entry in said}
    assert {(HealthPing.PAIR.event_type, CLIENT)} == {(envelope.type, envelope.source) for envelope in envelopes}
    assert [
        ("ready", True, None),
        ("degraded", False, "actor subject: parked after 5 failures in a row"),
        ("ready", True, None),
        ("lost", False, None),
        ("reconnected", True, None),
        ("shutdown", False, None),
    ] == [(ping.event, ping.ok, ping.err) for ping in pings]
    assert [envelope.data for envelope in envelopes] == [unstructure(ping) for ping in pings]


async def test_every_beat_of_a_service_is_what_the_contract_says(_virtual: MockClock) -> None:
    async with running(sink, config=BEATING) as world:
        beats = await world.published(BEAT_TOPIC, 3)

    assert {contract(HeartbeatPayload.PAIR)} == {way(entry) for entry in beats}
    read_again(beats)


async def test_every_beat_of_a_connector_is_what_the_contract_says(_virtual: MockClock) -> None:
    async def on_message(_topic: str, _data: Any) -> None:
        """Takes what comes."""

    broker = MemoryBroker()
    async with Connector("mqtt://broker", client_id=CLIENT, transport=MemoryTransport(broker), emit=lambda _: None) as link:
        await link.subscribe("control/#", on_message)
        await link.ready()  # asks with a beat of its own
        with trio.fail_after(60):
            beats = await broker.wait_published(BEAT_TOPIC, count=5)

    assert {contract(HeartbeatPayload.PAIR)} == {way(entry) for entry in beats}
    read_again(beats)


def read_again(beats: list[Published]) -> None:
    """Each beat says that all is well, and nothing that the contract has no field for."""
    read = [structure(HeartbeatPayload, decode_json(entry.payload)) for entry in beats]

    assert [HeartbeatPayload(timestamp=beat.timestamp) for beat in read] == read
    assert [unstructure(beat) for beat in read] == [decode_json(entry.payload) for entry in beats]


@pytest.mark.parametrize("topic", [HEALTH_TOPIC, BEAT_TOPIC])
def test_a_topic_of_ours_belongs_to_its_contract_alone(topic: str) -> None:
    assert 1 == sum(each.PAIR.holds(topic) for each in (HealthPing, HeartbeatPayload))
