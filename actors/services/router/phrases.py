"""Comparing what was transcribed with phrases: case, punctuation and spacing do not count."""

from __future__ import annotations

import re
from collections.abc import Sequence

_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")
_NOT_WORDS = re.compile(r"[\W_]+")
_WORDS = re.compile("[\\w'\N{RIGHT SINGLE QUOTATION MARK}]+")
_AFTER_A_PHRASE = " \t\r\n,.;:!?-\N{HORIZONTAL ELLIPSIS}\N{EN DASH}\N{EM DASH}"


def normalised(text: str) -> str:
    """Lower case, no punctuation, one space between words: ``"Enter  LIVE-mode!"`` is ``"enter live mode"``."""
    return _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", text.lower())).strip()


def wake_phrase_pattern(phrases: Sequence[str]) -> re.Pattern[str] | None:
    """Matches any of `phrases` at the front, ending at a word's end. None when there is no phrase.

    The longest phrase is tried first: with "hey tars" and "hey tars please", all of the latter is taken.
    """
    spoken = sorted((words for phrase in phrases if (words := _WORDS.findall(phrase))), key=len, reverse=True)
    if not spoken:
        return None
    choices = "|".join(r"[\W_]+".join(map(re.escape, words)) for words in spoken)
    return re.compile(rf"[\W_]*(?:{choices})(?!\w)", re.IGNORECASE)


def without_wake_phrase(text: str, pattern: re.Pattern[str] | None) -> tuple[str, bool]:
    """`text` without the wake phrases it begins with and the punctuation after them; and whether there were any."""
    start = 0
    while pattern and (match := pattern.match(text, start)):
        start = match.end()
    if start == 0:
        return text.strip(), False
    return text[start:].lstrip(_AFTER_A_PHRASE).rstrip(), True
