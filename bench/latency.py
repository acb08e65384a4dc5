"""How long a message waits for its handler, and a client for its answer, at a given rate; through Mosquitto."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from .asked import asked
from .child import Cores, Failed
from .clients import PARTS
from .contenders import Contender
from .contract import CLIENTS
from .usage import usage

RATES: Final = (100, 1_000, 5_000)
WARM_UP: Final = (500, 1.0)
"""Rate and seconds of what does not count."""


@attrs.frozen
class Waits:
    """One series: percentiles (`PARTS`) in milliseconds, from the moment at which the request was due."""

    contender: str
    rate: int
    asked: int
    answered: int
    cpu_us: float  # of the service, for each answer
    handling_ms: tuple[float, ...]
    reply_ms: tuple[float, ...]


async def measure(contender: Contender, rates: Sequence[int], seconds: float, cores: Cores, environment: Mapping[str, str]) -> list[Waits]:
    """One series for each rate, after a warm-up, on one process. Raises `Failed`."""
    with tempfile.TemporaryDirectory(prefix="tars-bench-") as place:
        async with asked(contender, cores, Path(place), environment) as (service, clients):
            found: list[Waits] = []
            for rate, for_s in (WARM_UP, *((rate, seconds) for rate in rates)):
                before_s = usage(service.process.pid).cpu_s
                await clients.tell(f"ask {rate} {for_s}")
                (result,) = await clients.words("measured")
                found.append(read_waits(contender.name, rate, result, usage(service.process.pid).cpu_s - before_s))
            return found[1:]


def read_waits(contender: str, rate: int, result: str, cpu_s: float) -> Waits:
    """What `bench.clients` measured, while the service took `cpu_s` seconds of a CPU."""
    read: dict[str, Any] = orjson.loads(result)
    cpu_us = round(cpu_s * 1e6 / max(1, read["answered"]), 1)
    return Waits(contender, rate, read["asked"], read["answered"], cpu_us, tuple(read["handling_ms"]), tuple(read["reply_ms"]))


async def run(
    contenders: Sequence[Contender],
    rates: Sequence[int],
    rounds: int,
    seconds: float,
    cores: Cores,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> list[Waits]:
    """Everybody in every round, every other round the other way; one that fails is told, and the others go on."""
    found: list[Waits] = []
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else contenders[::-1]:
            try:
                waits = await measure(contender, rates, seconds, cores, environment)
            except Failed as failed:
                tell(f"round {number + 1}, {contender.name}: FAILED: {failed}")
                continue
            found += waits
            for each in waits:
                tell(f"round {number + 1}, {each.contender}, {each.rate}/s: handled {each.handling_ms}, answered {each.reply_ms} ms")
    return found


def as_text(found: Sequence[Waits]) -> str:
    """A table for people: medians over the rounds. Who did not answer everything could not keep up."""
    head = " | ".join(f"p{part * 100:g}" for part in PARTS)
    lines = [
        f"# Latency in ms, {CLIENTS} clients, through Mosquitto",
        "",
        f"| rate | what | service | {head} | answered | CPU µs per answer |",
        f"|---:|---|---|{'---:|' * len(PARTS)}---:|---:|",
    ]
    for rate in dict.fromkeys(each.rate for each in found):
        for what in ("handling", "reply"):
            lines += [_line(rate, what, name, found) for name in dict.fromkeys(each.contender for each in found)]
    return "\n".join(lines) + "\n"


def _line(rate: int, what: str, contender: str, found: Sequence[Waits]) -> str:
    mine = [each for each in found if (each.rate, each.contender) == (rate, contender)]
    series = [each.handling_ms if what == "handling" else each.reply_ms for each in mine]
    medians = [f"{statistics.median(column):.2f}" for column in zip(*(each for each in series if each), strict=True)] or ["-"] * len(PARTS)
    answered = sum(each.answered for each in mine) / max(1, sum(each.asked for each in mine))
    cpu_us = statistics.median(each.cpu_us for each in mine)
    return f"| {rate:,} | {what} | {contender} | {' | '.join(medians)} | {answered:.1%} | {cpu_us:.0f} |"
