"""The backoff law (B1), as properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.cases import case
from tars.supervisor import NO_BACKOFF, Backoff, SpecError

SECONDS = st.floats(0, 1000, allow_subnormal=False)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    initial_s = draw(SECONDS)
    return Backoff(
        initial_s=initial_s,
        max_s=initial_s + draw(SECONDS),
        factor=draw(st.floats(1, 10)),
        jitter=draw(st.floats(0, 1)),
    )


@case("B1")
@given(backoffs(), st.integers(0, 5000), st.floats(0, 1, exclude_max=True))
def test_a_delay_lies_between_the_jittered_floor_and_the_cap(backoff: Backoff, attempt: int, chance: float) -> None:
    delay_s = backoff.delay_s(attempt, chance)
    growth = math.inf if attempt * math.log(backoff.factor) > 600 else backoff.factor**attempt
    ceiling_s = min(backoff.max_s, backoff.initial_s * growth) if backoff.initial_s else 0.0
    floor_s = ceiling_s * (1 - backoff.jitter)

    assert delay_s <= backoff.max_s
    assert floor_s <= delay_s * (1 + 1e-9) + 1e-9
    assert delay_s <= ceiling_s * (1 + 1e-9) + 1e-9


@case("B1")
def test_without_jitter_it_is_exactly_base_twice_base_up_to_the_cap() -> None:
    backoff = Backoff(initial_s=0.5, max_s=5.0, factor=2.0, jitter=0.0)

    assert [0.5, 1.0, 2.0, 4.0, 5.0, 5.0] == [backoff.delay_s(attempt, 0.7) for attempt in range(6)]


@given(backoffs(), st.floats(0, 1, exclude_max=True))
def test_without_jitter_it_never_shrinks(backoff: Backoff, chance: float) -> None:
    plain = Backoff(initial_s=backoff.initial_s, max_s=backoff.max_s, factor=backoff.factor, jitter=0.0)
    delays = [plain.delay_s(attempt, chance) for attempt in range(50)]

    assert sorted(delays) == delays


@case("B1")
def test_full_jitter_reaches_from_nothing_to_the_ceiling() -> None:
    backoff = Backoff(initial_s=1.0, max_s=8.0, factor=2.0, jitter=1.0)

    assert backoff.delay_s(3, 0.0) == 8.0
    assert 0.0 < backoff.delay_s(3, 0.999) < 0.01


@case("B1")
@pytest.mark.parametrize("attempt", [1024, 10**6])
def test_a_huge_attempt_is_the_cap_and_not_an_overflow(attempt: int) -> None:
    assert Backoff(initial_s=0.1, max_s=30.0, jitter=0.0).delay_s(attempt, 0.0) == 30.0


def test_no_backoff_restarts_at_once_always() -> None:
    assert [0.0] * 4 == [NO_BACKOFF.delay_s(attempt, 0.5) for attempt in (0, 1, 50, 5000)]


@given(st.integers(0, 5000))
def test_a_backoff_that_starts_at_zero_stays_at_zero(attempt: int) -> None:
    assert Backoff(initial_s=0.0).delay_s(attempt, 0.5) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_s": -1.0},
        {"initial_s": math.nan},
        {"max_s": math.inf},
        {"initial_s": 2.0, "max_s": 1.0},
        {"factor": 0.5},
        {"factor": math.inf},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"stable_s": -1.0},
        {"initial_s": "1"},
        {"stable_s": None},
    ],
    ids=repr,
)
def test_a_backoff_that_cannot_mean_anything_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=r"Backoff\.(initial_s|max_s|factor|jitter|stable_s)"):
        Backoff(**wrong)
