"""The garbage collector: what was there is left alone, what comes is still collected, and in the end all is as before."""

from __future__ import annotations

import gc
import weakref

from tars.supervisor.collector import rare_collections


class Knot:
    """Holds itself: only the collector frees it."""

    def __init__(self) -> None:
        self.own = self


def test_cycles_made_meanwhile_do_not_add_up() -> None:
    with rare_collections():
        knots = [weakref.ref(Knot()) for _ in range(50_000)]

        assert sum(knot() is not None for knot in knots) < 10_000


def test_what_was_there_is_permanent_for_the_block_and_no_longer() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_freeze_count() > 0
        assert before != gc.get_threshold()

    assert (0, before) == (gc.get_freeze_count(), gc.get_threshold())
