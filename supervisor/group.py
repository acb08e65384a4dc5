"""Who goes down with a failed child and comes back with it: the group restart of rest_for_one and one_for_all.

OTP takes the group down and starts it in one go, and when a start fails it takes down again what runs by then. Here a
backoff lies between the two. So the group is gathered twice: when the child fails, and when its backoff is over,
for a sibling that an operator has started in between. Else that one would run beside a child it depends on, older
than that child.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .events import Emit, GroupRestart
from .policy import ChildState, Goal, Row, join_group
from .strategy import Strategy, affected
from .table import Table


@attrs.define(eq=False)
class Group:
    """The group restarts of one supervisor; with a strategy that knows none, each child is a group of its own."""

    table: Table
    strategy: Strategy
    emit: Emit
    _failed: dict[Row, None] = attrs.field(factory=dict, init=False)  # those whose backoff is not over yet

    def fall(self, row: Row, due_at: float) -> None:
        """The failed child comes back at `due_at`, and with it whomever the strategy names."""
        self.table.schedule(row, due_at)
        if self.strategy.grouped:
            self._failed[row] = None
            members = self._members(row)
            self._join(members, row, due_at)
            self._report(row, members)

    def gather(self, now: float) -> None:
        """Take in again whom `fall` has missed, now that a failed child is about to come back."""
        for row in [row for row in self._failed if row.state is not ChildState.BACKOFF or row.due_at <= now]:
            del self._failed[row]
            if row.state is ChildState.BACKOFF and not row.by_operator:  # else it comes for the operator's sake, alone
                members = self._members(row)
                late = [each for each in members if each.goal is Goal.UP and each.state is not ChildState.BACKOFF]
                self._join(late, row, now)
                if any(each.goal is not Goal.UP or each.state is ChildState.BACKOFF for each in late):
                    self._report(row, members)

    def _members(self, row: Row) -> Sequence[Row]:
        return [self.table.rows[child_id] for child_id in affected(self.strategy, list(self.table.rows), row.spec.id)]

    def _join(self, members: Sequence[Row], failed: Row, due_at: float) -> None:
        for member in members:
            if member is not failed:
                join_group(member, due_at)
                self.table.moved(member)

    def _report(self, failed: Row, members: Sequence[Row]) -> None:
        back = tuple(
            each.spec.id for each in members if each.goal is Goal.AGAIN or (each.state is ChildState.BACKOFF and not each.by_operator)
        )
        self.emit(GroupRestart(self.table.path, failed.spec.id, back))
