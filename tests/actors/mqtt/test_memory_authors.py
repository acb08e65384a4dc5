"""The public face for authors' tests: what they import, and what they send and read with it."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from tars.actors.contracts import DecodeError, Envelope
from tars.actors.testing import MemoryBroker, MemoryTransport, Outbound, connect_settings, decode, event


@attrs.frozen
class Said:
    text: str


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_an_author_sends_an_event_and_reads_what_came_of_it(autojump_clock: trio.testing.MockClock, protocol: str) -> None:
    broker = MemoryBroker()
    async with MemoryTransport(broker).connect(connect_settings(protocol=protocol)) as link:
        await link.subscribe([("stt/final", 1)])
        broker.deliver("stt/final", event("stt.final", {"text": "hello"}, message_id="m1"))
        (heard,) = await link.receive()
        await trio.sleep(60)
        link.publish(Outbound("tts/say", heard.payload))
        with trio.fail_after(1):
            (said,) = await broker.wait_published("tts/say")

    assert Said("hello") == decode(said, Said)
    assert Envelope("m1", "stt.final", 0.0, "test", {"text": "hello"}) == decode(said, Envelope)
    assert 60 == autojump_clock.current_time()
    with pytest.raises(DecodeError):
        decode(attrs.evolve(said, payload=b"{"), Said)


def test_the_same_event_is_the_same_bytes() -> None:
    assert event("a.b", {"x": 1}) == event("a.b", {"x": 1})
