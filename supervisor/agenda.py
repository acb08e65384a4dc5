"""What the rows call for now: whom to stop next, whom to start next, when to look again.

Law: an answer costs time for the rows it names, not for the rows there are. It is asked for after every event,
so a look at each of ten thousand children in backoff, or of two thousand on their way down, would make the
whole quadratic. Therefore rows are kept in heaps, and `note` must be told of every change of a row.

Pure: times are numbers handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from .lowest import Lowest
from .policy import ChildState, Row


@attrs.define(eq=False)
class Agenda:
    """`in_parallel`: its children, a pool's for instance, stop all at once. `grouped`: a child needs the earlier ones."""

    in_parallel: bool
    grouped: bool
    restless: dict[Row, None] = attrs.field(factory=dict, init=False)  # the rows that call for something
    _unasked: dict[Row, None] = attrs.field(factory=dict, init=False)  # must stop, and do not know yet
    _called: dict[Row, None] = attrs.field(factory=dict, init=False)  # an operator waits for their start
    _doomed: Lowest[Row] = attrs.field(factory=Lowest, init=False)  # must stop, and still can: the last in start order first
    _due: Lowest[Row] = attrs.field(factory=Lowest, init=False)  # in backoff, by the end of it
    _order: Lowest[Row] = attrs.field(factory=Lowest, init=False)  # of a group: all that are restless, in start order

    def note(self, row: Row) -> None:
        """`row` is not what it was."""
        if row.at_rest:
            for rows in (self.restless, self._unasked, self._called):
                rows.pop(row, None)
            for heap in (self._doomed, self._due, self._order):
                heap.drop(row)
            return
        self.restless[row] = None
        if self.grouped:
            self._order.put(row, row.index)
        if row.by_operator:
            self._called[row] = None
        else:
            self._called.pop(row, None)
        if row.state is ChildState.BACKOFF:
            self._due.put(row, row.due_at)
        else:
            self._due.drop(row)
        if row.doomed and row.state is not ChildState.STUCK:
            self._doomed.put(row, -row.index)
        else:
            self._doomed.drop(row)
        if row.doomed and row.state not in (ChildState.STOPPING, ChildState.STUCK):
            self._unasked[row] = None
        else:
            self._unasked.pop(row, None)

    def to_stop(self) -> Sequence[Row]:
        """The rows to ask now. One at a time in reverse start order, each gone before the next; or all at once.

        A stuck child holds up no sibling: they go on stopping.
        """
        if self.in_parallel:
            return list(self._unasked)
        last = self._doomed.first()
        return [] if last is None or last[1].state is ChildState.STOPPING else [last[1]]

    def to_start(self, now: float) -> Sequence[Row]:
        """The rows to start now; they are to be started, since they will not be named again.

        Children of a grouped strategy depend on the earlier ones: nobody starts before all that must stop has
        stopped, nor before every earlier sibling is up again. Otherwise a row waits for its own time only, so
        that a sibling hanging in its start delays nobody.
        """
        if not self.grouped:
            return list(self._due.take_up_to(now))
        if self._doomed.first() is not None:
            return []
        wanted = [row for row in self._called if _is_due(row, now)]
        first = self._order.first()
        if first is not None and _is_due(first[1], now) and first[1] not in wanted:
            wanted.append(first[1])
        return wanted

    def next_due_at(self, now: float) -> float:
        """When the next backoff ends; infinity when none is running.

        What is due already, and still waits, waits for another row to move, not for time.
        """
        for _ in self._due.take_up_to(now):
            pass
        first = self._due.first()
        return math.inf if first is None else first[0]


def _is_due(row: Row, now: float) -> bool:
    return row.state is ChildState.BACKOFF and row.due_at <= now
