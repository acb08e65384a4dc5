"""Cutting a growing text into pieces to speak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.sentences import Cutter, wrapped

BOUNDARY_ONLY = Cutter()
SMALL = Cutter(boundary_only=False, min_chars=10, max_chars=20, hard_max_chars=40)


def squeezed(text: str) -> str:
    return "".join(text.split())


CUTS = [
    ("one sentence", "Hello there.", ("Hello there.",), ""),
    ("several sentences are several pieces", "One. Two! Three? Four", ("One.", "Two!", "Three?"), "Four"),
    ("a number with a point", "It is 3.14 now", (), "It is 3.14 now"),
    ("a number that may go on", "It is 3.", (), "It is 3."),
    ("a number that does not go on", "It is 3. Then", ("It is 3.",), "Then"),
    ("a time of day", "At 12:30 we eat", (), "At 12:30 we eat"),
    ("a time of day that may go on", "At 12:", (), "At 12:"),
    ("for example", "Fruit, e.g. apples, is good. Yes", ("Fruit, e.g. apples, is good.",), "Yes"),
    ("an abbreviation at the end so far", "Ask Dr.", (), "Ask Dr."),
    ("a title", "Ask Dr. Who. Now", ("Ask Dr. Who.",), "Now"),
    ("initials", "By J. R. R. Tolkien of the U.S. Navy. So", ("By J. R. R. Tolkien of the U.S. Navy.",), "So"),
    ("an initial at the end so far", "By J.", (), "By J."),
    ("a letter for an answer", "A. B.", ("A.", "B."), ""),
    ("a.m. before a new sentence", "Come at 9 a.m. Bring tea", ("Come at 9 a.m.",), "Bring tea"),
    ("a.m. inside a sentence", "Come at 9 a.m. or later", (), "Come at 9 a.m. or later"),
    ("etc. before a new sentence", "Tea, milk, etc. Then go", ("Tea, milk, etc.",), "Then go"),
    ("no is a word", "No. Never.", ("No.", "Never."), ""),
    ("a numbered list", "1. Wash it.\n2. Dry it.", ("1. Wash it.", "2. Dry it."), ""),
    ("a numbered list without periods", "1. Wash it\n2. Dry it", (), "1. Wash it\n2. Dry it"),
    ("quotation marks stay with their sentence", 'He said "hi." Then left', ('He said "hi."',), "Then left"),
    ("an ellipsis", "Wait... What?", ("Wait...", "What?"), ""),
    ("punctuation alone waits for words", "... ! So", (), "... ! So"),
    ("sentences without a space between are not torn", "See example.com/a.b now", (), "See example.com/a.b now"),
    ("a colon before a list", "Take these: tea and milk", ("Take these:",), "tea and milk"),
    ("white space", " \n\t ", (), ""),
]


@pytest.mark.parametrize(("text", "pieces", "rest"), [row[1:] for row in CUTS], ids=[row[0] for row in CUTS])
def test_a_text_that_goes_on_is_cut_at_the_ends_of_sentences(text: str, pieces: tuple[str, ...], rest: str) -> None:

    assert (pieces, rest) == BOUNDARY_ONLY.cut(text)


def test_a_full_width_stop_needs_no_space_after_it() -> None:

    assert (("一。", "二。"), "三") == Cutter(boundary_chars="。").cut("一。二。三")


def test_the_last_cut_leaves_nothing() -> None:

    assert (("It is 3.",), "") == BOUNDARY_ONLY.cut("It is 3.", last=True)
    assert (("Well.", "and so"), "") == BOUNDARY_ONLY.cut("Well. and so ", last=True)


def test_a_sentence_over_the_hard_maximum_is_cut_between_words() -> None:
    cutter = Cutter(min_chars=1, max_chars=10, hard_max_chars=10)

    assert (("one two", "three four"), "five") == cutter.cut("one two three four five")
    assert (("x" * 10, "x" * 10), "xxx") == cutter.cut("x" * 23)


def test_boundary_only_mode_waits_for_the_end_of_a_sentence_however_long() -> None:
    text = "word " * 399

    assert ((), text) == BOUNDARY_ONLY.cut(text)


@pytest.mark.parametrize(
    ("text", "pieces", "rest"),
    [
        ("too short", (), "too short"),
        ("long enough by now", ("long enough by",), "now"),
        ("Short. And", ("Short.",), "And"),
        ("one-very-long-w", (), "one-very-long-w"),
        ("one-very-long-word-indeed", ("one-very-long-word-i",), "ndeed"),
    ],
)
def test_the_other_mode_also_cuts_between_words_from_the_minimum_on(text: str, pieces: tuple[str, ...], rest: str) -> None:

    assert (pieces, rest) == SMALL.cut(text)


@pytest.mark.parametrize(
    ("text", "pieces"), [("", ()), ("  ", ()), ("One. Two.", ("One. Two.",)), ("abc def ghijklmno p", ("abc def", "ghijklmno", "p"))]
)
def test_wrapping_leaves_a_text_whole_that_fits(text: str, pieces: tuple[str, ...]) -> None:

    assert pieces == wrapped(text, 9)


CUTTERS = st.builds(
    lambda sizes, **rest: Cutter(min_chars=sizes[0], max_chars=sizes[1], hard_max_chars=sizes[2], **rest),
    st.lists(st.integers(1, 40), min_size=3, max_size=3).map(sorted),
    boundary_only=st.booleans(),
    boundary_chars=st.sampled_from([".!?;:", ".", "。.", "]^-\\", ","]),
)
TEXTS = st.text(st.one_of(st.sampled_from(" .!?;:。\n\"')]-^\\13aAeg…"), st.characters()), max_size=200)


@given(CUTTERS, TEXTS, st.booleans())
def test_nothing_is_lost_invented_or_longer_than_the_limit(cutter: Cutter, text: str, last: bool) -> None:
    pieces, rest = cutter.cut(text, last=last)

    assert squeezed(text) == squeezed("".join(pieces) + rest)
    assert all(0 < len(piece) <= cutter.hard_max_chars for piece in pieces)
    assert len(rest) <= cutter.hard_max_chars
    assert not (last and rest)


@given(TEXTS, st.integers(1, 30))
def test_wrapped_pieces_are_the_text_and_fit(text: str, limit: int) -> None:
    pieces = wrapped(text, limit)

    assert squeezed(text) == squeezed("".join(pieces))
    assert all(0 < len(piece) <= limit for piece in pieces)
