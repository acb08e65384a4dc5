"""A plain ``structlog.get_logger()`` line in an actor: it names the actor and the message at hand, and no other message."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
import structlog
import trio
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars
from trio.testing import MockClock

from support.service import Seen, running
from tars.actors import Actor, Context, ThreadContext, every, subscribe
from tars.actors.mqtt.memory import MemoryBroker
from tars.supervisor.log import LogSettings, configure

HANDLERS = "root/service/handlers"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log of a process, as JSON lines."""
    stream = io.StringIO()
    configured = configure(LogSettings(level="debug", format="json"), stream)
    yield stream
    configured.close()


@pytest.fixture
def _patient() -> MockClock:
    """Virtual time that jumps only after nothing has happened for a while: a worker thread gets its chance."""
    return MockClock(autojump_threshold=0.3)


def lines(stream: io.StringIO, event: str) -> list[dict[str, Any]]:
    """What each line of this event says, beside its time, level and name."""
    found = [json.loads(text) for text in stream.getvalue().splitlines()]
    return [{key: value for key, value in line.items() if key not in {"ts", "level", "event"}} for line in found if line["event"] == event]


def line(actor: str, message: str, topic: str = "in", *, attempt: int = 1, incarnation: int = 1) -> dict[str, Any]:
    """What a line about a message delivered with `message` as both ids says."""
    return {
        "actor": f"{HANDLERS}/{actor}",
        "incarnation": incarnation,
        "topic": topic,
        "message_id": message,
        "correlation_id": message,
        "attempt": attempt,
    }


def nobody(actor: str, incarnation: int = 1) -> dict[str, Any]:
    return {"actor": f"{HANDLERS}/{actor}", "incarnation": incarnation}


async def helper() -> None:
    """Knows nothing of contexts, as a library does."""
    structlog.get_logger().info("helped")


async def test_every_line_of_a_handler_names_its_message_also_in_what_it_calls_and_starts(log: io.StringIO, _virtual: MockClock) -> None:
    @subscribe("in")
    async def says(_event: dict[str, Any]) -> None:
        structlog.get_logger().info("began")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
        logging.getLogger("a.library").warning("warned")

    async with running(says) as world:
        await world.deliver("in", {}, message_id="m1", envelope_id="m1")
        await world.settled()

    assert [line("says", "m1")] == lines(log, "began")
    assert [line("says", "m1")] == lines(log, "helped")
    assert [line("says", "m1") | {"logger": "a.library"}] == lines(log, "warned")


async def test_a_def_handler_says_the_same_from_its_worker_thread(log: io.StringIO, _patient: MockClock) -> None:
    @subscribe("in")
    def says(_event: dict[str, Any], ctx: ThreadContext) -> None:
        structlog.get_logger().info("began")
        logging.getLogger("a.library").warning("warned")
        ctx.log.info("told")

    async with running(says) as world:
        for message in ("m1", "m2"):
            await world.deliver("in", {}, message_id=message, envelope_id=message)
            await world.settled()

    expected = [line("says", "m1"), line("says", "m2")]

    assert expected == lines(log, "began")
    assert expected == lines(log, "told")
    assert [each | {"logger": "a.library"} for each in expected] == lines(log, "warned")


async def test_the_next_attempt_says_so(log: io.StringIO, _virtual: MockClock) -> None:
    @subscribe("in")
    async def fails(_event: dict[str, Any]) -> None:
        structlog.get_logger().info("tried")
        raise ValueError("always")

    async with running(fails, actors={"fails": {"max_attempts": 2}}) as world:
        await world.deliver("in", {}, message_id="m1", envelope_id="m1")
        await world.store.until(1)

    assert [line("fails", "m1"), line("fails", "m1", attempt=2, incarnation=2)] == lines(log, "tried")


async def test_what_caused_a_message_is_on_the_lines_of_that_message_alone(log: io.StringIO, _virtual: MockClock) -> None:
    @subscribe("in")
    async def says(_event: dict[str, Any]) -> None:
        structlog.get_logger().info("began")

    caused = (("message-id", "m1"), ("causation-id", "c1"))
    async with running(says) as world:
        world.broker.deliver("in", b"{}", 1, user_properties=caused)
        await world.settled()
        await world.deliver("in", {}, message_id="m2", envelope_id="m2")
        await world.settled()

    raw = line("says", "m1") | {"correlation_id": "", "causation_id": "c1"}

    assert [raw, line("says", "m2")] == lines(log, "began")


async def test_nothing_of_a_message_is_left_for_a_tick_the_hooks_or_the_next_message(log: io.StringIO, _virtual: MockClock) -> None:
    class Subject(Actor):
        async def started(self, _ctx: Context) -> None:
            structlog.get_logger().info("hook")

        async def stopping(self, _ctx: Context) -> None:
            structlog.get_logger().info("hook")

        @subscribe("in")
        async def on_in(self, _event: dict[str, Any]) -> None:
            structlog.get_logger().info("message")
            bind_contextvars(user="of the message")

        @every(10.0)
        async def tick(self, _ctx: Context) -> None:
            structlog.get_logger().info("tick")
            bind_contextvars(user="of the tick")

    async with running(Subject) as world:
        await world.deliver("in", {}, message_id="m1", envelope_id="m1")
        await world.settled()
        await trio.sleep(15.0)
        await world.deliver("in", {}, message_id="m2", envelope_id="m2")
        await world.settled()

    assert [nobody("subject")] * 2 == lines(log, "hook")
    assert [nobody("subject")] == lines(log, "tick")
    assert [line("subject", "m1"), line("subject", "m2")] == lines(log, "message")


async def test_two_actors_at_work_at_once_say_each_its_own(log: io.StringIO, _virtual: MockClock) -> None:
    both = Seen()

    @subscribe("in/one")
    async def one(_event: dict[str, Any]) -> None:
        both.add("one")
        await both.until(2)
        structlog.get_logger().info("met")

    @subscribe("in/two")
    async def two(_event: dict[str, Any]) -> None:
        both.add("two")
        await both.until(2)
        structlog.get_logger().info("met")

    async with running(one, two) as world:
        await world.deliver("in/one", {}, message_id="m1", envelope_id="m1")
        await world.deliver("in/two", {}, message_id="m2", envelope_id="m2")
        await world.settled()

    expected = [line("one", "m1", "in/one"), line("two", "m2", "in/two")]

    assert expected == sorted(lines(log, "met"), key=lambda each: str(each["actor"]))


@pytest.mark.parametrize("error", [ValueError("fails"), TimeoutError("late")])
async def test_a_handler_that_ends_badly_leaves_nothing_bound(_virtual: MockClock, error: Exception) -> None:
    seen = Seen()

    class Subject(Actor):
        async def started(self, _ctx: Context) -> None:
            seen.add(get_contextvars())

        @subscribe("in")
        async def on_in(self, _event: dict[str, Any]) -> None:
            bind_contextvars(user="of the message")
            if isinstance(error, TimeoutError):
                await trio.sleep_forever()
            raise error

    async with running(Subject, actors={"subject": {"max_attempts": 2}}) as world:
        await world.deliver("in", {})
        await world.store.until(1)
        await seen.until(3)

    assert [{}] * 3 == seen.items


async def test_what_started_binds_is_on_every_line_of_that_life_and_a_handler_may_clear_it_for_itself(
    log: io.StringIO, _virtual: MockClock
) -> None:
    class Subject(Actor):
        async def started(self, _ctx: Context) -> None:
            bind_contextvars(room="kitchen")

        @subscribe("in")
        async def on_in(self, _event: dict[str, Any]) -> None:
            structlog.get_logger().info("before")
            clear_contextvars()
            structlog.get_logger().info("after")

    async with running(Subject) as world:
        for message in ("m1", "m2"):
            await world.deliver("in", {}, message_id=message, envelope_id=message)
            await world.settled()

    assert [line("subject", each) | {"room": "kitchen"} for each in ("m1", "m2")] == lines(log, "before")
    assert [nobody("subject")] * 2 == lines(log, "after")


async def test_the_variables_of_a_life_do_not_grow_with_its_messages(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def counts(_event: dict[str, Any]) -> None:
        bind_contextvars(user="of the message")
        seen.add(len(copy_context()))

    async with running(counts, broker=MemoryBroker()) as world:
        for _ in range(10):
            await world.deliver("in", {})
        await world.settled()

    assert 1 == len(set(seen.items))
