"""What a scenario sees: the trace, the scripted children it started, and the means to steer them.

Law: the world only watches and obeys; it never decides. What it finds wrong by itself (two incarnations of
one child alive at once) it collects in `faults`, and the run fails at its end.
"""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio
import trio.testing

from tars.supervisor import (
    NO_BACKOFF,
    ChildSpec,
    ChildState,
    Emit,
    Event,
    Mailbox,
    Overflow,
    Supervisor,
    SupervisorSpec,
    SupervisorStopped,
    current,
    supervise,
)

from .sim_channels import Channels
from .sim_children import Behaviour, Life, obey

E = TypeVar("E")


def flat(error: BaseException | None) -> list[BaseException]:
    """The exceptions inside nested groups, left to right."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in flat(inner)]
    return [] if error is None else [error]


def root(*children: ChildSpec | SupervisorSpec, **spec: Any) -> SupervisorSpec:
    """A supervisor ``root`` that restarts at once, unless told otherwise."""
    return SupervisorSpec("root", children, **{"backoff": NO_BACKOFF, **spec})


def jitters(spec: ChildSpec | SupervisorSpec) -> bool:
    """Is there a random number in any delay of this tree?"""
    own = spec.backoff is not None and spec.backoff.jitter > 0 and spec.backoff.initial_s > 0
    return own or (isinstance(spec, SupervisorSpec) and any(jitters(child) for child in spec.children))


def states(supervisor: Supervisor) -> dict[str, ChildState]:
    """Child id to state, newest first."""
    return {child.id: child.state for child in supervisor.which_children()}


@attrs.define(eq=False)
class Tree:
    """One call of `supervise`. `out`: what it raised, out of all groups; None while it runs."""

    path: str
    stopped: bool = False  # it has said so: from here on no cancellation can reach it
    out: list[BaseException] | None = None


@attrs.define(eq=False)
class Sim:
    """One simulated run. `trace` holds (virtual seconds, event or words), in the order things happened.

    `drew`: has the run asked for a number of its seed? If not, only the order of its tasks depends on the seed.
    """

    _seed: int
    trace: list[tuple[float, object]] = attrs.field(factory=list)
    lives: list[Life] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    outer: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    steps: int = 0
    drew: bool = False
    trees: list[Tree] = attrs.field(factory=list)
    cancelled: list[Tree] = attrs.field(factory=list)  # those that ran when the program was cancelled
    cancelled_from: int | None = None  # where in the trace that was
    channels: Channels = attrs.field(factory=Channels)
    _random: random.Random | None = None

    # -- what depends on the seed -----------------------------------------------------------------

    @property
    def seed(self) -> int:
        self.drew = True
        return self._seed

    @property
    def random(self) -> random.Random:
        """The run's own random numbers."""
        if self._random is None:
            self._random = random.Random(self.seed)
        return self._random

    def chance(self, spec: SupervisorSpec) -> Callable[[], float]:
        """The jitter of a tree; where no backoff has any, a constant does as well."""
        return self.random.random if jitters(spec) else lambda: 0.5

    # -- watching -------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        self.trace.append((trio.current_time(), event))
        if isinstance(event, SupervisorStopped):
            for tree in self.trees:
                tree.stopped = tree.stopped or tree.path == event.path

    def note(self, *words: str) -> None:
        self.trace.append((trio.current_time(), words))

    def render(self) -> list[str]:
        """The trace as lines of text: what two runs of one seed must agree on."""
        return [f"{time:10.3f}  {' '.join(what) if isinstance(what, tuple) else what}" for time, what in self.trace]

    def words(self, *first: str) -> list[str]:
        """The children's own notes (``"up a"``), only those whose first word is listed, in order."""
        return [" ".join(what) for _, what in self.trace if isinstance(what, tuple) and what[0] in first]

    def times(self, *words: str) -> list[float]:
        """The virtual seconds at which exactly this note was made."""
        return [time for time, what in self.trace if what == words]

    def events(self, kind: type[E]) -> list[E]:
        return [what for _, what in self.trace if isinstance(what, kind)]

    def alive(self) -> list[str]:
        return [life.name for life in self.lives if not life.gone]

    def starts(self, name: str) -> int:
        """How many incarnations of `name` there have been."""
        return sum(life.name == name for life in self.lives)

    def forget(self) -> None:
        """Drop the trace so far: what a test asserts next began here."""
        self.trace.clear()
        self.cancelled_from = None if self.cancelled_from is None else 0

    def check(self) -> None:
        """Raise AssertionError with what the world found wrong by itself."""
        for tree in self.cancelled:  # D4: only what ends the program anyway may come in the place of a cancellation
            if not any(isinstance(leaf, (trio.Cancelled, KeyboardInterrupt, SystemExit)) for leaf in tree.out or ()):
                self.faults.append(f"{tree.path} was cancelled from outside, and out of it came {tree.out}")
        if self.faults:
            raise AssertionError("; ".join(self.faults))

    def around_cancellation(self) -> tuple[list[object], list[object]]:
        """The events and notes before the program was cancelled, and from there on."""
        told = [what for _, what in self.trace]
        return told[: self.cancelled_from], [] if self.cancelled_from is None else told[self.cancelled_from :]

    # -- steering -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the program, from outside of everything."""
        if self.cancelled_from is None:
            self.cancelled_from = len(self.trace)
            self.cancelled = [tree for tree in self.trees if not tree.stopped and tree.out is None]
        self.outer.cancel()

    async def supervise(
        self, spec: SupervisorSpec, *, task_status: trio.TaskStatus[Supervisor], emit: Emit | None = None, chance: float | None = None
    ) -> None:
        """`supervise`, and note what comes out of it, unless it runs inside another tree. `chance`: a constant one."""
        tree = Tree(spec.id)
        if current() is None:
            self.trees.append(tree)
        try:
            await supervise(
                spec, emit or self.emit, chance=self.chance(spec) if chance is None else lambda: chance, task_status=task_status
            )
        except BaseException as error:
            tree.out = flat(error)
            raise
        tree.out = []

    def child(self, name: str, *script: Behaviour, **spec: Any) -> ChildSpec:
        """A child whose n-th incarnation behaves as the n-th entry of `script`, the last one for ever."""
        return ChildSpec(name, functools.partial(self._live, name, script or (obey,)), **spec)

    def mailbox(
        self, capacity: float, overflow: Overflow = Overflow.BLOCK, *, on_evicted: Callable[[Any, str], None] | None = None
    ) -> Mailbox[Any]:
        """A mailbox of this run: whoever uses it must have left it when the run is over."""
        return self.channels.mailbox(capacity, overflow, on_evicted)

    def life(self, name: str) -> Life:
        """The living incarnation of `name`."""
        return next(life for life in self.lives if life.name == name and not life.gone)

    def end(self, name: str, error: BaseException | None = None) -> None:
        """Tell the living incarnation of `name` to raise `error`, or to return."""
        self.life(name).order(error)

    async def settle(self) -> None:
        """Wait until every task waits: everything that follows from what was done, without time passing, is done."""
        await trio.testing.wait_all_tasks_blocked()

    async def end_and_settle(self, name: str, error: BaseException | None = None) -> None:
        self.end(name, error)
        await self.settle()

    @asynccontextmanager
    async def running(self, spec: SupervisorSpec) -> AsyncIterator[Supervisor]:
        """The supervisor of `spec`; stopped at the end of the block, when everything must be gone."""
        async with trio.open_nursery() as nursery:
            supervisor = await self.start(nursery, spec)
            yield supervisor
            await supervisor.stop()
            if self.alive():
                raise AssertionError(f"stop() returned, and these still run: {self.alive()}")

    async def start(self, nursery: trio.Nursery, spec: SupervisorSpec) -> Supervisor:
        supervisor: Supervisor = await nursery.start(self.supervise, spec)
        return supervisor

    async def outcome(self, spec: SupervisorSpec, during: Callable[[Supervisor], Awaitable[object]] | None = None) -> list[BaseException]:
        """Run `spec` until it ends by itself, `during` beside it. What it raised, out of all groups."""
        try:
            async with trio.open_nursery() as nursery:
                supervisor = await self.start(nursery, spec)
                if during is not None:
                    await during(supervisor)
        except (Exception, BaseExceptionGroup) as error:
            found = flat(error)
            if any(isinstance(leaf, (AssertionError, trio.Cancelled, LookupError, TypeError, AttributeError)) for leaf in found):
                raise
            return found
        except KeyboardInterrupt as error:
            return [error]
        return []

    async def _live(self, name: str, script: tuple[Behaviour, ...], *args: object, task_status: trio.TaskStatus[object]) -> None:
        full = "/".join([name, *map(str, args)])
        if full in self.alive():
            self.faults.append(f"a second incarnation of {full} at {trio.current_time()} s")
        number = self.starts(full)
        life = Life(full, number + 1, self.note, task_status)
        self.lives.append(life)
        await life.live(script[min(number, len(script) - 1)])
