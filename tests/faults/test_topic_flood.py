"""A flood of topics nobody has seen before: 100 000 of them through a service leave no more behind than half as many did."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

import attrs
import pytest
import trio

from support.service import running
from tars.actors import Context, subscribe
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Link, OnConfirmed, Outbound, ServerLimits
from tars.actors.testing import event as enveloped
from tars.supervisor.log import Log, LogSettings, configure

TOPICS: Final = 100_000
BATCH: Final = 250


@attrs.define(eq=False)
class Flood:
    """A transport whose only connection brings what `send` is given; it confirms everything."""

    limits: ServerLimits = attrs.field(factory=lambda: ServerLimits(session_present=False))
    acked: int = 0
    silent_s: float = 0.0
    _gate: trio.MemorySendChannel[Sequence[Inbound]] = attrs.field(init=False)
    _arrivals: trio.MemoryReceiveChannel[Sequence[Inbound]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gate, self._arrivals = trio.open_memory_channel(0)

    async def send(self, messages: Sequence[Inbound]) -> None:
        await self._gate.send(messages)

    @asynccontextmanager
    async def connect(self, _settings: ConnectSettings) -> AsyncIterator[Link]:
        yield self

    async def receive(self) -> Sequence[Inbound]:
        return await self._arrivals.receive()

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        await trio.lowlevel.checkpoint()
        return [qos for _, qos in filters]

    async def unsubscribe(self, _filters: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    def publish(self, _message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        if on_confirmed is not None:
            on_confirmed(0)

    def ack(self, _packet_id: int) -> bool:
        self.acked += 1
        return True

    def burst(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


def raw(number: int) -> Inbound:
    return Inbound(f"flood/{number:0490}", b"x", qos=0)


def known_by_its_id(number: int) -> Inbound:
    return Inbound(f"flood/{number:0490}", enveloped("test.event", {}, message_id=str(number)), qos=1, packet_id=number % 60_000 + 1)


def unmatched(number: int) -> Inbound:
    return Inbound(f"elsewhere/{number:0490}", b"x", qos=1, packet_id=number % 60_000 + 1)


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """As a process has it: what is filtered out costs nothing."""
    made = configure(LogSettings(level="error"), sys.stderr)
    yield made
    made.close()


@pytest.mark.parametrize(("message", "topics"), [(raw, TOPICS), (known_by_its_id, TOPICS // 4), (unmatched, TOPICS // 4)])
async def test_what_a_service_remembers_of_topics_is_bounded(message: Callable[[int], Inbound], topics: int) -> None:
    handled = 0
    transport = Flood()

    @subscribe("flood/{what}", qos=1)
    async def one(_event: bytes, _ctx: Context) -> None:
        nonlocal handled
        handled += 1

    config = {"dedup": {"max_entries": 1000}}
    async with running(one, transport=lambda _: transport, config=config) as world:
        blocks = []
        for number in range(0, topics, BATCH):
            await transport.send([message(each) for each in range(number, number + BATCH)])
            await transport.send([])  # taken only when what came before is in the table
            await world.estate.table.wait_empty()
            world.events.clear()
            if number + BATCH in {topics // 2, topics}:
                gc.collect()
                blocks.append(sys.getallocatedblocks())

    assert (0 if message is unmatched else topics) == handled
    # Half a block for each topic of the second half: one that was kept, with its place in a dict, is at least two. And
    # the last batch, at some twenty blocks a message, may still be in a local variable of somebody who waits for the next.
    assert blocks[1] - blocks[0] < topics / 4 + 20 * BATCH
