"""Two commands at one instant, in the pure model: everything that may come of it.

The order of the tasks of one instant is nobody's promise, so there is not one outcome but a set. The model finds it by
trying: either command first, and the other one after each of the things that follow at once from the first, be it before
any of them (the supervisor looks at both together) or after all. What is then seen, at a few moments, is one outcome.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from .model_child import Call
from .model_machine import WorkerProcess
from .model_operator import carry_out, names
from .model_play import Play, Seen, Step
from .model_shapes import Case, Ending, Operate, Order

LATER_S: Final = (0.0, 0.75, 4.0, 30.0)
"""How long after the instant it is looked at what came of it."""


@attrs.frozen
class End:
    """A worker's life is to end so; nothing, if it has none then."""

    path: str
    ending: Ending


@attrs.frozen
class Ask:
    """An operator calls the supervisor at `path`, as it is when the instant begins."""

    verb: str
    path: str
    child: str
    number: int


Act: TypeAlias = End | Ask
Outcome: TypeAlias = tuple[Seen, ...]


class NothingToDo(Exception):
    """There is nobody whom a command could be about."""


@attrs.frozen
class Race:
    """After the steps `before`, the two `acts` at `at`; then one of `outcomes`, each what is seen `LATER_S` after that.

    The outcomes are those that come to mind first; `more` tries others, without end.
    """

    case: Case
    before: tuple[Step, ...]
    at: float
    acts: tuple[Act, Act]
    outcomes: tuple[Outcome, ...]

    def more(self) -> Iterator[Outcome]:
        """What may come of it when what follows at this instant follows in any order. Raises `Tie`."""
        chance = random.Random(self.case.seed)
        while True:
            acts = list(self.acts)
            chance.shuffle(acts)
            play = until_the_race(self.case)
            meet(play, acts, chance.randrange)
            yield tuple(looks(play))


def race(case: Case, both: tuple[Order | Operate, Order | Operate]) -> Race:
    """Raises `Tie` when the model cannot foretell what leads to it or follows from it, or `NothingToDo`."""
    play = until_the_race(case)
    first = resolved(play, both[0], len(play.calls))
    second = resolved(play, both[1], len(play.calls) + isinstance(first, Ask))
    outcomes: list[Outcome] = []
    for acts in ((first, second), (second, first)):
        for turns in itertools.count():
            again = until_the_race(case)
            all_done = meet(again, acts, in_order_but(turns))
            seen = tuple(looks(again))
            if seen not in outcomes:
                outcomes.append(seen)
            if all_done:
                break
    return Race(case, tuple(play.steps), play.world.machine.now, (first, second), tuple(outcomes))


def in_order_but(turns: int) -> Callable[[int], int]:
    """Whatever follows follows in the order in which it was caused; the second act comes after so many turns of it."""
    left = itertools.chain(itertools.repeat(1, turns), itertools.repeat(0))
    return lambda _: next(left)


def until_the_race(case: Case) -> Play:
    """The case, up to its last command."""
    play = Play(case.tree)
    for command in case.commands:
        play.do(command)
    if play.root.over:
        raise NothingToDo
    return play


def resolved(play: Play, command: Order | Operate, number: int) -> Act:
    """The command with names in place of numbers."""
    if isinstance(command, Order):
        alive = list(play.world.workers)
        if not alive:
            raise NothingToDo
        return End(alive[command.worker % len(alive)], command.ending)
    reached = list(play.world.reached.values())
    if not reached:
        raise NothingToDo
    supervisor = reached[command.group % len(reached)]
    known = [""] if command.verb == "stop" else list(names(supervisor))
    if not known:
        raise NothingToDo
    child = "" if supervisor.shape.dynamic and command.verb == "start" else known[command.child % len(known)]
    return Ask(command.verb, supervisor.path, child, number)


def meet(play: Play, acts: Sequence[Act], choose: Callable[[int], int]) -> bool:
    """The first act; then, as `choose` says, the second one (0), or the n-th thing that follows. Was there nothing left for the second?"""
    machine = play.world.machine
    calls = {act.number: (Call(act.number, act.verb), play.world.reached[act.path]) for act in acts if isinstance(act, Ask)}
    play.calls += [calls[number][0] for number in sorted(calls)]

    def do(act: Act) -> None:
        if isinstance(act, Ask):
            call, supervisor = calls[act.number]
            carry_out(supervisor, call, act.child)
        elif (line := play.world.workers.get(act.path)) is not None and isinstance(line.process, WorkerProcess):
            line.process.obey(act.ending)

    do(acts[0])
    while machine.pending and (chosen := choose(machine.pending + 1)):
        machine.turn(chosen - 1)
    all_done = not machine.pending
    do(acts[1])
    while machine.pending:
        machine.turn(max(0, choose(machine.pending + 1) - 1))
    play.settle(None)
    return all_done


def looks(play: Play) -> Iterator[Seen]:
    """What is seen when nothing moves any more, and later."""
    began, told = play.world.machine.now, len(play.steps) - 1
    for later_s in LATER_S:
        play.wait_until(began + later_s)
        steps, told = play.steps[told:], len(play.steps)
        seen = play.steps[-1].seen
        events = tuple(itertools.chain.from_iterable(step.seen.events for step in steps))
        yield in_a_race(attrs.evolve(seen, events=events))


def in_a_race(seen: Seen) -> Seen:
    """What of it can be compared. A caller wakes a step after its answer is clear, and the supervisor may have begun to stop by then."""
    answers = tuple("StartFailed" if answer == "ActorStopped" else answer for answer in seen.answers)
    return attrs.evolve(seen, answers=answers, stopping=tuple(sorted(seen.stopping)))
