"""Answers: streamed, whole, failed, cancelled; in any order, heard once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.history import Turn
from tars.actors.services.router.replies import Outcome, Replies, Step, request_id
from tars.actors.services.router.say import Say
from tars.actors.services.router.settings import RouterSettings

SETTINGS = RouterSettings()


def streamed(replies: Replies, *texts: str, of: str = "r1", done: bool = True, now_s: float = 0) -> list[str]:
    """Send `texts` as numbered deltas, then the end; what was spoken."""
    said: list[str] = []
    for seq, text in enumerate(texts, 1):
        said += texts_of(replies.delta(now_s, of, seq=seq, text=text, done=False))
    if done:
        said += texts_of(replies.delta(now_s, of, seq=len(texts) + 1, text=None, done=True))
    return said


def texts_of(step: Step) -> list[str]:
    return [say.text for say in step.says]


def answered(replies: Replies, reply: str | None, *, of: str = "r1", error: str | None = None) -> tuple[Outcome, list[str]]:
    step = replies.response(of, reply=reply, error=error)
    return step.outcome, texts_of(step)


@pytest.mark.parametrize(("utt_id", "made"), [("u1", "u1"), (None, "rt-01234567"), ("", "rt-01234567"), (" ", "rt-01234567")])
def test_the_request_is_named_after_the_utterance(utt_id: str | None, made: str) -> None:

    assert made == request_id(utt_id, "0123456789abcdef")


def test_the_question_is_not_in_the_history_that_goes_with_it() -> None:
    replies = Replies(SETTINGS)

    assert () == replies.ask("r1", "who are you", correlation_id="c1").history
    answered(replies, "I am Tars.")
    question = replies.ask("r2", "really", correlation_id="c2")

    assert ("r2", "really") == (question.id, question.text)
    assert (Turn("user", "who are you"), Turn("assistant", "I am Tars.")) == question.history


def test_the_history_is_bounded() -> None:
    replies = Replies(SETTINGS)
    for number in range(30):
        replies.ask(f"r{number}", f"q{number}", correlation_id="c")
        answered(replies, f"a{number}", of=f"r{number}")

    assert [Turn("user", "q25"), Turn("assistant", "a25")] == list(replies.ask("x", "now", correlation_id="c").history[:2])
    assert 10 == len(replies.history.turns())


def test_without_a_history_nothing_goes_along() -> None:
    replies = Replies(RouterSettings(history_messages=0))
    replies.ask("r1", "q", correlation_id="c")
    answered(replies, "a")

    assert () == replies.ask("r2", "q", correlation_id="c").history


def test_a_streamed_answer_enters_the_history_once() -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c")
    streamed(replies, "One.", " Two")

    assert (Turn("user", "q"), Turn("assistant", "One. Two")) == replies.history.turns()
    answered(replies, "One. Two")
    assert (Turn("user", "q"), Turn("assistant", "One. Two")) == replies.history.turns()


def test_a_response_to_what_was_streamed_is_not_spoken_again() -> None:
    replies = Replies(SETTINGS)

    assert ["One.", "Two.", "Three."] == streamed(replies, "One.", " Two.", " Three.")
    assert (Outcome.ANSWERED, []) == answered(replies, "One. Two. Three.")
    assert () == replies.under_way()


def test_only_the_rest_of_a_longer_response_is_spoken() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.")

    assert (Outcome.ANSWERED, ["Two. Three."]) == answered(replies, "One. Two. Three.")


def test_a_response_before_the_end_speaks_the_rest_once() -> None:
    replies = Replies(SETTINGS)

    assert ["A."] == streamed(replies, "A.", " B", done=False)
    assert (Outcome.ANSWERED, ["B."]) == answered(replies, "A. B.")
    assert Step("r1", Outcome.IGNORED) == replies.delta(0, "r1", seq=3, text=".", done=False)
    assert Step("r1", Outcome.IGNORED) == replies.delta(0, "r1", seq=4, text=None, done=True)
    assert (Turn("assistant", "A. B."),) == replies.history.turns()


def test_a_response_before_its_stream_silences_the_stream() -> None:
    replies = Replies(SETTINGS)

    assert (Outcome.ANSWERED, ["A. B."]) == answered(replies, "A. B.")
    assert [] == streamed(replies, "A.", " B.")


def test_a_second_response_is_not_spoken() -> None:
    replies = Replies(SETTINGS)
    answered(replies, "Yes.")

    assert (Outcome.IGNORED, []) == answered(replies, "Yes.")
    assert (Outcome.IGNORED, []) == answered(replies, None, error="boom")


def test_a_lost_delta_is_made_good_by_the_response() -> None:
    replies = Replies(SETTINGS)
    replies.delta(0, "r1", seq=1, text="One.", done=False)
    replies.delta(0, "r1", seq=3, text=" Three.", done=False)
    replies.delta(0, "r1", seq=4, text=None, done=True)

    assert (Outcome.ANSWERED, ["Two. Three."]) == answered(replies, "One. Two. Three.")


def test_a_lost_delta_without_a_response_is_given_up_after_a_while() -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")
    replies.delta(0, "r1", seq=1, text="One.", done=False)
    replies.delta(1, "r1", seq=3, text=" Three.", done=False)
    replies.delta(1, "r1", seq=4, text=None, done=True)

    assert () == replies.expire(2.9)
    assert (Step("r1", Outcome.FINISHED, (Say(text="Three.", utt_id="r1", correlation_id="c1"),), lost=1),) == replies.expire(3)
    assert () == replies.expire(4)
    assert (Outcome.DESYNC, ["Two. Three."]) == answered(replies, "One. Two. Three.")


def test_a_response_that_differs_is_spoken_from_where_it_differs() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.", " Two.")

    assert (Outcome.DESYNC, ["Zwei."]) == answered(replies, "One. Zwei.")
    assert (Turn("assistant", "One. Zwei."),) == replies.history.turns()


def test_an_answer_that_was_not_streamed_is_spoken_whole() -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")

    assert Step("r1", Outcome.ANSWERED, (Say(text="One. Two.", utt_id="r1", correlation_id="c1"),)) == replies.response(
        "r1", reply=" One. Two. ", error=None
    )


def test_with_streaming_off_only_the_response_is_spoken() -> None:
    replies = Replies(RouterSettings(llm_tts_stream=False))

    assert [] == streamed(replies, "One.", " Two.")
    assert (Outcome.ANSWERED, ["One. Two."]) == answered(replies, "One. Two.")


def test_no_piece_of_a_response_is_longer_than_the_hard_maximum() -> None:
    replies = Replies(RouterSettings(stream_min_chars=1, stream_max_chars=10, stream_hard_max_chars=10))

    assert ["one two", "three four"] == answered(replies, "one two three four")[1]


@pytest.mark.parametrize("reply", [None, "", "  "])
def test_an_error_is_heard(reply: str | None) -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")

    assert (Outcome.FAILED, ["Sorry, something went wrong. Please try again."]) == answered(replies, reply, error="no key")
    assert () == replies.under_way()
    assert (Turn("user", "q"),) == replies.history.turns()


def test_an_error_in_the_middle_of_a_stream_is_heard_and_ends_it() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.", " Tw", done=False)

    assert (Outcome.FAILED, [SETTINGS.llm_error_text]) == answered(replies, None, error="boom")
    assert Outcome.IGNORED is replies.delta(1, "r1", seq=3, text="o.", done=True).outcome
    assert (Turn("assistant", "One."),) == replies.history.turns()


def test_a_reply_counts_even_beside_an_error() -> None:

    assert (Outcome.ANSWERED, ["Half an answer."]) == answered(Replies(SETTINGS), "Half an answer.", error="length")


def test_a_blank_error_text_is_silence() -> None:

    assert (Outcome.FAILED, []) == answered(Replies(RouterSettings(llm_error_text="")), None, error="boom")


def test_an_empty_response_ends_the_stream_as_it_stands() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.", " Two", done=False)

    assert (Outcome.ANSWERED, ["Two"]) == answered(replies, "")
    assert (Turn("assistant", "One. Two"),) == replies.history.turns()


def test_a_cancel_is_final() -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")
    streamed(replies, "One.", " Tw", done=False)

    assert Step("r1", Outcome.CANCELLED) == replies.cancel("r1")
    assert Step("r1", Outcome.IGNORED) == replies.delta(0, "r1", seq=3, text="o. Three.", done=False)
    assert Step("r1", Outcome.IGNORED) == replies.delta(0, "r1", seq=4, text=None, done=True)
    assert (Outcome.IGNORED, []) == answered(replies, "One. Two. Three.")
    assert (Turn("user", "q"), Turn("assistant", "One.")) == replies.history.turns()
    assert () == replies.under_way()


def test_a_cancel_may_come_before_the_answer() -> None:
    replies = Replies(SETTINGS)
    replies.cancel("r1")

    assert [] == streamed(replies, "One.")
    assert (Outcome.IGNORED, []) == answered(replies, "One.")


def test_a_cancelled_id_that_is_asked_again_is_answered() -> None:
    replies = Replies(SETTINGS)
    replies.cancel("r1")
    replies.ask("r1", "q", correlation_id="c1")

    assert ["One."] == streamed(replies, "One.")


def test_cancelled_ids_are_remembered_in_a_bounded_number() -> None:
    replies = Replies(SETTINGS)
    for number in range(257):
        replies.cancel(f"r{number}")

    assert [] == streamed(replies, "One.", of="r1")
    assert ["One."] == streamed(replies, "One.", of="r0")


def test_what_is_under_way_can_be_listed_for_cancelling() -> None:
    replies = Replies(SETTINGS)
    for name in ("r1", "r2", "r3"):
        replies.ask(name, "q", correlation_id="c")
    streamed(replies, "One.", of="r2", done=False)
    streamed(replies, "One.", of="r3")
    streamed(replies, "One.", of="stranger", done=False)

    assert ("r1", "r2", "stranger") == replies.under_way()


def test_sentences_of_an_answer_correlate_with_the_utterance() -> None:
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")

    assert (Say(text="One.", utt_id="r1", correlation_id="c1"),) == replies.delta(0, "r1", seq=1, text="One.", done=False).says
    assert (Say(text="One.", utt_id="r9", correlation_id=None),) == replies.delta(0, "r9", seq=1, text="One.", done=False).says


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_id_cannot_be_streamed_or_cancelled_but_is_answered(blank: str) -> None:
    replies = Replies(SETTINGS)

    assert Outcome.IGNORED is replies.delta(0, blank, seq=1, text="One.", done=True).outcome
    assert Outcome.IGNORED is replies.cancel(blank).outcome
    assert [(Outcome.ANSWERED, ["Yes."])] * 2 == [answered(replies, "Yes.", of=blank) for _ in range(2)]


def test_streams_are_bounded_in_number() -> None:
    replies = Replies(RouterSettings(stream_max_streams=2))
    for name in ("r1", "r2", "r1"):
        replies.delta(0, name, seq=None, text="One.", done=False)

    assert "r2" == replies.delta(0, "r3", seq=None, text="One.", done=False).evicted
    assert ("r1", "r3") == replies.under_way()
    assert Outcome.IGNORED is replies.delta(0, "r2", seq=None, text="Two.", done=False).outcome


def test_a_stream_that_breaks_off_is_dropped_and_its_late_response_spoken() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.", " Tw", done=False)

    assert () == replies.expire(59)
    assert (Step("r1", Outcome.ABANDONED),) == replies.expire(60)
    assert Outcome.IGNORED is replies.delta(61, "r1", seq=3, text="o", done=False).outcome
    assert (Outcome.ANSWERED, ["One. Two."]) == answered(replies, "One. Two.")


def test_a_stream_that_ended_is_forgotten_without_a_word() -> None:
    replies = Replies(SETTINGS)
    streamed(replies, "One.")

    assert () == replies.expire(60)
    assert (Outcome.IGNORED, []) == answered(replies, "One.")


@st.composite
def conversations(draw: st.DrawFn) -> tuple[str, list[tuple[int, str, bool] | None]]:
    """An answer as deltas, its end and its response (None), in any order of arrival."""
    deltas = draw(st.lists(st.text(st.sampled_from(" .!?:\nabcdef17-"), max_size=20), max_size=12))
    events: list[tuple[int, str, bool] | None] = [(seq, delta, False) for seq, delta in enumerate(deltas, 1)]
    events += [(len(deltas) + 1, "", True), None]
    random.Random(draw(st.integers(0, 2**32))).shuffle(events)
    return "".join(deltas), events


@given(conversations(), st.sets(st.integers(0, 12)))
def test_in_any_order_and_with_any_deltas_lost_the_answer_is_heard_exactly_once(
    conversation: tuple[str, list[tuple[int, str, bool] | None]], lost: set[int]
) -> None:
    text, events = conversation
    replies = Replies(SETTINGS)
    replies.ask("r1", "q", correlation_id="c1")
    said: list[str] = []
    for event in events:
        if event is None:
            said += texts_of(replies.response("r1", reply=text, error=None))
        elif event[0] not in lost:
            said += texts_of(replies.delta(0, "r1", seq=event[0], text=event[1], done=event[2]))

    assert letters(text) == letters("".join(said))
    assert (Turn("assistant", text.strip()),) == replies.history.turns()[1:] or not text.strip()


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
