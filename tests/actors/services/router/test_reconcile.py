"""What of an answer has not been heard yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.reconcile import remainder
from tars.actors.services.router.sentences import Cutter

CASES = [
    ("nothing spoken", [], " Hello. ", "Hello.", True),
    ("all spoken", ["One.", "Two."], "One.  Two.\n", "", True),
    ("a prefix spoken", ["One."], "One. Two. Three.", "Two. Three.", True),
    ("markup and case make no difference", ["**One**,", "two."], "one - TWO. Three", "Three", True),
    ("the reply stops short", ["One.", "Two.", "Three."], "One. Tw", "", True),
    ("a lost sentence", ["One.", "Three."], "One. Two. Three.", "Two. Three.", False),
    ("nothing agrees", ["Something else."], "One. Two.", "One. Two.", False),
    ("the difference is inside a word", ["One.", "Twofold."], "One. Twosome.", "Twosome.", False),
    ("what hangs on a spoken word is not spoken", ["one"], 'one!" Two', "Two", True),
    ("a sign belongs to what follows", ["It is"], "It is -5.", "-5.", True),
    ("only punctuation is left", ["One"], "One...!", "", True),
    ("an expanding letter", ["STRASSE"], "Straße und", "und", True),
]


@pytest.mark.parametrize(("spoken", "reply", "residue", "agrees"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_only_what_has_not_been_heard_remains(spoken: list[str], reply: str, residue: str, agrees: bool) -> None:

    assert (residue, agrees) == remainder(spoken, reply)


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


@given(st.text(st.one_of(st.sampled_from(" .!?abcß"), st.characters()), max_size=100), st.integers(0, 30), st.integers(1, 20))
def test_spoken_pieces_and_the_remainder_are_the_reply(text: str, how_many: int, limit: int) -> None:
    pieces, _ = Cutter(min_chars=1, max_chars=limit, hard_max_chars=limit).cut(text, last=True)
    spoken = pieces[:how_many]
    residue, agrees = remainder(spoken, text)

    assert agrees
    assert letters(text) == letters("".join(spoken) + residue)
