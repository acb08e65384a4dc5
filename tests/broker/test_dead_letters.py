"""Dead letters of a service that is a process of its own, on a real broker: looked at, replayed, killed in the middle, published."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from support.broker import Mosquitto
from support.cli import Said, call
from support.peer import Peer
from support.process import CLIENT, Child, config, gated, service

PATIENCE_S = 20.0
TOPIC = f"system/dead-letter/{CLIENT}"
HANDLERS = "root/service/handlers/"

# In the service's folder: "mended" lets messages through that are rejected otherwise, "gate" holds those, at its port; "deadly"
# makes them the end of the process.
ACTORS = """
import os
import signal
from pathlib import Path

from echo import wait_at_gate
from tars.actors import Context, Reject, subscribe


def write(name, event):
    with Path("journal").open("ab", buffering=0) as file:
        file.write(f"{name} {event['n']}\\n".encode())


@subscribe("in/{key}")
async def picky(event: dict, ctx: Context) -> None:
    write("picky", event)
    if not Path("mended").exists():
        raise Reject("not yet")
    if Path("deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("gate").exists():
        await wait_at_gate(int(Path("gate").read_text()))
    await ctx.publish("test.reply", event, topic=f"out/{ctx.params['key']}")


@subscribe("in/{key}")
async def fine(event: dict, ctx: Context) -> None:
    write("fine", event)
"""


@asynccontextmanager
async def running(folder: Path, broker: Mosquitto, tables: Mapping[str, Any] | None = None, *, up: bool = True) -> AsyncIterator[Child]:
    (folder / "two.py").write_text(ACTORS)
    actors = {name: {"use": f"two:{name}"} for name in ("picky", "fine")}
    async with service(folder, config(broker.port, tables, actors)) as child:
        if up:
            await child.event("link_up")
        yield child


async def tars(capsys: pytest.CaptureFixture[str], folder: Path, command: str, *arguments: object) -> Said:
    """``tars dead-letters COMMAND`` on the service's state directory."""
    asked = functools.partial(call, capsys, "dead-letters", command, folder / "var" / CLIENT, *arguments)
    with trio.fail_after(PATIENCE_S):
        return await trio.to_thread.run_sync(asked)


async def rejected(child: Child, peer: Peer, *numbers: int) -> None:
    for number in numbers:
        await peer.publish(f"in/{number}", b'{"n": %d}' % number, user_properties=[("message-id", f"m{number}")])
    for number in numbers:
        await child.event("message_settled", message_id=f"m{number}")  # the letter is on disk: "dead_lettered" is said before that


def journal(folder: Path, name: str) -> list[int]:
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    return [int(number) for who, number in lines if who == name]


def listed(said: Said) -> list[tuple[int, str | None]]:
    found = [json.loads(line) for line in said.lines]
    return [(each["id"], each["replay"] and each["replay"]["outcome"]) for each in found]


async def test_what_a_running_service_could_not_handle_is_replayed_to_the_actor_that_failed_and_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer, running(tmp_path, broker) as child:
        await peer.subscribe("out/#")
        await rejected(child, peer, 1, 2, 3)
        before = await tars(capsys, tmp_path, "list", "--json")
        (tmp_path / "mended").touch()
        said = await tars(capsys, tmp_path, "replay", "--topic", "in/#")
        answers = await peer.received(3)
        shown = await tars(capsys, tmp_path, "show", "2")
        after = await tars(capsys, tmp_path, "list", "--json")
        purged = await tars(capsys, tmp_path, "purge", "1-2", "--yes")
        child.signal(signal.SIGTERM)
        code = await child.exited()
    at_rest = await tars(capsys, tmp_path, "list", "--json")

    assert [(1, None), (2, None), (3, None)] == listed(before)
    assert (0, "", [f"{n}  in/{n}  {HANDLERS}picky  handled" for n in (1, 2, 3)]) == (said.code, said.err, said.lines)
    assert ["out/1", "out/2", "out/3"] == [each.topic for each in answers]
    assert ([1, 2, 3, 1, 2, 3], [1, 2, 3]) == (journal(tmp_path, "picky"), journal(tmp_path, "fine"))
    assert "Reject: not yet" in shown.out
    assert [(n, "handled") for n in (1, 2, 3)] == listed(after)
    assert (0, 0, [(3, "handled")]) == (purged.code, code, listed(at_rest))
    assert ["handled"] * 3 == [line["outcome"] for line in child.events("dead_letter_replayed")]


async def test_a_service_killed_in_the_middle_of_a_replay_makes_it_at_its_next_start_and_twice_at_most_what_was_in_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer, gated() as gate:
        await peer.subscribe("out/#")
        (tmp_path / "gate").write_text(str(gate.port))
        async with running(tmp_path, broker) as child:
            await rejected(child, peer, 1, 2, 3)
            (tmp_path / "mended").touch()
            asked = await tars(capsys, tmp_path, "replay", "--all", "--wait", "0")
            await gate.holds(1)
            gate.let_through()  # the first is done, the second in hand
            await child.event("dead_letter_replayed")
            await gate.arrives(2)
            await child.kill()
        of_the_dead = await tars(capsys, tmp_path, "list", "--json")
        (tmp_path / "gate").unlink()
        async with running(tmp_path, broker) as child:
            await child.event("dead_letter_replayed", count=2)
            answers = await peer.received(3)
            child.signal(signal.SIGTERM)
            await child.exited()
    after = await tars(capsys, tmp_path, "list", "--json")

    assert 0 == asked.code
    assert [(1, "handled"), (2, None), (3, None)] == listed(of_the_dead)
    assert [1, 2, 3, 1, 2, 2, 3] == journal(tmp_path, "picky")
    assert ["out/1", "out/2", "out/3"] == [each.topic for each in answers]
    assert [(n, "handled") for n in (1, 2, 3)] == listed(after)


async def test_a_replay_that_kills_the_process_is_not_made_a_third_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with running(tmp_path, broker) as child:
            await rejected(child, peer, 1)
            for name in ("mended", "deadly"):
                (tmp_path / name).touch()
            await tars(capsys, tmp_path, "replay", "1", "--wait", "0")
            codes = [await child.exited()]
        async with running(tmp_path, broker, up=False) as child:  # it dies before that
            codes.append(await child.exited())
        async with running(tmp_path, broker) as child:
            told = await child.event("dead_letter_replayed")
            child.signal(signal.SIGTERM)
            codes.append(await child.exited())
    after = await tars(capsys, tmp_path, "list", "--json")

    assert [-signal.SIGKILL, -signal.SIGKILL, 0] == codes
    assert [1, 1, 1] == journal(tmp_path, "picky")
    assert ("failed", 1) == (told["outcome"], told["letter"])
    assert [(1, "failed"), (2, None)] == listed(after)
    assert ["rejected", "quarantined"] == [json.loads(line)["reason"] for line in after.lines]


async def test_a_replay_asked_for_while_nothing_runs_is_made_at_the_start_and_fails_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with running(tmp_path, broker) as child:
            await rejected(child, peer, 1)
            child.signal(signal.SIGTERM)
            await child.exited()
        said = await tars(capsys, tmp_path, "replay", "1")
        async with running(tmp_path, broker) as child:
            told = await child.event("dead_letter_replayed")
            child.signal(signal.SIGTERM)
            await child.exited()
    after = await tars(capsys, tmp_path, "list", "--json")

    assert (0, f"1  in/1  {HANDLERS}picky  waits\n") == (said.code, said.out)
    assert "the service does not run" in said.err
    assert ("failed", "warning", 1) == (told["outcome"], told["level"], told["letter"])
    assert [(1, "failed"), (2, None)] == listed(after)
    assert [1] == journal(tmp_path, "fine")


async def test_dead_letters_are_published_with_the_facts_and_without_a_payload_that_is_too_large(tmp_path: Path) -> None:
    limits = ["allow_anonymous true", "max_packet_size 2000"]
    async with Mosquitto(config=limits) as broker, Peer(broker.port) as peer:
        await peer.subscribe("system/dead-letter/+")
        async with running(tmp_path, broker, {"store": {"publish_dead_letters": True}}) as child:
            large = b'{"n": 2, "more": "%s"}' % (b"x" * 1900)
            await peer.publish("in/1", b'{"n": 1}', user_properties=[("message-id", "m1")])
            await peer.publish("in/2", large, user_properties=[("message-id", "m2")])
            await child.event("dead_lettered", count=2)
            small_one, large_one = await peer.received(2)
            await child.event("message_settled", count=2)
            child.signal(signal.SIGTERM)
            code = await child.exited()
    told = dict(small_one.user_properties)

    assert 0 == code
    assert (TOPIC, b'{"n": 1}', 1, False) == (small_one.topic, small_one.payload, small_one.qos, small_one.retain)
    assert ("rejected", "in/1", f"{HANDLERS}picky", "Reject: not yet", "m1") == tuple(
        told[name] for name in ("reason", "original-topic", "actor", "error", "original-message-id")
    )
    assert (b"", f"{len(large)} bytes") == (large_one.payload, dict(large_one.user_properties)["payload-omitted"])
