"""What an answer costs where there is always a next request: `WINDOW` of them are on their way at any time, through Mosquitto.

Law: a figure is thrown away, loudly, unless every request was answered.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from .asked import asked
from .child import Child, Cores, Failed
from .contenders import Contender
from .scenario import Scenario
from .throughput import Run, Sample
from .usage import usage

WINDOW: Final = 250
"""Nearly what the broker lets a consumer have unacknowledged, and a multiple of the number of clients."""


@asynccontextmanager
async def asking(
    contender: Contender, scenario: Scenario, cores: Cores, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Run]:
    """Messages that want an answer. Raises `Failed`."""
    async with asked(contender, cores, folder, environment) as (service, clients):
        yield Run(service, functools.partial(_flood, contender, scenario, clients, service))


async def _flood(contender: Contender, scenario: Scenario, clients: Child, service: Child, count: int) -> Sample:
    before, began_s = usage(service.process.pid), time.perf_counter()
    await clients.tell(f"flood {count} {WINDOW}")
    (result,) = await clients.words("measured")
    wall_s, after = time.perf_counter() - began_s, usage(service.process.pid)
    read: dict[str, Any] = orjson.loads(result)
    if read["answered"] != count:
        raise Failed(f"{contender.name} answered {read['answered']} of {count} requests ({scenario.name})")
    return Sample(contender.name, scenario.name, count, wall_s, after.cpu_s - before.cpu_s, after.rss_bytes)
