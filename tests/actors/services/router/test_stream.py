"""One streamed answer: order, loss, bounds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.sentences import Cutter
from tars.actors.services.router.stream import Stream

PLAIN = Cutter()


def new_stream(*, cutter: Cutter = PLAIN, max_held: int = 512, max_chars: int = 100_000) -> Stream:
    return Stream(cutter, max_held, max_chars)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_three_deltas_are_three_sentences() -> None:
    stream = new_stream()

    assert [("One.",), ("Two.",), ("Three.",)] == [stream.delta(0, seq, text) for seq, text in ((1, "One."), (2, " Two."), (3, " Three."))]
    assert () == stream.delta(0, 4, "", done=True)
    assert stream.finished


def test_done_speaks_what_is_left() -> None:
    stream = new_stream()

    assert () == stream.delta(0, 1, "and so")
    assert ("and so on",) == stream.delta(0, 2, " on", done=True)


def test_deltas_out_of_order_are_spoken_in_order() -> None:
    stream = new_stream()

    assert () == stream.delta(0, 2, " Second.")
    assert () == stream.delta(0, 4, "", done=True)
    assert stream.overdue
    assert ("First.", "Second.") == stream.delta(0, 1, "First.")
    assert ("Third.",) == stream.delta(0, 3, " Third.")
    assert stream.finished
    assert not stream.overdue


def test_deltas_without_numbers_keep_arrival_order() -> None:
    stream = new_stream()

    assert ("One.",) == stream.delta(0, None, "One.")
    assert ("Two",) == stream.delta(0, None, " Two", done=True)


def test_an_unnumbered_end_waits_for_what_is_missing() -> None:
    stream = new_stream()
    stream.delta(0, 2, " B.")

    assert () == stream.delta(0, None, "", done=True)
    assert stream.overdue
    assert ("A.", "B.") == stream.delta(0, 1, "A.")
    assert stream.finished


def test_a_repeated_delta_is_spoken_once() -> None:
    stream = new_stream()

    assert ("One.",) == stream.delta(0, 1, "One.")
    assert () == stream.delta(0, 1, "One.")
    assert () == stream.delta(0, 3, " Three.")
    assert () == stream.delta(0, 3, " Three.")
    assert ("Two.", "Three.") == stream.delta(0, 2, " Two.")


def test_a_stream_numbered_from_nought_is_in_order_too() -> None:
    stream = new_stream()

    assert [("One.",), ("Two.",)] == [stream.delta(0, seq, text) for seq, text in ((0, "One."), (1, " Two."))]


def test_a_lost_delta_is_counted_when_the_stream_is_flushed() -> None:
    stream = new_stream()
    stream.delta(0, 1, "One.")
    stream.delta(0, 4, " Four.")
    stream.delta(0, 5, "", done=True)

    assert 0 == stream.lost
    assert ("Four.",) == stream.flush()
    assert 2 == stream.lost
    assert stream.finished
    assert () == stream.flush()


def test_what_is_held_back_is_bounded() -> None:
    stream = new_stream(max_held=3)

    assert [()] * 3 == [stream.delta(0, seq, f" {'abcdefgh'[seq]} it is.") for seq in (3, 4, 6)]
    assert ("d it is.", "e it is.") == stream.delta(0, 7, " late.")
    assert 2 == stream.lost
    assert () == stream.delta(0, 1, "Late.")


def test_a_text_without_end_is_not_kept() -> None:
    stream = new_stream(max_chars=10)

    assert ("It fits.",) == stream.delta(0, 1, "It fits.")
    assert () == stream.delta(0, 2, " This does not.")
    assert 1 == stream.lost
    assert ("a",) == stream.delta(0, 3, " a", done=True)


def test_nothing_comes_after_the_end() -> None:
    stream = new_stream()
    stream.delta(0, None, "End", done=True)

    assert () == stream.delta(0, None, " more.")
    assert ["End"] == stream.spoken


@st.composite
def split_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    deltas = draw(st.lists(st.text(st.one_of(st.sampled_from(" .!?:\nabc17"), st.characters()), max_size=30), max_size=20))
    return "".join(deltas), deltas


CUTTERS = st.builds(
    lambda sizes, boundary_only: Cutter(".!?;:", boundary_only, *sizes),
    st.lists(st.integers(1, 60), min_size=3, max_size=3).map(sorted),
    st.booleans(),
)


@given(split_texts(), CUTTERS, st.randoms(use_true_random=False))
def test_any_split_in_any_arrival_order_is_spoken_as_the_text(split: tuple[str, list[str]], cutter: Cutter, chance: random.Random) -> None:
    text, deltas = split
    numbered = [*((seq, delta, False) for seq, delta in enumerate(deltas, 1)), (len(deltas) + 1, "", True)]
    in_order, shuffled = new_stream(cutter=cutter), new_stream(cutter=cutter)
    for seq, delta, done in numbered:
        in_order.delta(0, seq, delta, done=done)
    chance.shuffle(numbered)
    for seq, delta, done in numbered:
        shuffled.delta(0, seq, delta, done=done)

    assert shuffled.finished
    assert in_order.spoken == shuffled.spoken
    assert squeezed(text) == squeezed("".join(shuffled.spoken))
    assert all(len(piece) <= cutter.hard_max_chars for piece in shuffled.spoken)
    assert 0 == shuffled.lost


@given(split_texts(), CUTTERS)
def test_without_numbers_arrival_order_is_the_text(split: tuple[str, list[str]], cutter: Cutter) -> None:
    text, deltas = split
    stream = new_stream(cutter=cutter)
    for delta in deltas:
        stream.delta(0, None, delta)
    stream.flush()

    assert squeezed(text) == squeezed("".join(stream.spoken))


@given(st.lists(st.tuples(st.none() | st.integers(-2, 30), st.booleans()), max_size=60), st.integers(1, 5))
def test_whatever_arrives_a_flush_ends_the_stream(events: list[tuple[int | None, bool]], max_held: int) -> None:
    stream = new_stream(max_held=max_held)
    for seq, done in events:
        stream.delta(0, seq, f" {seq}.", done=done)
    stream.flush()

    assert stream.finished
    assert not stream.overdue
