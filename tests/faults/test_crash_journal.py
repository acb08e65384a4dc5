"""A message that kills the process: by a segfault, by SIGKILL. The third process sets it aside, and everything else is handled."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.broker import Mosquitto
from support.process import config, started, toml
from support.verifier_client import outside
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.store_db import read_dead_letters

DEADLY = """
import ctypes, os, signal
from pathlib import Path

from tars.actors import Actor, subscribe


class Deadly(Actor):
    @subscribe("in/{key}", qos=1)
    async def on_message(self, event: dict) -> None:
        with Path("taken").open("a") as file:
            file.write(f"{event['key']} {event['seq']}\\n")
        if event.get("die") == "SIGSEGV":
            ctypes.string_at(0)
        elif event.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def taken(folder: Path) -> Counter[tuple[str, int]]:
    lines = (line.split() for line in (folder / "taken").read_text().splitlines())
    return Counter((key, int(seq)) for key, seq in lines)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_it_kills_two_processes_and_not_a_third(tmp_path: Path, number: signal.Signals, durable: bool) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    async with Mosquitto() as broker, outside(broker.port) as client:
        actors: dict[str, Any] = {name: {"use": "deadly:Deadly", "topics": {"in/{key}": f"in/{name}/{{key}}"}} for name in ("good", "bad")}
        file = tmp_path / "service.toml"
        file.write_text(toml(config(broker.port, {"dedup": {"durable": durable}}, actors)))
        exits = []
        for life in range(2):
            async with started(tmp_path, file) as child:
                if not life:
                    await child.event("link_up")
                    client.number("good", 0, prefix="in/good")
                    await child.event("message_settled", topic="in/good/good", given=1)
                    client.number("bad", 0, prefix="in/bad", die=number.name)
                exits.append(await child.exited())
        async with started(tmp_path, file) as child:
            died = await child.event("process_died", deaths=2)
            await child.event("dead_lettered", why="quarantined")
            client.number("good", 1, prefix="in/good")
            await child.event("message_settled", topic="in/good/good", given=1)
            client.number("bad", 1, prefix="in/bad")
            await child.event("message_settled", topic="in/bad/bad", given=1)
            child.signal(signal.SIGTERM)

            assert 0 == await child.exited()

    letters = [letter for _, letter in read_dead_letters(tmp_path / "var" / "robot7")]

    assert [-number] * 2 == exits
    assert 2 == taken(tmp_path)["bad", 0]
    assert [1, 1, 1] == [taken(tmp_path)[number] for number in (("good", 0), ("good", 1), ("bad", 1))]
    assert [(Why.QUARANTINED, 2, "in/bad/bad")] == [(letter.why, letter.attempts, letter.topic) for letter in letters]
    assert "in/bad/bad|test.event|bad-0" in died["key"]
