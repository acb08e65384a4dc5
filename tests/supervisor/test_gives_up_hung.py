"""A service that gives up while a worker thread of it hangs, as a process: it ends in time all the same, and says what is stuck.

Law: no end of the tree, asked for or not, takes longer than `stop_deadline_s`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import trio

from support.broker import Mosquitto
from support.peer import Peer
from support.process import config, service

DEADLINE_S: Final = 2.0
ACTORS: Final = '''
"""One actor whose thread never comes back, one that gives up."""

import threading

import structlog
from tars.actors import Escalate, subscribe


@subscribe("in/hangs")
def hangs(event: bytes):
    structlog.get_logger().info("hanging")
    threading.Event().wait()


@subscribe("in/gives_up")
async def gives_up(event: bytes):
    raise Escalate("no such key")
'''


async def test_a_service_that_gives_up_while_a_thread_hangs_ends_within_the_deadline_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(ACTORS)
    actors = {name: {"use": f"stuck:{name}"} for name in ("hangs", "gives_up")}
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        table = config(broker.port, {"service": {"name": "robot7", "stop_deadline_s": DEADLINE_S, "drain_s": 0.5}}, actors)
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            await peer.publish("in/hangs", b"x")
            await child.event("hanging")
            await peer.publish("in/gives_up", b"x")
            await child.event("child_exited", actor="root/service/handlers/gives_up", kind="escalate")
            began_s = time.monotonic()
            with trio.fail_after(10 * DEADLINE_S):
                code = await child.exited()
            took_s = time.monotonic() - began_s

    assert 1 == code
    assert took_s < 2 * DEADLINE_S  # the deadline, and room for a starved machine
    first, *there = child.stderr.partition("thread ")[0].splitlines()
    assert f"tars: not stopped {DEADLINE_S:g} s after giving up, exiting; still there:" == first
    assert any(line.startswith("  root/service/handlers/hangs (incarnation 1)") for line in there)  # beside those that wait for it
    assert "in hangs" in child.stderr
