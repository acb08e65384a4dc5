"""The pure model of one supervisor: OTP's rules and this project's decisions (D1-D8), one after the other.

Written from the rules, not from the runtime: a sequential machine that is told what happens and says what must
follow. Every rule stands once, in the method that is named for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from tars.supervisor import AutoShutdown, ChildState, ExitKind, Restart, Strategy

from . import model_group
from .model_budget import Budget
from .model_child import ABNORMAL, Call, Line, World
from .model_machine import Tie, Timer
from .model_shapes import Ending, Group, Shape, Word


@attrs.define(eq=False)
class Supervisor:
    """One incarnation of a supervisor. `parent` None: the root."""

    world: World
    shape: Group
    path: str
    parent: Line | None = None
    lines: list[Line] = attrs.field(factory=list)  # start order
    born: bool = False
    over: bool = False
    verdict: str = ""
    stopped_at: float | None = None
    hard: bool = False
    stoppers: list[Call] = attrs.field(factory=list)
    made: int = 0
    traps: bool = False  # before its first step it has told nobody
    budget: Budget = attrs.field(init=False)
    _unborn: list[Shape] = attrs.field(factory=list)
    _set_aside: list[tuple[Line, ExitKind, Ending | None, float]] = attrs.field(factory=list)
    _alarm: Timer | None = None

    def __attrs_post_init__(self) -> None:
        self.budget = Budget(self.shape)

    @property
    def now(self) -> float:
        return self.world.machine.now

    def harmless(self) -> object:
        """A pool stops in parallel, in no order: what then rings together is no race."""
        return ("pool", self) if self.shape.dynamic and self.stopped_at is not None else None

    # -- as a process ----------------------------------------------------------------------------

    def begin(self) -> None:
        self._unborn = [] if self.shape.dynamic else list(self.shape.children)
        self.reconsider()
        if self._cancelled():  # before its first step: it notices only now
            self.world.machine.post(self.cancel)
        self.traps = True

    def ask(self) -> None:
        self.stop()

    def cancel(self) -> None:
        if self.traps:
            self.stop(hard=True)

    def _cancelled(self) -> bool:
        return self.hard if self.parent is None else self.parent.cancelled_at is not None

    def end(self) -> None:
        assert self.stopped_at is not None

        self.over = True
        self.world.tell("stopped", self.path, self.verdict.partition(" ")[0] or "shutdown", self.now - self.stopped_at)
        for call in self.stoppers:
            call.reply("ok")
        if self.verdict != "SystemExit" and self._cancelled():
            self.verdict = "cancelled"
        words = {"": Word.RETURN, "SystemExit": Word.EXIT, "Escalate": Word.ESCALATE}
        if self.parent is not None:
            self.parent.has_ended(None if self.verdict == "cancelled" else Ending(words.get(self.verdict, Word.CRASH)))

    # -- what follows ----------------------------------------------------------------------------

    def reconsider(self) -> None:
        self.world.machine.post(self._consider)

    def _consider(self) -> None:
        if self.over:
            return
        if self.stopped_at is None and not self.born and all(self._rests(line) for line in self.lines):
            self._go_on_with_the_first_start()
        if self.stopped_at is not None:
            self._stop_the_next()
        else:
            model_group.gather(self)
        self._ask_who_may_be_asked()
        if self.stopped_at is None:
            self._begin_who_may_begin()
            self._set_the_alarm()
        elif all(line.process is None for line in self.lines):
            self.end()

    @staticmethod
    def _rests(line: Line) -> bool:
        return not line.must and line.state in (ChildState.RUNNING, ChildState.STOPPED)

    def _go_on_with_the_first_start(self) -> None:
        """In order, each up before the next (A1). What ended meanwhile is looked at when all are up, in order, as OTP does."""
        if self._unborn:
            line = self.add(self._unborn.pop(0))
            line.state, line.due = ChildState.BACKOFF, self.now
            return
        self.born = True
        if self.shape.reached:
            self.world.reached[self.path] = self
        if self.parent is not None:
            self.parent.is_up()
        for line, kind, ending, at in self._set_aside:
            if line.state is ChildState.STOPPED:
                self.child_ended(line, kind, ending, at)

    def below(self, line: Line, shape: Group) -> Supervisor:
        """The process of a child that is a supervisor."""
        return Supervisor(self.world, shape, line.path, line)

    def add(self, shape: Shape) -> Line:
        self.made += 1
        name = f"{shape.id}:{self.made}" if self.shape.dynamic else shape.id
        line = Line(self, shape, f"{self.path}/{name}")
        self.world.shapes[line.path] = shape
        self.lines.append(line)
        return line

    def _ask_who_may_be_asked(self) -> None:
        """Reverse start order: nobody is asked while a later child that must go still goes (a stuck one is not waited for)."""
        going = [line for line in self.lines if line.must and line.process is not None and line.state is not ChildState.STUCK]
        for line in going if self.shape.dynamic else going[-1:]:
            if line.state is not ChildState.STOPPING:
                line.ask(hard=self.hard)

    def _begin_who_may_begin(self) -> None:
        """In a group: after all have stopped, in order, each up before the next. Otherwise each in its own time."""
        due = [line for line in self.lines if line.process is None and self.waits(line) and line.due <= self.now]
        if self.shape.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
            if any(line.must and line.process is not None and line.state is not ChildState.STUCK for line in self.lines):
                return
            first = next((line for line in self.lines if not self._rests(line)), None)
            due = [line for line in due if line.asked_for or line is first]
            if len(due) > 1:
                raise Tie(self.now)
        for line in due:
            line.begin()

    @staticmethod
    def waits(line: Line) -> bool:
        return line.state is ChildState.BACKOFF or line.asked_for

    def _set_the_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.stop()
        moments = [line.due for line in self.lines if line.state is ChildState.BACKOFF and line.due > self.now]
        self._alarm = self.world.machine.after(min(moments, default=math.inf) - self.now, self.reconsider)

    # -- an ending -------------------------------------------------------------------------------

    def child_ended(self, line: Line, kind: ExitKind, ending: Ending | None, at: float) -> None:
        """OTP's ``handle_info({'EXIT', ...})``."""
        if kind is ExitKind.FATAL:
            self.stop("SystemExit")
            line.must = ""
        elif self.stopped_at is not None:
            line.must = ""
        elif kind is ExitKind.ESCALATE:
            self.stop("Escalate")  # D7: no restart, at no level
        elif line.must:
            self._what_had_to_go_is_gone(line)
        elif line.up_at is None:
            self._ended_in_its_start(line, kind, ending, at)
        elif not self.born:
            self._set_aside.append((line, kind, ending, at))
        else:
            self._ended_by_itself(line, kind, ending, at)
        if line.state is ChildState.STOPPED:
            line.asked_for = False
            line.answer_starters("StartFailed" if self.stopped_at is None else "ActorStopped")

    def _ended_in_its_start(self, line: Line, kind: ExitKind, ending: Ending | None, at: float) -> None:
        if kind is ExitKind.NORMAL:
            line.answer_starters("ok")  # OTP's ignore
            self._finish(line)
        elif not self.born:
            self.stop(f"StartFailed {line.id}")  # A1: no retry
        elif not line.asked_for:
            self._ended_by_itself(line, kind, ending, at)  # A8: a restart that fails counts like any other failure
        elif line.incarnation == 1:
            self.lines.remove(line)  # A14: the spec of a start_child that failed is not stored

    def _ended_by_itself(self, line: Line, kind: ExitKind, ending: Ending | None, at: float) -> None:
        """A5: permanent always, transient when it was abnormal, temporary never."""
        if line.shape.restart is Restart.PERMANENT or (line.shape.restart is Restart.TRANSIENT and kind in ABNORMAL):
            self._failed(line, kind, ending, at)
        else:
            self._finish(line)
            self._shut_down_automatically(line)

    def _what_had_to_go_is_gone(self, line: Line) -> None:
        if line.must == "again":
            line.state = ChildState.BACKOFF
        elif line.must == "gone":
            self.lines.remove(line)
        line.must = ""

    def forgets(self, line: Line) -> bool:
        return self.shape.dynamic or line.shape.restart is Restart.TEMPORARY

    def _finish(self, line: Line) -> None:
        """A5: its spec is kept, unless it is temporary or an instance of a pool."""
        if self.forgets(line):
            self.lines.remove(line)

    def _shut_down_automatically(self, line: Line) -> None:
        """A16: `any`: the first significant child that ends by itself; `all`: the last."""
        others = [other for other in self.lines if other.shape.significant and other is not line and other.state is not ChildState.STOPPED]
        if line.shape.significant and (self.shape.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not others):
            self.stop()

    def _failed(self, line: Line, kind: ExitKind, ending: Ending | None, at: float) -> None:
        """D7: an attempt is recorded at the exit; Unavailable costs neither limit."""
        delay_s = self.budget.delay_s(line, at)
        if kind is ExitKind.UNAVAILABLE:
            if ending is not None and ending.retry_after_s is not None:
                delay_s = ending.retry_after_s
        elif limit := self.budget.passed_limit(line, at):
            self.world.tell("gave up", self.path, line.id, limit)
            self.stop(f"RestartIntensityExceeded {line.id} {limit}")
            return
        self.world.tell("scheduled", line.path, line.failures, delay_s, self.budget.used(at))
        model_group.fall(self, line, at + delay_s)

    # -- stopping --------------------------------------------------------------------------------

    def stop(self, verdict: str = "", *, hard: bool = False) -> None:
        """Everything, in reverse start order. The first verdict stands; only a SystemExit replaces it."""
        if self.stopped_at is None or verdict == "SystemExit":
            self.verdict = verdict
        if self.stopped_at is None:
            self.stopped_at = self.now
            for line in [line for line in self.lines if line.process is None]:
                self.rest(line)
        if hard and not self.hard:
            self.hard = True
            for line in [line for line in self.lines if line.asked and line.process is not None]:
                line.cancel()
        self.reconsider()

    def rest(self, line: Line) -> None:
        """No start is due any more: no backoff ever brings it back (A9)."""
        if self.waits(line):
            line.state, line.asked_for = ChildState.STOPPED, False
            line.answer_starters("StartFailed" if self.stopped_at is None else "ActorStopped")
            if self.forgets(line):
                self.lines.remove(line)

    def _stop_the_next(self) -> None:
        """One at a time, or all of a pool."""
        left: Sequence[Line] = [line for line in self.lines if line.process is not None and line.state is not ChildState.STUCK]
        for line in left if self.shape.dynamic else left[-1:]:
            line.must = line.must or "down"
