"""The gate: windows, wake events, live mode, and the order of its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.gate import Gate, Verdict
from tars.actors.services.router.say import Say
from tars.actors.services.router.settings import RouterSettings

QUIET = RouterSettings(wake_ack_enabled=False)
DROPPED = Verdict("no-wake")


def passed(text: str) -> Verdict:
    return Verdict("passed", text)


def awake(settings: RouterSettings = QUIET, now_s: float = 0) -> Gate:
    gate = Gate(settings)
    gate.wake_event(now_s, "wake")
    return gate


def spoke(gate: Gate, now_s: float, *, wake_ack: bool | None = None, system_announce: bool | None = None) -> bool:
    return gate.tts_status(now_s, "speaking_end", wake_ack=wake_ack, system_announce=system_announce)


def test_without_a_wake_everything_is_dropped() -> None:
    gate = Gate(QUIET)

    assert DROPPED == gate.utterance(0, "turn left")
    assert DROPPED == gate.utterance(0, "hey tars, turn left")
    assert DROPPED == gate.utterance(0, "hey tars")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_transcript_uses_nothing_up(text: str) -> None:
    gate = awake()

    assert Verdict("empty") == gate.utterance(1, text)
    assert passed("hello") == gate.utterance(2, "hello")


@pytest.mark.parametrize(("now_s", "verdict"), [(0, passed("hi")), (7.999, passed("hi")), (8.0, DROPPED), (9, DROPPED)])
def test_the_wake_window_is_open_for_eight_seconds(now_s: float, verdict: Verdict) -> None:

    assert verdict == awake().utterance(now_s, "hi")


@pytest.mark.parametrize(("now_s", "verdict"), [(14.999, passed("hi")), (15.0, DROPPED)])
def test_the_response_window_is_open_for_ten_seconds_after_an_answer(now_s: float, verdict: Verdict) -> None:
    gate = Gate(QUIET)

    assert spoke(gate, 5)
    assert verdict == gate.utterance(now_s, "hi")


def test_one_utterance_uses_up_both_windows() -> None:
    gate = awake()
    spoke(gate, 0)

    assert passed("one") == gate.utterance(1, "one")
    assert DROPPED == gate.utterance(1, "two")


@pytest.mark.parametrize(("wake_ack", "system_announce"), [(True, None), (None, True), (True, True)])
def test_acknowledgements_and_announcements_open_no_response_window(wake_ack: bool | None, system_announce: bool | None) -> None:
    gate = Gate(QUIET)

    assert not spoke(gate, 0, wake_ack=wake_ack, system_announce=system_announce)
    assert DROPPED == gate.utterance(1, "hi")


@pytest.mark.parametrize("event", ["speaking_start", "paused", "resumed", "stopped"])
def test_only_the_end_of_speech_opens_the_response_window(event: str) -> None:
    gate = Gate(QUIET)

    assert not gate.tts_status(0, event, wake_ack=False, system_announce=False)
    assert DROPPED == gate.utterance(1, "hi")


def test_acknowledgements_rotate() -> None:
    gate = Gate(RouterSettings(wake_ack_choices=("A", "B")))

    assert [
        (Say(text="A", utt_id="wake-ack-17", style="friendly", wake_ack=True),),
        (Say(text="B", utt_id="t1", style="friendly", wake_ack=True),),
        (Say(text="A", utt_id="wake-ack-19", style="friendly", wake_ack=True),),
    ] == [gate.wake_event(0, "wake", tts_id=tts_id, epoch_ms=ms) for tts_id, ms in ((None, 17), ("t1", 18), (None, 19))]


TEXTS = RouterSettings(
    wake_ack_enabled=False,
    wake_reprompt_text="Go on.",
    wake_interrupt_text="I listen.",
    wake_resume_text="Where was I?",
    wake_cancel_text="All right.",
    wake_timeout_text="Never mind.",
)


@pytest.mark.parametrize(
    ("event_type", "said", "opens"),
    [
        ("wake", "Go on.", True),
        (" WAKE ", "Go on.", True),
        ("interrupt", "I listen.", True),
        ("resume", "Where was I?", False),
        ("Cancelled", "All right.", False),
        ("timeout", "Never mind.", False),
    ],
)
def test_wake_events_open_or_close_the_window_and_speak_their_text(event_type: str, said: str, opens: bool) -> None:
    gate = awake(TEXTS)

    assert (Say(text=said, utt_id="t1"),) == gate.wake_event(1, event_type, tts_id="t1")
    assert (passed("hi") if opens else DROPPED) == gate.utterance(8.5 if opens else 2, "hi")


@pytest.mark.parametrize("event_type", ["wake", "interrupt", "resume", "cancelled", "timeout"])
def test_blank_texts_are_silence(event_type: str) -> None:

    assert () == awake().wake_event(0, event_type)


def test_an_unknown_wake_event_changes_nothing() -> None:
    gate = awake()

    assert () == gate.wake_event(1, "error")
    assert passed("hi") == gate.utterance(2, "hi")


def test_a_timeout_after_the_utterance_says_nothing() -> None:
    gate = awake(TEXTS)
    gate.utterance(1, "what is the weather")

    assert () == gate.wake_event(3, "timeout")


@pytest.mark.parametrize("event_type", ["timeout", "resume", "cancelled"])
def test_the_wake_service_cannot_close_the_response_window(event_type: str) -> None:
    gate = awake()
    gate.utterance(1, "what is the weather")
    spoke(gate, 2)
    gate.wake_event(3, event_type)

    assert passed("and tomorrow?") == gate.utterance(5, "and tomorrow?")


@pytest.mark.parametrize(("now_s", "verdict"), [(4.9, passed("slow sentence")), (5.0, DROPPED)])
def test_a_grace_keeps_the_window_open_after_a_timeout(now_s: float, verdict: Verdict) -> None:
    gate = awake(RouterSettings(wake_ack_enabled=False, wake_timeout_grace_s=2.0))
    gate.wake_event(3, "timeout")

    assert verdict == gate.utterance(now_s, "slow sentence")


def test_a_grace_never_makes_the_window_longer() -> None:
    gate = awake(RouterSettings(wake_ack_enabled=False, wake_timeout_grace_s=20.0))
    gate.wake_event(3, "timeout")

    assert DROPPED == gate.utterance(8, "too late")


@pytest.mark.parametrize(
    ("heard", "routed"),
    [
        ("hey tars, turn left", "turn left"),
        ("Hey TARS turn left.", "turn left."),
        ("Hey, Tars! What time is it?", "What time is it?"),
        ("hey tars hey tars - go", "go"),
        ("...Hey Tars: say Hi", "say Hi"),
        ("hey tarsier", "hey tarsier"),
        ("say hey tars", "say hey tars"),
        ("hey", "hey"),
        ("  turn left ", "turn left"),
    ],
)
def test_a_leading_wake_phrase_is_taken_off(heard: str, routed: str) -> None:

    assert passed(routed) == awake().utterance(1, heard)


def test_the_longest_wake_phrase_is_taken_off() -> None:
    gate = awake(RouterSettings(wake_ack_enabled=False, wake_phrases=("OK", "ok don't panic")))

    assert passed("run") == gate.utterance(0, "Ok, don't panic, run")


def test_without_wake_phrases_nothing_is_taken_off() -> None:

    assert passed("hey tars") == awake(RouterSettings(wake_ack_enabled=False, wake_phrases=())).utterance(0, "hey tars")


def test_the_bare_wake_phrase_in_a_wake_window_renews_it_without_a_second_acknowledgement() -> None:
    gate = awake(RouterSettings())

    assert Verdict("wake-phrase") == gate.utterance(5, "Hey Tars.")
    assert passed("hi") == gate.utterance(12, "hi")


def test_the_bare_wake_phrase_in_a_response_window_is_a_wake() -> None:
    gate = Gate(RouterSettings())
    spoke(gate, 0)

    assert Verdict("wake-phrase", says=(Say(text="Hmm?", utt_id="wake-ack-5", style="friendly", wake_ack=True),)) == gate.utterance(
        9, "hey tars", epoch_ms=5
    )
    assert passed("hi") == gate.utterance(16, "hi")


def test_live_mode_lets_everything_through_until_it_is_left() -> None:
    gate = awake()

    assert Verdict("live-mode", says=(Say(text="Live mode enabled.", utt_id="u1", system_announce=True),)) == gate.utterance(
        1, "Enter  live-mode!", utt_id="u1"
    )
    assert [passed("one"), passed("two")] == [gate.utterance(100, text) for text in ("one", "two")]
    assert Verdict("live-mode", says=(Say(text="Live mode is already active.", system_announce=True),)) == gate.utterance(
        101, "enter live mode"
    )
    assert Verdict("live-mode", says=(Say(text="Live mode disabled.", system_announce=True),)) == gate.utterance(102, "exit live mode")
    assert DROPPED == gate.utterance(103, "three")


def test_live_mode_is_entered_only_through_an_open_window() -> None:

    assert DROPPED == Gate(QUIET).utterance(0, "enter live mode")


def test_leaving_live_mode_twice_is_answered() -> None:

    assert (Say(text="Live mode is already off.", system_announce=True),) == awake().utterance(0, "hey tars, exit live mode").says


@pytest.mark.parametrize("live", [True, False])
def test_leaving_live_mode_closes_both_windows(live: bool) -> None:
    gate = awake(RouterSettings(wake_ack_enabled=False, live_mode_default=live))
    spoke(gate, 0)
    gate.utterance(1, "exit live mode")

    assert DROPPED == gate.utterance(2, "somebody passing by")


def test_live_mode_can_be_the_default() -> None:

    assert passed("hi") == Gate(RouterSettings(live_mode_default=True)).utterance(0, "hi")


EVENTS = st.one_of(
    st.tuples(st.just("wake"), st.sampled_from(["wake", "interrupt", "resume", "cancelled", "timeout", "error"])),
    st.tuples(st.just("hear"), st.sampled_from(["hi", "", "hey tars", "hey tars, go", "what time is it"])),
    st.tuples(st.just("spoke"), st.sampled_from(["answer", "ack", "announcement"])),
)


@given(st.lists(st.tuples(st.floats(0, 6), EVENTS), max_size=40))
def test_no_utterance_passes_that_was_not_invited(events: list[tuple[float, tuple[str, str]]]) -> None:
    gate = Gate(QUIET)
    now_s = 0.0
    invitations_end_s = -1.0
    for pause_s, (what, detail) in events:
        now_s += pause_s
        if what == "wake":
            gate.wake_event(now_s, detail)
            if detail in {"wake", "interrupt"}:
                invitations_end_s = max(invitations_end_s, now_s + 8)
        elif what == "spoke":
            spoke(gate, now_s, wake_ack=detail == "ack", system_announce=detail == "announcement")
            if detail == "answer":
                invitations_end_s = max(invitations_end_s, now_s + 10)
        else:
            verdict = gate.utterance(now_s, detail)

            assert verdict.text is None or now_s < invitations_end_s
            if verdict.reason == "passed":
                invitations_end_s = -1.0
            elif verdict.reason == "wake-phrase":
                invitations_end_s = max(invitations_end_s, now_s + 8)
