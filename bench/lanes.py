"""What lanes are worth: an actor whose handler waits for the outside, with more and more of them; fed by the blaster.

The key is the sensor, of which there are `SENSORS`. Ideal are N times the messages of one lane. Keys do not spread evenly over lanes,
and the fullest of them is the last to be done: what that leaves of the ideal is told beside it, as "by the keys".

Law: a figure is thrown away, loudly, unless every message was acknowledged, none of them as a dead letter, and in no less time than
they have waited: what is acknowledged sooner was not handled.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tars.actors.mqtt.dead_letter import DeadLetter
from tars.actors.mqtt.lanes import lane_of
from tars.actors.mqtt.store_db import DATABASE_NAME, read_dead_letters

from .child import Child, Cores, Failed, child, python
from .contenders import waiting_service
from .scenario import QUICK, Source, source
from .statistics import Spread, spread
from .stream import SENSORS, sensor
from .throughput import MOST
from .usage import usage

CONCURRENCY: Final = (1, 2, 4, 8, 16, 32)
WAITS_MS: Final = (2.0, 10.0)
LEAST: Final = 300
"""Messages in one measurement. With one lane and 10 ms that are 3 s."""
WARM_UP: Final = 200


@attrs.frozen
class Run:
    """`messages` that waited `wait_ms` each, handled by so many lanes in `wall_s`, at the cost of `cpu_s`."""

    wait_ms: float
    concurrency: int
    messages: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Messages for each second on the clock."""
        return self.messages / self.wall_s


async def measure(wait_ms: float, concurrency: int, seconds: float, cores: Cores, environment: Mapping[str, str]) -> Run:
    """One service with so many lanes, for about so many seconds if it were ideal. Raises `Failed`."""
    with tempfile.TemporaryDirectory(prefix="tars-bench-") as place:
        folder = Path(place)
        async with source(QUICK, cores, folder, environment) as feed:
            file = folder / "service.toml"
            file.write_text(waiting_service(feed.port, concurrency, wait_ms / 1000), encoding="utf-8")
            command = python("tars.supervisor", file)
            async with child("the lanes", command, core=cores.consumer, folder=folder, environment=environment) as service:
                await service.line(lambda line: "link_up" in line)
                await _phase(wait_ms, concurrency, WARM_UP, feed, service)
                count = min(MOST, max(LEAST, round(seconds * concurrency * 1000 / wait_ms)))
                run = await _phase(wait_ms, concurrency, count, feed, service)
        if letters := dead_letters(folder / "var" / "bench-consumer"):
            raise Failed(f"{len(letters)} messages became dead letters, the first {letters[0][1].why.value}")
        return possible(run)


def dead_letters(state_dir: Path) -> list[tuple[int, DeadLetter]]:
    """What the service has set aside. One that was killed right after its start may not have got as far as opening its store."""
    return read_dead_letters(state_dir) if (state_dir / DATABASE_NAME).exists() else []


def possible(run: Run) -> Run:
    """`run`, unless it took less time than its messages have waited. Raises `Failed`."""
    least_s = run.messages * run.wait_ms / 1000 / run.concurrency
    if run.wall_s < least_s:
        raise Failed(f"{run.messages} messages in {run.wall_s:.3g} s: {run.concurrency} lanes cannot have waited for all of them")
    return run


async def _phase(wait_ms: float, concurrency: int, count: int, feed: Source, service: Child) -> Run:
    await feed.feeder.tell(f"load {count} 1")
    (fresh,) = await feed.feeder.words("loaded")
    before = usage(service.process.pid)
    await feed.feeder.tell("go")
    _, took_s = await feed.feeder.words("acked")
    return Run(wait_ms, concurrency, int(fresh), float(took_s), usage(service.process.pid).cpu_s - before.cpu_s)


async def run(
    waits_ms: Sequence[float],
    rounds: int,
    seconds: float,
    cores: Cores,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> list[Run]:
    """Every number of lanes in every round, every other round the other way; one that fails is told, and the others go on."""
    found: list[Run] = []
    for number in range(rounds):
        for wait_ms in waits_ms:
            for concurrency in CONCURRENCY if number % 2 == 0 else CONCURRENCY[::-1]:
                where = f"round {number + 1}, {wait_ms:g} ms, {concurrency} lanes"
                try:
                    found.append(await measure(wait_ms, concurrency, seconds, cores, environment))
                except Failed as failed:
                    tell(f"{where}: FAILED: {failed}")
                else:
                    tell(f"{where}: {found[-1].per_s:,.0f} per second")
    return found


# -- the report. Pure. ----------------------------------------------------------------------------


@attrs.frozen
class Row:
    """Over all rounds. `times`: what one lane handles, as a multiple; `by_keys`: of the ideal, what the spread of the keys leaves."""

    wait_ms: float
    concurrency: int
    per_s: Spread
    times: float
    by_keys: float
    busy: float

    @property
    def of_ideal(self) -> float:
        """1.0: so many lanes handle so many times what one does."""
        return self.times / self.concurrency


def rows(found: Sequence[Run]) -> list[Row]:
    """One for each wait and number of lanes; none for a wait of which one lane was never measured."""
    made: list[Row] = []
    for wait_ms in dict.fromkeys(each.wait_ms for each in found):
        of = {lanes: [each for each in found if (each.wait_ms, each.concurrency) == (wait_ms, lanes)] for lanes in CONCURRENCY}
        rates = {lanes: spread([each.per_s for each in runs]) for lanes, runs in of.items() if runs}
        for lanes, per_s in rates.items() if 1 in rates else ():
            busy = spread([each.cpu_s / each.wall_s for each in of[lanes]]).median
            made.append(Row(wait_ms, lanes, per_s, per_s.median / rates[1].median, by_keys(lanes), busy))
    return made


def by_keys(lanes: int) -> float:
    """How much of the ideal is left when the fullest lane is the last to be done, and every sensor says as much."""
    held = Counter(lane_of(sensor(number), lanes) for number in range(SENSORS))
    return SENSORS / lanes / max(held.values())


def as_text(found: Sequence[Run]) -> str:
    """Tables for people."""
    made = rows(found)
    parts = [f'# An actor with lanes, `key = "{{data.sensor}}"`, {SENSORS:,} sensors, from the blaster, QoS 1\n']
    for wait_ms in dict.fromkeys(row.wait_ms for row in made):
        head = (
            f"## A handler that waits {wait_ms:g} ms\n",
            "| lanes | messages per second | lowest to highest | times one lane | of the ideal | by the keys | CPU |",
            "|---:|---:|---:|---:|---:|---:|---:|",
        )
        parts.append("\n".join([*head, *(_line(row) for row in made if row.wait_ms == wait_ms)]) + "\n")
    return "\n".join(parts)


def _line(row: Row) -> str:
    rate = row.per_s
    cells = (
        f"{row.concurrency}",
        f"{rate.median:,.0f}",
        f"{rate.low:,.0f} to {rate.high:,.0f}",
        f"{row.times:.1f}",
        f"{row.of_ideal:.0%}",
        f"{row.by_keys:.0%}",
        f"{row.busy:.0%}",
    )
    return f"| {' | '.join(cells)} |"
