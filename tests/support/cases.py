"""The conformance list: every case, the rule in it, and the tests that prove it, read out of the test files.

A test names its cases with ``@case("A3", "D2")``. The decorator only checks the ids; who proves what is found
by reading the files, so the list cannot be wrong about them. ``python -m support.cases`` prints it as a table.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import attrs

F = TypeVar("F", bound=Callable[..., object])

SEEDS: Final = 200
"""Schedules that every test of a case is run under, at least, by ``@seeds``; `UNSEEDED` excepted."""

PURE = "pure functions: no task, so no order of tasks"
PROCESS = "a process of its own: the operating system and the real clock decide, no seed can"
WHOLE = "a whole service, its broker included: too slow for 200 lives; test_reconfigure.py proves the rules under seeds"
MEASURED = "it measures time or memory"
OWN = "it chooses its schedules itself"
CANCELLATION = "supervisor/test_conformance_cancellation.py"
UNSEEDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "supervisor/test_backoff.py": PURE,
        "supervisor/test_intensity.py": PURE,
        "supervisor/test_spec.py": PURE,
        "supervisor/test_config.py": PURE,
        "supervisor/test_conformance_rules.py::test_the_defaults_are_otps_but_for_elixirs_limit": PURE,
        "supervisor/test_shipped_bugs.py::test_max_restarts_is_a_number_of_restarts_and_period_s_a_number_of_seconds": PURE,
        "supervisor/test_shipped_bugs.py::test_jitter_is_a_share_of_the_delay_not_a_constant": PURE,
        "supervisor/test_shipped_bugs.py::test_a_delay_never_exceeds_the_cap_whatever_the_jitter": PURE,
        "supervisor/test_cli.py": PROCESS,
        "supervisor/test_reload_process.py": PROCESS,
        "supervisor/test_stuck_for_real.py": "a child that swallows every cancellation never lets the virtual clock jump",
        "supervisor/test_shipped_bugs.py::"
        "test_a_process_whose_every_child_crashes_exits_with_a_failure_and_does_not_wait_for_its_deadline": PROCESS,
        "actors/test_reload_process.py": PROCESS,
        "actors/test_reload.py": WHOLE,
        "supervisor/test_scale.py": MEASURED,
        "supervisor/test_shipped_bugs.py::test_an_ended_instances_arguments_are_let_go": MEASURED,
        "supervisor/test_mailbox_model.py": OWN + ": whatever Hypothesis draws, one task after the other",
        f"{CANCELLATION}::test_cancelled_at_any_step_of_a_busy_life_it_ends_in_order": OWN + ": one for each step",
        f"{CANCELLATION}::test_cancelled_at_any_step_of_any_scenario_it_ends_in_order": OWN + ": three for each step",
        f"{CANCELLATION}::test_cancelled_at_any_step_of_any_tree_it_ends_in_order": OWN + ": thousands",
        f"{CANCELLATION}::test_the_same_seed_gives_the_same_life_a_hundred_times": OWN + ": one, a hundred times",
    }
)
"""A file, or a test of it: why one schedule is enough, or all there is."""


@attrs.frozen
class Case:
    """`id`: A OTP's rules, O more of them, B beyond OTP, D decisions where trio or we differ."""

    id: str
    rule: str


CASES: Final = (
    Case("A1", "Children start in order, each up before the next; a first start that fails stops the earlier ones and is not retried."),
    Case("A2", "Children stop in reverse start order, each completely gone before the next is asked."),
    Case("A3", "rest_for_one: the failed child and those started after it go down in reverse and come back in order; one restart."),
    Case("A4", "one_for_all: all go down in reverse and come back in order, all of them new; one restart."),
    Case("A5", "Restart types: permanent always, transient after a crash only, temporary never, and its id is free at once."),
    Case("A6", "Restart intensity: more than max_restarts in a closed window of period_s, shared by all children, is too many."),
    Case("A7", "Giving up: the survivors stop in reverse with their grace, then the supervisor fails with its causes; nothing runs on."),
    Case("A8", "A restart that fails to start counts, and so does every retry."),
    Case("A9", "A supervisor answers while a child waits for its restart; terminated then, the child never comes back."),
    Case("A11", "A temporary child that a group restart takes down is gone, and forgotten."),
    Case("A12", "Stopping: asked, cancelled when the grace is over, BRUTAL at once, INFINITY never; static in sum, pools at once."),
    Case("A14", "The dynamic API: what each call answers for an unknown, stopped, running, restarting child; none costs a restart."),
    Case("A15", "Supervisors under supervisors: a failure rebuilds the static tree only; limits of two levels multiply."),
    Case("A16", "significant and auto_shutdown: only a child's own end counts; any or all; refused where it can never happen."),
    Case("A17", "A spec that cannot mean anything is refused before anything starts, by name and key."),
    Case("O1", "Defaults: one_for_one, permanent, 5 s for a worker, no limit for a supervisor."),
    Case("O2", "A child may decline to start (ignore): its spec is kept without a process, unless it is temporary or of a pool."),
    Case("O3", "What a child ends with when it is asked to stop is a shutdown, unless it is a fault: that is reported, and stops nothing."),
    Case("O4", "Every start, end, restart, give-up and stop is reported, once."),
    Case("O5", "A pool starts empty, starts each instance with its own arguments, and keeps nothing of one that ended for good."),
    Case("O6", "Starting, stopping and restarting stays about linear; the intensity check does not depend on the window."),
    Case("B1", "Backoff: base, 2 base, ... up to the cap; jitter goes downwards; the delay that is told is the delay that is waited."),
    Case("B2", "No child is lost: it runs, waits with a live timer, was given up, or was stopped by an operator."),
    Case("B3", "Only a run of stable_s gives the delays and the consecutive limit back."),
    Case("B4", "Mailboxes outlive incarnations: nothing is lost, order holds, attempts are counted, the counters balance."),
    Case("B6", "A question to an actor that stops, restarts or never comes is answered before its timeout; no call hangs."),
    Case("B7", "A cancellation from outside, at any step, leaves nothing behind, cleans up in reverse order, and goes through."),
    Case("B8", "The same seed and the same script give the same life."),
    Case("B9", "A new config restarts what changed, and nothing else; an invalid one changes nothing."),
    Case("D1", "Giving up is abnormal to every parent; OTP's is not, and a transient supervisor stays dead there."),
    Case("D2", "A group restart revives the finished, as OTP does, but not what an operator stopped."),
    Case("D3", "trio cannot kill: who ignores cancellation is reported as stuck, holds up none of its siblings, and is never doubled."),
    Case("D4", "Endings in trio's terms: groups, other people's cancellations, interrupts."),
    Case("D5", "The window is inclusive, on a float clock."),
    Case("D6", "What is missing outside is no failure: Unavailable restarts for ever, and costs nothing; a bug beside it does."),
    Case("D7", "Consecutive failures are a second limit; Escalate goes past both."),
    Case("D8", "Pools stop in parallel and know no automatic shutdown."),
)
WITHOUT_ORDER: Final = frozenset({"A17", "O1", "O6", "D5", "B8"})
"""Cases in which no order of tasks matters, and the one (B8) whose test must run a seed many times: all their tests may be unseeded."""


def case(*ids: str) -> Callable[[F], F]:
    """Say which cases a test proves. Raises ValueError for an id that is not on the list."""
    if unknown := set(ids) - {each.id for each in CASES}:
        msg = f"no such case: {sorted(unknown)}"
        raise ValueError(msg)
    return lambda test: test


@attrs.frozen
class Proof:
    """One test, and under how many seeds it runs; None: it chooses its schedules itself, or has none."""

    file: str
    test: str
    seeds: int | None

    @property
    def unseeded(self) -> str | None:
        """The entry of `UNSEEDED` that excuses it from running under seeds, if there is one."""
        return next((name for name in (self.file, f"{self.file}::{self.test}") if name in UNSEEDED), None)

    @property
    def sentence(self) -> str:
        """The name as the sentence that it is."""
        return self.test.removeprefix("test_").replace("_", " ")


def proofs(folder: Path) -> Mapping[str, tuple[Proof, ...]]:
    """Case id to the tests below `folder` that name it, by file and line."""
    found: dict[str, list[Proof]] = {each.id: [] for each in CASES}
    for path in sorted(folder.rglob("test_*.py")):
        for ids, proof in _read(path, folder):
            for each in ids:
                found[each].append(proof)
    return {each: tuple(tests) for each, tests in found.items()}


def _read(path: Path, folder: Path) -> Iterator[tuple[list[str], Proof]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            said = {name: arguments for name, arguments in map(_call, node.decorator_list) if name in ("case", "seeds")}
            if "case" in said:
                seeds = said.get("seeds")
                yield list(said["case"]), Proof(path.relative_to(folder).as_posix(), node.name, int(seeds[0]) if seeds else None)


def _call(decorator: ast.expr) -> tuple[str, list[str]]:
    """The name and the literal arguments of ``@name(...)``."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name):
        return "", []
    return decorator.func.id, [str(argument.value) for argument in decorator.args if isinstance(argument, ast.Constant)]


def table(found: Mapping[str, tuple[Proof, ...]]) -> str:
    """The list as a Markdown table: case, rule, tests."""
    rows = ["| Case | Rule | Proved by |", "|---|---|---|"]
    for each in CASES:
        tests = "<br>".join(f"{proof.sentence} (`{proof.file}`)" for proof in found[each.id])
        rows.append(f"| {each.id} | {each.rule} | {tests} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(proofs(Path(__file__).parents[1])))  # noqa: T201 - that is what it is for
