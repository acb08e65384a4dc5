"""A scenario as data: a tree, the lives its workers lead, and a list of timed commands. Read from TOML or built by hand.

    title = "A link loses its broker"

    [[tree]]                        # in start order; a line with a strategy is a supervisor, the first one is the root
    path = "root"
    strategy = "rest_for_one"

    [[tree]]
    path = "root/link"
    lives = [{ run_s = 5, end = "unavailable" }, {}]      # its first lives; the last one goes for all that follow

    [[script]]
    at_s = 7
    do = "crash"
    child = "root/link"

All times in seconds of virtual time. What can go wrong at which point of a life is `Life`; what can be done is `Do`.
"""

from __future__ import annotations

import enum
import math
import tomllib
from pathlib import Path
from typing import Any, Literal

import attrs

from tars.supervisor import NO_BACKOFF, AutoShutdown, Backoff, Restart, Strategy
from tars.supervisor.structure import structure, within


class End(enum.Enum):
    """How an incarnation ends on its own."""

    RETURN = "return"
    CRASH = "crash"
    STOP = "stop"  # raises Stop
    UNAVAILABLE = "unavailable"
    ESCALATE = "escalate"
    EXIT = "exit"  # raises SystemExit


class AtStart(enum.Enum):
    """What happens when a start function is called."""

    UP = "up"
    HANG = "hang"
    DECLINE = "decline"
    CRASH = "crash"
    UNAVAILABLE = "unavailable"
    ESCALATE = "escalate"


class AtStop(enum.Enum):
    """What an incarnation does when it must end. All but OBEY are faults, or take time."""

    OBEY = "obey"
    TIDY = "tidy"  # cancelled, it cleans up behind a shield for `stop_s`
    TRAP = "trap"  # it traps exits: asked, it takes `stop_s`
    SWALLOW = "swallow"  # it catches its cancellation and returns
    RAISE = "raise"  # its clean-up raises


class Do(enum.Enum):
    """What a command does, to `child`."""

    PASS = "pass"  # nothing; time passes
    # its living incarnation ends so:
    RETURN = "return"
    CRASH = "crash"
    STOP = "stop"
    UNAVAILABLE = "unavailable"
    ESCALATE = "escalate"
    EXIT = "exit"
    # its living incarnation will, from now on:
    HANG = "hang"  # be deaf to everything for `for_s`
    SLOW_STOP = "slow_stop"  # need `for_s` to clean up
    SWALLOW_CANCEL = "swallow_cancel"
    RAISE_IN_FINALLY = "raise_in_finally"
    # an operator calls its supervisor:
    START_CHILD = "start_child"  # a `spare` line of the tree; the path of a pool: one more instance
    TERMINATE_CHILD = "terminate_child"
    RESTART_CHILD = "restart_child"
    DELETE_CHILD = "delete_child"
    STOP_SUPERVISOR = "stop_supervisor"  # the child is the supervisor
    # the program is cancelled, from outside:
    CANCEL = "cancel"


@attrs.frozen
class Life:
    """One incarnation: called, it lets `start_s` pass and does `start`; up, it runs for `run_s` (None: till told) and `end`s."""

    start: AtStart = AtStart.UP
    start_s: float = attrs.field(default=0.0, validator=within(ge=0))
    run_s: float | None = attrs.field(default=None, validator=within(ge=0))
    end: End = End.CRASH
    stop: AtStop = AtStop.OBEY
    stop_s: float = attrs.field(default=0.0, validator=within(ge=0))


@attrs.frozen
class Delays:
    """`Backoff`, as a table."""

    initial_s: float = 0.1
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 1.0
    stable_s: float = 10.0

    def backoff(self) -> Backoff:
        return Backoff(**attrs.asdict(self))


@attrs.frozen
class Node:
    """One child of the tree: a supervisor if it has a `strategy`, else a worker. `spare`: an operator starts it."""

    path: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    shutdown_s: float | Literal["brutal", "infinity", "default"] = "default"
    backoff: Delays | None = None
    spare: bool = False
    # of a worker
    lives: tuple[Life, ...] = ()
    # of a supervisor
    strategy: Strategy | None = None
    max_restarts: int = 3
    period_s: float = 5.0
    max_consecutive: int | None = None
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    @property
    def id(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def above(self) -> str:
        """The path of its supervisor."""
        return self.path.rpartition("/")[0]

    def grace_s(self) -> float:
        """`shutdown_s` as a number."""
        match self.shutdown_s:
            case "brutal":
                return 0.0
            case "infinity":
                return math.inf
            case "default":
                return 5.0 if self.strategy is None else math.inf
            case seconds:
                return seconds

    def delays(self) -> Backoff:
        """Its backoff; at once, unless said otherwise: a scenario is about order, mostly."""
        return NO_BACKOFF if self.backoff is None else self.backoff.backoff()


@attrs.frozen
class Command:
    """At `at_s`, `do` it. Commands of one moment happen at once, in the order that the seed chooses."""

    do: Do
    child: str = "root"
    at_s: float = attrs.field(default=0.0, validator=within(ge=0))
    for_s: float = attrs.field(default=0.0, validator=within(ge=0))


@attrs.frozen
class Scenario:
    """A tree and what is done to it. The root is stopped at `until_s`, or right after the last command."""

    tree: tuple[Node, ...]
    script: tuple[Command, ...] = ()
    title: str = ""
    until_s: float = attrs.field(default=0.0, validator=within(ge=0))

    def __attrs_post_init__(self) -> None:
        known = {node.path for node in self.tree if node.strategy is not None}
        for index, node in enumerate(self.tree):
            if (node.above not in known) if index else (node.path != "root" or node.strategy is None):
                msg = f"tree[{index}]: {node.path!r} is not below a supervisor" if index else "tree[0] is the supervisor root"
                raise ValueError(msg)
        paths = {node.path for node in self.tree}
        for index, command in enumerate(self.script):
            if command.child not in paths and command.child.rpartition(":")[0] not in paths:
                msg = f"script[{index}]: there is no {command.child!r} in the tree"
                raise ValueError(msg)

    def below(self, path: str) -> list[Node]:
        """The children of `path` that are there from the start, in start order."""
        return [node for node in self.tree if node.above == path and not node.spare]

    def node(self, path: str) -> Node:
        """The line of the tree; for an instance of a pool, its template's."""
        return next(node for node in self.tree if node.path in (path, path.rpartition(":")[0]))


def read(path: Path) -> Scenario:
    """Raises `Unstructurable` with every mistake in it, or ValueError."""
    raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return structure(Scenario, raw)
