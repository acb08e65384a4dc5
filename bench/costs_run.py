"""Every promise about costs, measured one after the other; one that fails is told, and the others go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import orjson

from tars.supervisor.restart import leaves

from . import costs_crowd, costs_link, costs_service
from .child import Failed, python
from .costs import Cost, Point, growth
from .costs_inside import Figures
from .costs_setting import Setting, flat, kept
from .statistics import Spread, ratios, spread

FILTERS: Final = 10_000
FLAT_TIMES: Final = 1.5
"""Ten thousand filters do not fit where one does: a dearer look into memory is not growth."""
LOG_CALLS: Final = 200_000
LOG_NS: Final = 1_000.0
"""A fortieth of what a message may cost at 25 000 per CPU-second. Nearly all of it is structlog's, which finds the method anew
each time for a logger that has nothing bound to it."""
BOUND_LOG_NS: Final = 100.0
SETTLING: Final = 15_000
"""Restarts before those that count: a crash leaves a cycle of exception and traceback, and the oldest generation is collected
when it has grown by a quarter. Until then the heap grows to the size at which it stays."""
ACTORS: Final = 10_000
ACTORS_S: Final = 2.0


async def _inside(name: str, count: int, setting: Setting) -> Figures:
    with setting.folder() as folder:
        command = python("bench.costs_inside", name, count)
        async with setting.service(name, command, folder) as measuring:
            line = await measuring.line(lambda line: line.startswith("measured "))
    found: Figures = orjson.loads(line.removeprefix("measured "))
    return found


async def dispatch(setting: Setting) -> list[Cost]:
    """Who gets a message, among one filter and among many."""
    found = await _inside("dispatch", FILTERS, setting)
    costs = []
    for kind, topics in (("fresh", "topics never seen"), ("cached", "topics seen before")):
        times = spread(ratios(found[f"{kind}_ns"], found[f"{kind}_1_ns"]))
        note = f"{spread(found[f'{kind}_1_ns']).median:,.0f} ns with 1, {spread(found[f'{kind}_ns']).median:,.0f} ns with {FILTERS:,}"
        costs.append(Cost(f"dispatch with {FILTERS:,} filters over 1, {topics}", times, "times", FLAT_TIMES, note))
    return costs


async def log(setting: Setting) -> list[Cost]:
    """A line below the level, without what the call costs by itself."""
    found = await _inside("log", LOG_CALLS, setting)
    over = {
        name: spread([filtered - empty for filtered, empty in zip(found[name], found["empty_ns"], strict=True)])
        for name in ("filtered_ns", "bound_ns")
    }
    empty_ns, written_ns = spread(found["empty_ns"]).median, spread(found["written_ns"]).median
    note = f"{empty_ns:.0f} ns more is the call itself; a line that is written takes {written_ns:,.0f} ns"
    return [
        Cost("filtered-out log line, a module's logger", over["filtered_ns"], "ns", LOG_NS, note),
        Cost("filtered-out log line, a logger with values bound", over["bound_ns"], "ns", BOUND_LOG_NS),
        Cost("filtered-out event of the tree", spread(found["event_ns"]), "ns", None, "once for each start of an actor, not for a message"),
    ]


async def actors(setting: Setting) -> list[Cost]:
    """Supervised, each started when the one before has."""
    found = await _inside("actors", ACTORS, setting)
    costs = []
    for name, how in (("static", "of a spec"), ("dynamic", "one by one")):
        costs.append(Cost(f"start of {ACTORS:,} actors {how}, on the clock", spread(found[f"{name}_s"]), "s", ACTORS_S))
        costs.append(Cost(f"start of {ACTORS:,} actors {how}, processor", spread(found[f"{name}_cpu_s"]), "s", ACTORS_S))
    return costs


async def restarts(setting: Setting) -> list[Cost]:
    """The runtime alone: a child, its mailbox, no backoff."""
    total = SETTLING + setting.restarts
    found = await _inside("restarts", total, setting)
    points = [Point(round(count), round(rss)) for count, rss in zip(found["count"], found["rss_bytes"], strict=True)]
    settled = [each for each in points if each.count >= SETTLING]
    low, median, late, high = found["wait_ms"]
    waits = Spread(median, low, high, total)
    half, last = found["blocks"]
    note = f"99 % within {late:.3g} ms; {found['cpu_ms'][0]:.3g} ms of processor time for a crash and all that follows"
    return [
        Cost("runtime: crash to the next message in hand", waits, "ms", costs_service.CRASH_MS, note),
        flat(f"runtime: memory gained over {setting.restarts:,} restarts", growth(settled), _between(settled)),
        kept("runtime: blocks kept for each restart", (last - half) / (total - total // 2), total - total // 2),
    ]


def _between(points: Sequence[Point]) -> str:
    return f"from {points[0].size / 1e6:.1f} to {points[-1].size / 1e6:.1f} MB"


Measurement = Callable[[Setting], Awaitable[list[Cost]]]
ALL: Final[Mapping[str, Measurement]] = MappingProxyType(
    {
        "dispatch": dispatch,
        "crowd": costs_crowd.crowd,
        "log": log,
        "start": costs_service.start,
        "idle": costs_service.idle,
        "actors": actors,
        "restarts": restarts,
        "crashes": costs_service.crashes,
        "back": costs_link.back,
        "messages": costs_service.messages,
    }
)


async def run(measurements: Mapping[str, Measurement], setting: Setting) -> tuple[list[Cost], list[str]]:
    """What was measured; and what could not be, or misses its target."""
    costs: list[Cost] = []
    failures: list[str] = []
    for name, measure in measurements.items():
        found: list[Cost] = []
        try:
            found = await measure(setting)
        except* Failed as group:  # out of a nursery it comes in a group
            said = "; ".join(str(failed) for failed in leaves(group))
            failures.append(f"{name}: {said}")
            setting.tell(f"{name}: FAILED: {said}")
        costs += found
        for cost in found:
            setting.tell(f"{cost.name}: {cost.value.median:,.4g} {cost.unit}{' MISSED' if cost.ok is False else ''}")
            if cost.ok is False:
                failures.append(f"{name}: {cost.name}: {cost.value.median:,.4g} {cost.unit} is over {cost.target:,.4g}")
    return costs, failures
