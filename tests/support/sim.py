"""The seeded simulation: one supervision scenario, one seed, one virtual clock, one trace.

Laws it keeps: the same seed and scenario give the same trace; a scenario ends with no task and no channel left; a
scenario that can make no progress, or never stops making some, fails instead of hanging; cancelled from outside
at any step it ends likewise, and the cancellation comes through its tree.

trio has no public way to choose the order in which runnable tasks run, nor to turn its test clock back. Its own
test hooks do: three private names, in `HOOKS`. They are used in this file and nowhere else, and `test_sim.py` fails
with a clear message on the day trio renames one.
"""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Final, TypeAlias

import attrs
import pytest
import trio
import trio._core._run as trio_run
import trio.testing

from .sim_channels import Channels
from .sim_world import Sim
from .timeline import timeline

Scenario = Callable[..., Awaitable[None]]
Order: TypeAlias = tuple[int, ...]
"""In which order the tasks that could run at one moment did run."""

SCHEDULER_HOOKS = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")
"""In trio._core._run: a bool that makes the scheduler shuffle by `_r`, and the `random.Random` it shuffles by."""
CLOCK_HOOK = "_virtual_base"
"""In trio.testing.MockClock, at rate 0: the virtual time."""
HOOKS = (*SCHEDULER_HOOKS, CLOCK_HOOK)

MAX_VIRTUAL_S = 1e7
"""A scenario still running after this many virtual seconds is deadlocked: nothing in it had an earlier deadline."""
MAX_STEPS = 200_000
"""A scenario that needs more task steps than this is running in circles."""


CANCELLATIONS: Final = 25
"""At how many of its steps, at most, the scenario of `seeds` is cancelled from outside, in a run for each."""

OF_A_SCENARIO: Final = (Exception, BaseExceptionGroup, SystemExit, pytest.fail.Exception)
"""What a scenario can fail with: also with what it expected of its tree and did not get."""


class SchedulerHooksMissing(AssertionError):
    """trio renamed or changed the private names that the simulation leans on."""


class Stalled(AssertionError):
    """The scenario deadlocked, or never came to an end."""


class TasksLeft(AssertionError):
    """The scenario returned and something it started still lives."""


def require_hooks(module: ModuleType = trio_run, clock: object = None) -> None:
    """Raise `SchedulerHooksMissing`, saying which name is gone, unless trio's scheduler and clock can be steered."""
    flag, shuffles_by = SCHEDULER_HOOKS
    for owner, name, kind in (
        (module, flag, bool),
        (module, shuffles_by, random.Random),
        (trio.testing.MockClock() if clock is None else clock, CLOCK_HOOK, float),
    ):
        if not isinstance(getattr(owner, name, None), kind):
            msg = f"trio {trio.__version__} has no {kind.__name__} {name}: find its new name, change it in sim.py"
            raise SchedulerHooksMissing(msg)


class Schedule(random.Random):
    """One seed's order of the runnable tasks. `chosen`: the choices it has made, where there was one to make."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.chosen: list[Order] = []

    def order(self, count: int) -> Order:
        """The order in which the next `count` tasks shall run."""
        indices = list(range(count))
        super().shuffle(indices)
        return tuple(indices)

    def shuffle(self, x: list[object]) -> None:  # type: ignore[override]
        """What trio calls with the tasks that can run now."""
        if len(x) > 1:
            self.chosen.append(self.order(len(x)))
            x[:] = [x[index] for index in self.chosen[-1]]


class Explored:
    """The schedules that have been run, as a tree of choices: its edges are orders, a leaf is the end of a run.

    A run is determined by its choices (unless it draws random numbers of its own): a seed that would choose
    as an earlier one did is that run again.
    """

    def __init__(self) -> None:
        self._root: dict[Order, dict] | None = None  # type: ignore[type-arg]

    def add(self, chosen: Iterable[Order]) -> None:
        """Remember a run that chose so."""
        node = self._root = {} if self._root is None else self._root
        for order in chosen:
            node = node.setdefault(order, {})

    def knows(self, seed: int) -> bool:
        """Has a run been made whose choices are those that `seed` would make?"""
        node, schedule = self._root, Schedule(seed)
        while node:
            node = node.get(schedule.order(len(next(iter(node)))))
        return node is not None


def scheduler_state() -> tuple[bool, random.Random]:
    """What `deterministic_scheduler` changes, and puts back."""
    return trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r


@contextmanager
def deterministic_scheduler() -> Iterator[None]:
    """Inside, a `trio.run` runs its tasks in the order that `follow` says. What was set before is put back."""
    require_hooks()
    before = scheduler_state()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    follow(Schedule(0))
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before  # type: ignore[misc]


def follow(schedule: Schedule) -> None:
    """Run the tasks in this order from here on."""
    trio_run._r = schedule


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts task steps, calls what is due `at` a step when that step begins, and shows `channels` the task when it ends."""

    taken: int = 0
    channels: Channels = attrs.field(factory=Channels)
    at: dict[int, Callable[[], None]] = attrs.field(factory=dict)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the interface's argument
        self.taken += 1
        if self.taken in self.at:
            self.at[self.taken]()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.channels.watch(task)


@attrs.define(eq=False)
class Runner:
    """Runs one scenario after the other in one `trio.run`; each begins at virtual second 0, with no task but its own."""

    clock: trio.testing.MockClock = attrs.field(factory=lambda: trio.testing.MockClock(autojump_threshold=0))
    steps: Steps = attrs.field(factory=Steps)

    async def once(
        self, seed: int, scenario: Scenario, schedule: Schedule, cancel_at_step: int | None = None, *, heedless: bool = False
    ) -> Sim:
        """One run. Whatever goes wrong is raised with the seed and the trace as a note.

        `heedless`: what the scenario itself makes of being cancelled is not minded.
        """
        world = Sim(seed)
        guard = trio.CancelScope()
        self.clock._virtual_base = 0.0
        guard.deadline = MAX_VIRTUAL_S
        self.steps.taken, self.steps.at, self.steps.channels = 0, {MAX_STEPS: guard.cancel}, world.channels
        if cancel_at_step is not None:
            self.steps.at[cancel_at_step] = world.cancel
        before = trio.lowlevel.current_statistics().tasks_living
        follow(schedule)
        try:
            try:
                with guard, world.outer:
                    await scenario(world)
            except OF_A_SCENARIO:
                if not heedless or world.cancelled_from is None:
                    raise
            world.steps = self.steps.taken
            self._check(world, guard, before)
        except BaseException as error:
            again = "" if cancel_at_step is None else f", cancel_at_step={cancel_at_step}"
            error.add_note(f"seed {seed}{again}; what happened:\n" + "\n".join(timeline(world.trace)))
            raise
        return world

    @staticmethod
    def _check(world: Sim, guard: trio.CancelScope, before: int) -> None:
        if guard.cancelled_caught:
            msg = "deadlock: no task can run" if world.steps < MAX_STEPS else f"no end after {world.steps} task steps"
            raise Stalled(msg)
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left or world.alive():
            msg = f"{left} tasks left, children alive: {world.alive()}"
            raise TasksLeft(msg)
        world.channels.check()
        world.check()

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """`trio.run`, steered."""

        async def settled() -> None:
            await trio.testing.wait_all_tasks_blocked()  # trio's own tasks
            await main()

        with deterministic_scheduler():
            trio.run(settled, clock=self.clock, instruments=[self.steps])


def sim(seed: int, scenario: Scenario, *args: object, cancel_at_step: int | None = None) -> Sim:
    """Run ``scenario(world, *args)`` to its end in virtual time and return its world, trace included.

    `cancel_at_step` cancels the whole scenario from outside when that task step begins (None: never). Whatever
    goes wrong is raised with the seed and the trace as a note.
    """
    runner = Runner()
    worlds: list[Sim] = []

    async def main() -> None:
        worlds.append(await runner.once(seed, lambda world: scenario(world, *args), Schedule(seed), cancel_at_step))

    runner.run(main)
    return worlds[0]


def sims(count: int, scenario: Scenario) -> int:
    """Run `scenario` under the seeds 0 to `count` - 1; returns how many of them were different runs.

    A seed that would schedule as an earlier one did is not run again, unless the scenario draws from `world.random`.
    """
    runner, explored, different = Runner(), Explored(), 0

    async def main() -> None:
        nonlocal different
        for seed in range(count):
            if explored.knows(seed):
                continue
            schedule = Schedule(seed)
            world = await runner.once(seed, scenario, schedule)
            different += 1
            if not world.drew:
                explored.add(schedule.chosen)

    runner.run(main)
    return different


def cancellations(scenario: Scenario, at_most: float = CANCELLATIONS, *, after_seed: int = 0, heedless: bool = False) -> Sequence[Sim]:
    """Run `scenario` cancelled from outside at each of its steps, or at so many of them, spread evenly.

    Step n under the seed `after_seed` + n. Of each run the laws are checked: no task and no channel left, and the cancellation came
    through the tree. `heedless`: see `once`.
    """
    runner = Runner()
    worlds: list[Sim] = []

    async def main() -> None:
        steps = (await runner.once(after_seed, scenario, Schedule(after_seed))).steps
        for step in range(1, steps + 1, max(1, math.ceil(steps / at_most))):
            seed = after_seed + step
            worlds.append(await runner.once(seed, scenario, Schedule(seed), step, heedless=heedless))

    runner.run(main)
    return worlds


def seeds(count: int) -> Callable[[Scenario], Callable[..., None]]:
    """Make ``async def test_x(world, ...)`` one plain test that runs under the seeds 0 to `count` - 1, and names the one that failed.

    After that, B7 for this case: the program is cancelled at each step of it.
    """

    def decorate(scenario: Scenario) -> Callable[..., None]:
        @functools.wraps(scenario)
        def test(**arguments: object) -> None:
            same = functools.partial(scenario, **arguments)
            sims(count, same)
            cancellations(same, heedless=True)

        # pytest asks for every parameter it sees as a fixture: the world is ours to give
        del test.__wrapped__
        signature = inspect.signature(scenario)
        test.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
        return test

    return decorate
