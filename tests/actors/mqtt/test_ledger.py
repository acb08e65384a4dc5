"""An actor's own failure budget, as arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.ledger import MAX_PARK_S, Ledger


def test_the_budget_is_spent_by_failures_in_a_row() -> None:
    ledger = Ledger(3, 30.0)

    assert [None, None, 30.0] == [ledger.failed() for _ in range(3)]
    assert ledger.parked


def test_a_handled_message_gives_the_whole_budget_back() -> None:
    ledger = Ledger(3, 30.0)
    for _ in range(10):
        assert [None, None] == [ledger.failed(), ledger.failed()]
        assert not ledger.succeeded()


def test_a_trial_has_a_budget_of_one_and_a_failed_one_doubles_the_time_up_to_an_hour() -> None:
    ledger = Ledger(1, 30.0)
    parks_s = []
    for _ in range(100):
        parks_s.append(ledger.failed())
        ledger.begin()

    assert [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, MAX_PARK_S, MAX_PARK_S] == parks_s[:9]
    assert {MAX_PARK_S} == set(parks_s[7:])


def test_a_trial_that_succeeds_is_a_recovery_and_the_next_park_is_short_again() -> None:
    ledger = Ledger(2, 30.0)
    for _ in range(2):
        ledger.failed()
    ledger.begin()
    ledger.failed()
    ledger.begin()

    assert ledger.succeeded()
    assert not ledger.succeeded()
    assert [None, 30.0] == [ledger.failed(), ledger.failed()]


def test_an_incarnation_that_was_not_parked_is_no_trial() -> None:
    ledger = Ledger(2, 30.0)
    ledger.failed()
    ledger.begin()

    assert not ledger.on_trial


@given(limit=st.integers(1, 5), outcomes=st.lists(st.booleans(), max_size=60))
def test_it_is_parked_exactly_when_the_budget_is_spent(limit: int, outcomes: list[bool]) -> None:
    ledger, in_a_row, on_trial = Ledger(limit, 1.0), 0, False
    for good in outcomes:
        if good:
            assert on_trial == ledger.succeeded()
            in_a_row, on_trial = 0, False
            continue
        in_a_row += 1
        parked = on_trial or in_a_row >= limit

        assert parked == (ledger.failed() is not None) == ledger.parked
        if parked:
            ledger.begin()
            on_trial = True
