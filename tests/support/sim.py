"""The seeded simulation: one supervision scenario, one seed, one virtual clock, one trace.

Laws it keeps: the same seed and scenario give the same trace; a scenario ends with no task left; a
scenario that can make no progress, or never stops making some, fails instead of hanging.

trio has no public way to choose the order in which runnable tasks run. Its own test hooks do: two
private names, `_ALLOW_DETERMINISTIC_SCHEDULING` and `_r`. They are used in this file and nowhere else,
and `test_sim.py` fails with a clear message on the day trio renames them.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import attrs
import trio
import trio._core._run as trio_run
import trio.testing

from .sim_world import Sim

Scenario = Callable[..., Awaitable[None]]

HOOKS = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")
"""trio's private names: a bool that makes the scheduler shuffle by `_r`, and the `random.Random` it shuffles by."""

MAX_VIRTUAL_S = 1e7
"""A scenario still running after this many virtual seconds is deadlocked: nothing in it had an earlier deadline."""
MAX_STEPS = 200_000
"""A scenario that needs more task steps than this is running in circles."""


class SchedulerHooksMissing(AssertionError):
    """trio renamed or changed the private names that the simulation leans on."""


class Stalled(AssertionError):
    """The scenario deadlocked, or never came to an end."""


class TasksLeft(AssertionError):
    """The scenario returned and something it started still lives."""


def require_scheduler_hooks(module: ModuleType = trio_run) -> None:
    """Raise `SchedulerHooksMissing`, saying which name is gone, unless trio's scheduler can be seeded."""
    flag = getattr(module, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    if not isinstance(flag, bool):
        msg = f"trio {trio.__version__} has no bool _core._run._ALLOW_DETERMINISTIC_SCHEDULING: find its new name, change it in sim.py"
        raise SchedulerHooksMissing(msg)
    if not isinstance(getattr(module, "_r", None), random.Random):
        msg = f"trio {trio.__version__} has no random.Random _core._run._r: find its new name, change it in sim.py"
        raise SchedulerHooksMissing(msg)


def scheduler_state() -> tuple[bool, object]:
    """What `seeded_scheduler` changes, and puts back."""
    return trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Inside, a `trio.run` shuffles its runnable tasks by `seed`. What was set before is put back."""
    require_scheduler_hooks()
    flag, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = flag  # type: ignore[misc]
        trio_run._r.setstate(state)


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts task steps, and calls what is due `at` a step when that step begins."""

    at: dict[int, Callable[[], None]]
    taken: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the interface's argument
        self.taken += 1
        if self.taken in self.at:
            self.at[self.taken]()


def sim(seed: int, scenario: Scenario, *args: object, cancel_at_step: int | None = None) -> Sim:
    """Run ``scenario(world, *args)`` to its end in virtual time and return its world, trace included.

    `cancel_at_step` cancels the whole scenario from outside when that task step begins (None: never). Whatever
    goes wrong is raised with the seed and the trace as a note.
    """
    world = Sim(seed=seed, random=random.Random(seed))
    guard = trio.CancelScope()
    steps = Steps({MAX_STEPS: guard.cancel} if cancel_at_step is None else {MAX_STEPS: guard.cancel, cancel_at_step: world.outer.cancel})

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        guard.deadline = MAX_VIRTUAL_S
        with guard, world.outer:
            await scenario(world, *args)
        world.steps = steps.taken
        if guard.cancelled_caught:
            msg = "deadlock: no task can run" if steps.taken < MAX_STEPS else f"no end after {steps.taken} task steps"
            raise Stalled(msg)
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left or world.alive():
            msg = f"{left} tasks left, children alive: {world.alive()}"
            raise TasksLeft(msg)

    try:
        with seeded_scheduler(seed):
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[steps])
        world.check()
    except BaseException as error:
        again = "" if cancel_at_step is None else f", cancel_at_step={cancel_at_step}"
        error.add_note(f"seed {seed}{again}; the trace:\n" + "\n".join(world.render()))
        raise
    return world


def seeds(count: int) -> Callable[[Scenario], Callable[..., None]]:
    """Make ``async def test_x(world, ...)`` one plain test that runs once per seed, 0 to `count` - 1, and names the seed that failed."""

    def decorate(scenario: Scenario) -> Callable[..., None]:
        @functools.wraps(scenario)
        def test(**arguments: object) -> None:
            for seed in range(count):
                sim(seed, functools.partial(scenario, **arguments))

        # pytest asks for every parameter it sees as a fixture: the world is ours to give
        del test.__wrapped__
        signature = inspect.signature(scenario)
        test.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
        return test

    return decorate
