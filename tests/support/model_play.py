"""The pure model at work: from a case to a script, which says at each step what is done and what must then be seen.

Commands choose among what there is; here they get their names. The script ends when everything is gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from tars.supervisor import ChildState

from .model_child import Call, World
from .model_machine import Mail, Tie, WorkerProcess
from .model_operator import carry_out, names
from .model_shapes import Cancel, Case, Command, Edge, Ending, Group, Next, Operate, Order, Pass, Plan, Post, Ripen, Word, Worker
from .model_supervisor import Supervisor

BEYOND_S: Final = 2**-10
MOST_STEPS: Final = 400

Row: TypeAlias = tuple[str, ChildState, int, float | None]
"""Id, state, incarnation, seconds left of a backoff."""
Letters: TypeAlias = tuple[int, int, int, int, int, bool]
"""Accepted, done, evicted, queued, in hand; is the reader there?"""


@attrs.frozen
class Seen:
    """What can be observed from outside, while nothing moves."""

    supervisors: dict[str, tuple[Row, ...]]
    alive: dict[str, int]  # path of a worker to its incarnation
    answers: tuple[str, ...]  # of the operators' calls; "" while they wait
    letters: dict[str, Letters]
    events: tuple[tuple[object, ...], ...]  # new ones
    verdict: str | None
    stopping: tuple[str, ...] = ()  # the supervisors of `supervisors` that are


@attrs.frozen
class Step:
    """At `at`, `act` (None: only time has passed), with names in place of numbers; then `seen` must be seen."""

    at: float
    act: Command | None
    path: str
    seen: Seen
    child: str = ""


@attrs.define(eq=False)
class Play:
    """One run of the model."""

    tree: Group
    world: World = attrs.field(factory=World)
    steps: list[Step] = attrs.field(factory=list)
    calls: list[Call] = attrs.field(factory=list)
    _told: int = 0  # how many of the events the steps so far have
    root: Supervisor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.root = Supervisor(self.world, self.tree, self.tree.id)
        self.world.shapes[self.tree.id] = self.tree
        self.world.machine.post(self.root.begin)
        self.settle(None)

    # -- steps -----------------------------------------------------------------------------------

    def settle(self, act: Command | None, path: str = "", child: str = "") -> None:
        """Do what follows at this instant, and write down what is then seen."""
        self.world.machine.run()
        if len(self.steps) > MOST_STEPS:
            raise Tie(self.world.machine.now)  # it goes on for ever: nothing new will come
        self.steps.append(Step(self.world.machine.now, act, path, self.seen(), child))

    def wait_until(self, moment: float) -> None:
        machine = self.world.machine
        while machine.next_at <= moment and machine.next_at < math.inf and not self.root.over:
            machine.ring()
            self.settle(None)
        if machine.now < moment < math.inf:
            machine.now = moment
            self.settle(None)

    def do(self, command: Command) -> None:
        """Nothing, where there is nothing to do it to."""
        match command:
            case Pass(seconds):
                self.wait_until(self.world.machine.now + seconds)
            case Edge(group, beyond):
                self._wait_for_the_edge(self._reached(group), beyond=beyond)
            case Ripen(worker, short):
                self._wait_until_stable(worker, short=short)
            case Cancel():
                self._cancel(command)
            case Order(worker, ending):
                self._order(worker, ending, command)
            case Next(worker, plan):
                self._next(worker, plan, command)
            case Post(verb, worker, count):
                self._post(verb, worker, count, command)
            case Operate(verb, group, child):
                if (supervisor := self._reached(group)) is not None:
                    self._operate(supervisor, verb, child, command)

    def _cancel(self, command: Command) -> None:
        if not self.root.over:
            self.root.stop(hard=True)
            self.settle(command)

    def _next(self, worker: int, plan: Plan, command: Command) -> None:
        if known := [(path, shape) for path, shape in self.world.shapes.items() if isinstance(shape, Worker)]:
            path, shape = known[worker % len(known)]
            self.world.plans.setdefault(path, list(shape.lives)).insert(0, plan)
            self.settle(command, path)

    def _order(self, worker: int, ending: Ending, command: Command) -> None:
        if alive := list(self.world.workers.values()):
            line = alive[worker % len(alive)]
            assert isinstance(line.process, WorkerProcess)
            line.process.obey(ending)
            self.settle(command, line.path)

    def _reached(self, group: int) -> Supervisor | None:
        reached = list(self.world.reached.values())
        return reached[group % len(reached)] if reached else None

    def _wait_for_the_edge(self, supervisor: Supervisor | None, *, beyond: bool) -> None:
        if supervisor is not None and supervisor.budget.restarts and not supervisor.over:
            oldest = supervisor.budget.oldest(self.world.machine.now)
            self.wait_until(oldest + supervisor.shape.period_s + (BEYOND_S if beyond else 0))

    def _wait_until_stable(self, worker: int, *, short: bool) -> None:
        up = [line for line in self.world.workers.values() if line.up_at is not None]
        if up and (up_at := up[worker % len(up)].up_at) is not None:
            stable_s = up[worker % len(up)].owner.budget.backoff_of(up[worker % len(up)]).stable_s
            self.wait_until(up_at + stable_s - (BEYOND_S if short else 0))

    def _post(self, verb: str, worker: int, count: int, command: Command) -> None:
        readers = [path for path, shape in self.world.shapes.items() if isinstance(shape, Worker) and shape.capacity]
        if not readers:
            return
        path = readers[worker % len(readers)]
        shape = self.world.shapes[path]
        assert isinstance(shape, Worker)
        if verb == "send":
            self.world.mail.setdefault(path, Mail(shape.capacity)).come(count)
        elif (mail := self.world.mail.get(path)) is None or not self._reads(path):
            return
        elif verb == "take":
            mail.take(count)
        else:
            mail.finish(count)
        self.settle(command, path)

    def _reads(self, path: str) -> bool:
        line = self.world.workers.get(path)
        return line is not None and line.up_at is not None

    def _operate(self, supervisor: Supervisor, verb: str, child: int, command: Command) -> None:
        known = [""] if verb == "stop" else list(names(supervisor))
        if known:
            name = "" if supervisor.shape.dynamic and verb == "start" else known[child % len(known)]
            call = Call(len(self.calls), verb)
            self.calls.append(call)
            carry_out(supervisor, call, name)
            self.settle(command, supervisor.path, name)

    # -- what is seen ----------------------------------------------------------------------------

    def seen(self) -> Seen:
        new, self._told = tuple(self.world.events[self._told :]), len(self.world.events)
        return Seen(
            {path: tuple(self._rows(supervisor)) for path, supervisor in self.world.reached.items()},
            {path: line.incarnation for path, line in self.world.workers.items()},
            tuple(call.answer for call in self.calls),
            {
                path: (mail.accepted, mail.done, mail.evicted, len(mail.queued), len(mail.in_hand), self._reads(path))
                for path, mail in self.world.mail.items()
            },
            new,
            self.root.verdict if self.root.over else None,
            tuple(path for path, supervisor in self.world.reached.items() if supervisor.stopped_at is not None),
        )

    @staticmethod
    def _rows(supervisor: Supervisor) -> Iterator[Row]:
        """While a supervisor stops, who has stopped is not worth listing."""
        now = supervisor.now
        for line in reversed(supervisor.lines):
            if supervisor.stopped_at is None or line.state is not ChildState.STOPPED:
                left = max(0.0, line.due - now) if line.state is ChildState.BACKOFF else None
                yield (line.id, line.state, line.incarnation, left)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Stop the root and wait for its end; those that would never go are told to."""
        reached = list(self.world.reached)
        self.do(Operate("stop", reached.index(self.tree.id)) if self.tree.id in reached else Cancel())
        while not self.root.over:
            self.wait_until(self.world.machine.next_at)
            if self.world.machine.next_at == math.inf and not self.root.over:
                self.do(Order(0, Ending(Word.RETURN)))


def script(case: Case) -> tuple[Step, ...]:
    """What is done and seen, step by step. Commands from the first on that would be a race are left out.

    Raises `Tie` when even the beginning, or every end, is one.
    """
    count = len(case.commands)
    while True:
        played = 0
        try:
            play = Play(case.tree)
            for command in case.commands[:count]:
                play.do(command)
                played += 1
            play.finish()
        except Tie:
            if count == 0:
                raise
            count = min(count - 1, played)
        else:
            return tuple(play.steps)
