"""A consumer that is fed, phase by phase.

Law: a figure is thrown away, loudly, unless every message arrived, was handled once, and (from the blaster) was acknowledged.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from .child import Child, Cores, Failed, child
from .contenders import Contender
from .contract import HANDLERS
from .scenario import Scenario, Source, source
from .usage import Usage, usage

WARM_UP: Final = 3_000
LEAST: Final = 3_000
MOST: Final = 300_000


@attrs.frozen
class Sample:
    """One phase of one consumer: `messages` received, in so much time on the clock and on the CPU."""

    contender: str
    scenario: str
    messages: int
    wall_s: float
    cpu_s: float
    rss_bytes: int

    @property
    def per_cpu_s(self) -> float:
        """Messages for each second the consumer's process was on a CPU."""
        return self.messages / self.cpu_s

    @property
    def per_s(self) -> float:
        """Messages for each second on the clock."""
        return self.messages / self.wall_s


@attrs.frozen
class Run:
    """A consumer that is ready. ``await phase(count)`` gives it so many messages and returns when they are done; raises `Failed`."""

    consumer: Child
    phase: Callable[[int], Awaitable[Sample]]


@asynccontextmanager
async def feeding(
    contender: Contender, scenario: Scenario, cores: Cores, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Run]:
    """Messages that want no answer. Raises `Failed`."""
    async with source(scenario, cores, folder, environment) as feed:
        command = contender.command(folder, feed.port)
        async with child(contender.name, command, core=cores.consumer, folder=folder, environment=environment) as consumer:
            await consumer.line(contender.ready)
            yield Run(consumer, functools.partial(phase, contender, scenario, feed, consumer))


def how_many(per_cpu_s: float, target_cpu_s: float) -> int:
    """How many messages take about so long."""
    return min(MOST, max(LEAST, round(per_cpu_s * target_cpu_s)))


async def phase(contender: Contender, scenario: Scenario, feed: Source, consumer: Child, count: int) -> Sample:
    """Feed `count` messages and wait until they are handled. Raises `Failed`."""
    await feed.feeder.tell(f"load {count} {scenario.qos}")
    (fresh,) = await feed.feeder.words("loaded")
    before, began_s = usage(consumer.process.pid), time.perf_counter()
    await feed.feeder.tell("go")
    handled = 0
    for _ in range(HANDLERS):
        _, number = await consumer.words("last")
        handled += int(number)
    wall_s, after = time.perf_counter() - began_s, usage(consumer.process.pid)
    await feed.feeder.words("acked")
    if handled != int(fresh):
        raise Failed(f"{contender.name} handled {handled} of {fresh} messages ({scenario.name})")
    return _sample(contender, scenario, count + HANDLERS, wall_s, before, after)


def _sample(contender: Contender, scenario: Scenario, messages: int, wall_s: float, before: Usage, after: Usage) -> Sample:
    return Sample(contender.name, scenario.name, messages, wall_s, after.cpu_s - before.cpu_s, after.rss_bytes)
