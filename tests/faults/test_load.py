"""Too much at once, too slow a neighbour, too small a window, no broker to talk to: what gives way, and what does not."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import trio

from support.broker import Mosquitto
from support.process import CLIENT, config
from support.process_live import live
from support.process_record import Record, echo
from support.verifier import CLEAN, Number, judge, rounds
from support.verifier_client import outside
from tars.actors import Actor, Context, every, subscribe
from tars.actors.mqtt.events import DeadLettered, HandlerFailed, LinkDown, Overflowed

BROKER = ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
BURST = 5000
WORKERS = 9


def table(port: int, actors: dict[str, Any] | None = None, **mqtt: Any) -> dict[str, Any]:
    return config(port, {"mqtt": {"url": f"mqtt://127.0.0.1:{port}", "backoff": {"initial_s": 0.02, "max_s": 0.1}, **mqtt}}, actors)


# -- a burst ----------------------------------------------------------------------------------------------


async def test_a_burst_with_an_answer_for_each_message_is_answered_whole(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto(BROKER) as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker.port, {"echo": {}}), echo(record)) as service:
            for key, seq in rounds(("a", "b", "c", "d", "e"), 0, BURST // 5):
                client.number(key, seq)
            await client.has(BURST)
            await service.settled()

    assert CLEAN == judge(client.sent, record.handled)
    assert CLEAN == judge(client.sent, client.numbers())


async def test_a_burst_at_qos_0_blocks_nobody(tmp_path: Path) -> None:
    record = Record()

    class Echo0(Actor):
        @subscribe("in/{key}", qos=0)
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            await record.handle(event, ctx, qos=0)

    async with Mosquitto(BROKER) as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(broker.port, {"echo0": {}}), Echo0) as service:
            for key, seq in rounds(("a", "b", "c", "d", "e"), 0, BURST // 5):
                client.number(key, seq)
            await client.confirmed()
            client.number("last", 0)  # behind the burst, on the same way
            await client.until(lambda: ("last", 0) not in client.unanswered, "the last answer")
            await service.settled()

    handled, answered = judge(client.sent, record.handled), judge(client.sent, client.numbers())
    assert ((), (), ()) == (handled.duplicated, handled.reordered, handled.invented)
    assert ((), (), ()) == (answered.duplicated, answered.reordered, answered.invented)


# -- a slow neighbour -------------------------------------------------------------------------------------


async def test_nine_actors_keep_their_pace_beside_one_that_hangs_and_nothing_is_lost(tmp_path: Path) -> None:
    record, afterwards = Record(), Record()
    sent_at: dict[Number, float] = {}
    hung = trio.Event()

    class Hung(Actor):
        @subscribe("in/hung")
        async def on_message(self, _event: dict[str, Any]) -> None:
            hung.set()
            await trio.sleep_forever()

    workers = [worker(f"w{number}", record) for number in range(WORKERS)]
    actors = {"hung": {"mailbox": 16, "overflow_after_s": 0.3}} | {f"w{number}": {"overflow_after_s": 60.0} for number in range(WORKERS)}
    async with Mosquitto(BROKER) as broker, outside(broker.port, "out/#") as client:
        window = 16 * (WORKERS + 2)  # so that the share of each of the ten is 16
        settings = table(broker.port, actors, receive_maximum=window) | {"service": {"name": CLIENT, "drain_s": 0.1}}
        async with live(tmp_path, settings, Hung, *workers) as service:
            for seq in range(100):
                client.number("hung", seq)
            await hung.wait()
            overflowed = await service.event(Overflowed)
            await service.event(DeadLettered, count=83)
            for key, seq in rounds([f"w{number}" for number in range(WORKERS)], 0, 200):
                await record.until(lambda: len(sent_at) - len(record.handled) < WORKERS, "room")
                sent_at[key, seq] = trio.current_time()
                client.number(key, seq)
            await record.has_handled(200 * WORKERS)
            still_hung = len(service.service.estate.boxes["hung"].mailbox)
        letters = service.dead_letters()
        async with live(tmp_path, settings, worker("hung", afterwards), *workers):
            await afterwards.has_handled(17)

    waits_s = [record.handled_at[number] - at for number, at in sent_at.items()]
    assert CLEAN == judge(sent_at, record.handled)
    assert 0.5 > statistics.quantiles(waits_s, n=100)[98]
    assert ("hung", 16) == (overflowed.actor.rpartition("/")[2], still_hung)
    assert {("overflow", "in/hung")} == {(letter.why.value, letter.topic) for letter in letters}
    # Its share of 16 and what it had in hand stayed with the broker; the rest is in the store. Together that is everything.
    stored = [number_of(letter.payload) for letter in letters]
    assert CLEAN == attrs.evolve(judge([("hung", seq) for seq in range(100)], [*afterwards.handled, *stored]), reordered=())
    assert (sorted(afterwards.handled), sorted(stored)) == (afterwards.handled, stored)


def number_of(payload: bytes) -> Number:
    data = orjson.loads(payload)["data"]
    return data["key"], data["seq"]


def worker(name: str, record: Record) -> type[Actor]:
    class Worker(Actor):
        @subscribe(f"in/{name}")
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            await record.handle(event, ctx)

    Worker.__name__ = name  # what the config calls it
    return Worker


# -- a window of one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_handler_may_ask_somebody_and_wait_with_a_window_of_one(tmp_path: Path, protocol: str) -> None:
    answers: list[int] = []

    class Asking(Actor):
        @subscribe("ask/{key}", qos=1)
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            reply = await ctx.request("test.question", event, topic="question", reply="answer", timeout_s=5.0)
            answers.append(reply.data["twice"])
            await ctx.publish("test.reply", event, topic="out/asked")

    class Answering(Actor):
        @subscribe("question", qos=1)
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            assert ctx.envelope is not None
            await ctx.publish("test.answer", {"twice": 2 * event["seq"]}, topic="answer", correlation_id=ctx.envelope.id)

    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        asking, answering = tmp_path / "asking", tmp_path / "answering"
        asking.mkdir()
        answering.mkdir()
        other = config(broker.port, {"service": {"name": "robot8"}})
        async with live(answering, other, Answering):
            async with live(asking, table(broker.port, protocol=protocol, receive_maximum=1), Asking) as service:
                for seq in range(20):
                    client.number("k", seq, prefix="ask")
                await client.has(20)
                await service.settled()

    assert [2 * seq for seq in range(20)] == answers


# -- nobody to talk to --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_full_outbox_blocks_its_writer_in_an_outage_at_no_cost_and_keeps_the_order(tmp_path: Path, protocol: str) -> None:
    clock, other = Record(), Record()

    class Clock(Actor):
        @every(0.002)
        async def tick(self, ctx: Context) -> None:
            seq = len(clock.handled)
            clock.take("tick", seq)
            await ctx.publish("test.tick", {"key": "tick", "seq": seq}, topic="out/tick")
            clock.finish("tick", seq)

    class Other(Actor):
        @every(0.002)
        async def tick(self) -> None:
            other.finish("tick", len(other.handled))

    async with Mosquitto(BROKER, persistent=True) as broker, outside(broker.port, "out/#") as client:
        settings = table(broker.port, {"clock": {"handler_timeout_s": 0.1}}, protocol=protocol, outbox=10)
        async with live(tmp_path, settings, Clock, Other) as service:
            await client.has(50)
            broker.terminate()
            await service.event(LinkDown)
            outbox = service.service.estate.outbox
            await clock.until(lambda: outbox.statistics().queued >= 10, "full outbox")
            await other.has_handled(len(other.handled) + 10)
            blocked_at = len(clock.handled)
            await other.has_handled(len(other.handled) + 100)  # longer than the clock's own timeout, and nobody else is held up
            waiting, queued = (len(clock.taken), len(clock.handled)), outbox.statistics().queued
            await broker.restart()
            await client.has(blocked_at + 50)
            failures = service.events_of(HandlerFailed)
        came = list(dict.fromkeys(client.numbers()))

    assert ((blocked_at + 1, blocked_at), []) == (waiting, failures)
    assert queued >= 10
    assert [("tick", seq) for seq in range(len(came))] == came
