"""The report: what JSON holds, and the table a person reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from .contenders import taking_part
from .machine import Machine
from .rounds import Measured
from .scenario import ALL
from .statistics import Spread, ratios, spread
from .throughput import Sample

OURS: Final = "tars 5"
COMPARED: Final = ("aiomqtt 3.1.1", "aiomqtt 3.1.1 early", "aiomqtt 3.1.1 tasks", "aiomqtt 5", "gmqtt 5", "FastStream 5", "zmqtt 5")
"""Whom `OURS` is put beside in the table of ratios."""


@attrs.frozen
class Row:
    """One contender in one scenario, over all rounds. RSS is the highest seen."""

    contender: str
    scenario: str
    per_cpu_s: Spread
    per_s: Spread
    rss_bytes: int


@attrs.frozen
class Ratio:
    """Messages per CPU-second of ours over those of `theirs`, round by round."""

    scenario: str
    ours: str
    theirs: str
    value: Spread


def rows(samples: Sequence[Sample]) -> list[Row]:
    """One for each contender and scenario, in the order in which they first appear."""
    found: list[Row] = []
    for scenario, contender in _pairs(samples):
        mine = _of(samples, scenario, contender)
        found.append(
            Row(
                contender,
                scenario,
                spread([sample.per_cpu_s for sample in mine]),
                spread([sample.per_s for sample in mine]),
                max(sample.rss_bytes for sample in mine),
            )
        )
    return found


def ratio(samples: Sequence[Sample], scenario: str, ours: str, theirs: str) -> Ratio | None:
    """None where one of the two was not measured."""
    values = ratios(*([sample.per_cpu_s for sample in _of(samples, scenario, name)] for name in (ours, theirs)))
    return Ratio(scenario, ours, theirs, spread(values)) if values else None


def all_ratios(samples: Sequence[Sample]) -> list[Ratio]:
    """`OURS` over everybody in `COMPARED`, in every scenario."""
    scenarios = list(dict.fromkeys(sample.scenario for sample in samples))
    found = (ratio(samples, scenario, OURS, theirs) for scenario in scenarios for theirs in COMPARED)
    return [each for each in found if each is not None]


def _pairs(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((sample.scenario, sample.contender) for sample in samples))


def _of(samples: Sequence[Sample], scenario: str, contender: str) -> list[Sample]:
    return [sample for sample in samples if (sample.scenario, sample.contender) == (scenario, contender)]


# -- JSON -----------------------------------------------------------------------------------------


def as_json(measured: Measured, machine: Machine) -> dict[str, Any]:
    """Everything, down to the single samples, as plain values."""
    return {
        "machine": attrs.asdict(machine),
        "throughput": [attrs.asdict(row) for row in rows(measured.samples)],
        "ratios": [attrs.asdict(each) for each in all_ratios(measured.samples)],
        "samples": [attrs.asdict(sample) for sample in measured.samples],
        "failures": [attrs.asdict(failure) for failure in measured.failures],
    }


# -- words ----------------------------------------------------------------------------------------


def as_text(measured: Measured, machine: Machine) -> str:
    """The same as Markdown, for people."""
    parts = [f"# Benchmark\n\n{_machine(machine)}"]
    made = rows(measured.samples)
    scenarios = dict.fromkeys(row.scenario for row in made)
    parts += [f"## {scenario}\n\n{_table([row for row in made if row.scenario == scenario])}" for scenario in scenarios]
    if found := all_ratios(measured.samples):
        parts.append(f"## {OURS} over the others\n\n{_ratio_table(found)}")
    if measured.failures:
        parts.append(
            "## What failed\n\n" + "\n".join(f"* {each.contender}, {each.scenario}: {_one_line(each.error)}" for each in measured.failures)
        )
    parts.append("## Who does what\n\n" + "\n".join(dict.fromkeys(_notes(made))))
    return "\n\n".join(parts) + "\n"


def _notes(made: Sequence[Row]) -> Iterator[str]:
    seen = {(row.contender, row.scenario) for row in made}
    for way in ALL:
        for each in taking_part(way):
            if (each.name, way.name) in seen:
                yield f"* {each.name}{', requests' if way.requests else ''}: {each.note}"


def _machine(machine: Machine) -> str:
    pinned = machine.pinned
    where = "nobody pinned" if pinned.consumer is None else f"consumer on core {pinned.consumer}, feeder and broker on core {pinned.feeder}"
    lines = (
        f"{machine.processor}, {machine.cores_available} cores, {machine.system}; {where}",
        f"Python {machine.python}, {machine.mosquitto}; commit {machine.commit}",
        f"load average before and after: {', '.join(f'{load:g}' for load in machine.load)}",
        ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
    )
    return "\n".join(f"* {line}" for line in lines)


def _table(of: Sequence[Row]) -> str:
    head = ["| consumer | per CPU-second | lowest to highest | per second | RSS |", "|---|---:|---:|---:|---:|"]
    ordered = sorted(of, key=lambda row: -row.per_cpu_s.median)
    return "\n".join([*head, *(_row(row) for row in ordered)])


def _row(row: Row) -> str:
    cpu = row.per_cpu_s
    cells = (
        row.contender,
        f"{cpu.median:,.0f}",
        f"{cpu.low:,.0f} to {cpu.high:,.0f}",
        f"{row.per_s.median:,.0f}",
        f"{row.rss_bytes >> 20} MiB",
    )
    return f"| {' | '.join(cells)} |"


def _ratio_table(found: Sequence[Ratio]) -> str:
    head = ["| scenario | over | median | lowest to highest |", "|---|---|---:|---:|"]
    return "\n".join(
        [
            *head,
            *(
                f"| {each.scenario} | {each.theirs} | {each.value.median:.2f} | {each.value.low:.2f} to {each.value.high:.2f} |"
                for each in found
            ),
        ]
    )


def _one_line(text: str) -> str:
    return text.partition("\n")[0]
