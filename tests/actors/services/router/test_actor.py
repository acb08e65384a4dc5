"""The router as an actor, talking to stand-ins over a broker in memory: who is there, who is spoken to, what becomes of it."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from support.voice import opened, robot

# -- the whole loop -----------------------------------------------------------------------------------------------------


async def test_the_voice_loop_from_the_announcement_to_the_follow_up(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.healthy("tts")
        await voice.healthy("stt")
        await voice.spoken("speaking_start", utt_id="boot", system_announce=True)
        await voice.spoken(utt_id="boot", system_announce=True)
        await voice.wake(confidence=0.9, energy=0.1, cause="wake_phrase", ts=12.5)
        ack = voice.says[-1]
        await voice.spoken("speaking_start", utt_id=ack.data["utt_id"], wake_ack=True)
        await voice.spoken(utt_id=ack.data["utt_id"], wake_ack=True)
        first = await voice.hear("how far is the moon", confidence=0.97)
        request = voice.requests[-1]
        request_id = request.data["id"]
        await voice.stream(request_id, "It is far. ", "About 384", ",000 km", " away!")
        await voice.respond(request_id, "It is far. About 384,000 km away!")
        await voice.spoken("speaking_start", utt_id=request_id)
        await voice.spoken(utt_id=request_id)
        second = await voice.hear("and the sun")
        await trio.sleep(11)
        await voice.hear("nobody is listening")

        assert ["System online.", "Hmm?", "It is far.", "About 384,000 km away!"] == voice.texts
        assert ["boot", ack.data["utt_id"], request_id, request_id] == [say.data["utt_id"] for say in voice.says]
        assert re.fullmatch(r"wake-ack-\d+", ack.data["utt_id"])
        assert re.fullmatch(r"rt-[0-9a-f]{8}", request_id)
        assert [first, second] == [each.id for each in voice.requests]
        assert [first, first] == [say.id for say in voice.says[2:]]
        assert [("user", "how far is the moon"), ("assistant", "It is far. About 384,000 km away!")] == [
            (turn["role"], turn["content"]) for turn in voice.requests[-1].data["conversation_history"]
        ]
        assert [] == voice.world.store.letters


async def test_what_goes_out_has_every_field_of_its_contract_and_its_quality_of_service(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, tts_voice="piper/x") as voice:
        await voice.wake(tts_id="t-1")
        await voice.hear("what is love", utt_id="u-1", ts=99.5)
        await voice.wake()
        await voice.hear("what time is it", utt_id="u-2", ts=100)
        (ack, _, time_of_day), (request,) = voice.world.said("tts/say"), voice.world.said("llm/request")

        assert {(1, False)} == {(each.qos, each.retain) for each in (ack, request, time_of_day)}
        assert {"id", "type", "ts", "source", "data"} == orjson.loads(request.payload).keys()
        assert "robot7" == orjson.loads(request.payload)["source"]
        assert ("tts.say", "llm.request") == (opened(ack).type, opened(request).type)
        assert {
            "text": "Hmm?",
            "voice": "piper/x",
            "lang": "en",
            "utt_id": "t-1",
            "style": "friendly",
            "stt_ts": None,
            "wake_ack": True,
            "system_announce": None,
        } == _without_message_id(ack)
        assert {
            "id": "u-1",
            "text": "what is love",
            "stream": True,
            "use_rag": None,
            "rag_k": None,
            "system": None,
            "params": None,
            "conversation_history": [],
        } == _without_message_id(request)
        said = _without_message_id(time_of_day)
        assert ("u-2", 100.0, "neutral", None) == (said["utt_id"], said["stt_ts"], said["style"], said["wake_ack"])
        assert re.fullmatch(r"It is \d{1,2}:\d\d [AP]M\.", said["text"])


def _without_message_id(published: Any) -> dict[str, Any]:
    data = opened(published).data
    assert data.pop("message_id")
    return data


async def test_the_health_that_old_services_watch_is_retained_beside_our_own(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.world.settled()
        ready = orjson.loads(voice.world.broker.retained["system/health/router"])
        await voice.world.stop()
        gone = orjson.loads(voice.world.broker.retained["system/health/router"])

    assert ("system.health.router", True, "ready") == (ready["type"], ready["data"]["ok"], ready["data"]["event"])
    assert (False, "shutdown") == (gone["data"]["ok"], gone["data"]["event"])


# -- who is there -------------------------------------------------------------------------------------------------------


async def test_the_announcement_is_said_once_however_often_services_come_and_go(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        for service, ok in (("tts", True), ("tts", True), ("stt", True), ("stt", False), ("stt", True), ("tts", False), ("tts", True)):
            await voice.healthy(service, ok=ok)
        (say,) = voice.says

        assert ("System online.", "boot", True, "neutral") == (
            say.text,
            say.data["utt_id"],
            say.data["system_announce"],
            say.data["style"],
        )


async def test_a_service_that_went_away_before_the_other_came_is_not_there(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.healthy("tts")
        await voice.healthy("tts", ok=False)
        await voice.healthy("stt")
        before = voice.texts
        await voice.healthy("tts")

        assert ([], ["System online."]) == (before, voice.texts)


async def test_retained_health_from_before_the_router_counts(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, there=["tts", "stt"]) as voice:
        await voice.world.settled()

        assert ["System online."] == voice.texts


async def test_without_an_announcement_nothing_is_said(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, online_announce=False) as voice:
        await voice.healthy("tts")
        await voice.healthy("stt")

        assert [] == voice.texts


# -- who is spoken to ---------------------------------------------------------------------------------------------------


async def test_nobody_is_heard_without_a_wake_word(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.hear("hey tars what time is it")
        await voice.hear("   ")

        assert ([], []) == (voice.texts, voice.requests)


async def test_the_window_of_a_wake_word_lasts_eight_seconds_and_one_utterance(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await trio.sleep(7.9)
        await voice.hear("in time")
        await voice.hear("one too many")
        await voice.wake()
        await trio.sleep(8.1)
        await voice.hear("too late")

        assert ["in time"] == [request.text for request in voice.requests]


@pytest.mark.parametrize(
    ("status", "opens"),
    [
        ({"event": "speaking_end"}, True),
        ({"event": "speaking_end", "wake_ack": True}, False),
        ({"event": "speaking_end", "system_announce": True, "utt_id": "boot"}, False),
        ({"event": "speaking_start"}, False),
        ({"event": "paused"}, False),
        ({"event": "stopped"}, False),
    ],
)
async def test_only_the_end_of_an_answer_opens_a_window_for_the_reply(
    autojump_clock: MockClock, status: dict[str, Any], opens: bool
) -> None:
    async with robot(autojump_clock) as voice:
        await voice.spoken(**status)
        await voice.hear("go on")

        assert opens == bool(voice.requests)


async def test_the_window_for_a_reply_lasts_ten_seconds_and_one_utterance(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.spoken()
        await trio.sleep(9.9)
        await voice.hear("in time")
        await voice.hear("one too many")
        await voice.spoken()
        await trio.sleep(10.1)
        await voice.hear("too late")

        assert ["in time"] == [request.text for request in voice.requests]


async def test_acknowledgements_rotate_and_can_be_followed_by_a_prompt(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_ack_choices=["One?", "Two?"], wake_reprompt_text="I am listening.") as voice:
        for _ in range(3):
            await voice.wake()

        assert ["One?", "I am listening.", "Two?", "I am listening.", "One?", "I am listening."] == voice.texts


@pytest.mark.parametrize(
    ("kind", "said", "open_afterwards"),
    [
        ("interrupt", "Wait.", True),
        ("resume", "Going on.", False),
        ("cancelled", "Never mind.", False),
        ("timeout", "Good bye.", False),
        ("TIMEOUT", "Good bye.", False),
        ("error", None, True),
        ("something new", None, True),
    ],
)
async def test_every_wake_event_says_its_text_and_opens_or_closes_the_window(
    autojump_clock: MockClock, kind: str, said: str | None, open_afterwards: bool
) -> None:
    texts: dict[str, Any] = {
        "wake_interrupt_text": "Wait.",
        "wake_resume_text": "Going on.",
        "wake_cancel_text": "Never mind.",
        "wake_timeout_text": "Good bye.",
    }
    async with robot(autojump_clock, wake_ack_enabled=False, **texts) as voice:
        await voice.wake()
        await voice.wake(kind, tts_id="t-9")
        await voice.hear("anybody there")

        assert ([] if said is None else [(said, "t-9")]) == [(say.text, say.data["utt_id"]) for say in voice.says]
        assert open_afterwards == bool(voice.requests)


async def test_a_timeout_after_the_question_was_heard_disturbs_nothing(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_timeout_text="Good bye.") as voice:
        await voice.ask("a question")
        await voice.wake("timeout")

        assert "Good bye." not in voice.texts


async def test_a_grace_keeps_the_window_open_beyond_the_timeout_of_the_wake_service(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_timeout_grace_s=5.0) as voice:
        await voice.wake()
        await trio.sleep(3)
        await voice.wake("timeout")
        await trio.sleep(4)
        await voice.hear("a slow sentence")

        assert ["a slow sentence"] == [request.text for request in voice.requests]


async def test_the_wake_phrase_is_taken_off_and_alone_it_asks_nothing(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await voice.hear("Hey Tars.")
        await voice.hear("Hey, TARS, who are you?")

        assert ["Hmm?"] == voice.texts
        assert ["who are you?"] == [request.text for request in voice.requests]


async def test_in_live_mode_everybody_is_heard(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await voice.hear("Enter LIVE mode!")
        await voice.hear("first")
        await voice.hear("second")
        await voice.hear("enter live mode")
        await voice.hear("exit live mode.")
        await voice.spoken(system_announce=True)
        await voice.hear("third")

        assert ["Hmm?", "Live mode enabled.", "Live mode is already active.", "Live mode disabled."] == voice.texts
        assert ["first", "second"] == [request.text for request in voice.requests]


async def test_who_leaves_live_mode_inside_a_window_is_the_last_who_is_heard(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, live_mode_default=True) as voice:
        await voice.wake()
        await voice.spoken()
        await voice.hear("exit live mode")
        await voice.hear("somebody passing by")

        assert [] == voice.requests


async def test_the_language_that_is_set_is_spoken(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, tts_lang="de") as voice:
        await voice.wake()
        await voice.hear("say Guten Tag")

        assert ["de", "de"] == [say.data["lang"] for say in voice.says]


async def test_a_greeting_may_name_the_robot_as_its_own_wake_phrases_do(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_ack_enabled=False, wake_phrases=["ok jarvis"]) as voice:
        for greeting in ("hi jarvis", "hi tars"):
            await voice.wake()
            await voice.hear(greeting)

        assert ["Hello! How can I help?"] == voice.texts
        assert ["hi tars"] == [request.text for request in voice.requests]


@pytest.mark.parametrize(
    ("text", "answer", "style"),
    [("say Good Night", "Good Night", "neutral"), ("hello there", "Hello! How can I help?", "friendly")],
)
async def test_a_rule_answers_without_the_language_model(autojump_clock: MockClock, text: str, answer: str, style: str) -> None:
    async with robot(autojump_clock, wake_ack_enabled=False) as voice:
        await voice.wake()
        message_id = await voice.hear(text, utt_id="u-1", ts=5)
        (say,) = voice.says

        assert [] == voice.requests
        assert (answer, style, "u-1", 5.0, message_id) == (say.text, say.data["style"], say.data["utt_id"], say.data["stt_ts"], say.id)


# -- peers of other makes -----------------------------------------------------------------------------------------------


async def test_peers_that_send_bare_json_are_understood(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.world.deliver("wake/event", {"type": "wake"}, envelope=False)
        await voice.world.deliver("stt/final", {"text": "what is love", "message_id": "m-1"}, envelope=False)
        await voice.world.settled()

        assert [("m-1", "what is love")] == [(request.id, request.text) for request in voice.requests]


async def test_a_transcript_that_is_sent_twice_is_asked_once(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.wake()
        await voice.spoken()
        for _ in range(2):
            await voice.world.deliver("stt/final", {"message_id": "m-1", "text": "once"}, envelope_id="e-1", message_id="u-1")
        await voice.world.settled()
        await voice.wake()
        await voice.world.deliver("stt/final", {"message_id": "m-1", "text": "once"}, envelope_id="e-1", message_id="u-1")
        await voice.world.settled()

        assert ["once"] == [request.text for request in voice.requests]


async def test_renamed_topics_are_used_in_both_directions(autojump_clock: MockClock) -> None:
    renames = {"stt/final": "robot7/stt/final", "llm/request": "robot7/llm/request"}
    async with robot(autojump_clock, topics=renames) as voice:
        await voice.wake()
        await voice.hear("nobody listens here")
        await voice.send("robot7/stt/final", {"text": "here they do"})

        assert [] == voice.requests
        assert ["here they do"] == [request.text for request in voice.heard_on("robot7/llm/request")]
