"""A child as its supervisor knows it, in the pure model: its state, its process, and the protocol of stopping it (D3).

What its ending means is its supervisor's to say, in `model_supervisor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from tars.supervisor import ChildState, ExitKind

from .model_machine import Machine, Mail, Timer, WorkerProcess
from .model_shapes import Ending, Plan, Shape, Word, Worker

if TYPE_CHECKING:
    from .model_supervisor import Supervisor

KINDS: Final = {
    Word.RETURN: ExitKind.NORMAL,
    Word.CRASH: ExitKind.CRASH,
    Word.STOP: ExitKind.STOP,
    Word.UNAVAILABLE: ExitKind.UNAVAILABLE,
    Word.ESCALATE: ExitKind.ESCALATE,
    Word.MIXED: ExitKind.CRASH,
    Word.EXIT: ExitKind.FATAL,
}
FAULTS: Final = (ExitKind.CRASH, ExitKind.ESCALATE, ExitKind.FATAL)
ABNORMAL: Final = (*FAULTS, ExitKind.UNAVAILABLE)
SHORTEST_GRACE_S: Final = 1.0


@attrs.define(eq=False)
class Call:
    """An operator's call; `answer` is empty while it waits."""

    number: int
    verb: str
    answer: str = ""

    def reply(self, answer: str) -> None:
        self.answer = self.answer or answer


@attrs.define(eq=False)
class World:
    """What all processes of one run share. `events` is what the tree tells, in order."""

    machine: Machine = attrs.field(factory=Machine)
    events: list[tuple[object, ...]] = attrs.field(factory=list)
    shapes: dict[str, Shape] = attrs.field(factory=dict)  # by path
    plans: dict[str, list[Plan]] = attrs.field(factory=dict)  # the next lives, by path
    reached: dict[str, Supervisor] = attrs.field(factory=dict)  # the newest that came up, by path
    workers: dict[str, Line] = attrs.field(factory=dict)  # those alive, by path, oldest first
    mail: dict[str, Mail] = attrs.field(factory=dict)  # by the path of the reader

    def tell(self, *event: object) -> None:
        self.events.append((self.machine.now, *event))

    def next_plan(self, path: str, worker: Worker) -> Plan:
        waiting = self.plans.setdefault(path, list(worker.lives))
        return waiting.pop(0) if waiting else worker.usual


@attrs.define(eq=False)
class Line:
    """A child as its supervisor knows it. `must`: "" nothing, or the process must end: "again", "down", "gone"."""

    owner: Supervisor
    shape: Shape
    path: str
    state: ChildState = ChildState.STOPPED
    must: str = ""
    due: float = 0.0
    incarnation: int = 0
    failures: int = 0
    consecutive: int = 0
    held: bool = False
    asked_for: bool = False  # the operator's start is under way
    leads: bool = False  # it failed, and its group comes back with it
    starters: list[Call] = attrs.field(factory=list)
    enders: list[Call] = attrs.field(factory=list)
    process: WorkerProcess | Supervisor | None = None
    up_at: float | None = None
    asked: bool = False
    cancelled_at: float | None = None
    _timer: Timer | None = None

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]

    def begin(self) -> None:
        world = self.owner.world
        self.incarnation += 1
        self.state, self.up_at, self.asked, self.cancelled_at = ChildState.STARTING, None, False, None
        if isinstance(self.shape, Worker):
            self.process = WorkerProcess(world.machine, world.next_plan(self.path, self.shape), self, self.owner.harmless)
            world.workers[self.path] = self
        else:
            self.process = self.owner.below(self, self.shape)
        world.machine.post(self.process.begin)

    def is_up(self) -> None:
        self.up_at = self.owner.now
        self.owner.world.tell("started", self.path, self.incarnation)
        if self.state is ChildState.STARTING:
            self.state, self.asked_for = ChildState.RUNNING, False
            self.answer_starters("ok")
        self.owner.reconsider()

    def ask(self, *, hard: bool) -> None:
        assert self.process is not None

        self.state, self.asked = ChildState.STOPPING, True
        if self.process.traps and not hard and self.shape.shutdown_s > 0:
            self._timer = self.owner.world.machine.after(self.shape.shutdown_s, self.cancel, self.owner.harmless())
            self.process.ask()
        else:
            self.cancel()

    def cancel(self) -> None:
        assert self.process is not None

        if self.cancelled_at is None:
            if self._timer is not None:
                self._timer.stop()
            self.cancelled_at = self.owner.now
            self._timer = self.owner.world.machine.after(self._limit_s, self._is_stuck, self.owner.harmless())
            self.process.cancel()

    @property
    def _limit_s(self) -> float:
        return max(self.shape.shutdown_s, SHORTEST_GRACE_S)

    def _is_stuck(self) -> None:
        self.state = ChildState.STUCK
        self.owner.world.tell("stuck", self.path, self.incarnation, self._limit_s)
        self.answer_enders("Running")
        self.owner.reconsider()

    def has_ended(self, ending: Ending | None) -> None:
        if self._timer is not None:
            self._timer.stop()
        assert self.process is not None

        traps = self.process.traps
        self.process = None
        self.owner.world.workers.pop(self.path, None)
        if (mail := self.owner.world.mail.get(self.path)) is not None:
            mail.give_back()
        kind = ExitKind.KILLED if ending is None else KINDS[ending.word]
        if self.asked and kind not in FAULTS:
            kind = ExitKind.KILLED if ending is None and traps else ExitKind.SHUTDOWN
        ran_s = 0.0 if self.up_at is None else self.owner.now - self.up_at
        self.owner.world.tell("exited", self.path, self.incarnation, kind, ran_s, self.up_at is None, self.asked)
        self.state = ChildState.STOPPED
        self.owner.child_ended(self, kind, ending, self.owner.now)
        self.answer_enders("ok")
        self.owner.reconsider()

    def answer_starters(self, answer: str) -> None:
        for call in self.starters:
            call.reply(answer)
        self.starters.clear()

    def answer_enders(self, answer: str) -> None:
        for call in self.enders:
            call.reply(answer)
        self.enders.clear()
