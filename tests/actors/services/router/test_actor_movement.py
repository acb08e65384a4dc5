"""Movement through the actor: a spoken command reaches the body, anything else reaches the language model."""

from __future__ import annotations

import orjson
from trio.testing import MockClock

from support.voice import robot


async def test_a_spoken_command_reaches_the_body_and_nobody_else(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        heard = await voice.hear("hey tars, turn left", utt_id="u-1")
        (sent,) = voice.world.said("movement/test")
        envelope = orjson.loads(sent.payload)

        assert (1, False) == (sent.qos, sent.retain)
        assert ("movement.test", heard) == (envelope["type"], envelope["id"])
        assert ("turn_left", 1.0, {}, "u-1") == tuple(envelope["data"][name] for name in ("command", "speed", "params", "request_id"))
        assert [] == voice.requests


async def test_a_question_that_contains_a_command_is_answered(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await voice.hear("do you know what a rainbow is")

        assert [] == voice.world.said("movement/test")
        assert ["do you know what a rainbow is"] == [request.data["text"] for request in voice.requests]


async def test_a_command_uses_the_window_up_like_any_utterance(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await voice.hear("wave")
        await voice.hear("wave")

        assert 1 == len(voice.world.said("movement/test"))


async def test_what_the_body_says_of_it_changes_nothing(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.world.deliver("movement/status", {"event": "command_started", "command": "wave"}, qos=0)
        await voice.world.settled()

        assert [] == voice.world.store.letters
