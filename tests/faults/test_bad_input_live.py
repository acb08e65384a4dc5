"""Bad input once more, as a user meets it: the service as a process on a real broker, its log, and its file of dead letters."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from support.bad_input import CASES
from support.broker import Mosquitto
from support.peer import Peer
from support.process import started

CONFIG: Final = Path(__file__).parents[2] / "config" / "router.toml"


def transcript(text: str) -> bytes:
    return json.dumps({"message_id": text, "text": text}).encode()


async def test_every_case_is_a_line_and_a_dead_letter_on_disk_and_the_service_answers_on(tmp_path: Path) -> None:
    async with Mosquitto() as broker:
        environ = {"MQTT_URL": f"mqtt://127.0.0.1:{broker.port}", "ROUTER_LIVE_MODE_DEFAULT": "true"}
        async with started(tmp_path, CONFIG, environ) as child, Peer(broker.port) as peer:
            await child.event("link_up")
            await peer.subscribe("llm/request")
            await peer.publish("stt/final", transcript("before"))
            for case in CASES:
                await peer.publish("stt/final", case.payload)
            await peer.publish("stt/final", transcript("after"))
            requests = await peer.heard("llm/request", 2)
            child.signal(signal.SIGTERM)
            code = await child.exited()

    lines = child.events("dead_lettered")
    with closing(sqlite3.connect(tmp_path / "var" / "tars-router" / "dead-letters.sqlite3")) as database:
        stored = database.execute("SELECT why, payload FROM dead_letter ORDER BY id").fetchall()

    assert (0, "") == (code, child.stderr)
    assert ["before", "after"] == [json.loads(request.payload)["data"]["text"] for request in requests]
    assert [(case.why, "stt/final") for case in CASES] == [(line["why"], line["topic"]) for line in lines]
    assert [case.name for case, line in zip(CASES, lines, strict=True) if not line["error"].startswith(case.error)] == []
    assert [(case.why, case.payload) for case in CASES] == stored
    assert [] == child.events("child_exited")
    assert max(len(line) for line in child.stdout.splitlines()) < 4_000
