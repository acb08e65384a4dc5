"""`def` handlers and ticks, which run in a worker thread that nobody can stop: what they did counts, and what they say goes out."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from support.service import Seen, World, running
from tars.actors import Actor, Context, every, subscribe
from tars.actors.mqtt.events import HandlerFailed
from tars.supervisor import ChildExited, ChildStarted, ExitKind

SUBJECT = "root/service/handlers/subject"
HANG_S = 20
"""Real seconds a thread waits for its gate at most: a test that fails ends."""


@pytest.fixture
def _patient() -> MockClock:
    """Virtual time that jumps only after nothing has happened for a while: a worker thread gets its chance."""
    return MockClock(autojump_threshold=0.3)


# -- a result that comes while the actor is asked to leave ----------------------------------------


def slow(seen: Seen, gate: threading.Event) -> type[Actor]:
    """Its handler is at work until the gate opens; then it says so and returns."""

    @attrs.frozen
    class Limits:
        most: int = 1

    class Subject(Actor):
        settings: Limits

        @subscribe("in")
        def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            trio.from_thread.run_sync(seen.add, (event["n"], ctx.attempt))
            gate.wait(HANG_S)

    Subject.__annotations__["settings"] = Limits  # a class of this function has no name elsewhere
    return Subject


async def test_a_result_that_comes_after_a_reload_has_lost_patience_counts_and_nobody_handles_it_again(_patient: MockClock) -> None:
    seen, gate = Seen(), threading.Event()
    actor = slow(seen, gate)
    async with running(actor, actors={"subject": {"settings": {"most": 1}}}) as world:
        await world.deliver("in", {"n": 0})
        await seen.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reload, world, actor)
            await trio.sleep(5.0)  # longer than an actor is given: it has been cancelled

            assert [] == world.events_of(ChildExited, lambda each: each.path == SUBJECT)
            gate.set()
        await world.deliver("in", {"n": 1})
        await world.settled()

        assert [(0, 1), (1, 1)] == seen.items
        assert (1, 2) == world.broker.acked("robot7")
        assert 2 == world.events_of(ChildStarted, lambda each: each.path == SUBJECT)[-1].incarnation
        assert [] == world.store.letters


async def reload(world: World, actor: type[Actor]) -> None:
    await world.reload(actor, actors={"subject": {"settings": {"most": 2}}})


async def test_a_result_that_comes_after_the_drain_counts_and_is_no_dead_letter(_patient: MockClock) -> None:
    seen, gate = Seen(), threading.Event()
    async with running(slow(seen, gate), config={"service": {"drain_s": 1.0}}) as world:
        await world.deliver("in", {"n": 0}, qos=0)  # nobody else keeps it: what is not handled would be a dead letter
        await seen.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await trio.sleep(10.0)  # the drain and what an actor is given are over

            assert not world.ended.is_set()
            gate.set()

        assert [(0, 1)] == seen.items
        assert (0, []) == (len(world.estate.table), world.store.letters)


async def test_a_result_that_comes_within_the_drain_is_acknowledged(_patient: MockClock) -> None:
    seen, gate = Seen(), threading.Event()
    async with running(slow(seen, gate)) as world:
        await world.deliver("in", {"n": 0})
        await seen.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await trio.sleep(2.0)
            gate.set()

        assert ([(0, 1)], (1,)) == (seen.items, world.broker.acked("robot7"))


# -- ticks ----------------------------------------------------------------------------------------


async def test_a_def_tick_that_hangs_is_told_in_health_and_is_a_failure_when_it_is_back(_patient: MockClock) -> None:
    seen, gate = Seen(), threading.Event()

    class Subject(Actor):
        @every(5.0)
        def look(self) -> None:
            trio.from_thread.run_sync(seen.add, trio.from_thread.run_sync(trio.current_time))
            gate.wait(HANG_S)

        @subscribe("in")
        async def on_in(self, event: bytes) -> None:
            seen.add(event)

    async with running(Subject) as world:
        ping = await world.health("degraded")
        told_after_s = trio.current_time() - seen.items[0]
        so_far = world.events_of(HandlerFailed)
        gate.set()
        failed = await world.event(HandlerFailed)
        exited = await world.event(ChildExited, lambda each: each.path == SUBJECT)
        await world.deliver("in", b"next")
        await world.settled()

        assert (False, "actor subject: a worker thread hangs") == (ping["ok"], ping["err"])
        assert (pytest.approx(30.0), []) == (told_after_s, so_far)
        assert ("subject:look", "", True) == (failed.subscription, failed.topic, failed.final)
        assert "took longer than handler_timeout_s = 30 s" == str(failed.error)
        assert ExitKind.UNAVAILABLE == exited.kind
        assert b"next" == seen.items[-1]
        assert {} == world.estate.health.problems


async def test_a_def_tick_that_raises_is_a_failure_and_the_next_incarnation_ticks(_patient: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        @every(5.0)
        def look(self) -> None:
            trio.from_thread.run_sync(seen.add, "tick")
            if seen.count("tick") == 1:
                raise RuntimeError("dark")

    async with running(Subject) as world:
        failed = await world.event(HandlerFailed)
        await seen.until(2)

        assert ("subject:look", "dark") == (failed.subscription, str(failed.error))
        assert [] == world.events_of(HandlerFailed)[1:]


async def test_an_async_tick_that_hangs_times_out(_virtual: MockClock) -> None:
    class Subject(Actor):
        @every(5.0)
        async def look(self) -> None:
            await trio.sleep_forever()

    began = trio.current_time()
    async with running(Subject) as world:
        failed = await world.event(HandlerFailed)

        assert pytest.approx(35.0) == trio.current_time() - began
        assert ("subject:look", "took longer than handler_timeout_s = 30 s") == (failed.subscription, str(failed.error))


# -- what a thread says ---------------------------------------------------------------------------


async def test_what_a_def_handler_publishes_goes_out_and_belongs_to_its_message(_patient: MockClock) -> None:
    @subscribe("in")
    def speaks(_event: bytes, ctx: Context) -> None:
        said: Any = ctx.publish("test.event", {"n": 1}, topic="out/event")  # a plain call: the id, not something to await
        ctx.publish_raw("out/raw", str(said).encode())  # type: ignore[unused-coroutine]

    async with running(speaks) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"x", message_id="m1")
        (raw,) = await world.published("out/raw")
        (event,) = await world.published("out/event")
        await world.quiet()
        before = (list(world.unacked), len(world.estate.table))
        world.broker.release_pubacks()
        await world.settled()

        assert (["in"], 1) == before
        assert ([], (1,)) == (world.unacked, world.broker.acked("robot7"))
        assert raw.payload.decode() == orjson.loads(event.payload)["id"]
        assert {("causation-id", "m1")} <= set(event.user_properties)


async def test_a_def_handler_that_cannot_publish_fails(_patient: MockClock) -> None:
    @subscribe("in")
    def speaks(_event: bytes, ctx: Context) -> None:
        ctx.publish_raw("out/#", b"x")  # type: ignore[unused-coroutine]

    async with running(speaks, actors={"speaks": {"max_attempts": 1}}) as world:
        await world.deliver("in", b"x")
        failed = await world.event(HandlerFailed)
        await world.settled()

        assert isinstance(failed.error, ValueError)
        assert (1,) == world.broker.acked("robot7")


async def test_a_def_handler_asks_and_is_answered(_patient: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    def asks(_event: bytes, ctx: Context) -> None:
        reply: Any = ctx.request("test.ask", {"n": 7}, topic="ask", reply="answer", timeout_s=5.0)
        trio.from_thread.run_sync(seen.add, reply.data["to"])

    async with running(asks) as world:
        await world.deliver("in", b"x")
        (question,) = await world.published("ask")
        asked = orjson.loads(question.payload)
        await world.deliver("answer", {"to": asked["data"]["n"]}, envelope_id=asked["id"])
        await world.settled()

        assert [7] == seen.items
        assert [] == world.events_of(HandlerFailed)
