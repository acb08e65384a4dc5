"""The router as an actor: what becomes of the language model's answers, and of the conversation when its actor crashes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from support.voice import Voice, robot
from tars.actors import Context, subscribe
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed
from tars.actors.services.router import Router
from tars.supervisor.events import ChildStarted

SORRY = "Sorry, something went wrong. Please try again."


def answers(voice: Voice, request_id: str) -> list[str]:
    """What was said for this request, in order."""
    return [say.text for say in voice.says if say.data["utt_id"] == request_id]


# -- streams ------------------------------------------------------------------------------------------------------------


async def test_an_answer_is_spoken_sentence_by_sentence_while_it_streams(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        request = await voice.ask("tell me", utt_id="q")
        spoken = []
        for seq, text in enumerate(("One", " is. Two", " too.", " And three"), 1):
            await voice.delta("q", seq, text)
            spoken.append(len(answers(voice, "q")))
        await voice.delta("q", 5, done=True)
        await voice.respond("q", "One is. Two too. And three")

        assert [0, 1, 2, 2] == spoken
        assert ["One is.", "Two too.", "And three"] == answers(voice, "q")
        assert {request.id} == {say.id for say in voice.says[1:]}


async def test_deltas_out_of_order_and_twice_are_spoken_in_order_and_once(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        for seq in (2, 2, 4, 1, 3, 1):
            await voice.delta("q", seq, f"Part {seq}. ")
        await voice.delta("q", 5, done=True)

        assert [f"Part {seq}." for seq in (1, 2, 3, 4)] == answers(voice, "q")


async def test_two_answers_at_a_time_do_not_mix(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        first = await voice.ask("one", utt_id="a")
        second = await voice.ask("two", utt_id="b")
        for seq in (1, 2):
            await voice.delta("a", seq, f"A{seq}. ")
            await voice.delta("b", seq, f"B{seq}. ")
        await voice.respond("b", "B1. B2. B3.")
        await voice.respond("a", "A1. A2.")

        assert (["A1.", "A2."], ["B1.", "B2.", "B3."]) == (answers(voice, "a"), answers(voice, "b"))
        assert {("a", first.id), ("b", second.id)} == {(say.data["utt_id"], say.id) for say in voice.says[2:]}


@pytest.mark.parametrize("response_first", [False, True])
async def test_nothing_is_said_twice_whichever_of_done_and_the_response_comes_first(
    autojump_clock: MockClock, *, response_first: bool
) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "A. ")
        if response_first:
            await voice.respond("q", "A. B.")
            await voice.delta("q", 2, "B.")
            await voice.delta("q", 3, done=True)
        else:
            await voice.delta("q", 2, "B.")
            await voice.delta("q", 3, done=True)
            await voice.respond("q", "A. B.")

        assert ["A.", "B."] == answers(voice, "q")


async def test_a_delta_that_never_comes_is_waited_for_and_then_given_up(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, stream_gap_wait_s=2.0) as voice:
        request = await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "One. ")
        await voice.delta("q", 3, "Three.")
        await voice.delta("q", 4, done=True)
        before = answers(voice, "q")
        await trio.sleep(4)
        await voice.world.quiet()

        assert (["One."], ["One.", "Three."]) == (before, answers(voice, "q"))
        assert request.id == voice.says[-1].id


async def test_the_response_fills_the_gap_a_lost_delta_left(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "One. ")
        await voice.delta("q", 3, "Three.")
        await voice.respond("q", "One. Two. Three.")

        assert ["One.", "Two. Three."] == answers(voice, "q")


async def test_a_response_that_differs_from_its_stream_is_spoken_from_where_they_part(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.stream("q", "It is red. ", "It is small.")
        await voice.respond("q", "It is red. It is huge.")

        assert ["It is red.", "It is small.", "It is huge."] == answers(voice, "q")


async def test_a_stream_that_breaks_off_is_forgotten_and_its_response_still_spoken(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, stream_idle_s=5.0) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "Begun. And")
        await trio.sleep(10)
        await voice.respond("q", "Whole answer.")

        assert ["Begun.", "Whole answer."] == answers(voice, "q")


async def test_without_streaming_the_answer_is_spoken_when_it_is_whole(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, llm_tts_stream=False) as voice:
        request = await voice.ask("tell me", utt_id="q")
        await voice.stream("q", "One. ", "Two.")
        streamed = answers(voice, "q")
        await voice.respond("q", "One. Two.")

        assert ([], ["One. Two."]) == (streamed, answers(voice, "q"))
        assert request.id == voice.says[-1].id


async def test_the_answer_to_a_question_of_somebody_else_is_spoken_too(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.stream("stranger", "Hear me. ")
        await voice.respond("stranger", "Hear me. Please.")

        assert ["Hear me.", "Please."] == answers(voice, "stranger")


# -- errors and cancels -------------------------------------------------------------------------------------------------


async def test_an_error_is_heard_once(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        request = await voice.ask("tell me", utt_id="q")
        await voice.respond("q", error="OPENAI_API_KEY not set")
        await voice.respond("q", error="again")
        await voice.delta("q", 1, "Late. ")

        assert [SORRY] == answers(voice, "q")
        assert request.id == voice.says[-1].id


async def test_after_an_error_the_next_question_is_answered(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("one", utt_id="a")
        await voice.respond("a", error="rate limit")
        await voice.ask("two", utt_id="b")
        await voice.respond("b", "Yes.")

        assert ["Yes."] == answers(voice, "b")
        assert ["one"] == [turn["content"] for turn in voice.requests[-1].data["conversation_history"]]


async def test_a_cancel_in_the_middle_of_a_stream_is_final(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "Heard. ")
        await voice.cancel("q")
        await voice.delta("q", 2, "Not heard. ")
        await voice.delta("q", 3, done=True)
        await voice.respond("q", "Heard. Not heard.")
        await voice.ask("go on", utt_id="r")

        assert ["Heard."] == answers(voice, "q")
        assert ["tell me", "Heard."] == [turn["content"] for turn in voice.requests[-1].data["conversation_history"]]


async def test_a_cancelled_wake_cancels_every_answer_under_way_for_everybody(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, wake_cancel_text="Never mind.") as voice:
        await voice.ask("one", utt_id="a")
        await voice.ask("two", utt_id="b")
        await voice.delta("b", 1, "Two begins. ")
        await voice.ask("three", utt_id="c")
        await voice.respond("c", "Done.")
        await voice.wake("cancelled", message_id="w-1")
        await voice.delta("b", 2, "Two ends. ")
        await voice.respond("a", "One.")
        cancels = voice.heard_on("llm/cancel")

        assert [("a", "w-1"), ("b", "w-1")] == [(cancel.data["id"], cancel.id) for cancel in cancels]
        assert ["Two begins.", "Done.", "Never mind."] == [text for text in voice.texts if text not in {"Hmm?", "Huh?", "Yes?"}]


async def test_a_cancelled_wake_silences_the_answer_before_the_broker_brings_our_cancel_back(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("tell me", utt_id="q")
        await voice.delta("q", 1, "Heard. ")
        voice.world.broker.refuse_publish("llm/cancel")  # taken, and passed on to nobody: ours does not come back
        await voice.wake("cancelled")
        await voice.delta("q", 2, "Not heard. ")
        await voice.delta("q", 3, done=True)

        assert ["q"] == [cancel.data["id"] for cancel in voice.heard_on("llm/cancel")]
        assert ["Heard."] == answers(voice, "q")


async def test_an_empty_answer_says_nothing_and_ends_the_stream(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock) as voice:
        await voice.ask("one", utt_id="a")
        await voice.respond("a", "  ")
        await voice.ask("two", utt_id="b")
        await voice.delta("b", 1, "The end of it")
        await voice.respond("b")

        assert ([], ["The end of it"]) == (answers(voice, "a"), answers(voice, "b"))


# -- history ------------------------------------------------------------------------------------------------------------


async def test_the_history_holds_the_last_turns_and_never_the_question_itself(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, history_messages=3) as voice:
        for number in (1, 2, 3):
            await voice.ask(f"question {number}", utt_id=f"q{number}")
            await voice.stream(f"q{number}", f"Answer {number}.")
            await voice.respond(f"q{number}", f"Answer {number}.")
        histories = [[turn["content"] for turn in request.data["conversation_history"]] for request in voice.requests]

        assert [[], ["question 1", "Answer 1."], ["Answer 1.", "question 2", "Answer 2."]] == histories


# -- crashes ------------------------------------------------------------------------------------------------------------


class Fragile(Router):
    """A router with a bug."""

    @subscribe("stt/final")
    async def on_final(self, event: FinalTranscript, ctx: Context) -> None:
        """Fail on one word."""
        if event.text == "crash":
            raise ValueError("bug")
        await super().on_final(event, ctx)


@subscribe("stt/final")
async def neighbour(event: FinalTranscript, ctx: Context) -> None:
    """Another actor on the same topic."""
    await ctx.publish_raw("neighbour/heard", event.text.encode())


async def test_a_crash_in_the_middle_of_a_conversation_is_one_dead_letter_and_the_next_conversation_works(
    autojump_clock: MockClock,
) -> None:
    async with robot(autojump_clock, Fragile, neighbour) as voice:
        world = voice.world
        await voice.healthy("tts")
        await voice.healthy("stt")
        question = await voice.ask("before", utt_id="a")
        await voice.delta("a", 1, "It begins. ")
        await voice.hear("crash")
        await world.settled()
        (letter,) = await world.store.until(1)
        await voice.delta("a", 2, "It goes on. ")
        await voice.hear("nobody woke this router")
        await voice.ask("after", utt_id="b")

        assert (Why.CRASHED, "stt/final", 3) == (letter.why, letter.topic, letter.attempts)
        assert [1, 2, 3] == [failed.attempt for failed in world.events_of(HandlerFailed)]
        assert [1, 2, 3, 4] == [
            started.incarnation for started in world.events_of(ChildStarted, lambda each: each.path.endswith("/fragile"))
        ]
        assert {1} == {started.incarnation for started in world.events_of(ChildStarted, lambda each: not each.path.endswith("/fragile"))}
        assert ["before", "crash", "nobody woke this router", "after"] == [
            published.payload.decode() for published in world.said("neighbour/heard")
        ]
        assert ["before", "after"] == [request.text for request in voice.requests]
        assert ([], "a") == (voice.requests[-1].data["conversation_history"], question.data["id"])
        assert ["It begins."] == answers(voice, "a")


async def test_what_was_announced_is_not_announced_again_after_a_crash(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, Fragile, there=["tts", "stt"]) as voice:
        await voice.hear("crash")

        assert ["System online."] == voice.texts


async def test_a_router_that_crashed_before_its_services_were_there_announces_when_they_are(autojump_clock: MockClock) -> None:
    async with robot(autojump_clock, Fragile, there=["tts"]) as voice:
        await voice.hear("crash")
        before = voice.texts
        await voice.healthy("stt")

        assert ([], ["System online."]) == (before, voice.texts)
