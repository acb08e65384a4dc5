"""Questions the router answers itself, without the language model: the time, "say …", a greeting.

Law: the time of day comes in as numbers. The first rule that fits wins, in the order above.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .phrases import normalised
from .say import Say

_ASKS_THE_TIME = re.compile(r"\b(?:what time|time is it)\b")
_SAY = re.compile(r"say\s+(\S.*)", re.IGNORECASE | re.DOTALL)
_GREETINGS = frozenset(("hello", "hi", "hey", "hiya", "howdy"))
_GREETED = frozenset(("there", "again", "everyone", "everybody", "all", "robot"))


def route(
    text: str, *, hour: int, minute: int, utt_id: str | None = None, stt_ts: float | None = None, wake_phrases: Sequence[str] = ()
) -> Say | None:
    """The answer to `text`, or None: ask the language model. `hour` 0..23 and `minute` 0..59, local time.

    A greeting is an utterance that is nothing but one: "hi", "hello there", "hello, hello", "hi tars" (the words of the wake
    phrases are the robot's name). "Hello, who are you?" is a question, and goes to the language model.
    """
    words = normalised(text)
    if _ASKS_THE_TIME.search(words):
        return Say(text=f"It is {clock(hour, minute)}.", utt_id=utt_id, stt_ts=stt_ts)
    if said := _SAY.fullmatch(text.strip()):
        return Say(text=said[1], utt_id=utt_id, stt_ts=stt_ts)
    if _is_greeting(words.split(), wake_phrases):
        return Say(text="Hello! How can I help?", utt_id=utt_id, stt_ts=stt_ts, style="friendly")
    return None


def clock(hour: int, minute: int) -> str:
    """``(15, 7)`` is ``"3:07 PM"``; midnight is ``"12:00 AM"``."""
    return f"{hour % 12 or 12}:{minute:02d} {'AM' if hour < 12 else 'PM'}"


def _is_greeting(words: Sequence[str], wake_phrases: Sequence[str]) -> bool:
    names = {word for phrase in wake_phrases for word in normalised(phrase).split()}
    return bool(words) and words[0] in _GREETINGS and all(word in _GREETINGS | _GREETED | names for word in words)
