"""What a message costs in a service of many actors, beside one of a few.

Law: the messages are the same, and go to the same ten actors; the others only exist.
"""

from __future__ import annotations

from typing import Final

from .child import python
from .contenders import BY_NAME, counting_service
from .contract import HANDLERS
from .costs import Cost
from .costs_setting import NO_HEARTBEAT, Setting
from .scenario import QUICK, source
from .statistics import ratios, spread
from .throughput import WARM_UP, phase

ACTORS: Final = 1_000
TIMES: Final = 1.25
"""A thousand mailboxes do not fit where ten do: a dearer look into memory is not growth."""
MESSAGES: Final = 20_000


async def crowd(setting: Setting) -> list[Cost]:
    """CPU of a message, with `ACTORS` actors over `HANDLERS`, taking turns. Raises `Failed`."""
    few, many = [], []
    for _ in range(setting.rounds):
        few.append(await _cpu_us(setting, 0))
        many.append(await _cpu_us(setting, ACTORS - HANDLERS))
    note = f"{spread(few).median:.1f} µs with {HANDLERS}, {spread(many).median:.1f} µs with {ACTORS:,}"
    return [Cost(f"a message in a service of {ACTORS:,} actors over one of {HANDLERS}", spread(ratios(many, few)), "times", TIMES, note)]


async def _cpu_us(setting: Setting, others: int) -> float:
    contender = BY_NAME["tars 5"]
    with setting.folder() as folder:
        async with source(QUICK, setting.cores, folder, setting.environment) as feed:
            file = folder / "service.toml"
            file.write_text(counting_service(feed.port, "5") + "".join(map(_idle, range(others))) + NO_HEARTBEAT, encoding="utf-8")
            async with setting.service(contender.name, python("tars.supervisor", file), folder) as consumer:
                await consumer.line(contender.ready)
                await phase(contender, QUICK, feed, consumer, WARM_UP)
                sample = await phase(contender, QUICK, feed, consumer, MESSAGES)
    return 1e6 / sample.per_cpu_s


def _idle(number: int) -> str:
    return (
        f'\n[actors.idle{number}]\nuse = "bench.consumers.tars_actors:Handler"\ntopics = {{"bench/in/+" = "bench/idle{number}/+"}}\n'
        f"settings = {{number = {HANDLERS + number}}}\n"
    )
