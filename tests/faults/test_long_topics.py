"""The longest topics that MQTT allows, in one level and in as many as fit: handled, or dead letters, and no log line as long."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import orjson
import pytest
import structlog

from support.service import Seen, running
from tars.actors import Context, Reject, subscribe
from tars.supervisor.log import LogSettings, configure, event_logger

BYTES: Final = 65_535
LINE_BYTES: Final = 8_000
TOPICS: Final = ("long/" + "x" * (BYTES - 5), "long/" + "/".join("x" * ((BYTES - 4) // 2)), "long/" + "☕" * ((BYTES - 5) // 3))


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """As a process has it."""
    out = io.StringIO()
    made = configure(LogSettings(level="debug", format="json"), out)
    yield out
    made.close()


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize("topic", TOPICS, ids=["one level", "as many as fit", "three bytes each"])
async def test_a_message_on_it_is_handled_like_any_other_and_a_failure_is_one_short_line(topic: str, log: io.StringIO) -> None:
    seen = Seen()

    @subscribe("long/#", qos=1)
    async def sink(event: bytes, ctx: Context) -> None:
        seen.add(ctx.topic)
        ctx.log.info("seen")
        if event == b"reject":
            raise Reject("it says so")
        if event == b"crash":
            raise RuntimeError("it does so")

    async with running(sink, actors={"sink": {"max_attempts": 1}}) as world:
        for payload in (b"x", b"reject", b"crash", b"y"):
            await world.deliver(topic, payload, message_id="m" * 60_000 + payload.decode())
        await world.settled()
        letters = [(letter.why.value, letter.topic) for letter in world.store.letters]
        for event in world.events:
            event_logger(structlog.get_logger())(event)
        lines = [line for line in log.getvalue().splitlines() if "/" in line]

        assert BYTES - 2 <= len(topic.encode()) <= BYTES
        assert [topic] * 4 == seen.items
        assert [("rejected", topic), ("crashed", topic)] == letters
        assert {"seen", "message_settled", "dead_lettered", "handler_failed"} <= {orjson.loads(line)["event"] for line in lines}
        assert max(len(line.encode()) for line in lines) < LINE_BYTES
