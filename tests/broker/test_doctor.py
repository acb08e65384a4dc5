"""``tars doctor`` on a real broker, and what it makes of what it finds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import attrs
import orjson
import pytest
import trio
import typer
from typer.testing import CliRunner

from support.broker import Mosquitto, free_port
from support.peer import Peer
from tars.actors.commands.doctor import QUEUE, WINDOW, doctor
from tars.actors.commands.doctor_verdicts import Findings, Grade, is_fit, verdicts
from tars.actors.mqtt.embedded import embedded_broker

WELL = Findings(
    protocol="5",
    shared=True,
    window=5,
    outstanding=5,
    retained=True,
    session_kept=True,
    queue_sent=2000,
    queued=2000,
    in_order=True,
    round_trips_s=[0.001] * 100,
)


async def run(*arguments: str) -> tuple[int, str]:
    """Its exit code and what it said, called beside the test as a shell would."""
    app = typer.Typer()
    app.command()(doctor)
    result = await trio.to_thread.run_sync(functools.partial(CliRunner().invoke, app, list(arguments)))
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
    assert f"of {QUEUE} messages kept" in line


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


async def test_a_broker_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    code, _ = await run(f"mqtt://127.0.0.1:{free_port()}")

    assert 1 == code


@pytest.mark.parametrize(
    ("change", "what", "grade"),
    [
        ({}, "MQTT 5", Grade.GOOD),
        ({"protocol": "3.1.1"}, "MQTT 5", Grade.LIMIT),
        ({"protocol": "3.1.1"}, "Receive Maximum", Grade.LIMIT),
        ({"session_kept": False}, "sessions", Grade.BAD),
        ({"queued": 1000}, "queue", Grade.LIMIT),
        ({"queued": 0}, "queue", Grade.BAD),
        ({"in_order": False}, "queue", Grade.BAD),
        ({"outstanding": WINDOW + 1}, "Receive Maximum", Grade.LIMIT),
        ({"shared": False}, "shared subscriptions", Grade.BAD),
        ({"retained": False}, "retained messages", Grade.BAD),
        ({"max_packet_bytes": 2000}, "packet size", Grade.LIMIT),
        ({"round_trips_s": [0.001] * 90 + [0.5] * 10}, "round trip", Grade.LIMIT),
    ],
)
def test_each_finding_has_its_grade_and_says_what_it_means(change: dict[str, Any], what: str, grade: Grade) -> None:
    report = verdicts(attrs.evolve(WELL, **change))
    (verdict,) = [each for each in report if each.what == what]

    assert grade is verdict.grade
    assert (grade is not Grade.BAD) is is_fit(report)
    assert all(sentences_end(each.means) for each in report)


def sentences_end(text: str) -> bool:
    words: Sequence[str] = text.split()
    return len(words) > 3 and text.endswith(".")
