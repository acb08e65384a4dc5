"""What the router before this one promised and did not do, where no test of one module can show it: settings, files, restarts, counters."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.voice import Voice, robot
from tars.actors import Context, subscribe
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.services.router import Router
from tars.supervisor.log import LogSettings, configure

SHIPPED = Path(__file__).parents[4] / "config" / "router.toml"
IDLE_TIMEOUT_S = 3.0
"""What the wake service waits after every wake before it says timeout."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log of a process, as JSON lines."""
    stream = io.StringIO()
    configured = configure(LogSettings(level="debug", format="json"), stream)
    yield stream
    configured.close()


def metrics(log: io.StringIO) -> dict[str, Any]:
    """The last the router told of its counters."""
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    *_, last = (line for line in lines if line["event"] == "router_metrics")
    return dict(last)


async def test_the_text_to_acknowledge_with_is_spoken(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_ack_choices=["At your service."]) as voice:
        await voice.wake()
        await voice.wake()

        assert ["At your service.", "At your service."] == voice.texts


@pytest.mark.parametrize("said_after_s", [2.9, 3.1, 7.9])
async def test_with_the_shipped_file_the_wake_service_s_timeout_does_not_cut_the_window_short(
    autojump_clock: MockClock, said_after_s: float
) -> None:
    settings = tomllib.loads(SHIPPED.read_text())["actors"]["router"]["settings"]
    async with robot(autojump_clock, **settings) as voice:
        await voice.wake()
        woken = trio.current_time()
        await trio.sleep(min(said_after_s, IDLE_TIMEOUT_S))
        if said_after_s > IDLE_TIMEOUT_S:
            await voice.wake("timeout")
        await trio.sleep_until(woken + said_after_s)
        await voice.hear("a slow sentence")

        assert ["a slow sentence"] == [request.text for request in voice.requests]


@pytest.mark.parametrize(("after_s", "heard"), [(2.9, True), (3.1, False)])
async def test_the_window_for_a_reply_is_as_long_as_it_is_set(autojump_clock: MockClock, after_s: float, heard: bool) -> None:
    async with robot(autojump_clock, response_window_s=3.0) as voice:
        await voice.spoken()
        await trio.sleep(after_s)
        await voice.hear("and then")

        assert heard == bool(voice.requests)


async def test_an_error_and_a_cancel_leave_no_question_open_in_the_counters(autojump_clock: MockClock, log: io.StringIO) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("one", utt_id="a")
        await voice.respond("a", error="rate limit")
        after_error = metrics(log)
        await voice.ask("two", utt_id="b")
        await voice.cancel("b")
        await voice.ask("three", utt_id="c")
        await voice.respond("c", "Yes.")
        at_last = metrics(log)

    assert (1, 1, 0) == tuple(after_error[key] for key in ("llm_requests", "llm_responses", "llm_inflight"))
    assert (3, 2, 0) == tuple(at_last[key] for key in ("llm_requests", "llm_responses", "llm_inflight"))


async def test_an_answer_spoken_to_its_end_without_its_lost_delta_is_counted(autojump_clock: MockClock, log: io.StringIO) -> None:
    async with robot(autojump_clock, stream_gap_wait_s=2.0) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "One. ")
        await voice.delta("q", 3, "Three.")
        await voice.delta("q", 4, done=True)
        await trio.sleep(4)
        await voice.world.quiet()

    assert {"llm_responses": 1, "llm_inflight": 0}.items() <= metrics(log).items()


@pytest.mark.parametrize("limits", [{"stream_idle_s": 5.0}, {"stream_max_streams": 1}], ids=["silent", "no room"])
async def test_a_question_whose_stream_was_dropped_is_no_longer_in_flight(
    autojump_clock: MockClock, log: io.StringIO, limits: dict[str, Any]
) -> None:
    async with robot(autojump_clock, **limits) as voice:
        await voice.ask("one", utt_id="a")
        await voice.delta("a", 1, "It begins. And")
        await trio.sleep(10)
        await voice.ask("two", utt_id="b")
        await voice.stream("b", "Yes.")

    assert {"llm_requests": 2, "llm_responses": 1, "llm_inflight": 0}.items() <= metrics(log).items()


async def test_every_sentence_that_goes_out_is_counted(autojump_clock: MockClock, log: io.StringIO) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.stream("q", "One. ", "Two. ")
        said = voice.texts

    assert (["Hmm?", "One.", "Two."], 3) == (said, metrics(log)["tts_messages"])


class Fragile(Router):
    """A router with a bug."""

    @subscribe("stt/final")
    async def on_final(self, event: FinalTranscript, ctx: Context) -> None:
        """Fail on one word."""
        if event.text == "crash":
            raise ValueError("bug")
        await super().on_final(event, ctx)


async def crash(voice: Voice) -> None:
    await voice.hear("crash")
    await voice.world.store.until(1)


async def test_a_restart_is_a_known_state_no_window_no_live_mode_no_history_and_it_hears_at_once(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, Fragile) as voice:
        await voice.ask("before", utt_id="a")
        await voice.respond("a", "An answer.")
        await voice.wake()
        await voice.hear("enter live mode")
        await voice.hear("heard in live mode", utt_id="b")
        await voice.wake()
        await crash(voice)
        await voice.hear("nobody was spoken to")
        asked = await voice.ask("after", utt_id="c")

        assert ["before", "heard in live mode", "after"] == [request.text for request in voice.requests]
        assert [] == asked.data["conversation_history"]


async def test_an_answer_that_a_restart_has_cut_in_two_is_heard_to_its_end(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, Fragile) as voice:
        await voice.ask("tell me", utt_id="a")
        await voice.delta("a", 1, "It begins. ")
        await crash(voice)
        await voice.delta("a", 2, "It goes on. ")
        await voice.delta("a", 3, done=True)
        await voice.respond("a", "It begins. It goes on.")
        spoken = [say.text for say in voice.says if say.data["utt_id"] == "a"]

        assert "It begins." == spoken[0]
        assert "It goes on." in spoken[-1]
