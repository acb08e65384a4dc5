"""Restart types and exit kinds, as a table (A5, D4)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.supervisor import Escalate, Exit, ExitKind, Restart, Stop, Unavailable
from tars.supervisor.restart import classify, leaves, wants_restart

BUG = ValueError("bug")
ENDINGS = [
    (None, ExitKind.NORMAL),
    (Stop(), ExitKind.STOP),
    (Stop("why"), ExitKind.STOP),
    (Unavailable("broker"), ExitKind.UNAVAILABLE),
    (Escalate("broken"), ExitKind.ESCALATE),
    (BUG, ExitKind.CRASH),
    (asyncio.CancelledError(), ExitKind.FATAL),
    (KeyboardInterrupt(), ExitKind.FATAL),
    (SystemExit(3), ExitKind.FATAL),
]
WORST_FIRST = [ExitKind.FATAL, ExitKind.ESCALATE, ExitKind.CRASH, ExitKind.UNAVAILABLE, ExitKind.STOP]


@pytest.mark.parametrize(("error", "kind"), ENDINGS[:6] + ENDINGS[7:], ids=repr)
def test_an_ending_is_named_by_what_was_raised(error: BaseException | None, kind: ExitKind) -> None:

    assert Exit(kind, error) == classify(error)


@pytest.mark.parametrize(("error", "kind"), [pair for pair in ENDINGS if isinstance(pair[0], Exception)], ids=repr)
def test_a_lone_exception_three_groups_deep_is_named_like_the_bare_one(error: Exception, kind: ExitKind) -> None:
    nested = ExceptionGroup("a", [ExceptionGroup("b", [ExceptionGroup("c", [error])])])

    assert kind is classify(nested).kind
    assert nested is classify(nested).error


@pytest.mark.parametrize(
    ("together", "kind"),
    [
        ([Stop(), BUG], ExitKind.CRASH),
        ([Unavailable(), BUG], ExitKind.CRASH),
        ([Unavailable(), Stop()], ExitKind.UNAVAILABLE),
        ([Escalate("x"), BUG], ExitKind.ESCALATE),
        ([Escalate("x"), KeyboardInterrupt()], ExitKind.FATAL),
        ([SystemExit(), BUG, Stop()], ExitKind.FATAL),
    ],
    ids=repr,
)
def test_in_a_group_the_worst_leaf_decides(together: list[BaseException], kind: ExitKind) -> None:

    assert kind is classify(BaseExceptionGroup("", together)).kind
    assert kind is classify(BaseExceptionGroup("", together[::-1])).kind


LEAF: st.SearchStrategy[BaseException] = st.one_of(
    st.builds(Stop),
    st.builds(Unavailable, st.just("x")),
    st.builds(Escalate, st.just("x")),
    st.builds(ValueError),
    st.builds(KeyboardInterrupt),
)
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda errors: BaseExceptionGroup("", errors)), max_leaves=8
)


@given(TREE)
def test_nesting_changes_nothing_only_the_leaves_count(error: BaseException) -> None:
    kinds = [classify(leaf).kind for leaf in leaves(error)]

    assert min(kinds, key=WORST_FIRST.index) is classify(error).kind


@pytest.mark.parametrize(
    ("kind", "permanent", "transient"),
    [
        (ExitKind.NORMAL, True, False),
        (ExitKind.STOP, True, False),
        (ExitKind.SHUTDOWN, True, False),
        (ExitKind.CRASH, True, True),
        (ExitKind.UNAVAILABLE, True, True),
    ],
)
def test_permanent_always_transient_when_abnormal_temporary_never(kind: ExitKind, *, permanent: bool, transient: bool) -> None:
    ended = Exit(kind)

    assert permanent is wants_restart(Restart.PERMANENT, ended)
    assert transient is wants_restart(Restart.TRANSIENT, ended)
    assert wants_restart(Restart.TEMPORARY, ended) is False
