"""A verdict on numbered messages that went in through the broker and came out again: pure arithmetic.

Law: nothing is waited for here, and nothing forgiven; a test that allows repetitions says so itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs

Number: TypeAlias = tuple[str, int]
"""A message: its key and its number within the key."""


@attrs.frozen
class Verdict:
    """What became of messages. `reordered`: those that came first after a later one of their key."""

    lost: tuple[Number, ...] = ()
    duplicated: tuple[Number, ...] = ()
    reordered: tuple[Number, ...] = ()
    invented: tuple[Number, ...] = ()


CLEAN: Final = Verdict()


def judge(sent: Iterable[Number], got: Iterable[Number]) -> Verdict:
    """Compare what was sent with what was handled, or answered."""
    expected = dict.fromkeys(sent)
    counts = Counter[Number]()
    newest: dict[str, int] = {}
    reordered: list[Number] = []
    for key, seq in got:
        if not counts[key, seq] and seq < newest.get(key, -1):
            reordered.append((key, seq))
        counts[key, seq] += 1
        newest[key] = max(seq, newest.get(key, -1))
    return Verdict(
        lost=tuple(number for number in expected if not counts[number]),
        duplicated=tuple(number for number, count in counts.items() if count > 1),
        reordered=tuple(reordered),
        invented=tuple(number for number in counts if number not in expected),
    )


def journal(path: Path, step: str, offset_bytes: int = 0) -> list[Number]:
    """What the actors of `support.echo` wrote down of `step`, in order, from there on. An empty list when there is no file yet."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset_bytes)
        lines = [line.split() for line in file.read().decode().splitlines()]
    return [(key, int(seq)) for _, found, key, seq in lines if found == step]


def rounds(keys: Sequence[str], first: int, count: int) -> list[Number]:
    """`count` numbers for each key from `first` on, the keys taking turns."""
    return [(key, seq) for seq in range(first, first + count) for key in keys]
