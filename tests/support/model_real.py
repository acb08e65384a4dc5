"""The other side of the model check: the real tree, its scripted workers, and the replay of a script against it.

Law: this module decides nothing. It does what a step says, waits until nothing moves, and compares what it sees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import attrs
import trio

from tars.supervisor import (
    ChildSpec,
    Escalate,
    Mailbox,
    Overflow,
    Supervisor,
    SupervisorSpec,
    TarsError,
    current,
    leaves,
    supervise,
)

from .model_laws import Laws, groups
from .model_play import Letters, Seen, Step
from .model_report import differences, line, rows, told, verdict_of
from .model_shapes import JITTER_CHANCE, Cancel, Case, Group, Next, Operate, Order, Plan, Post, Shape, Worker
from .model_workers import RAISES, Life
from .sim_world import Sim


@attrs.define(eq=False)
class Reached:
    """A task status that keeps the supervisor's handle on its way."""

    keep: Callable[[Supervisor], None]
    pass_on: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED

    def started(self, value: Any = None) -> None:
        self.pass_on.started(value)
        self.keep(value)


@attrs.define(eq=False)
class Real:
    """One run of the real tree."""

    world: Sim
    tree: Group
    nursery: trio.Nursery
    plans: dict[str, list[Plan]] = attrs.field(factory=dict)
    supervisors: dict[str, Supervisor] = attrs.field(factory=dict)
    lives: dict[str, Life] = attrs.field(factory=dict)  # those alive, by path
    answers: list[str] = attrs.field(factory=list)
    mail: dict[str, Mailbox[int]] = attrs.field(factory=dict)
    verdict: str | None = None
    program: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    laws: Laws = attrs.field(init=False)
    _groups: dict[str, Group] = attrs.field(init=False)
    _compared: int = 0

    def __attrs_post_init__(self) -> None:
        self._groups = dict(groups(self.tree, self.tree.id))
        self.laws = Laws(self.tree, self.supervisors)

    # -- the tree --------------------------------------------------------------------------------

    async def run(self) -> None:
        """The root, in the program's scope, and what became of it."""
        try:
            with self.program:
                spec = self._group(self.tree)
                keep = Reached(functools.partial(self._keep, self.tree.id))
                await self.world.supervise(spec, emit=self.emit, chance=JITTER_CHANCE, task_status=keep)
        except (TarsError, Escalate, SystemExit, BaseExceptionGroup) as error:
            self.verdict = verdict_of(leaves(error))
        else:
            self.verdict = "cancelled" if self.program.cancelled_caught else ""

    def emit(self, event: object) -> None:
        self.world.emit(event)  # type: ignore[arg-type]
        self.laws.told(trio.current_time(), event)

    @staticmethod
    def _chance() -> float:
        return JITTER_CHANCE

    def _keep(self, path: str, supervisor: Supervisor) -> None:
        self.supervisors[path] = supervisor

    def _group(self, shape: Group) -> SupervisorSpec:
        same = (
            "strategy",
            "max_restarts",
            "period_s",
            "max_consecutive",
            "backoff",
            "auto_shutdown",
            "restart",
            "significant",
            "shutdown_s",
        )
        return SupervisorSpec(shape.id, [self.child(child) for child in shape.children], **{name: getattr(shape, name) for name in same})

    def child(self, shape: Shape) -> ChildSpec | SupervisorSpec:
        """`shape` as a spec; a supervisor to be reached gives its handle away as it comes up, and is a supervisor all the same."""
        if isinstance(shape, Group) and not shape.reached:
            return self._group(shape)
        run = functools.partial(self._run_group, self._group(shape)) if isinstance(shape, Group) else functools.partial(self._live, shape)
        backoff = None if isinstance(shape, Group) else shape.backoff
        return ChildSpec(shape.id, run, restart=shape.restart, shutdown_s=shape.shutdown_s, significant=shape.significant, backoff=backoff)

    async def _run_group(self, spec: SupervisorSpec, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        me = current()
        assert me is not None
        await supervise(spec, self.emit, chance=self._chance, task_status=Reached(functools.partial(self._keep, me.path), task_status))

    # -- workers ---------------------------------------------------------------------------------

    async def _live(self, shape: Worker, *, task_status: trio.TaskStatus[None]) -> None:
        me = current()
        assert me is not None
        waiting = self.plans.setdefault(me.path, list(shape.lives))
        life = Life(me.path, me.number, waiting.pop(0) if waiting else shape.usual, self.laws.asked)
        if me.path in self.lives:
            self.world.faults.append(f"a second incarnation of {me.path} at {trio.current_time()} s")
        self.lives[me.path] = life
        try:
            mailbox = self._mailbox(me.path, shape.capacity) if shape.capacity else None
            ending = await life.lead(mailbox, task_status)
        finally:
            del self.lives[me.path]
        if (error := RAISES.get(ending.word)) is not None:
            raise error(ending)

    def _mailbox(self, path: str, capacity: float) -> Mailbox[int]:
        if path not in self.mail:
            self.mail[path] = self.world.mailbox(capacity, Overflow.DROP_OLDEST)
        return self.mail[path]

    # -- the script ------------------------------------------------------------------------------

    async def replay(self, steps: Sequence[Step]) -> str:
        """What is not as it should be after the first step of which that can be said; "" when all is well."""
        self.nursery.start_soon(self.run)
        for step in steps:
            await trio.sleep_until(step.at)
            if step.act is not None:
                await self.world.settle()
                self.world.note(line(step))
                self._act(step)
            await self.world.settle()
            if found := self._differences(step):
                return f"at {trio.current_time():.6f} s, after {line(step)}:\n" + "\n".join(found)
        return f"the root has ended, and these still run: {list(self.lives)}" if self.lives and steps[-1].seen.verdict is not None else ""

    async def perform(self, steps: Sequence[Step]) -> None:
        """Do what the steps say, and expect nothing."""
        self.nursery.start_soon(self.run)
        for step in steps:
            await trio.sleep_until(step.at)
            if step.act is not None:
                await self.world.settle()
                self._act(step)

    def _act(self, step: Step) -> None:
        match step.act:
            case Cancel():
                self.program.cancel()
            case Order(ending=ending):
                self.lives[step.path].order(ending)
            case Next(plan=plan):
                shape = self._shape(step.path)
                assert isinstance(shape, Worker)
                self.plans.setdefault(step.path, list(shape.lives)).insert(0, plan)
            case Post(verb=verb, count=count):
                self._post(step.path, verb, count)
            case Operate(verb=verb):
                self.answers.append("")
                self.nursery.start_soon(self.operate, len(self.answers) - 1, verb, self.supervisors[step.path], step.path, step.child)
            case _:
                raise AssertionError(step)

    def _shape(self, path: str) -> Shape:
        supervisor, _, child_id = path.rpartition("/")
        group = self._groups[supervisor]
        return next(shape for shape in (*group.children, *group.spares) if shape.id == child_id.partition(":")[0])

    def _post(self, path: str, verb: str, count: int) -> None:
        shape = self._shape(path)
        assert isinstance(shape, Worker)
        if verb == "send":
            for number in range(count):
                self._mailbox(path, shape.capacity).send_nowait(number)
            return
        custody = self.lives[path].custody
        assert custody is not None
        if verb == "take":
            custody.receive_nowait(count)
        else:
            for taken in list(custody.in_hand)[:count]:
                custody.done(taken)

    async def operate(self, number: int, verb: str, supervisor: Supervisor, path: str, child: str) -> None:
        """An operator's call, and its answer in its place."""
        try:
            match verb:
                case "stop":
                    await supervisor.stop()
                case "start" if child == "":
                    await supervisor.start_child()
                case "start":
                    await supervisor.start_child(self.child(self._shape(f"{path}/{child}")))
                case "terminate":
                    await supervisor.terminate_child(child)
                case "restart":
                    await supervisor.restart_child(child)
                case _:
                    await supervisor.delete_child(child)
        except TarsError as refusal:
            self.answers[number] = type(refusal).__name__
        else:
            self.answers[number] = "ok"

    # -- looking ---------------------------------------------------------------------------------

    def _differences(self, step: Step) -> list[str]:
        actual = self.seen(step.seen.letters, step.seen.stopping)
        return [*self.differences(step.seen, actual), *self.laws.broken, *self.world.faults]

    def differences(self, expected: Seen, actual: Seen) -> Sequence[str]:
        return list(differences(self._groups, expected, actual))

    def seen(self, mail: Iterable[str], stopping: Container[str]) -> Seen:
        """What there is to see, the mailboxes of `mail` too, and what is new since the last look. `stopping`: these supervisors are."""
        self.laws.look(self.lives, stopping)
        new = self.world.trace[self._compared :]
        self._compared = len(self.world.trace)
        letters: dict[str, Letters] = {}
        for path in mail:
            now = self.mail[path].statistics()
            self.laws.balance(path, now)
            there = path in self.lives and self.lives[path].custody is not None
            self.laws.reader(path, now, there=there)
            letters[path] = (now.accepted, now.done, now.evicted, now.queued, now.in_hand, there)
        return Seen(
            {path: tuple(rows(supervisor, stopping=path in stopping)) for path, supervisor in self.supervisors.items()},
            {path: life.number for path, life in self.lives.items()},
            tuple(self.answers),
            letters,
            tuple(told(time, event) for time, event in new if not isinstance(event, tuple)),
            self.verdict,
            tuple(path for path in self.supervisors if path in stopping),
        )


async def check(world: Sim, case: Case, steps: Sequence[Step]) -> None:
    """Replay `steps` on the tree of `case`; AssertionError says what is different. A scenario for `sim`."""
    async with trio.open_nursery() as nursery:
        found = await Real(world, case.tree, nursery).replay(steps)
        if found:
            nursery.cancel_scope.cancel()
    if found:
        raise AssertionError(found)


async def perform(world: Sim, case: Case, steps: Sequence[Step]) -> None:
    """Do what the steps say on the tree of `case`. A scenario for `sim`."""
    async with trio.open_nursery() as nursery:
        await Real(world, case.tree, nursery).perform(steps)
