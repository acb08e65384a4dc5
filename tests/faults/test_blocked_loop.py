"""A handler that blocks the event loop, in a service as a process: it is seen while it lasts, and told of afterwards.

The handler waits in a blocking call until the test lets it go, so a test takes as long as the watch needs to notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from support.broker import Mosquitto
from support.peer import Peer
from support.process import HEALTH, Child, config, gated, service

ACTORS = """
import socket

import attrs
from tars.actors import Actor, Context, subscribe


@attrs.frozen
class Settings:
    gate_port: int


class Careless(Actor):
    settings: Settings

    @subscribe("work", qos=1)
    async def work(self, event: dict, ctx: Context) -> None:
        if event["blocks"]:
            self.wait_like_a_beginner()
        await ctx.publish("test.reply", {}, topic="done")

    def wait_like_a_beginner(self):
        with socket.create_connection(("127.0.0.1", self.settings.gate_port)) as blocking:
            blocking.recv(1)  # the line that blocks
"""


def health(peer: Peer) -> list[dict[str, Any]]:
    return [orjson.loads(each.payload)["data"] for each in peer.seen if each.topic == HEALTH]


async def until_health(peer: Peer, count: int) -> dict[str, Any]:
    await peer.heard(HEALTH, count)
    return health(peer)[count - 1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "careless.py").write_text(ACTORS)
    return tmp_path


async def test_a_handler_that_blocks_the_loop_is_named_while_it_blocks_spoils_health_and_the_service_goes_on(folder: Path) -> None:
    async with Mosquitto() as broker, gated() as gate, Peer(broker.port) as peer:
        actors = {"careless": {"use": "careless:Careless", "settings": {"gate_port": gate.port}}}
        async with service(folder, config(broker.port, actors=actors)) as child:
            await child.event("link_up")
            await peer.subscribe(HEALTH)
            await peer.subscribe("done")
            well = await until_health(peer, 1)
            await peer.publish("work", b'{"blocks": true}')
            await gate.holds(1)
            await is_named(child)
            assert [] == child.events("loop_free")

            gate.open()
            free = await child.event("loop_free")
            spoilt = await until_health(peer, 2)
            await peer.publish("work", b'{"blocks": false}')
            await peer.heard("done", 2)

            assert (True, "ready") == (well["ok"], well["event"])
            assert (False, "degraded") == (spoilt["ok"], spoilt["event"])
            assert f"event loop: was blocked for {free['blocked_s']:.1f} s at {free['where']}" == spoilt["err"]
            assert [] == child.events("child_exited")
            await child.kill()


async def is_named(child: Child) -> None:
    blocked = await child.event("loop_blocked")

    assert ("error", "in wait_like_a_beginner") == (blocked["level"], blocked["where"][-len("in wait_like_a_beginner") :])
    assert "blocking.recv(1)  # the line that blocks" in blocked["stack"]
    assert "careless.py" in blocked["where"]
    assert 1.0 <= blocked["silent_s"]


async def test_a_loop_that_never_comes_back_is_named_and_a_stop_ends_the_process_at_its_deadline(folder: Path) -> None:
    async with Mosquitto() as broker, gated() as gate, Peer(broker.port) as peer:
        actors = {"careless": {"use": "careless:Careless", "settings": {"gate_port": gate.port}}}
        tables = {"service": {"name": "robot7", "drain_s": 0.2, "stop_deadline_s": 0.5}}
        async with service(folder, config(broker.port, tables, actors)) as child:
            await child.event("link_up")
            await peer.publish("work", b'{"blocks": true}')
            await gate.holds(1)
            await is_named(child)
            began = trio.current_time()
            child.process.terminate()

            assert 1 == await child.exited()
            assert trio.current_time() - began < 5
            assert "not stopped 0.5 s after SIGTERM, exiting; still there:" in child.stderr
            assert "root/service/handlers/careless (incarnation 1)" in child.stderr
            assert "blocking.recv(1)  # the line that blocks" in child.stderr
