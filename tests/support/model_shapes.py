"""What a model check is about: the shape of a tree, the lives its workers lead, the commands done to it.

Plain values, drawn by `model_draw`, played by the pure model (`model_play`) and by the real tree (`model_real`).
All times in seconds, all of them exact in binary, so that a sum of them is exact, too.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs

from tars.supervisor import NO_BACKOFF, AutoShutdown, Backoff, Restart, Strategy


class Word(enum.Enum):
    """How an incarnation says it ends."""

    RETURN = "return"
    CRASH = "crash"
    STOP = "Stop"
    UNAVAILABLE = "Unavailable"
    ESCALATE = "Escalate"
    MIXED = "a group of Unavailable and crash"
    EXIT = "SystemExit"


@attrs.frozen
class Ending:
    """`retry_after_s` only with UNAVAILABLE."""

    word: Word
    retry_after_s: float | None = None


@attrs.frozen
class Plan:
    """One life of a worker: it starts for `start_s`, then comes up (`start` None) or ends so. Orders may end it at any time.

    Asked to stop, one that `traps` takes `leave_s` more (infinity: ignores the request). Cancelled, it cleans up behind
    a shield for `clean_s`. After either it `says` something, or goes quietly.
    """

    start_s: float = 0.0
    start: Ending | None = None
    traps: bool = False
    leave_s: float = 0.0
    clean_s: float = 0.0
    says: Ending | None = None


@attrs.frozen
class Worker:
    """`lives` are its first lives, `usual` every later one."""

    id: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    shutdown_s: float = 5.0
    backoff: Backoff | None = None
    lives: tuple[Plan, ...] = ()
    usual: Plan = Plan()
    capacity: float = 0  # of its mailbox; 0: it has none


@attrs.frozen
class Group:
    """A supervisor. `spares` are children an operator may add. `reached`: the run has its handle (the root's it always has)."""

    id: str
    children: tuple[Shape, ...] = ()
    spares: tuple[Worker, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 3
    period_s: float = 5.0
    max_consecutive: int | None = None
    backoff: Backoff = NO_BACKOFF
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    shutdown_s: float = math.inf
    reached: bool = True

    @property
    def dynamic(self) -> bool:
        return self.strategy is Strategy.SIMPLE_ONE_FOR_ONE


Shape: TypeAlias = Worker | Group

JITTER_CHANCE = 0.25
"""What the tree gets for a random number."""


# -- commands: the numbers choose among whatever there is when the command's turn comes -------------


@attrs.frozen
class Pass:
    """Time passes."""

    seconds: float


@attrs.frozen
class Edge:
    """Time passes until the oldest restart in a supervisor's window is exactly as old as its period, or a bit older."""

    group: int
    beyond: bool


@attrs.frozen
class Ripen:
    """Time passes until a living worker has run exactly as long as makes a run stable, or a bit less."""

    worker: int
    short: bool


@attrs.frozen
class Order:
    """A living worker ends."""

    worker: int
    ending: Ending


@attrs.frozen
class Next:
    """A worker's next life will go so."""

    worker: int
    plan: Plan


@attrs.frozen
class Operate:
    """An operator calls `verb`: start, terminate, restart, delete (a child) or stop (the supervisor)."""

    verb: str
    group: int
    child: int = 0


@attrs.frozen
class Post:
    """Messages come to a worker's mailbox (`verb` send), are taken from it, or are done."""

    verb: str
    worker: int
    count: int


@attrs.frozen
class Cancel:
    """The program is cancelled from outside."""


Command: TypeAlias = Pass | Edge | Ripen | Order | Next | Operate | Post | Cancel


@attrs.frozen(repr=False)
class Case:
    """One example: a tree and what is done to it."""

    tree: Group
    commands: tuple[Command, ...]
    seed: int = 0

    def __repr__(self) -> str:
        return "\n".join(["", *outline(self.tree), *(f"    {brief(command)}" for command in self.commands), f"  seed {self.seed}"])


def outline(shape: Shape, depth: int = 1) -> Iterator[str]:
    """The tree as text: what differs from the defaults, one child per line."""
    yield "  " * depth + brief(shape, leaving_out=("children", "spares"))
    if isinstance(shape, Group):
        for child in shape.children:
            yield from outline(child, depth + 1)
        for spare in shape.spares:
            yield "  " * (depth + 1) + "(" + brief(spare) + ")"


def brief(value: Any, leaving_out: tuple[str, ...] = ()) -> str:
    """A value with only those fields that say something."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple):
        return "[" + ", ".join(map(brief, value)) + "]"
    if not attrs.has(type(value)):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    fields = [field for field in attrs.fields(type(value)) if field.name not in leaving_out]
    told = [(field.name, getattr(value, field.name)) for field in fields if getattr(value, field.name) != field.default]
    return f"{type(value).__name__}(" + ", ".join(f"{name}={brief(what)}" for name, what in told) + ")"
