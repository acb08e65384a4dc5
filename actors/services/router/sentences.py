"""Where a growing text may be cut so that each piece can be spoken.

Law: a pure function of the text so far. Nothing is lost and nothing is invented: the pieces, put together, are the text up
to white space. No piece is longer than the limit. A cut always takes something, so cutting ends.

A boundary character ends a sentence when white space or the end of the text follows it. At the end of what has arrived so
far that may be premature ("3." may become "3.14"), so a number, an initial or an abbreviation waits for what comes next.
"""

from __future__ import annotations

import re

import attrs

_CLOSERS = "\"')]}»*_\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_OPENERS = "\"'([{«*_\N{LEFT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
_ALWAYS_GO_ON = frozenset(
    (
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "vs",
        "cf",
        "e.g",
        "i.e",
        "approx",
        "fig",
        "gen",
        "sen",
        "rep",
        "rev",
        "capt",
        "lt",
        "col",
        "mt",
    )
)
_MAY_END = frozenset(("etc", "inc", "ltd", "co", "corp", "jr", "sr"))
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_ENUMERATOR = re.compile(r"\d{1,3}")
_PRONOUNCEABLE = re.compile(r"[^\W_]")


def _boundary_pattern(chars: str) -> re.Pattern[str]:
    boundary = re.escape(chars)
    return re.compile(rf"([{boundary}]+)[{boundary}{re.escape(_CLOSERS)}]*")


@attrs.frozen
class Cutter:
    """How to cut. All sizes in characters, `min_chars` <= `max_chars` <= `hard_max_chars`.

    `boundary_only`: cut at the end of a sentence, however long, and only at `hard_max_chars` elsewhere.
    Otherwise a text of `min_chars` without the end of a sentence is cut too, between words, and no piece exceeds `max_chars`.
    """

    boundary_chars: str = ".!?;:"
    boundary_only: bool = True
    min_chars: int = 60
    max_chars: int = 240
    hard_max_chars: int = 2000
    _boundary: re.Pattern[str] = attrs.field(init=False, repr=False, eq=False)

    @_boundary.default
    def _compile(self) -> re.Pattern[str]:
        return _boundary_pattern(self.boundary_chars)

    def cut(self, text: str, *, last: bool = False) -> tuple[tuple[str, ...], str]:
        """The pieces that can be spoken now, and the rest. `last`: no more will come, the rest is blank."""
        pieces: list[str] = []
        start = _skip_space(text, 0)
        while start < len(text):
            end = self._end(text, start, last=last)
            if end is None:
                break
            pieces.append(text[start:end].rstrip())
            start = _skip_space(text, end)
        return tuple(pieces), text[start:]

    def _end(self, text: str, start: int, *, last: bool) -> int | None:
        """Where the piece that begins at `start` (not white space) ends; None: not yet."""
        limit = self.hard_max_chars if self.boundary_only else min(self.max_chars, self.hard_max_chars)
        stop = min(len(text), start + limit)
        first = _PRONOUNCEABLE.search(text, start, stop)  # punctuation alone goes along with what follows it
        for match in self._boundary.finditer(text, first.end(), stop) if first else ():
            if _ends_sentence(text, start, match, last=last):
                return match.end()
        left = len(text) - start
        if left > limit:
            return _last_space(text, start, start + limit) or start + limit
        if last:
            return len(text)
        if not self.boundary_only and left >= self.min_chars:
            return _last_space(text, start, len(text) - 1)
        return None


def wrapped(text: str, limit: int) -> tuple[str, ...]:
    """`text` whole, or cut between words into pieces of at most `limit` characters. Blank text: no piece."""
    pieces: list[str] = []
    start = _skip_space(text, 0)
    while start < len(text):
        end = len(text) if len(text) - start <= limit else _last_space(text, start, start + limit) or start + limit
        pieces.append(text[start:end].rstrip())
        start = _skip_space(text, end)
    return tuple(pieces)


def _ends_sentence(text: str, start: int, match: re.Match[str], *, last: bool) -> bool:
    end = match.end()
    mark = match[1]
    if not mark.isascii():
        return True  # "。" needs no space after it
    at_end = end == len(text)
    if not at_end and not text[end].isspace():
        return False  # 3.14, 12:30, example.com
    if at_end and last:
        return True
    before = text[start : match.start()]
    if at_end and before[-1].isdigit() and mark[0] not in "!?":
        return False
    return mark != "." or _period_ends(before, _next_visible(text, end))


def _period_ends(before: str, following: str) -> bool:
    """Whether a single period after `before` ends the sentence. `following`: the next visible character, "" when unknown."""
    if _ENUMERATOR.fullmatch(before.rsplit("\n", 1)[-1].strip()):
        return False  # "1." begins a line of a list
    token = before.rsplit(maxsplit=1)[-1].strip(_OPENERS)
    word = token.lower()
    if word in _ALWAYS_GO_ON:
        return False
    if word in _MAY_END:
        return following.isupper()
    if token == before.strip() and len(token) == 1:
        return True  # a letter and nothing else is an answer, not an initial
    if _INITIALS.fullmatch(token):
        return "." in token and token.islower() and following.isupper()  # "9 a.m. Then", but not "U.S. Navy" or "J. Smith"
    return True


def _next_visible(text: str, start: int) -> str:
    index = _skip_space(text, start)
    return text[index] if index < len(text) else ""


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _last_space(text: str, start: int, stop: int) -> int | None:
    """The index of the last white space in ``text[start + 1 : stop + 1]``."""
    return next((index for index in range(stop, start, -1) if text[index].isspace()), None)
