"""What the router needs to be ready, and what it holds while nobody talks to it.

Laws of CI: what is imported is counted, not timed, and memory is compared with what is promised. A start of a service is the one
moment when all of it is loaded; whatever is loaded stays.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from bench.usage import usage
from support.broker import Mosquitto
from support.process import started

ROUTER = Path(__file__).parents[2] / "config" / "router.toml"
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
NOT_NEEDED = {
    "typer": "a service that runs has no command line",
    "click": "same",
    "pydantic": "what typer converts arguments with",
    "jsonschema": "for documents about contracts",
    "amqtt": "the embedded broker, which this one does not run",
    "pytest": "for tests",
    "hypothesis": "for tests",
    "tars.actors.commands": "commands",
    "tars.actors.testing": "the testing kit",
    "tars.actors.connector": "for programs that are no service",
    "tars.actors.mqtt.memory": "the broker of the testing kit",
    "tars.actors.contracts.schema": "for documents about contracts",
    "tars.supervisor.commands": "commands",
    "tars.supervisor.log_command": "a command",
}
MOST_IDLE_BYTES = 60_000_000


async def test_a_router_that_is_ready_has_loaded_nothing_it_does_not_need_and_is_small(tmp_path: Path) -> None:
    async with Mosquitto() as broker:
        environ = {"MQTT_URL": f"mqtt://127.0.0.1:{broker.port}", "PYTHONPROFILEIMPORTTIME": "1"}
        async with started(tmp_path, ROUTER, environ) as child:
            await child.event("link_up")
            used = usage(child.process.pid)
            child.signal(signal.SIGTERM)

            assert 0 == await child.exited()

    imported = set(IMPORTED.findall(child.stderr))
    assert {"tars.actors.estate", "tars.actors.services.router.actor"} <= imported
    assert [] == [f"{name}: {why}" for name, why in NOT_NEEDED.items() if name in imported]
    assert MOST_IDLE_BYTES > used.rss_bytes
