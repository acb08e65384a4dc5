"""The dedup window as arithmetic: what is remembered, for how long, and how much of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.window import DoneWindow

KEYS = st.sampled_from("abcde")
SUBSCRIPTIONS = st.frozensets(st.sampled_from(("s1", "s2", "s3")), min_size=1)
STEPS = st.lists(st.tuples(st.integers(0, 15), KEYS, SUBSCRIPTIONS), max_size=40)


@pytest.mark.parametrize(
    ("age_s", "known"),
    [(0.0, {"s1"}), (29.9, {"s1"}), (30.0, {"s1"}), (30.1, set())],
)
def test_a_success_is_remembered_for_its_time_and_no_longer(age_s: float, known: set[str]) -> None:
    window = DoneWindow(30.0, 10)
    window.record("a", ["s1"], 100.0)

    assert known == window.finished("a", 100.0 + age_s)


def test_it_does_not_slide() -> None:
    window = DoneWindow(30.0, 10)
    for now in (0.0, 10.0, 20.0, 30.0):
        window.record("a", ["s1"], now)

    assert frozenset() == window.finished("a", 31.0)


def test_a_success_after_the_time_is_remembered_anew_even_if_nobody_looked_in_between() -> None:
    window = DoneWindow(30.0, 10)
    window.record("a", ["s1"], 0.0)
    window.record("a", ["s2"], 31.0)

    assert {"s2"} == window.finished("a", 60.0)


def test_subscriptions_of_one_message_are_remembered_one_by_one() -> None:
    window = DoneWindow(30.0, 10)
    window.record("a", ["s1"], 0.0)
    window.record("a", ["s2"], 1.0)

    assert {"s1", "s2"} == window.finished("a", 2.0)


def test_the_oldest_go_first_when_there_are_too_many() -> None:
    window = DoneWindow(30.0, 2)
    for key in "abc":
        window.record(key, ["s1"], 0.0)

    assert 2 == len(window)
    assert [set(), {"s1"}, {"s1"}] == [window.finished(key, 0.0) for key in "abc"]


@pytest.mark.parametrize(("ttl_s", "max_entries"), [(0.0, 10), (30.0, 0)])
def test_a_window_without_time_or_room_remembers_nothing(ttl_s: float, max_entries: int) -> None:
    window = DoneWindow(ttl_s, max_entries)
    window.record("a", ["s1"], 0.0)

    assert frozenset() == window.finished("a", 0.0)


@given(steps=STEPS)
def test_nothing_is_known_that_was_not_recorded_within_the_time(steps: list[tuple[int, str, frozenset[str]]]) -> None:
    window, now, last = DoneWindow(30.0, 3), 0.0, dict[tuple[str, str], float]()
    for wait_s, key, subscriptions in steps:
        now += wait_s
        window.record(key, subscriptions, now)
        last.update({(key, subscription): now for subscription in subscriptions})

        assert len(window) <= 3
        for each in "abcde":
            assert all(now - last[each, subscription] <= 30.0 for subscription in window.finished(each, now))


@given(steps=STEPS)
def test_the_first_success_of_a_message_is_known_for_the_whole_time(steps: list[tuple[int, str, frozenset[str]]]) -> None:
    window, now, since = DoneWindow(30.0, 100), 0.0, dict[str, tuple[float, frozenset[str]]]()
    for wait_s, key, subscriptions in steps:
        now += wait_s
        since = {each: entry for each, entry in since.items() if now - entry[0] <= 30.0}
        first, known = since.get(key, (now, frozenset()))
        since[key] = (first, known | subscriptions)
        window.record(key, subscriptions, now)

        assert {each: known for each, (_, known) in since.items()} == {
            each: found for each in "abcde" if (found := window.finished(each, now))
        }
