"""``tars logs --story`` on what two services really wrote: the second fails over a message that the first was asked for."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from support.broker import Mosquitto
from support.cli import call
from support.peer import Peer
from support.process import config, started, toml

ACTORS = """
from tars.actors import Context, subscribe


@subscribe("in")
async def asks(event: dict, ctx: Context) -> None:
    ctx.log.info("asking")
    await ctx.publish("test.asked", {"n": event["n"]}, topic="asked")


@subscribe("asked")
async def fails(event: dict, ctx: Context) -> None:
    raise ValueError("no answer")
"""


async def test_a_failure_in_another_service_is_part_of_the_story_of_what_caused_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.py").write_text(ACTORS)
    async with Mosquitto() as broker:
        files = []
        for name in ("asks", "fails"):
            files.append(tmp_path / f"{name}.toml")
            table = config(broker.port, {"service": {"name": name}}, {name: {"use": f"two:{name}", "max_attempts": 1}})
            files[-1].write_text(toml({**table, "log": {"format": "json", "file": f"{name}.log"}}))
        async with started(tmp_path, files[0]) as first, started(tmp_path, files[1]) as second, Peer(broker.port) as peer:
            await first.event("link_up")
            await second.event("link_up")
            for number in ("m1", "m2"):
                await peer.publish("in", b'{"n": 1}', user_properties=[("message-id", number)])
            await second.event("dead_lettered", count=2)
            for child in (first, second):
                child.signal(signal.SIGTERM)
                assert 0 == await child.exited()

    said = call(capsys, "logs", tmp_path / "fails.log", tmp_path / "asks.log", "--story", "m1", "--json")
    story = [json.loads(line) for line in said.lines]

    assert ["asking", "handler_failed", "dead_lettered"] == [line["event"] for line in story]
    assert ["root/service/handlers/asks", *["root/service/handlers/fails"] * 2] == [line["actor"] for line in story]
    assert ["m1", "m1"] == [line["causation_id"] for line in story[1:]]
