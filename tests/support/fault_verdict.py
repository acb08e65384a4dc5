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


def faults(seen: Seen, permission: Permission) -> list[str]:
    """What is wrong, in words; nothing, if all is well."""
    to_finish = [number for number in seen.sent if number not in seen.rejected]
    taken, finished = judge(seen.sent, seen.taken), judge(to_finish, seen.finished)
    permitted = _permitted({*_not_in(taken.duplicated, seen.again), *finished.duplicated}, permission)
    found = [
        _wrong("taken", attrs.evolve(taken, duplicated=_not_in(taken.duplicated, seen.again, permitted))),
        _wrong("finished", attrs.evolve(finished, duplicated=_not_in(finished.duplicated, permitted))),
        _wrong("answered", judge(to_finish, seen.answered)),
    ]
    return [each for each in found if each]


def _permitted(twice: Collection[Number], permission: Permission) -> Collection[Number]:
    """Those of `twice` that are the only one of their actor."""
    if permission.twice is Twice.NOTHING:
        return ()
    actors = Counter(actor_of(number) for number in twice)
    known = twice if permission.unsettled is None else permission.unsettled
    return [number for number in twice if number in known and actors[actor_of(number)] == 1]


def _not_in(numbers: Sequence[Number], *allowed: Collection[Number]) -> tuple[Number, ...]:
    return tuple(number for number in numbers if not any(number in each for each in allowed))


def _wrong(step: str, verdict: Verdict) -> str:
    return "" if verdict == CLEAN else f"{step}: {verdict}"


def actor_of(number: Number) -> str:
    """Whose key it is: keys of an actor are its name and a digit."""
    return number[0].rstrip(_DIGITS)


_DIGITS: Final = "0123456789"
