"""A broker that comes back: from the attempt that succeeds to the first message handled.

The cable between service and broker is pulled, messages wait in the session that the broker keeps, and the cable is put back: a broker
that was started again would lose them, and the time that it takes itself is not ours.
"""

from __future__ import annotations

import time
from typing import Final

from .child import python
from .contenders import BY_NAME, counting_service
from .contract import HANDLERS
from .costs import Cost
from .costs_setting import NO_HEARTBEAT, Setting
from .relay import relay
from .scenario import Scenario, source
from .statistics import spread
from .throughput import phase

BACK_MS: Final = 100.0
WAITING: Final = 20
"""Messages for ten handlers, and a last one for each."""
QUICK_TO_COME_BACK: Final = "\n[mqtt.backoff]\ninitial_s = 0.05\nmax_s = 0.05\n"
THROUGH_MOSQUITTO: Final = Scenario("mosquitto", 1)


async def back(setting: Setting) -> list[Cost]:
    """Raises `Failed`."""
    contender, found_ms = BY_NAME["tars 5"], []
    with setting.folder() as folder:
        async with source(THROUGH_MOSQUITTO, setting.cores, folder, setting.environment) as feed, relay(feed.port) as cable:
            file = folder / "service.toml"
            file.write_text(counting_service(cable.port, "5") + NO_HEARTBEAT + QUICK_TO_COME_BACK, encoding="utf-8")
            command = python("tars.supervisor", file)
            async with setting.service(contender.name, command, folder) as service:
                await service.line(contender.ready)
                await phase(contender, THROUGH_MOSQUITTO, feed, service, 1_000)
                for _ in range(setting.rounds):
                    cable.pull()
                    await service.line(lambda line: "cannot connect" in line)
                    await feed.feeder.tell(f"load {WAITING} 1")
                    await feed.feeder.words("loaded")
                    await feed.feeder.tell("go")
                    await feed.feeder.words("acked")
                    await cable.plug()
                    await service.words("last")
                    found_ms.append((time.perf_counter() - cable.taken_s) * 1e3)
                    for _ in range(HANDLERS - 1):
                        await service.words("last")
    return [Cost("broker back, attempt that succeeds to first message handled", spread(found_ms), "ms", BACK_MS)]
