"""What of an answer has the user not heard yet?

Law: only letters and digits are compared, without case, so white space, punctuation and markup never make a difference.
Nothing that agrees is spoken twice, and nothing pronounceable stays unspoken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ATTACHED = re.compile(r"[^\w\s]*")


def remainder(spoken: Sequence[str], reply: str) -> tuple[str, bool]:
    """The part of `reply` that follows the pieces in `spoken`, and whether the two agree.

    A reply that stops short of what was spoken agrees with it. When they part, the remainder begins at the end of the last
    piece that agreed: everything after is spoken, rather than leaving something unsaid.
    """
    if not spoken:
        return reply.strip(), True
    letters: list[str] = []
    places: list[int] = []
    for index, char in enumerate(reply):
        for letter in filter(str.isalnum, char.casefold()):
            letters.append(letter)
            places.append(index)
    whole = "".join(letters)
    at = 0
    agrees = True
    for piece in spoken:
        heard = _key(piece)
        if whole.startswith(heard, at):
            at += len(heard)
        elif heard.startswith(whole[at:]):
            at = len(whole)
        else:
            agrees = False
            break
    if at == len(whole):
        return "", agrees
    start = _after(reply, places[at - 1]) if at else 0
    return reply[start:].strip(), agrees


def _key(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _after(text: str, index: int) -> int:
    """The index after the character at `index` and the marks that hang on it."""
    match = _ATTACHED.match(text, index + 1)
    return match.end() if match else index + 1
