"""The conversation as it is told to the language model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tars.actors.services.router.history import History, Turn


def test_an_answer_enters_once_and_its_last_version_stays() -> None:
    history = History(10)
    history.asked("1", "q")
    history.answered("1", "first version")
    history.asked("2", "r")
    history.answered("1", "last version")

    assert (Turn("user", "q"), Turn("assistant", "last version"), Turn("user", "r")) == history.turns()


def test_a_blank_answer_is_no_turn() -> None:
    history = History(10)
    history.answered("1", " ")

    assert () == history.turns()


@given(st.integers(0, 5), st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=2)), max_size=30))
def test_no_more_than_the_last_turns_are_kept(limit: int, said: list[tuple[bool, str]]) -> None:
    history = History(limit)
    for by_user, request_id in said:
        (history.asked if by_user else history.answered)(request_id, "text")

        assert len(history.turns()) <= limit
