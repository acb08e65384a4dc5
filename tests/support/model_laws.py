"""Laws that hold whatever the model says: watched on the real tree alone, so that a misreading of the rules cannot hide them.

* Never more than ``max_restarts`` restarts in any closed window of ``period_s`` of one incarnation of a supervisor.
* Nobody is asked to stop while a sibling that started later, and must stop, too, still goes. (A pool stops in parallel.)
* A child has a task exactly when its state says so, a wait exactly when it is in backoff, and one of six states.
* Listing and counting agree. The counters of a mailbox balance.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from typing import Final

import attrs

from tars.supervisor import (
    ChildExited,
    ChildInfo,
    ChildState,
    ExitKind,
    MailboxStatistics,
    ReaderState,
    RestartScheduled,
    Strategy,
    Supervisor,
    SupervisorStopped,
)

from .model_shapes import Group, Worker

WITH_TASK: Final = (ChildState.RUNNING, ChildState.STOPPING, ChildState.STUCK)
WITHOUT_TASK: Final = (ChildState.BACKOFF, ChildState.STOPPED)


def groups(shape: Group, path: str) -> Iterator[tuple[str, Group]]:
    """Every supervisor of the tree with its path."""
    yield path, shape
    for child in shape.children:
        if isinstance(child, Group):
            yield from groups(child, f"{path}/{child.id}")


@attrs.define(eq=False)
class Laws:
    """`supervisors`: the handles by path, as they become known. `broken` collects what went against a law."""

    tree: Group
    supervisors: Mapping[str, Supervisor]
    broken: list[str] = attrs.field(factory=list)
    one_by_one: bool = True  # False: an operator may turn to a later sibling before an earlier one has noticed that it was asked
    _groups: dict[str, Group] = attrs.field(init=False)
    _exits: dict[str, tuple[float, ExitKind]] = attrs.field(factory=dict)
    _restarts: dict[str, list[float]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._groups = dict(groups(self.tree, self.tree.id))

    def told(self, now: float, event: object) -> None:
        """An event of the tree."""
        match event:
            case ChildExited(path=path, kind=kind):
                self._exits[path] = now, kind
            case SupervisorStopped(path=path):
                self._restarts.pop(path, None)
            case RestartScheduled(path=path, used=used):
                at, kind = self._exits[path]
                if kind is not ExitKind.UNAVAILABLE:
                    self._restarted(path.rpartition("/")[0], at)
                self._require(used <= self._groups[path.rpartition("/")[0]].max_restarts, f"{used} restarts used for {path}")
            case _:
                pass

    def _restarted(self, supervisor: str, at: float) -> None:
        group, restarts = self._groups[supervisor], self._restarts.setdefault(supervisor, [])
        restarts.append(at)
        recent = [restart for restart in restarts if at - restart <= group.period_s]
        self._require(
            len(recent) <= group.max_restarts, f"{supervisor} restarts at {recent}, {group.max_restarts} in {group.period_s} s allowed"
        )

    def asked(self, path: str) -> None:
        """A worker has just been asked to stop, or cancelled without being asked."""
        parent, _, child_id = path.rpartition("/")
        supervisor = self.supervisors.get(parent)
        if supervisor is None or not self.one_by_one or supervisor.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            return
        for later in supervisor.which_children():  # newest first
            if later.id == child_id:
                return
            self._require(later.state is not ChildState.STOPPING, f"{path} asked to stop while {later.path} still goes")

    def look(self, lives: Mapping[str, object], stopping: Container[str]) -> None:
        """At every supervisor there is, while nothing moves. One that is stopping may have a successor already."""
        for path, supervisor in self.supervisors.items():
            children, counts = supervisor.which_children(), supervisor.count_children()
            active = sum(child.state not in WITHOUT_TASK for child in children)
            supervisors = sum(child.kind == "supervisor" for child in children)
            expected = (len(children), active, supervisors, len(children) - supervisors)
            counted = (counts.specs, counts.active, counts.supervisors, counts.workers)
            self._require(expected == counted, f"{path} lists {expected} and counts {counted}")
            for child in children if path not in stopping else ():
                self._look_at(child, alive=child.path in lives, worker=self._is_worker(path, child.id))

    def _is_worker(self, path: str, child_id: str) -> bool:
        group = self._groups[path]
        return any(isinstance(shape, Worker) and shape.id == child_id.partition(":")[0] for shape in (*group.children, *group.spares))

    def _look_at(self, child: ChildInfo, *, alive: bool, worker: bool) -> None:
        waits = child.due_in_s is not None and 0 <= child.due_in_s < math.inf
        self._require(waits == (child.state is ChildState.BACKOFF), f"{child.path} is {child.state} and due in {child.due_in_s}")
        if worker and child.state in (*WITH_TASK, *WITHOUT_TASK):
            self._require(alive == (child.state in WITH_TASK), f"{child.path} is {child.state}; has a task: {alive}")

    def balance(self, path: str, letters: MailboxStatistics) -> None:
        """B4."""
        left = letters.done + letters.in_hand + letters.evicted + letters.queued
        self._require(letters.accepted == left, f"the mailbox of {path} does not balance: {letters}")

    def reader(self, path: str, letters: MailboxStatistics, *, there: bool) -> None:
        """A mailbox knows whether its reader lives."""
        self._require(there == (letters.reader is ReaderState.PRESENT), f"the reader of {path} is {letters.reader}; alive: {there}")

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)
