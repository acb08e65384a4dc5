"""Playing a scenario that is data: the tree is built, the commands are done at their times, everything is written down.

Laws: every command leaves a line in the trace, also one that finds nothing to do; a command never waits for another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import trio

from tars.supervisor import ChildSpec, Escalate, Strategy, Supervisor, SupervisorSpec, TarsError, current

from .script import AtStop, Command, Do, Life, Node, Scenario
from .script_lives import ENDINGS, Alive
from .sim import sim
from .sim_world import Sim, flat

NOT_A_CHILD = (Do.PASS, Do.CANCEL)
FAULTS = (Do.HANG, Do.SLOW_STOP, Do.SWALLOW_CANCEL, Do.RAISE_IN_FINALLY)


def sim_script(seed: int, scenario: Scenario, *, cancel_at_step: int | None = None) -> Sim:
    """One run of `scenario` under `seed`; the same seed gives the same trace."""
    return sim(seed, play, scenario, cancel_at_step=cancel_at_step)


async def play(world: Sim, scenario: Scenario) -> None:
    """The scenario of a `sim`: what comes out of the tree becomes the last line of the trace."""
    player = Player(world, scenario)
    try:
        await player.run()
    except (Exception, BaseExceptionGroup, SystemExit) as error:
        found = [leaf for leaf in flat(error) if not isinstance(leaf, trio.Cancelled)]
        if not found or not all(isinstance(leaf, (TarsError, Escalate, SystemExit)) for leaf in found):
            raise
        world.note("raised", "root", "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in found))


@attrs.define(eq=False)
class Player:
    """One run."""

    world: Sim
    scenario: Scenario
    alive: dict[str, Alive] = attrs.field(factory=dict)
    born: dict[str, int] = attrs.field(factory=dict)
    supervisors: dict[str, Supervisor] = attrs.field(factory=dict)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._supervise, self.scenario.node("root"))
            await self._commands()
            await trio.sleep_until(self.scenario.until_s)
            self.world.note("command", "stop: the scenario is over")
            await self.supervisors["root"].stop()

    # -- the tree -------------------------------------------------------------------------------

    def _spec(self, node: Node) -> SupervisorSpec:
        children = [self._child(child) for child in self.scenario.below(node.path)]
        same = ("max_restarts", "period_s", "max_consecutive", "auto_shutdown", "restart", "significant")
        settings = {name: getattr(node, name) for name in same}
        strategy = node.strategy or Strategy.ONE_FOR_ONE
        return SupervisorSpec(node.id, children, strategy=strategy, backoff=node.delays(), shutdown_s=node.grace_s(), **settings)

    def _child(self, node: Node) -> ChildSpec:
        """A supervisor is started like a worker, so that its handle can be got at."""
        start = functools.partial(self._live, node) if node.strategy is None else functools.partial(self._supervise, node)
        backoff = None if node.backoff is None else node.delays()
        return ChildSpec(node.id, start, restart=node.restart, significant=node.significant, shutdown_s=node.grace_s(), backoff=backoff)

    async def _supervise(self, node: Node, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        def keep(supervisor: Supervisor) -> None:
            self.supervisors[node.path] = supervisor
            task_status.started(supervisor)

        await self.world.supervise(self._spec(node), task_status=_Status(keep))

    async def _live(self, node: Node, *_: object, task_status: trio.TaskStatus[None]) -> None:
        me = current()
        assert me is not None
        path, number = me.path, self.born.get(me.path, 0)
        self.born[path] = number + 1
        lives = node.lives or (Life(),)
        who = f"{path} #{me.number}"
        alive = Alive(lives[min(number, len(lives) - 1)], lambda words: self.world.note(words, who))
        try:
            await alive.live(task_status, lambda: self.alive.update({path: alive}))
        finally:
            self.alive.pop(path, None)

    # -- the commands -----------------------------------------------------------------------------

    async def _commands(self) -> None:
        async with trio.open_nursery() as nursery:
            for command in sorted(self.scenario.script, key=lambda each: each.at_s):
                await trio.sleep_until(command.at_s)
                nursery.start_soon(self._do, command)

    async def _do(self, command: Command) -> None:
        told = "" if command.do in NOT_A_CHILD else f" {command.child}"
        for_s = f" for {command.for_s:g} s" if command.for_s else ""
        self.world.note("command", f"{command.do.value}{told}{for_s}")
        if command.do.value in ENDINGS or command.do in FAULTS:
            alive = self.alive.get(command.child)
            if alive is None:
                self.world.note("is not running: nothing done", command.child)
            else:
                self._order(alive, command)
        elif command.do is Do.CANCEL:
            self.world.cancel()
        elif command.do is not Do.PASS:
            await self._operate(command)

    @staticmethod
    def _order(alive: Alive, command: Command) -> None:
        match command.do:
            case Do.HANG:
                alive.hang(command.for_s)
            case Do.SLOW_STOP:
                alive.stop_so(AtStop.TIDY, command.for_s)
            case Do.SWALLOW_CANCEL:
                alive.stop_so(AtStop.SWALLOW)
            case Do.RAISE_IN_FINALLY:
                alive.stop_so(AtStop.RAISE)
            case ending:
                alive.order(ENDINGS[ending.value])

    async def _operate(self, command: Command) -> None:
        try:
            answer = await self._call(command)
        except TarsError as refusal:
            answer = f"refused: {type(refusal).__name__}"
        self.world.note("answer", f"{command.do.value} {command.child}: {answer}")

    async def _call(self, command: Command) -> str:
        node = self.scenario.node(command.child)
        if command.do is Do.STOP_SUPERVISOR:
            await self.supervisors[node.path].stop()
        elif command.do is Do.START_CHILD and node.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            return await self.supervisors[node.path].start_child()
        elif command.do is Do.START_CHILD:
            return await self.supervisors[node.above].start_child(self._child(node))
        else:
            supervisor = self.supervisors[node.above]
            await getattr(supervisor, command.do.value)(command.child.rpartition("/")[2])
        return "done"


@attrs.define
class _Status:
    """A task status that hands the supervisor on."""

    keep: Callable[[Supervisor], None]

    def started(self, value: Any = None) -> None:
        self.keep(value)
