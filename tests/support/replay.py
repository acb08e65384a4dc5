"""Replay one seed of a scenario and read what happened: ``python -m support.replay --seed 7 --scenario rest_for_one``.

With the folder `tests` on the path. A scenario is the name of a file in `tests/scenarios`, or the path of one;
`support.script` says what may stand in it. Without a scenario: the list of them.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tars.supervisor.problem import Unstructurable, dotted

from .script import AtStart, AtStop, Life, Node, Scenario, read
from .script_play import play, sim_script
from .sim import sims
from .timeline import timeline

SCENARIOS = Path(__file__).parents[1] / "scenarios"
MISTAKE = 2


def find(name: str, folder: Path = SCENARIOS) -> Path:
    """The file of a scenario, by its name or its path."""
    path = Path(name)
    return path if path.suffix == ".toml" else folder / f"{name}.toml"


def listing(folder: Path = SCENARIOS) -> Iterator[str]:
    """Each scenario's name and title."""
    for path in sorted(folder.glob("*.toml")):
        yield f"{path.stem:<28}{read(path).title}"


def tree(scenario: Scenario) -> Iterator[str]:
    """The tree, one line per child."""
    for node in scenario.tree:
        yield f"  {'  ' * node.path.count('/')}{node.id:<{24 - 2 * node.path.count('/')}}  {_said_of(node)}".rstrip()


def _said_of(node: Node) -> str:
    words = [] if node.strategy is None else [node.strategy.value, f"{node.max_restarts} restarts in {node.period_s:g} s"]
    words += [node.restart.value] if node.path != "root" else []
    words += [f"shutdown_s={node.shutdown_s}"] if node.shutdown_s != "default" else []
    words += ["significant"] if node.significant else []
    words += ["started by an operator"] if node.spare else []
    told = [(life, len(list(same))) for life, same in itertools.groupby(map(_said_of_life, node.lives))]
    lives = " | ".join(life if times == 1 else f"{life}, {times} times" for life, times in told)
    return ", ".join(words) + (f"; its lives: {lives}" if lives else "")


def _said_of_life(life: Life) -> str:
    words = [f"starts in {life.start_s:g} s"] if life.start_s else []
    words += [f"{life.start.value} in its start"] if life.start is not AtStart.UP else []
    words += [f"{life.end.value} after {life.run_s:g} s"] if life.run_s is not None else []
    words += [f"to stop: {life.stop.value}" + (f" {life.stop_s:g} s" if life.stop_s else "")] if life.stop is not AtStop.OBEY else []
    return ", ".join(words) or "runs till told"


class TooLate(ValueError):
    """The run is over before the step at which it was to be cancelled."""


def report(scenario: Scenario, seed: int, cancel_at_step: int | None = None) -> Iterator[str]:
    """Title, tree, timeline, and how it ended. Raises `TooLate`."""
    world = sim_script(seed, scenario, cancel_at_step=cancel_at_step)
    if cancel_at_step is not None and cancel_at_step > world.steps:
        msg = f"under seed {seed} the run is over after {world.steps} task steps: it cannot be cancelled at step {cancel_at_step}"
        raise TooLate(msg)
    yield f"{scenario.title or 'a scenario'}; seed {seed}" + (
        "" if cancel_at_step is None else f", cancelled at task step {cancel_at_step}"
    )
    yield from tree(scenario)
    yield ""
    yield from timeline(world.trace)
    yield ""
    came = "cancelled from outside; " if world.outer.cancelled_caught else "the cancellation found nothing that could still be cancelled; "
    yield f"{came if world.outer.cancel_called else ''}{world.steps} task steps; no task and no channel left"


def main(arguments: Sequence[str]) -> int:
    """The command. Exit code 2 for a scenario that cannot be read, or a step that never comes."""
    parser = argparse.ArgumentParser(prog="python -m support.replay", description="Replay a simulated life of a tree.")
    parser.add_argument("--scenario", help="a name in tests/scenarios, or the path of a TOML file; without it: the list")
    parser.add_argument("--seed", type=int, default=0, help="which order of tasks, and which random numbers (default 0)")
    parser.add_argument("--cancel-at-step", type=_step, metavar="N", help="cancel the program when task step N (1, 2, ...) begins")
    parser.add_argument("--seeds", type=int, metavar="COUNT", help="run the seeds 0 to COUNT-1 instead, and say how many lives differ")
    chosen = parser.parse_args(arguments)
    if chosen.scenario is None:
        say(listing())
        return 0
    path = find(chosen.scenario)
    try:
        scenario = read(path)
    except (OSError, ValueError) as mistake:
        say(refusal(mistake, chosen.scenario, path), sys.stderr)
        return MISTAKE
    if chosen.seeds is not None:
        different = sims(chosen.seeds, lambda world: play(world, scenario))
        say([f"{chosen.seeds} seeds, {different} different lives; each ended with no task and no channel left"])
        return 0
    try:
        say(report(scenario, chosen.seed, chosen.cancel_at_step))
    except TooLate as mistake:
        say([str(mistake)], sys.stderr)
        return MISTAKE
    return 0


def _step(text: str) -> int:
    """A task step; they are counted from 1."""
    if (number := int(text)) < 1:
        msg = f"task steps are counted from 1, not {number}"
        raise argparse.ArgumentTypeError(msg)
    return number


def refusal(mistake: Exception, name: str, path: Path, folder: Path = SCENARIOS) -> Iterator[str]:
    """Why there is no scenario of this `name`."""
    match mistake:
        case Unstructurable():
            yield from (f"{path}: {dotted(each.key)}: {each.message}" for each in mistake.problems)
        case FileNotFoundError() if path.parent == folder:
            known = sorted(each.stem for each in folder.glob("*.toml"))
            alike = difflib.get_close_matches(name, known, n=1)
            yield f"there is no scenario {name!r}" + (f"; did you mean {alike[0]!r}?" if alike else "")
            yield f"there are: {', '.join(known)}; or give the path of a .toml file"
        case FileNotFoundError():
            yield f"there is no file {path}"
        case OSError():
            yield f"{path} cannot be read: {mistake.strerror}"
        case _:
            yield f"{path}: {mistake}"


def say(lines: Iterable[str], to: TextIO | None = None) -> None:
    """Print them, as long as somebody reads."""
    out = to or sys.stdout
    try:
        for line in lines:
            print(line, file=out, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # or Python complains at its exit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
