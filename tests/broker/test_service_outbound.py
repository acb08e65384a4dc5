"""What a service publishes, on a real broker that limits it, refuses it, or is not there: bounded, in order, not late, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from support.broker import Mosquitto
from support.contract_broker import plugin_path, security
from support.peer import Peer
from support.process import config
from support.process_live import live
from support.process_record import Record
from tars.actors import Actor, Context, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import DeadLettered, LinkDown

QUIET = {"heartbeat": {"enabled": False}, "health": {"enabled": False}}
"""So that what is unconfirmed is the actor's own."""


async def test_a_publish_larger_than_the_broker_takes_is_a_dead_letter_and_the_next_one_is_sent(tmp_path: Path) -> None:
    @subscribe("in")
    async def large(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x" * 5000)
        await ctx.publish_raw("out", b"small")

    async with Mosquitto(config=["allow_anonymous true", "max_packet_size 2000"]) as broker, Peer(broker.port) as peer:
        await peer.subscribe("out")
        async with live(tmp_path, config(broker.port), large) as service:
            await peer.publish("in", b"x")
            (seen,) = await peer.received(1)
            await service.settled()
            lost = service.events_of(LinkDown)
        (letter,) = service.dead_letters()

    assert (b"small", []) == (seen.payload, lost)
    assert ("out", "refused", "out", b"x" * 5000) == (letter.direction, letter.why.value, letter.topic, letter.payload)
    assert "the broker takes 2000 at most" in letter.error


async def test_under_3_1_1_one_that_is_too_large_is_found_out_and_those_behind_it_are_sent(tmp_path: Path) -> None:
    @subscribe("in")
    async def large(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"first")
        await ctx.publish_raw("out", b"x" * 5000)
        await ctx.publish_raw("end", b"last")

    async with Mosquitto(config=["allow_anonymous true", "max_packet_size 2000"], persistent=True) as broker:
        tables = {"mqtt": {"protocol": "3.1.1", "url": f"mqtt://127.0.0.1:{broker.port}", "backoff": {"initial_s": 0.02, "max_s": 0.1}}}
        async with live(tmp_path, config(broker.port, tables), large) as service:
            async with Peer(broker.port) as peer:
                for topic in ("out", "end"):
                    await peer.subscribe(topic)
                await peer.publish("in", b"x")
                (end,) = await peer.heard("end")
                heard = {seen.payload for seen in await peer.heard("out")}
            await service.settled()
            downs = service.events_of(LinkDown)
        (letter,) = service.dead_letters()

    assert ({b"first"}, b"last") == (heard, end.payload)
    assert (Why.REFUSED, b"x" * 5000) == (letter.why, letter.payload)
    assert 5 == len(downs)


async def test_under_3_1_1_one_too_large_is_sent_when_the_broker_takes_it_in_time(tmp_path: Path) -> None:
    @subscribe("in")
    async def large(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x" * 5000)
        await ctx.publish_raw("out", b"small")

    async with Mosquitto(config=["allow_anonymous true", "max_packet_size 2000"], persistent=True) as broker:
        tables = {"mqtt": {"protocol": "3.1.1", "url": f"mqtt://127.0.0.1:{broker.port}", "backoff": {"initial_s": 1.0, "max_s": 1.0}}}
        async with live(tmp_path, config(broker.port, tables), large) as service:
            async with Peer(broker.port) as peer:
                await peer.publish("in", b"x")
            await service.event(LinkDown)
            broker.config = ["allow_anonymous true"]
            broker.terminate()
            await broker.restart()
            await service.settled()
            waiting = service.service.estate.outbox.statistics()
        letters = service.dead_letters()

    assert (0, 2) == (waiting.queued + waiting.in_hand, waiting.done)
    assert [] == letters


async def test_a_publish_that_the_broker_s_access_list_forbids_is_a_dead_letter_and_the_next_one_is_sent(tmp_path: Path) -> None:
    @subscribe("in")
    async def both(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("refused/a", b"no")
        await ctx.publish_raw("out", b"yes")

    broker = Mosquitto()
    secrets = broker.directory / "dynamic-security.json"
    broker.config = ["allow_anonymous true", f"plugin {plugin_path()}", f"plugin_opt_config_file {secrets}"]
    secrets.write_bytes(orjson.dumps(security("refused/#")))
    async with broker, Peer(broker.port) as peer:
        await peer.subscribe("out")
        table = config(broker.port, {"mqtt": {"url": f"mqtt://robot:right@127.0.0.1:{broker.port}"}})
        async with live(tmp_path, table, both) as service:
            await peer.publish("in", b"x")
            (seen,) = await peer.received(1)
            await service.settled()
        (letter,) = service.dead_letters()

    assert b"yes" == seen.payload
    assert ("refused", "refused/a", "the broker refused it (code 0x87)") == (letter.why.value, letter.topic, letter.error)


@pytest.mark.parametrize("window", [1, 3])
async def test_no_more_is_unconfirmed_than_the_broker_allows_and_all_of_it_arrives_in_order(tmp_path: Path, window: int) -> None:
    go, said = trio.Event(), Record()

    @subscribe("in")
    async def many(_event: bytes, ctx: Context) -> None:
        said.take("said", 0)
        await go.wait()
        for number in range(50):
            await ctx.publish_raw("out", b"%d" % number)
        said.finish("said", 0)

    limits = ["allow_anonymous true", f"max_inflight_messages {window}"]
    async with Mosquitto(config=limits) as broker, Peer(broker.port) as peer:
        await peer.subscribe("out")
        async with live(tmp_path, config(broker.port, QUIET), many) as service:
            outbox = service.service.estate.outbox
            await peer.publish("in", b"x")
            await said.has_taken(1)
            broker.freeze()
            go.set()
            await said.has_handled(1)
            await trio.testing.wait_all_tasks_blocked(0.05)
            while_frozen = outbox.statistics()
            broker.thaw()
            seen = await peer.received(50)
            await service.settled()

    assert (window, 50 - window) == (while_frozen.in_hand, while_frozen.queued)
    assert [b"%d" % number for number in range(50)] == [each.payload for each in seen]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_expired_while_the_broker_was_away_is_a_dead_letter_and_what_did_not_is_sent(tmp_path: Path, protocol: str) -> None:
    go, said, clock = trio.Event(), Record(), Record()

    class Brief(Actor):
        @subscribe("in")
        async def on_message(self, _event: bytes, ctx: Context) -> None:
            said.take("said", 0)
            await go.wait()
            await ctx.publish_raw("out", b"stale", retain=True, expires_s=0.2)
            await ctx.publish_raw("out", b"lasting", retain=True, expires_s=600)

    class Clock(Actor):
        @every(0.05)
        async def tick(self, _ctx: Context) -> None:
            clock.finish("tick", len(clock.handled))

    tables: dict[str, Any] = {"mqtt": {"protocol": protocol, "url": "", "backoff": {"initial_s": 0.02, "max_s": 0.1}}}
    async with Mosquitto(persistent=True) as broker:
        tables["mqtt"]["url"] = f"mqtt://127.0.0.1:{broker.port}"
        async with live(tmp_path, config(broker.port, tables), Brief, Clock) as service, Peer(broker.port) as peer:
            await peer.publish("in", b"x")
            await said.has_taken(1)
            broker.terminate()
            await service.event(LinkDown)
            go.set()
            await clock.has_handled(len(clock.handled) + 10)  # half a second
            await broker.restart()
            async with Peer(broker.port, "late") as late:
                await late.subscribe("out")
                await service.event(DeadLettered)
                seen = await late.received(1)
        (letter,) = service.dead_letters()

    assert ("expired", b"stale") == (letter.why.value, letter.payload)
    assert [b"lasting"] == [each.payload for each in seen]
