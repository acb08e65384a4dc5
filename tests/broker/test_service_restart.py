"""A service whose broker dies and comes back: nobody has to do anything, and nothing that was confirmed is lost.

What `kill -9` may cost a broker is its own affair, so these tests have it write its files first; what counts is what
the service makes of a broker that has its sessions, or has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from support.broker import Mosquitto
from support.process import HEALTH, config
from support.process_live import live
from support.process_record import Record, echo
from support.verifier import CLEAN, judge, rounds
from support.verifier_client import Outside, distinct, outside
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.events import LinkDown, LinkUp

BROKER = ("allow_anonymous true", "max_queued_messages 100000", "max_inflight_messages 0")
"""Nothing waits in it behind a window: what does, Mosquitto itself may put out of order (`test_mosquitto_keeps`)."""
CYCLES = 3
WINDOW = 50
"""What the publisher that never pauses has unconfirmed at a time."""


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> dict[str, Any]:
    backoff = {"initial_s": 0.02, "max_s": 0.1}
    return {"mqtt": {"url": "", "protocol": request.param, "receive_maximum": 65_535, "backoff": backoff}}  # see BROKER


@pytest.fixture(params=["killed", "asked to end"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def table(broker: Mosquitto, protocol: dict[str, Any]) -> dict[str, Any]:
    # A broker may send everything it has at once, whatever window it was given; that is no overflow here.
    patient = {"echo": {"overflow_after_s": 60.0}}
    return config(broker.port, {"mqtt": {**protocol["mqtt"], "url": f"mqtt://127.0.0.1:{broker.port}"}}, patient)


async def end(broker: Mosquitto, how: str) -> None:
    """The broker is gone, and has written down what it had."""
    if how == "killed":
        if broker.persistent:
            await broker.save()
        broker.kill()
    else:
        broker.terminate()


def health(client: Outside) -> list[str]:
    return [each.data["event"] for each in client.on(HEALTH)]


async def test_a_broker_that_forgot_everything_gets_every_subscription_again_at_its_own_qos(
    tmp_path: Path, protocol: dict[str, Any], how: str
) -> None:
    came: list[tuple[int, str, int]] = []

    class Both(Actor):
        @subscribe("one/#", qos=1)
        async def one(self, event: dict[str, Any], ctx: Context) -> None:
            came.append((event["seq"], ctx.topic, ctx.qos))
            await ctx.publish("test.reply", event, topic="out/one")

        @subscribe("zero/+", qos=0)
        async def zero(self, event: dict[str, Any], ctx: Context) -> None:
            came.append((event["seq"], ctx.topic, ctx.qos))
            await ctx.publish("test.reply", event, topic="out/zero")

    async with Mosquitto(BROKER) as broker, outside(broker.port, "out/#", HEALTH) as client:
        async with live(tmp_path, table(broker, protocol), Both) as service:
            await client.until(lambda: health(client) == ["ready"], "health")
            for cycle in range(CYCLES):
                await end(broker, how)
                await service.event(LinkDown, count=cycle + 1)
                await broker.restart()
                up = await service.event(LinkUp, count=cycle + 2)
                await client.until(lambda: client.connections == cycle + 2, "a connection")  # noqa: B023 - called at once
                await client.subscribe("out/#")
                client.number("k", cycle, prefix="one")
                client.number("k", cycle, prefix="zero")
                await client.has(2 * cycle + 2, "out/")

                assert (False, 2) == (up.session_present, up.filters)
            await service.settled()
        await client.until(lambda: "shutdown" in health(client), "health")

    assert [(cycle, topic, qos) for cycle in range(CYCLES) for topic, qos in (("one/k", 1), ("zero/k", 0))] == sorted(came)
    # A broker that is asked to end publishes the Wills of those it drops.
    assert {"ready", "reconnected", "shutdown"} == set(health(client)) - {"lost"}


async def test_what_was_in_hand_when_the_broker_went_is_handled_once_and_answered(
    tmp_path: Path, protocol: dict[str, Any], how: str
) -> None:
    record = Record()
    async with Mosquitto(BROKER, persistent=True) as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), echo(record)) as service:
            for cycle in range(CYCLES):
                record.gate = trio.Event()
                send(client, cycle * 20, 8)
                await client.confirmed()
                await record.has_taken(cycle * 40 + 1)
                await end(broker, how)
                await service.event(LinkDown, count=cycle + 1)
                send(client, cycle * 20 + 8, 4)
                await broker.restart()
                up = await service.event(LinkUp, count=cycle + 2)
                send(client, cycle * 20 + 12, 8)
                record.gate.set()
                await client.has((cycle + 1) * 40, "out/")
                await service.settled()

                assert up.session_present

    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == judge(client.sent, client.numbers())


async def test_a_publisher_that_never_pauses_loses_nothing_while_its_broker_restarts(tmp_path: Path, protocol: dict[str, Any]) -> None:
    record = Record()
    async with Mosquitto(BROKER, persistent=True) as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), echo(record)) as service, trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, client, 500)
            for cycle in range(CYCLES):
                await record.has_handled((cycle + 1) * 400)
                broker.terminate()
                await service.event(LinkDown, count=cycle + 1)
                await broker.restart()
                await service.event(LinkUp, count=cycle + 2)
            await client.until(lambda: len(client.sent) == 2000 and not client.unanswered, "every answer")
            await service.settled()

    assert CLEAN == judge(client.sent, record.taken)
    assert_answered(client, protocol)


async def test_a_publisher_that_sends_on_during_an_outage_loses_nothing_to_a_broker_that_was_killed(
    tmp_path: Path, protocol: dict[str, Any]
) -> None:
    record = Record()
    async with Mosquitto(BROKER, persistent=True) as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), echo(record)) as service:
            for cycle in range(CYCLES):
                first = cycle * 100
                send(client, first, 50)
                await client.answered()
                await service.settled()
                await end(broker, "killed")
                send(client, first + 50, 50)
                await service.event(LinkDown, count=cycle + 1)
                await broker.restart()
                await service.event(LinkUp, count=cycle + 2)
            await client.answered()
            await service.settled()

    assert CLEAN == judge(client.sent, record.taken)
    assert_answered(client, protocol)


def send(client: Outside, first: int, count: int) -> None:
    for key, seq in rounds(("a", "b"), first, count):
        client.number(key, seq)


async def keep_sending(client: Outside, count: int) -> None:
    for key, seq in rounds(("a", "b", "c", "d"), 0, count):
        await client.until(lambda: client.unconfirmed < WINDOW, "room")
        client.number(key, seq)


def assert_answered(client: Outside, protocol: dict[str, Any]) -> None:
    """An answer whose confirmation was lost comes again, under MQTT 5 with the id it had."""
    if protocol["mqtt"]["protocol"] == "5":
        assert CLEAN == judge(client.sent, distinct(client.on("out/")))
    assert CLEAN == attrs.evolve(judge(client.sent, client.numbers()), duplicated=())
