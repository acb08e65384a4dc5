"""The handler actor when nothing fails: decoding, the context, ids, threads, ticks, and what a new incarnation is shown."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import attrs
import orjson
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import Actor, Context, every, subscribe
from tars.actors.contracts import Envelope
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.memory_watch import Published
from tars.supervisor import ChildExited


def message_id(entry: Published) -> str:
    return dict(entry.user_properties)["message-id"]


# -- decoding -------------------------------------------------------------------------------------


async def test_the_annotation_decides_what_the_handler_gets(_virtual: MockClock) -> None:
    seen = Seen()

    class Reader(Actor):
        @subscribe("in")
        async def contract(self, event: FinalTranscript) -> None:
            seen.add(("contract", event.text))

        @subscribe("+")
        async def plain(self, event: dict[str, Any]) -> None:
            seen.add(("dict", event["text"]))

        @subscribe("#")
        async def whole(self, event: Envelope) -> None:
            seen.add(("envelope", event.id))

        @subscribe("in/#")
        async def raw(self, event: bytes) -> None:
            seen.add(("bytes", orjson.loads(event)["id"]))

    async with running(Reader, config={"health": {"enabled": False}}) as world:
        await world.deliver("in", {"text": "hello"}, envelope_id="e1")
        await world.settled()

        assert [("bytes", "e1"), ("contract", "hello"), ("dict", "hello"), ("envelope", "e1")] == sorted(seen.items)


@attrs.frozen
class Loose:
    """A contract with a part that its reader may change."""

    items: dict[str, Any]


@pytest.mark.parametrize("annotation", [dict, Envelope, Loose])
async def test_each_actor_and_each_attempt_has_the_event_for_itself(_virtual: MockClock, annotation: type) -> None:
    seen = Seen()

    def actor(name: str) -> type[Actor]:
        async def on_in(_: Actor, event: Any, ctx: Context) -> None:
            data = event.data if isinstance(event, Envelope) else event
            items = data.items if isinstance(data, Loose) else data["items"]
            seen.add((name, ctx.attempt, dict(items)))
            items.clear()
            if ctx.attempt < 3:
                raise RuntimeError

        on_in.__annotations__["event"] = annotation
        return type(name, (Actor,), {"on_in": subscribe("in")(on_in)})

    async with running(actor("One"), actor("Other")) as world:
        await world.deliver("in", {"items": {"a": 1}})
        await world.settled()

        assert [(name, attempt, {"a": 1}) for name in ("One", "Other") for attempt in (1, 2, 3)] == sorted(seen.items, key=str)


async def test_raw_json_that_satisfies_the_model_whole_is_delivered_too(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def reads(event: FinalTranscript, ctx: Context) -> None:
        seen.add((event.text, ctx.envelope))

    async with running(reads) as world:
        await world.deliver("in", {"text": "hello"}, envelope=False)
        await world.settled()

        assert [("hello", None)] == seen.items


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"text":1}',
        b'{"text":"x","unknown":1}',
        orjson.dumps({"id": "1", "type": "t", "ts": 1.0, "source": "s", "data": {"text": 1}}),
        orjson.dumps({"id": 1, "type": "t", "ts": 1.0, "source": "s", "data": {"text": "x"}}),
        b'{"text":"' + b"x" * 2**20 + b'"',
    ],
    ids=lambda payload: repr(payload[:40]),
)
async def test_what_cannot_be_read_is_a_dead_letter_for_that_subscription_alone(_virtual: MockClock, payload: bytes) -> None:
    seen = Seen()

    class Reader(Actor):
        @subscribe("in")
        async def contract(self, event: FinalTranscript) -> None:
            seen.add(event.text)

        @subscribe("+")
        async def raw(self, event: bytes) -> None:
            seen.add(event)

    async with running(Reader) as world:
        await world.deliver("in", payload)
        await world.settled()
        (letter,) = world.store.letters

        assert [payload] == seen.items
        assert (Why.UNDECODABLE, payload, "reader:in") == (letter.why, letter.payload, letter.subscription)
        assert "DecodeError" in letter.error
        assert ([], (1,)) == (world.events_of(ChildExited), world.broker.acked(CLIENT))


# -- the context ----------------------------------------------------------------------------------


async def test_the_context_says_what_the_message_was(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in/{name}", qos=1)
    async def reads(_event: dict[str, Any], ctx: Context) -> None:
        assert ctx.envelope is not None
        seen.add((ctx.topic, dict(ctx.params), ctx.envelope.id, ctx.qos, ctx.retain, ctx.duplicate, ctx.attempt, ctx.message_id))

    async with running(reads) as world:
        await world.deliver("in/a", {"n": 1}, qos=1, message_id="m1", envelope_id="e1")
        await world.settled()
        await world.deliver("in/b", {"n": 1}, qos=0, message_id="m2", envelope_id="e2")
        await world.settled()

        assert [
            ("in/a", {"name": "a"}, "e1", 1, False, False, 1, "m1"),
            ("in/b", {"name": "b"}, "e2", 0, False, False, 1, "m2"),
        ] == seen.items


async def test_a_publish_is_wrapped_and_its_topic_comes_from_the_registry(_virtual: MockClock) -> None:
    returned = Seen()

    @subscribe("in")
    async def speaks(_event: bytes, ctx: Context) -> None:
        returned.add(await ctx.publish("tts.say", {"text": "hello"}))
        returned.add(await ctx.publish("tts.say", {"text": "you"}, topic="elsewhere", qos=0, retain=True, correlation_id="c1"))

    async with running(speaks) as world:
        await world.deliver("in", b"x", message_id="m1")
        await world.settled()
        (first,), (second,) = world.said("tts/say"), world.said("elsewhere")
        envelopes = [orjson.loads(entry.payload) for entry in (first, second)]

        assert ["tts.say", "tts.say"] == [envelope["type"] for envelope in envelopes]
        assert returned.items == [envelope["id"] for envelope in envelopes]
        assert "c1" == returned.items[1]
        assert {CLIENT} == {envelope["source"] for envelope in envelopes}
        assert ({"text": "hello"}, (1, False), (0, True)) == (envelopes[0]["data"], (first.qos, first.retain), (second.qos, second.retain))
        assert {"m1"} == {dict(entry.user_properties)["causation-id"] for entry in (first, second)}


@pytest.mark.parametrize(("qos", "topic"), [(2, "out"), (-1, "out"), (1, "out/#"), (1, "")])
async def test_a_publish_that_cannot_be_fails_the_handler_and_leaves_no_debt(_virtual: MockClock, qos: int, topic: str) -> None:
    @subscribe("in")
    async def speaks(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw(topic, b"x", qos=qos)

    async with running(speaks, actors={"speaks": {"max_attempts": 1}}) as world:
        await world.deliver("in", b"x")
        await world.settled()

        assert ([Why.CRASHED], (1,)) == ([letter.why for letter in world.store.letters], world.broker.acked(CLIENT))


async def test_what_a_handler_says_has_the_same_ids_at_every_attempt(_virtual: MockClock) -> None:
    @subscribe("in")
    async def speaks(_event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish_raw("out", b"first")
        await ctx.publish("tts.say", {"text": "second"}, topic="out")
        if ctx.attempt < 3:
            raise RuntimeError

    async with running(speaks) as world:
        await world.deliver("in", {"n": 1})
        await world.settled()
        said = world.said("out")
        ids = [message_id(entry) for entry in said]

        assert 6 == len(ids)
        assert ids[:2] == ids[2:4] == ids[4:]
        assert 2 == len(set(ids))
        assert [5, 5] == [uuid.UUID(each).version for each in ids[:2]]
        assert 1 == len({orjson.loads(entry.payload)["id"] for entry in said[1::2]})


async def test_two_handlers_and_two_messages_never_say_two_things_under_one_id(_virtual: MockClock) -> None:
    class Speaks(Actor):
        @subscribe("in")
        @subscribe("+")
        async def on_in(self, _event: bytes, ctx: Context) -> None:
            await ctx.publish_raw("out/x", b"x")

    other = type("Other", (Speaks,), {})
    async with running(Speaks, other) as world:
        for n in range(5):
            await world.deliver("in", {"n": n})
            await world.deliver("in", b"raw")
        await world.settled()

        assert 40 == len({message_id(entry) for entry in world.said("out/x")})


async def test_two_processes_never_say_two_things_under_one_id(_virtual: MockClock) -> None:
    ids = []

    @subscribe("in")
    async def speaks(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x")

    for _ in range(2):
        async with running(speaks) as world:
            await world.deliver("in", b"raw")
            await world.settled()
            ids += [message_id(entry) for entry in world.said("out")]

    assert 2 == len(set(ids))


# -- def handlers ---------------------------------------------------------------------------------


@pytest.fixture
def _patient() -> MockClock:
    """Virtual time that jumps only after nothing has happened for a while: a worker thread gets its chance."""
    return MockClock(autojump_threshold=0.3)


async def test_a_def_handler_runs_in_a_worker_thread(_patient: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    def reads(event: dict[str, Any], ctx: Context) -> None:
        assert threading.current_thread() is not threading.main_thread()
        trio.from_thread.run_sync(seen.add, (event["n"], ctx.attempt))
        if event["n"] == 0 and ctx.attempt == 1:
            raise RuntimeError

    async with running(reads) as world:
        for n in range(3):
            await world.deliver("in", {"n": n})
        await world.settled()

        assert [(0, 1), (0, 2), (1, 1), (2, 1)] == seen.items


async def test_a_def_handler_that_hangs_loses_its_message_and_has_no_successor_before_its_thread_is_back(_patient: MockClock) -> None:
    seen, gate = Seen(), threading.Event()

    class Subject(Actor):
        @subscribe("in")
        def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            trio.from_thread.run_sync(seen.add, (event["n"], ctx.attempt))
            if event["n"] == 0 and ctx.attempt == 1:
                raise RuntimeError
            if event["n"] == 0:
                gate.wait(20)

    async with running(Subject) as world:
        await world.deliver("in", {"n": 0})
        await world.deliver("in", {"n": 1})
        (letter,) = await world.store.until(1)
        ping = await world.health("degraded")

        so_far = list(seen.items)
        gate.set()
        await world.settled()

        assert (Why.TIMED_OUT, "actor subject: a worker thread hangs") == (letter.why, ping["err"])
        assert ([(0, 1), (0, 2)], [(0, 1), (0, 2), (1, 1)]) == (so_far, seen.items)
        assert 2 == letter.attempts
        assert (1, 2) == world.broker.acked(CLIENT)
        assert [1, 2] == [each.attempt for each in world.events_of(HandlerFailed)]
        assert {} == world.estate.health.problems


# -- ticks and hooks ------------------------------------------------------------------------------


async def test_ticks_come_every_interval_and_between_two_messages(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        @every(5.0)
        async def report(self, ctx: Context) -> None:
            seen.add(("tick", trio.current_time() - began, ctx.topic, ctx.attempt))

        @subscribe("in")
        async def on_in(self, _event: bytes) -> None:
            await trio.sleep(7.0)
            seen.add(("message", trio.current_time() - began))

    began = trio.current_time()
    async with running(Subject) as world:
        await trio.sleep(9.0)
        await world.deliver("in", b"x")
        await seen.until(4)

        assert [("tick", 5.0, "", 1), ("message", 16.0), ("tick", 16.0, "", 1), ("tick", 21.0, "", 1)] == seen.items


async def test_started_comes_before_the_first_message_and_may_speak(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        async def started(self, ctx: Context) -> None:
            await ctx.publish_raw("out", b"hello")
            seen.add("started")

        @subscribe("in")
        async def on_in(self, event: dict[str, Any]) -> None:
            seen.add(event["n"])
            if seen.count(event["n"]) == 1:
                raise RuntimeError

    async with running(Subject) as world:
        await world.deliver("in", {"n": 0})
        await world.settled()

        assert ["started", 0, "started", 0] == seen.items
        assert 2 == len(world.said("out"))


async def test_settings_are_there_in_every_incarnation(_virtual: MockClock) -> None:
    seen = Seen()

    @attrs.frozen
    class Limits:
        most: int = 1

    class Subject(Actor):
        settings: Limits

        def __init__(self) -> None:
            seen.add(self.settings.most)

        @subscribe("in")
        async def on_in(self, _event: bytes, ctx: Context) -> None:
            if ctx.attempt == 1:
                raise RuntimeError

    Subject.__annotations__["settings"] = Limits  # a class of this function has no name elsewhere
    async with running(Subject, actors={"subject": {"settings": {"most": 7}}}) as world:
        await world.deliver("in", b"x")
        await world.settled()

        assert [7, 7] == seen.items


# -- the world of a new incarnation ---------------------------------------------------------------


def keeper(seen: Seen, poison: object = None) -> type[Actor]:
    """Notes what it is shown; fails on ``crash``, and when it is shown `poison` again."""

    class Keeper(Actor):
        @subscribe("state/{name}")
        async def on_state(self, event: bytes, ctx: Context) -> None:
            shown = (ctx.params["name"], event, ctx.retain)
            seen.add(shown)
            if shown == poison and seen.count(shown) > 1:
                raise RuntimeError

        @subscribe("crash")
        async def on_crash(self, event: bytes) -> None:
            seen.add(event)
            raise RuntimeError

    return Keeper


def remembering() -> MemoryBroker:
    """A broker with retained messages on ``state/a``, ``state/b`` and ``state/gone``."""
    broker = MemoryBroker()
    for name in ("a", "b", "gone"):
        broker.deliver(f"state/{name}", b"1", retain=True)
    return broker


ONE_ATTEMPT = {"keeper": {"max_attempts": 1}}


async def test_a_new_incarnation_is_shown_the_last_retained_message_of_each_topic(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(keeper(seen), broker=remembering(), actors=ONE_ATTEMPT) as world:
        await seen.until(3)
        for topic, payload in [("state/a", b"2"), ("state/c", b"live"), ("state/gone", b"")]:
            await world.deliver(topic, payload)
        await world.settled()
        before = len(seen.items)
        await world.deliver("crash", b"crash")
        await world.deliver("state/b", b"3")
        await world.settled()

        assert [b"crash", ("b", b"1", True), ("a", b"2", True), ("b", b"3", False)] == seen.items[before:]
        acks = world.broker.acked(CLIENT)
        await world.deliver("crash", b"crash")
        await world.settled()

        assert [b"crash", ("a", b"2", True), ("b", b"3", True)] == seen.items[before + 4 :]
        assert len(acks) + 1 == len(world.broker.acked(CLIENT))
        assert [] == world.broker.stray_acks


async def test_the_first_incarnation_is_shown_nothing_twice(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(keeper(seen), broker=remembering()) as world:
        await world.settled()

        assert [("a", b"1", True), ("b", b"1", True), ("gone", b"1", True)] == seen.items


async def test_what_hurts_when_it_is_shown_again_is_not_shown_a_third_time(_virtual: MockClock) -> None:
    seen, poison = Seen(), ("a", b"1", True)
    async with running(keeper(seen, poison), broker=remembering(), actors=ONE_ATTEMPT) as world:
        await seen.until(3)
        for _ in range(3):
            await world.deliver("crash", b"crash")
            await world.settled()

        assert (2, 4) == (seen.count(poison), seen.count(("b", b"1", True)))
