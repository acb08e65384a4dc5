"""``tars logs --story`` on what two services really wrote: the second fails over a message that the first was asked for."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.broker import Mosquitto
from support.cli import call
from support.peer import Peer
from support.process import Child, config, started, toml

ACTORS = """
from tars.actors import Context, subscribe


@subscribe("in")
async def asks(event: dict, ctx: Context) -> None:
    ctx.log.info("asking")
    await ctx.publish("test.asked", {"n": event["n"]}, topic="asked")


@subscribe("asked")
async def copies(event: dict, ctx: Context) -> None:
    await ctx.publish("test.copied", event, topic="copied")


@subscribe("asked")
async def fails(event: dict, ctx: Context) -> None:
    raise ValueError("no answer")
"""


@asynccontextmanager
async def two_services(tmp_path: Path, *names: str) -> AsyncIterator[tuple[Child, ...]]:
    """Two messages, m1 and m2, go to these two; stopped, with their logs complete, at the end of the block."""
    (tmp_path / "two.py").write_text(ACTORS)
    async with Mosquitto() as broker:
        files = []
        for name in names:
            files.append(tmp_path / f"{name}.toml")
            table = config(broker.port, {"service": {"name": name}}, {name: {"use": f"two:{name}", "max_attempts": 1}})
            files[-1].write_text(toml({**table, "log": {"format": "json", "level": "debug", "file": f"{name}.log"}}))
        async with started(tmp_path, files[0]) as first, started(tmp_path, files[1]) as second, Peer(broker.port) as peer:
            await first.event("link_up")
            await second.event("link_up")
            for number in ("m1", "m2"):
                await peer.publish("in", b'{"n": 1}', user_properties=[("message-id", number)])
            yield first, second
            for child in (first, second):
                child.signal(signal.SIGTERM)
                assert 0 == await child.exited()


async def test_a_failure_in_another_service_is_part_of_the_story_of_what_caused_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with two_services(tmp_path, "asks", "fails") as (_, second):
        await second.event("dead_lettered", count=2)

    said = call(capsys, "logs", tmp_path / "fails.log", tmp_path / "asks.log", "--story", "m1", "--json", "--level", "info")
    story = [json.loads(line) for line in said.lines]

    assert ["asking", "handler_failed", "dead_lettered"] == [line["event"] for line in story]
    assert ["root/service/handlers/asks", *["root/service/handlers/fails"] * 2] == [line["actor"] for line in story]
    assert ["m1", "m1"] == [line["causation_id"] for line in story[1:]]


async def test_what_goes_well_is_in_the_story_too_at_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with two_services(tmp_path, "asks", "copies") as (first, second):
        for child in (first, second):
            await child.event("message_settled", count=2)

    said = call(capsys, "logs", tmp_path / "copies.log", tmp_path / "asks.log", "--story", "m1", "--json")
    story = [(line["event"], line["topic"]) for line in map(json.loads, said.lines)]

    assert {
        ("asking", "in"),
        ("message_published", "asked"),
        ("message_settled", "in"),
        ("message_published", "copied"),
        ("message_settled", "asked"),
    } == set(story)
    assert 5 == len(story)
