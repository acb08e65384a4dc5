"""A service's memory does not grow with the messages it has handled, nor with the crashes it has lived through.

Law: what is counted are blocks of Python's allocator, after a collection, between a shorter life and one four times as long: a leak of one
object for each message shows as thousands. `python -m bench costs` measures the same in bytes over millions.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import pytest
from trio.testing import MockClock

from support.hostile import ForgetfulBroker, Memory
from support.service import World, running
from tars.actors import Actor, Context, subscribe
from tars.supervisor.log import LogSettings, configure

BATCH: Final = 50
WARM_UP: Final = 500
MESSAGES: Final = 2_000
WINDOW: Final = 100
MOST_BLOCKS: Final = 500
"""A quarter of one object for each message. Measured: below 100."""


class Reader(Actor):
    @subscribe("in/+")
    async def on_in(self, _event: dict[str, Any], ctx: Context) -> None:
        """Handles it."""


class Crasher(Actor):
    @subscribe("in/+")
    async def on_in(self, _event: dict[str, Any], ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ZeroDivisionError("the bug")


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """As a service does, at info: pytest keeps in memory what is printed otherwise."""
    configured = configure(LogSettings(), io.StringIO())
    yield
    configured.close()


async def live(world: World, messages: int) -> None:
    for first in range(0, messages, BATCH):
        for number in range(first, first + BATCH):
            await world.deliver(f"in/{number % 10}", {"n": number})
        await world.settled()
        world.events.clear()


@pytest.mark.parametrize("actor", [Reader, Crasher])
async def test_a_long_life_holds_no_more_than_a_short_one(actor: type[Actor], autojump_clock: MockClock) -> None:  # noqa: ARG001 - virtual time
    broker = ForgetfulBroker()
    config = {"dedup": {"max_entries": WINDOW}}
    actors = {actor.__name__.lower(): {"overflow": "block"}}
    async with running(actor, broker=broker, config=config, actors=actors) as world:
        await live(world, WARM_UP)
        before = Memory.now()
        await live(world, MESSAGES)
        grown = Memory.now().since(before)

        assert WARM_UP + MESSAGES == broker.count["acks"]
        assert [] == world.store.letters
        assert MOST_BLOCKS > grown.blocks
