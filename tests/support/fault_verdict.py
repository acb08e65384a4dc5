"""The verdict on a row of the fault table, from what was sent, taken, finished and answered. Pure.

Law: lost, out of order or invented is nothing, in any row; only what may happen twice is a row's own affair.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import attrs

from support.verifier import CLEAN, Number, Verdict, judge


class Twice(enum.Enum):
    """What may be handled a second time. Attempts of the failure ladder do not count."""

    NOTHING = "nothing"
    ATTEMPT = "nothing, but one message of each actor is tried again: it was in hand, and nobody had finished it"
    ONE_EACH = "one message of each actor: it was in hand, or the broker had not confirmed its answers"


@attrs.frozen
class Permission:
    """What may happen twice. `unsettled`: where it is known, what a process that died had taken and not settled."""

    twice: Twice
    unsettled: Collection[Number] | None = None


@attrs.frozen
class Seen:
    """Numbers in order, as the client sent them, handlers took and finished them, and the client was answered."""

    sent: Sequence[Number]
    rejected: Collection[Number]
    taken: Sequence[Number]
    finished: Sequence[Number]
    answered: Sequence[Number]
    again: Collection[Number] = ()
    """Taken once more by the failure ladder."""


@attrs.frozen
class Tally:
    """What the verdicts on many messages found, in numbers. Lost and reordered are messages and answers alike."""

    messages: int = 0
    answers: int = 0
    lost: int = 0
    reordered: int = 0
    twice: int = 0
    """Handled a second time, attempts of the failure ladder aside ..."""
    not_permitted: int = 0
    """... and of those, the ones that the row does not permit."""
    answered_twice: int = 0
    """A reader that knows message ids would have handled so many answers twice."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(mine + others for mine, others in zip(attrs.astuple(self), attrs.astuple(other), strict=True)))


@attrs.frozen
class Judgement:
    """`wrong`: in words; empty, if all is well."""

    wrong: Sequence[str]
    tally: Tally


def judgement(seen: Seen, permission: Permission) -> Judgement:
    """What became of them, and what of it is wrong."""
    to_finish = [number for number in seen.sent if number not in seen.rejected]
    taken, finished, answered = judge(seen.sent, seen.taken), judge(to_finish, seen.finished), judge(to_finish, seen.answered)
    again = set(_not_in(taken.duplicated, seen.again))
    if permission.twice is Twice.ATTEMPT:
        again -= _permitted(again.difference(finished.duplicated), permission)
    twice = {*again, *finished.duplicated}
    permitted = _permitted(twice, permission) if permission.twice is Twice.ONE_EACH else frozenset()
    found = [
        _wrong("taken", attrs.evolve(taken, duplicated=tuple(number for number in taken.duplicated if number in again - permitted))),
        _wrong("finished", attrs.evolve(finished, duplicated=_not_in(finished.duplicated, permitted))),
        _wrong("answered", answered),
    ]
    tally = Tally(
        messages=len(seen.sent),
        answers=len(set(seen.answered)),
        lost=len({*taken.lost, *finished.lost}) + len(answered.lost),
        reordered=len({*taken.reordered, *finished.reordered}) + len(answered.reordered),
        twice=len(twice),
        not_permitted=len(twice.difference(permitted)),
        answered_twice=len(answered.duplicated),
    )
    return Judgement([each for each in found if each], tally)


def _permitted(twice: Collection[Number], permission: Permission) -> frozenset[Number]:
    """Those of `twice` that are the only one of their actor."""
    if permission.twice is Twice.NOTHING:
        return frozenset()
    actors = Counter(actor_of(number) for number in twice)
    known = twice if permission.unsettled is None else permission.unsettled
    return frozenset(number for number in twice if number in known and actors[actor_of(number)] == 1)


def _not_in(numbers: Sequence[Number], *allowed: Collection[Number]) -> tuple[Number, ...]:
    return tuple(number for number in numbers if not any(number in each for each in allowed))


def _wrong(step: str, verdict: Verdict) -> str:
    return "" if verdict == CLEAN else f"{step}: {verdict}"


def actor_of(number: Number) -> str:
    """Whose key it is: keys of an actor are its name and a digit."""
    return number[0].rstrip(_DIGITS)


_DIGITS: Final = "0123456789"
