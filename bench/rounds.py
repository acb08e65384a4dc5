"""The order of the measurements, and doing them.

Law: neighbours alternate. In every round each scenario sees each contender once, and every other round goes the other way,
so that a machine that slows down or warms up does it to all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from .child import Cores, Failed
from .contenders import Contender
from .measuring import measure
from .scenario import Scenario
from .throughput import Sample


@attrs.frozen
class Turn:
    """One measurement to be made."""

    round: int
    scenario: Scenario
    contender: Contender


@attrs.frozen
class Failure:
    """One that came to nothing."""

    contender: str
    scenario: str
    error: str


def turns(contenders: Callable[[Scenario], Sequence[Contender]], scenarios: Sequence[Scenario], rounds: int) -> list[Turn]:
    """All of them, in order; `contenders` of a scenario."""
    order: list[Turn] = []
    for number in range(rounds):
        for scenario in scenarios:
            ordered = contenders(scenario)
            order += [Turn(number, scenario, contender) for contender in (ordered if number % 2 == 0 else ordered[::-1])]
    return order


@attrs.frozen
class Measured:
    """What a run gave, in the order in which it was measured."""

    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]


async def run(
    order: Sequence[Turn], cores: Cores, target_cpu_s: float, environment: Mapping[str, str], tell: Callable[[str], None]
) -> Measured:
    """Make every measurement; one that fails is told and noted, and the others go on."""
    samples: list[Sample] = []
    failures: list[Failure] = []
    for number, turn in enumerate(order, 1):
        where = f"{number}/{len(order)} round {turn.round + 1}, {turn.scenario.name}, {turn.contender.name}"
        try:
            sample = await measure(turn.contender, turn.scenario, cores, target_cpu_s, environment)
        except Failed as failed:
            failures.append(Failure(turn.contender.name, turn.scenario.name, str(failed)))
            tell(f"{where}: FAILED: {failed}")
        else:
            samples.append(sample)
            tell(f"{where}: {sample.per_cpu_s:,.0f} per CPU-second, {sample.per_s:,.0f} per second")
    return Measured(tuple(samples), tuple(failures))
