"""The rows of one supervisor, in start order: put in, found, moved, forgotten.

Law: whoever changes a row calls `moved`. That keeps the agenda true, wakes the supervisor's loop, and wakes
the calls that wait for this row. What the rows call for is `agenda`, what an ending means is `engine`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from .agenda import Agenda
from .errors import NotFound
from .policy import ChildState, Row
from .restart import Restart
from .spec import Child


@attrs.define(eq=False)
class Table:
    """`dynamic`: a pool of instances of one template. `grouped`: a failure reaches siblings. `together`: all stop at once."""

    path: str  # of the supervisor
    dynamic: bool = attrs.field(kw_only=True)
    grouped: bool = attrs.field(kw_only=True)
    together: bool = attrs.field(kw_only=True)
    rows: dict[str, Row] = attrs.field(factory=dict, init=False)  # start order
    agenda: Agenda = attrs.field(init=False)
    _made: int = attrs.field(default=0, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _significant: dict[Row, None] = attrs.field(factory=dict, init=False)  # those that are not stopped
    _moves: dict[Row, trio.Event] = attrs.field(factory=dict, init=False)  # API calls waiting for a row to move

    def __attrs_post_init__(self) -> None:
        self.agenda = Agenda(in_parallel=self.together, grouped=self.grouped)

    def next_change(self) -> trio.Event:
        """What is set at the next change. For the loop: get it before looking, and no change is missed."""
        self._changed = trio.Event()
        return self._changed

    def wake(self) -> None:
        """Something other than a row changed."""
        self._changed.set()

    def add(self, spec: Child) -> Row:
        """Put a stopped row at the end of the table."""
        self._made += 1
        row = Row(spec, f"{self.path}/{spec.id}", self._made)
        self.rows[spec.id] = row
        return row

    def arrange(self, order: Sequence[str]) -> None:
        """Bring the rows named in `order` into that order; others keep their place behind them."""
        place = {child_id: at for at, child_id in enumerate(order)}
        ordered = sorted(self.rows.items(), key=lambda item: (place.get(item[0], len(place)), item[1].index))
        self.rows = dict(ordered)
        for index, row in enumerate(self.rows.values(), self._made + 1):
            row.index = index
        self._made += len(self.rows)
        for row in list(self.agenda.restless):
            self.agenda.note(row)

    def next_serial(self) -> int:
        """A number no child of this supervisor has had."""
        return self._made + 1

    def find(self, child_id: str) -> Row:
        """Raises `NotFound`."""
        row = self.rows.get(child_id)
        if row is None:
            raise NotFound(child_id)
        return row

    def schedule(self, row: Row, due_at: float) -> None:
        """Start `row` at `due_at`: an operator's start, or a restart after its backoff."""
        row.state = ChildState.BACKOFF
        row.due_at = due_at
        self.moved(row)

    def rest(self, row: Row) -> None:
        """End a backoff: the row is stopped, or forgotten if it is one of those."""
        row.state = ChildState.STOPPED
        if self.forgets(row):
            self.forget(row)
        self.moved(row)

    def forget(self, row: Row) -> None:
        """Drop the row and its spec."""
        self.rows.pop(row.spec.id, None)
        self._significant.pop(row, None)

    def any_significant_besides(self, row: Row) -> bool:
        """Is there another significant child that is not stopped?"""
        return len(self._significant) > (row in self._significant)

    def forgets(self, row: Row) -> bool:
        """Does nothing of this child stay once it has ended for good?"""
        return self.dynamic or row.spec.restart is Restart.TEMPORARY

    def moved(self, row: Row) -> None:
        """Something in `row` changed: the loop looks at it, and so do the calls that wait for it."""
        if row.at_rest:
            row.by_operator = False
        if row.state is ChildState.STOPPED or not row.spec.significant:
            self._significant.pop(row, None)
        else:
            self._significant[row] = None
        self.agenda.note(row)
        if (waiting := self._moves.pop(row, None)) is not None:
            waiting.set()
        self._changed.set()

    async def next_move(self, row: Row) -> None:
        """Wait until `row` changes."""
        await self._moves.setdefault(row, trio.Event()).wait()


async def wait_until(changed: trio.Event, moment: float) -> None:
    """Until something changes, but not longer than to `moment` (trio time). A checkpoint, also when it has changed already."""
    if moment == math.inf:
        await changed.wait()
    else:
        with trio.move_on_at(moment):
            await changed.wait()
