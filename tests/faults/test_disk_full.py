"""A service whose disk is full: it stays up, acknowledges only what is safe, says so, and catches up when there is room.

The disk is filled by a limit on the size of the service's files, which Linux can set and lift for a process that runs.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from support.broker import Mosquitto
from support.process import Child, config, service
from support.verifier_client import outside
from tars.actors.mqtt.store_db import read_dead_letters

PICKY = """
from tars.actors import Actor, Reject, subscribe


class Picky(Actor):
    @subscribe("in/{key}", qos=1)
    async def on_message(self, event: dict) -> None:
        if event["seq"] % 2:
            raise Reject("odd")
"""


def limit_files(child: Child, limit_bytes: int) -> None:
    """Python has SIGXFSZ ignored: a write beyond it fails."""
    resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))


@pytest.mark.parametrize("durable", [False, True])
async def test_the_service_stays_up_acknowledges_only_what_is_safe_and_catches_up(tmp_path: Path, durable: bool) -> None:
    (tmp_path / "picky.py").write_text(PICKY)
    # durable: 2 cannot be recorded, so 3 is not begun, and there is no dead letter yet
    places = {"recording": "dedup-window.sqlite3"} if durable else {"store": "dead-letters.sqlite3"}
    async with Mosquitto() as broker, outside(broker.port, "system/health/robot7") as client:
        table = config(broker.port, {"dedup": {"durable": durable, "ttl_s": 300.0}}, {"picky": {"use": "picky:Picky"}})
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            client.number("k", 0)
            await child.event("message_settled", topic="in/k", count=1)
            limit_files(child, 0)
            for seq in (2, 3, 4):
                client.number("k", seq)
            for actor in places:
                await child.event("child_exited", actor=f"root/{actor}", count=3)
            settled = [line["message_id"].split("|")[2] for line in child.events("message_settled", topic="in/k")]
            limit_files(child, resource.RLIM_INFINITY)
            await child.event("message_settled", topic="in/k", count=4)
            client.number("k", 6)
            await child.event("message_settled", topic="in/k", count=5)
            await client.until(lambda: bool(client.came) and client.came[-1].data["ok"] is True, "health that is well again")
            (letter,) = (found for _, found in read_dead_letters(tmp_path / "var" / "robot7"))
        said = {line["error"] for actor in places for line in child.events("child_exited", actor=f"root/{actor}")}

    assert ["k-0"] if durable else ["k-0", "k-2", "k-4"] == settled
    assert b'"seq":3' in letter.payload
    assert 1 == len(child.events("link_up"))
    assert len(places) == len(said)
    assert all(any(f"{file} cannot be used now" in line for line in said) for file in places.values())
    assert [] == child.events("give_up")
    assert any(came.data["ok"] is False for came in client.came)
