"""Bad input: whatever arrives on a topic, it is one dead letter with its reason and one line in the log; nothing crashes.

Each case is sent to the router over the broker in memory, between two good messages. A few of them also to the command
line over a real broker: see ``test_bad_input_live.py``.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from trio.testing import MockClock

from support.bad_input import CASES, Case
from support.voice import robot
from tars.actors.mqtt.events import DeadLettered, HandlerFailed
from tars.supervisor.events import ChildExited
from tars.supervisor.render import render

LINE_BYTES = 4_000
"""A line of the log never holds a payload, however large one is."""


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_it_is_one_dead_letter_and_one_line_and_the_next_message_is_handled(autojump_clock: MockClock, case: Case) -> None:
    async with robot(autojump_clock, live_mode_default=True) as voice:
        world = voice.world
        await voice.hear("before")
        await world.deliver("stt/final", case.payload)
        await voice.hear("after")
        (letter,) = world.store.letters
        (line,) = [orjson.dumps(render(event)[2]) for event in world.events_of(DeadLettered)]

        assert (case.why, "stt/final", case.payload, 1) == (letter.why.value, letter.topic, letter.payload, letter.attempts)
        assert letter.error.startswith(case.error)
        assert ("in", "root/service/handlers/router", "router:stt/final") == (letter.direction, letter.actor, letter.subscription)
        assert case.error.split(":")[0].encode() in line
        assert len(line) < LINE_BYTES
        assert len(letter.error) < LINE_BYTES
        assert ["before", "after"] == [request.text for request in voice.requests]
        assert ([], []) == (world.events_of(HandlerFailed), world.events_of(ChildExited))
        assert [] == world.unacked


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_flood_of_it_changes_nothing(autojump_clock: MockClock, qos: int) -> None:
    async with robot(autojump_clock, live_mode_default=True) as voice:
        small = [case for case in CASES if len(case.payload) < 1000] * 20
        for case in small:
            await voice.world.deliver("stt/final", case.payload, qos=qos)
        await voice.hear("after")

        assert [case.payload for case in small] == [letter.payload for letter in voice.world.store.letters]
        assert ["after"] == [request.text for request in voice.requests]


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("wake/event", {"type": 3}),
        ("wake/event", {"type": "wake", "confidence": 1.5}),
        ("tts/status", {"event": "exploded"}),
        ("llm/stream", {"id": "q", "seq": "1"}),
        ("llm/response", {"id": "q", "reply": ["yes"]}),
        ("llm/cancel", {}),
        ("system/health/tars-tts", {"ok": "yes"}),
        ("system/health/tars-stt", {"ok": True, "error": "an older name"}),
    ],
)
async def test_every_topic_of_the_router_has_its_guard(autojump_clock: MockClock, topic: str, data: dict[str, Any]) -> None:
    async with robot(autojump_clock) as voice:
        await voice.send(topic, data)
        (letter,) = voice.world.store.letters

        assert ("undecodable", topic) == (letter.why.value, letter.topic)
        assert letter.error.startswith("DecodeError: wrong_data: ")


@pytest.mark.parametrize("topic", ["llm/stream", "llm/response", "llm/cancel"])
async def test_an_id_that_is_none_is_rejected_wherever_ids_are_remembered(autojump_clock: MockClock, topic: str) -> None:
    async with robot(autojump_clock) as voice:
        await voice.send(topic, {"id": "i" * 300})
        (letter,) = voice.world.store.letters

        assert ("rejected", "Reject: id has 300 characters; at most 256 make an id") == (letter.why.value, letter.error)
