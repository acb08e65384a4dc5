"""What a service makes of messages that a real broker sends it: once each, to everyone who asked, whoever fails beside them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from support.broker import Mosquitto
from support.process import config
from support.process_live import live
from support.process_record import Record, echo
from support.verifier import CLEAN, judge, rounds
from support.verifier_client import outside
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.events import DeadLettered, HandlerFailed
from tars.supervisor import ChildExited, ChildStarted, RestartScheduled


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def table(broker: Mosquitto, protocol: str = "5") -> dict[str, Any]:
    return config(
        broker.port,
        {"mqtt": {"url": f"mqtt://127.0.0.1:{broker.port}", "protocol": protocol, "backoff": {"initial_s": 0.02, "max_s": 0.1}}},
        {"echo": {"overflow_after_s": 60.0}},
    )


async def test_every_message_is_handled_once_in_order_and_answered(tmp_path: Path, protocol: str) -> None:
    record = Record()
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), echo(record)):
            for key, seq in rounds(("a", "b", "c"), 0, 200):
                client.number(key, seq)
            await client.has(600)

    assert CLEAN == judge(client.sent, record.handled)
    assert CLEAN == judge(client.sent, client.numbers())


async def test_a_message_id_is_handled_once_whatever_its_envelope_says(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker), echo(record)) as service:
            client.number("k", 0, message_id="m-1")
            client.number("k", 1, message_id="m-1")
            client.number("k", 0, message_id="m-2")
            client.number("k", 2, message_id="m-3")
            await client.until(lambda: ("k", 2) in client.numbers(), "the last answer")
            await service.settled()

    assert [("k", 0), ("k", 0), ("k", 2)] == record.handled


async def test_an_envelope_is_handled_once_however_often_it_is_sent(tmp_path: Path, protocol: str) -> None:
    record = Record(gate=trio.Event())
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), echo(record)) as service:
            client.number("k", 0)
            client.number("k", 0)  # the first is in hand
            await client.confirmed()
            await record.has_taken(1)
            record.gate.set()
            await client.has(1)
            await service.settled()
            client.number("k", 0)  # the first is done
            client.number("k", 1)
            await client.has(2)
            await service.settled()

    assert [("k", 0), ("k", 1)] == record.taken
    assert [("k", 0), ("k", 1)] == client.numbers()


async def test_two_raw_messages_that_are_equal_are_both_meant(tmp_path: Path, protocol: str) -> None:
    came: list[dict[str, Any]] = []

    class Raw(Actor):
        @subscribe("raw")
        async def on_raw(self, event: bytes, ctx: Context) -> None:
            came.append(orjson.loads(event))
            await ctx.publish_raw("out/raw", event)

    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), Raw):
            client.send("raw", b'{"button":1}')
            client.send("raw", b'{"button":1}')
            await client.has(2)

    assert [{"button": 1}] * 2 == came


async def test_a_wildcard_brings_every_topic_under_it_with_its_captured_names(tmp_path: Path, protocol: str) -> None:
    came: list[tuple[str, dict[str, str]]] = []

    class Rooms(Actor):
        @subscribe("sensors/{room}/temp")
        async def on_temp(self, event: dict[str, Any], ctx: Context) -> None:
            came.append((f"{ctx.topic} {event['seq']}", dict(ctx.params)))
            await ctx.publish("test.reply", event, topic="out/temp")

        @subscribe("logs/#")
        async def on_log(self, event: dict[str, Any], ctx: Context) -> None:
            came.append((f"{ctx.topic} {event['seq']}", dict(ctx.params)))
            await ctx.publish("test.reply", event, topic="out/log")

    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), Rooms):
            for seq, topic in enumerate(("sensors/hall/temp", "sensors/hall/light", "sensors/a/b/temp", "logs", "logs/a/b")):
                prefix, _, key = topic.rpartition("/")
                if prefix:
                    client.number(key, seq, prefix=prefix)
                else:
                    client.send(topic, orjson.dumps({"key": key, "seq": seq}))  # "#" also means the level above it
            await client.has(3)

    assert [("logs 3", {}), ("logs/a/b 4", {}), ("sensors/hall/temp 0", {"room": "hall"})] == sorted(came)


async def test_two_actors_and_two_overlapping_filters_all_get_a_message_once(tmp_path: Path, protocol: str) -> None:
    came: list[str] = []

    class First(Actor):
        @subscribe("shared/topic")
        async def exact(self, event: dict[str, Any], ctx: Context) -> None:
            came.append(f"first.exact {event['seq']}")
            await ctx.publish("test.reply", event, topic="out/first")

        @subscribe("shared/+")
        async def wild(self, event: dict[str, Any], ctx: Context) -> None:
            came.append(f"first.wild {event['seq']}")
            await ctx.publish("test.reply", event, topic="out/first")

    class Second(Actor):
        @subscribe("shared/topic")
        async def exact(self, event: dict[str, Any], ctx: Context) -> None:
            came.append(f"second.exact {event['seq']}")
            await ctx.publish("test.reply", event, topic="out/second")

    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), First, Second) as service:
            for seq in range(20):
                client.number("topic", seq, prefix="shared")
            await client.has(60)
            await service.settled()

    assert sorted(f"{who} {seq}" for who in ("first.exact", "first.wild", "second.exact") for seq in range(20)) == sorted(came)
    assert 60 == len(client.came)


async def test_a_handler_that_raises_is_one_report_and_one_restart_and_nobody_else_notices(tmp_path: Path, protocol: str) -> None:
    record = Record()
    lives = itertools.count(1)
    tried: list[tuple[int, int, int]] = []

    class Fragile(Actor):
        def __init__(self) -> None:
            self.life = next(lives)

        @subscribe("fragile/{key}")
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            tried.append((self.life, event["seq"], ctx.attempt))
            if event["seq"] == 2 and ctx.attempt == 1:
                raise RuntimeError("the handler's own bug")
            await ctx.publish("test.reply", event, topic="out/fragile")

    class Bystander(Actor):
        @subscribe("in/{key}")
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            await record.handle(event, ctx)

    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker, protocol), Fragile, Bystander) as service:
            for seq in range(5):
                client.number("k", seq, prefix="fragile")
                client.number("k", seq)
            await client.has(10)
            await service.settled()
            restarted = [event for event in service.events_of(ChildStarted) if event.incarnation > 1]
            failed = service.events_of(HandlerFailed)
            exited = service.events_of(ChildExited)
            scheduled = service.events_of(RestartScheduled)
            dead = service.events_of(DeadLettered)

    assert [("root/service/handlers/fragile", 2)] == [(event.path, event.incarnation) for event in restarted]
    assert [("fragile/k", 1, False, "RuntimeError")] == [
        (each.topic, each.attempt, each.final, type(each.error).__name__) for each in failed
    ]
    assert ["fragile"] == [event.actor.rpartition("/")[2] for event in failed]
    assert ["root/service/handlers/fragile"] == [event.path for event in exited]
    assert [("root/service/handlers/fragile", 0)] == [(event.path, event.used) for event in scheduled]
    assert [] == dead
    assert [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 2, 2), (2, 3, 1), (2, 4, 1)] == tried
    assert CLEAN == judge([("k", seq) for seq in range(5)], record.handled)
    assert CLEAN == judge([("k", seq) for seq in range(5)], client.numbers("out/fragile"))
