"""``tars doctor`` on real brokers. What it makes of what it finds is in actors/test_doctor.py."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import typer
from typer.testing import CliRunner

from support.broker import Mosquitto, free_port
from support.peer import Peer
from tars.actors.commands.doctor import doctor
from tars.actors.commands.doctor_probes import QUEUE
from tars.actors.contracts import encode
from tars.actors.contracts.health import HeartbeatPayload
from tars.actors.mqtt.embedded import embedded_broker
from tars.actors.testing import event


async def run(*arguments: str, listen_s: float = 0) -> tuple[int, str]:
    """Its exit code and what it said, called beside the test as a shell would."""
    app = typer.Typer()
    app.command()(doctor)
    result = await trio.to_thread.run_sync(functools.partial(CliRunner().invoke, app, [*arguments, "--listen", str(listen_s)]))
    return result.exit_code, result.output


def grades(document: dict[str, Any]) -> dict[str, str]:
    return {verdict["what"]: verdict["grade"] for verdict in document["verdicts"]}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_it_tells_what_a_broker_does_and_leaves_nothing_behind(protocol: str) -> None:
    async with Mosquitto(("allow_anonymous true", "max_queued_messages 0")) as broker:
        code, said = await run(f"mqtt://127.0.0.1:{broker.port}", "--json", "--protocol", protocol)
        async with Peer(broker.port) as peer:
            await peer.subscribe("tars/doctor/#")
            await peer.publish("tars/doctor/probe", b"the only one")
            await peer.received(1)
            left = [seen.topic for seen in peer.seen if seen.topic.startswith("tars/doctor/")]
    document = orjson.loads(said)
    found = grades(document)

    assert (0, True) == (code, document["fit"])
    assert {"good"} == {found[what] for what in ("sessions", "queue", "shared subscriptions", "retained messages")}
    assert ("good" if protocol == "5" else "limit") == found["MQTT 5"]
    assert ["tars/doctor/probe"] == left


async def test_it_finds_the_limit_of_a_queue_and_says_it_in_words() -> None:
    async with Mosquitto(("allow_anonymous true", "max_queued_messages 100")) as broker:
        code, said = await run(f"mqtt://127.0.0.1:{broker.port}")

    (line,) = [line for line in said.splitlines() if "queue:" in line]
    assert 0 == code
    assert line.startswith("limit  queue: ")
    assert f" 100 of {QUEUE} messages kept" in line


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_a_broker_is_told_not_to_do_it_finds(protocol: str) -> None:
    async with Mosquitto(("allow_anonymous true", "retain_available false", "max_packet_size 2000")) as broker:
        code, said = await run(f"mqtt://127.0.0.1:{broker.port}", "--json", "--protocol", protocol)
    found = grades(orjson.loads(said))

    assert (1, "bad") == (code, found["retained messages"])
    assert ("limit" if protocol == "5" else "good") == found["packet size"]
    assert {"good"} == {found[what] for what in ("sessions", "shared subscriptions")}


async def test_it_says_what_came_of_its_receive_maximum_and_of_the_expiry_of_a_session() -> None:
    async with Mosquitto() as broker:
        _, said = await run(f"mqtt://127.0.0.1:{broker.port}", "--json")
    found = {verdict["what"]: verdict["found"] for verdict in orjson.loads(said)["verdicts"]}

    assert "kept to" == found["session expiry"]
    assert re.fullmatch(r"kept to|\d+ unacknowledged at a time, 5 asked for", found["Receive Maximum"])  # 2.0.11 sends 21


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("allow_anonymous true", "max_qos 0"), "the broker takes no QoS 1"),
        (("allow_anonymous true", "acl_file {acl}"), "let this user publish and subscribe to tars/doctor/#"),
    ],
)
async def test_where_nothing_can_be_probed_it_says_in_one_line_why(tmp_path: Path, lines: Sequence[str], told: str) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite other/#\n")
    async with Mosquitto([line.format(acl=acl) for line in lines]) as broker:
        code, said = await run(f"mqtt://127.0.0.1:{broker.port}")

    assert (1, 1) == (code, len(said.splitlines()))
    assert told in said


async def test_it_compares_its_clock_with_those_of_the_services_it_hears() -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer, trio.open_nursery() as nursery:
        await peer.publish("system/health/old", event("health.status", {"ok": True, "event": "ready"}), retain=True)
        await peer.subscribe("tars/doctor/+/trip")

        async def beat() -> None:
            await peer.received(1)  # it listens by now
            await peer.publish("system/keepalive/robot7", encode(HeartbeatPayload(timestamp=time.time() + 100)))

        nursery.start_soon(beat)
        code, said = await run(f"mqtt://127.0.0.1:{broker.port}", "--json", listen_s=2)
    (clocks,) = [verdict for verdict in orjson.loads(said)["verdicts"] if verdict["what"] == "clocks"]

    assert (0, "limit") == (code, clocks["grade"])
    assert re.fullmatch(r"robot7 is (99|100)\.\d s ahead", clocks["found"])


async def test_it_says_no_to_the_embedded_broker_which_forgets_sessions_and_delivers_nothing_to_shared_subscriptions() -> None:
    port = free_port()
    async with trio.open_nursery() as nursery:
        await nursery.start(embedded_broker, "127.0.0.1", port)
        code, said = await run(f"mqtt://127.0.0.1:{port}", "--json")
        nursery.cancel_scope.cancel()
    found = grades(orjson.loads(said.splitlines()[-1]))

    assert 1 == code
    assert {"bad"} == {found[what] for what in ("sessions", "queue", "shared subscriptions")}
    assert ("limit", "good") == (found["MQTT 5"], found["retained messages"])
    assert {"limit"} == {found[what] for what in ("session expiry", "Receive Maximum")}  # MQTT 3.1.1 has neither


async def test_a_broker_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    code, _ = await run(f"mqtt://127.0.0.1:{free_port()}")

    assert 1 == code
