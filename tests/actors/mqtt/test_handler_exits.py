"""``sys.exit`` and other strange exceptions in an author's code, as libraries raise that take themselves for programs: failures."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.service import Seen, World, running
from tars.actors import Actor, Context, Escalate, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed
from tars.supervisor import ChildStarted, leaves

HANDLERS = "root/service/handlers/"


@pytest.fixture
def _patient() -> MockClock:
    """Virtual time that jumps only after nothing has happened for a while: a worker thread gets its chance."""
    return MockClock(autojump_threshold=0.3)


class Asynchronous(Actor):
    @subscribe("in")
    async def on_in(self, event: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if event["n"] == 0:
            sys.exit(3)


class Threaded(Actor):
    @subscribe("in")
    def on_in(self, event: dict[str, Any]) -> None:
        if event["n"] == 0:
            sys.exit(3)


class Nested(Actor):
    @subscribe("in")
    async def on_in(self, event: dict[str, Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, event["n"])

    async def _work(self, n: int) -> None:
        await trio.lowlevel.checkpoint()
        if n == 0:
            sys.exit(3)


def neighbour(seen: Seen) -> type[Actor]:
    class Neighbour(Actor):
        @subscribe("in")
        async def on_in(self, event: dict[str, Any]) -> None:
            seen.add(event["n"])

    return Neighbour


def lives(world: World, actor: str) -> int:
    """How many incarnations it has had."""
    return world.events_of(ChildStarted, lambda each: each.path == HANDLERS + actor)[-1].incarnation


@pytest.mark.parametrize("subject", [Asynchronous, Threaded, Nested])
async def test_a_handler_that_calls_sys_exit_fails_and_its_neighbours_live_on(_patient: MockClock, subject: type[Actor]) -> None:
    seen, name = Seen(), subject.__name__.lower()
    async with running(subject, neighbour(seen)) as world:
        await world.deliver("in", {"n": 0})
        await world.deliver("in", {"n": 1})
        await world.settled()
        (letter,) = world.store.letters

        assert (Why.CRASHED, 3, HANDLERS + name) == (letter.why, letter.attempts, letter.actor)
        assert [(1, False), (2, False), (3, True)] == [(each.attempt, each.final) for each in world.events_of(HandlerFailed)]
        assert "sys.exit(3)" in letter.traceback
        assert [0, 1] == seen.items
        assert (4, 1) == (lives(world, name), lives(world, "neighbour"))
        assert not world.ended.is_set()


class Panic(BaseException):
    """What such an extension raises: no `Exception`."""


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (Panic("index out of bounds"), "RuntimeError: raised Panic: index out of bounds"),
        (asyncio.CancelledError(), "RuntimeError: raised CancelledError"),
        (BaseExceptionGroup("", [Panic("a"), ValueError("b")]), "ExceptionGroup: and another (2 sub-exceptions)"),
    ],
    ids=["a panic", "asyncio's cancellation", "in a group"],
)
async def test_what_is_no_exception_is_a_failure_like_any_other(
    _virtual: MockClock, raised: BaseException, error: str, concurrency: int
) -> None:
    @subscribe("work/{key}", qos=1)
    async def work(event: dict[str, Any]) -> None:
        if event["n"] == 0:
            raise raised

    seen = Seen()
    async with running(work, neighbour(seen), actors={"work": {"concurrency": concurrency, "key": "{key}"}}) as world:
        await world.deliver("work/a", {"n": 0})
        await world.deliver("in", {"n": 1})
        await world.settled()
        (letter,) = world.store.letters

        assert (Why.CRASHED, 3, error) == (letter.why, letter.attempts, letter.error)
        assert ([1], 1) == (seen.items, lives(world, "neighbour"))


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_tick_that_calls_sys_exit_fails_and_its_neighbours_live_on(_patient: MockClock, is_async: bool) -> None:
    class Eager(Actor):
        @every(5.0)
        async def look(self) -> None:
            sys.exit()

    class Threads(Actor):
        @every(5.0)
        def look(self) -> None:
            sys.exit()

    subject = Eager if is_async else Threads
    seen, name = Seen(), subject.__name__.lower()
    async with running(subject, neighbour(seen)) as world:
        failed = await world.event(HandlerFailed)
        again = await world.event(HandlerFailed, count=2)
        await world.deliver("in", {"n": 1})
        await world.settled()

        assert [f"{name}:look"] * 2 == [failed.subscription, again.subscription]
        assert "called sys.exit()" == str(failed.error)
        assert ([1], 1) == (seen.items, lives(world, "neighbour"))
        assert not world.ended.is_set()


async def test_a_started_that_calls_sys_exit_fails_and_its_neighbours_live_on(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        async def started(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            seen.add("started")
            if seen.count("started") == 1:
                sys.exit("no such device")

        @subscribe("in")
        async def on_in(self, event: dict[str, Any]) -> None:
            seen.add(event["n"])

    async with running(Subject, neighbour(Seen())) as world:
        await world.deliver("in", {"n": 1})
        await world.settled()

        assert ["started", "started", 1] == seen.items
        assert (2, 1) == (lives(world, "subject"), lives(world, "neighbour"))


async def test_a_sys_exit_on_the_way_out_of_a_timeout_is_the_timeout(_virtual: MockClock) -> None:
    async def exits_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            sys.exit(3)

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exits_when_cancelled)
                nursery.start_soon(trio.sleep_forever)

    async with running(Subject, actors={"subject": {"max_attempts": 1}}) as world:
        await world.deliver("in", b"x")
        failed = await world.event(HandlerFailed)
        await world.settled()

        assert "took longer than handler_timeout_s = 30 s" == str(failed.error)
        assert not world.ended.is_set()


async def test_what_else_the_handler_says_is_not_lost_on_a_sys_exit(_virtual: MockClock) -> None:
    async def exits() -> None:
        sys.exit(3)

    async def gives_up() -> None:
        raise Escalate("no such key")

    class Subject(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exits)
                nursery.start_soon(gives_up)

    async with running(Subject) as world:
        await world.deliver("in", b"x")
        failure = await world.over()

        assert any(isinstance(leaf, Escalate) for leaf in leaves(failure))
