"""What the router answers itself."""

from __future__ import annotations

import pytest

from tars.actors.services.router.rules import clock, route
from tars.actors.services.router.say import Say


def answer(text: str) -> str | None:
    said = route(text, hour=15, minute=7, wake_phrases=("hey tars",))
    return said.text if said else None


@pytest.mark.parametrize("text", ["What time is it?", "do you know what time it is", "Hey, time is it?", "WHAT TIME"])
def test_the_time_is_told(text: str) -> None:

    assert "It is 3:07 PM." == answer(text)


@pytest.mark.parametrize(
    ("hour", "minute", "text"), [(0, 0, "12:00 AM"), (9, 5, "9:05 AM"), (12, 0, "12:00 PM"), (13, 30, "1:30 PM"), (23, 59, "11:59 PM")]
)
def test_the_time_is_told_on_a_twelve_hour_clock(hour: int, minute: int, text: str) -> None:

    assert text == clock(hour, minute)


@pytest.mark.parametrize(
    ("text", "said"), [("say cheese", "cheese"), ("Say  Good Morning, Dave.", "Good Morning, Dave."), ("say", None), ("saying yes", None)]
)
def test_say_is_echoed(text: str, said: str | None) -> None:

    assert said == answer(text)


@pytest.mark.parametrize("text", ["hello", "Hi!", "hey", "Hiya.", "howdy", "hello there", "Hello, hello", "Hi, Tars!", "hey again"])
def test_a_greeting_is_greeted(text: str) -> None:

    assert "Hello! How can I help?" == answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hello, who are you?",
        "who sang hello from the other side",
        "hi, what is the weather",
        "how do you say hi in French",
        "there",
        "tars",
        "somewhat timeless",
        "",
    ],
)
def test_a_question_with_a_greeting_in_it_is_for_the_language_model(text: str) -> None:

    assert answer(text) is None


def test_an_answer_carries_the_utterance_it_answers() -> None:

    assert Say(text="Hello! How can I help?", style="friendly", utt_id="u1", stt_ts=2.5) == route(
        "hi", hour=0, minute=0, utt_id="u1", stt_ts=2.5
    )
    assert Say(text="yes", utt_id="u1", stt_ts=2.5) == route("say yes", hour=0, minute=0, utt_id="u1", stt_ts=2.5)
