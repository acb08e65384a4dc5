"""One measurement: one consumer, one scenario, one warm-up and one phase that counts."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from .child import Cores
from .contenders import Contender
from .saturation import asking
from .scenario import Scenario
from .throughput import WARM_UP, Run, Sample, feeding, how_many


@asynccontextmanager
async def running(contender: Contender, scenario: Scenario, cores: Cores, environment: Mapping[str, str]) -> AsyncIterator[Run]:
    """Have everything run that `scenario` needs, in a folder of its own. Raises `Failed`."""
    work = asking if scenario.requests else feeding
    with tempfile.TemporaryDirectory(prefix="tars-bench-") as folder:
        async with work(contender, scenario, cores, Path(folder), environment) as run:
            yield run


async def measure(contender: Contender, scenario: Scenario, cores: Cores, target_cpu_s: float, environment: Mapping[str, str]) -> Sample:
    """Measure for about `target_cpu_s` of the consumer's CPU time. Raises `Failed`."""
    async with running(contender, scenario, cores, environment) as run:
        warm = await run.phase(WARM_UP)
        return await run.phase(how_many(warm.per_cpu_s, target_cpu_s))
