"""A service as a process of its own, against a real broker: what the world sees when it ends, and what it sees when it starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from support.broker import Mosquitto, free_port
from support.peer import Peer
from support.process import CLIENT, HEALTH, config, echo_actor, gated, service
from support.verifier import CLEAN, journal, judge, rounds
from support.verifier_client import Came, Outside, outside

PASSWORD = "s3cret-of-this-test"


def health(client: Outside) -> list[Came]:
    return client.on(HEALTH)


async def retained_health(port: int) -> tuple[bool, bool, str]:
    """What somebody who asks only now is told: (retain, ok, event)."""
    async with outside(port, HEALTH, client_id="latecomer") as client:
        (last,) = await client.has(1)
    return last.retain, last.data["ok"], last.data["event"]


# -- the end --------------------------------------------------------------------------------------


async def test_after_kill_9_the_broker_says_that_the_service_is_lost(tmp_path: Path) -> None:
    async with Mosquitto() as broker, outside(broker.port, HEALTH) as client:
        async with service(tmp_path, config(broker.port, actors={"echo": echo_actor(tmp_path / "journal")})) as child:
            await client.has(1)
            await child.kill()
        await client.has(2)
        retained = await retained_health(broker.port)

    assert [(True, "ready"), (False, "lost")] == [(each.data["ok"], each.data["event"]) for each in health(client)]
    assert (True, False, "lost") == retained


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_that_is_asked_to_stop_says_so_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    async with Mosquitto() as broker, outside(broker.port, HEALTH) as client:
        async with service(tmp_path, config(broker.port, actors={"echo": echo_actor(tmp_path / "journal")})) as child:
            await client.has(1)
            child.signal(number)
            code = await child.exited()
        await client.has(2)
        retained = await retained_health(broker.port)

    assert 0 == code
    assert ["ready", "shutdown"] == [each.data["event"] for each in health(client)]
    assert (True, False, "shutdown") == retained
    assert "" == child.stderr


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_is_in_hand_when_the_service_must_stop_is_finished_and_answered_and_nothing_is_handled_twice(
    tmp_path: Path, protocol: str
) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client, gated() as gate:
        actors = {name: echo_actor(written, gate, topic=f"in/{name}/{{key}}") for name in ("one", "two")}
        table = config(broker.port, {"mqtt": {"url": f"mqtt://127.0.0.1:{broker.port}", "protocol": protocol}}, actors)
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            for name in actors:
                client.number(name, 0, prefix=f"in/{name}", hold=True)
                for _, seq in rounds((name,), 1, 5):
                    client.number(name, seq, prefix=f"in/{name}")
            await client.confirmed()
            await gate.holds(2)
            child.signal(signal.SIGTERM)
            await child.event("stop_requested")
            for name in actors:
                client.number(name, 6, prefix=f"in/{name}")  # too late for this one: the broker keeps it
            await client.confirmed()
            gate.open()
            code = await child.exited()
        drained = child.events("drain_ended")
        answered_by_then = len(journal(written, "done"))
        async with service(tmp_path, table) as child:
            await child.event("link_up")  # the first may have answered all: then this one is not yet listening for signals
            await client.has(14)
            child.signal(signal.SIGTERM)
            second_code = await child.exited()

    assert (0, 0) == (code, second_code)
    assert [(0, 0)] == [(line["unsettled"], line["unsent"]) for line in drained]
    assert 12 <= answered_by_then <= 14
    assert CLEAN == judge(client.sent, journal(written, "taken"))
    assert CLEAN == judge(client.sent, journal(written, "done"))
    assert CLEAN == judge(client.sent, client.numbers())


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_drain_at_once_and_loses_nothing(tmp_path: Path, second: signal.Signals) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client, gated() as gate:
        table = config(broker.port, actors={"echo": echo_actor(written, gate)})
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            client.number("k", 0, hold=True)
            await gate.holds(1)
            child.signal(signal.SIGTERM)
            await child.event("stop_requested")
            child.signal(second)
            code = await child.exited()
        gate.open()
        async with service(tmp_path, table):
            await client.has(1)

    assert 128 + second == code
    assert [("k", 0), ("k", 0)] == journal(written, "taken")
    assert [("k", 0)] == journal(written, "done")
    assert [f"tars: second signal ({second.name}), exiting at once"] == child.stderr.splitlines()


# -- in between -----------------------------------------------------------------------------------


async def test_a_handler_that_raises_is_one_error_and_one_traceback_in_the_log(tmp_path: Path) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        actors = {name: echo_actor(written, topic=f"in/{name}/{{key}}") for name in ("one", "two")}
        async with service(tmp_path, config(broker.port, actors=actors)) as child:
            await child.event("link_up")
            for name in actors:
                client.number(name, 0, prefix=f"in/{name}", fail=name == "one")
            await client.has(2)
            child.signal(signal.SIGTERM)
            code = await child.exited()

    (error,) = [line for line in child.lines if line["level"] in {"error", "critical"}]
    (again,) = child.events("child_started", incarnation=2)
    assert 0 == code
    assert ("handler_failed", "RuntimeError", "in/one/one", 1) == (error["event"], error["error_type"], error["topic"], error["attempt"])
    assert ("root/service/handlers/one",) * 2 == (error["actor"], again["actor"])
    assert 1 == child.stdout.count("Traceback")
    assert CLEAN == judge(client.sent, journal(written, "done"))


# -- the start ------------------------------------------------------------------------------------


async def test_a_service_whose_broker_is_not_there_stays_up_and_connects_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    async with service(tmp_path, config(port, actors={"echo": echo_actor(tmp_path / "journal")})) as child:
        await child.event("service_started")
        await child.event("child_exited", actor="root/service/link/connection", count=5)
        up_without = child.events("link_up")
        async with Mosquitto(port=port) as broker, outside(broker.port, "out/#", HEALTH) as client:
            await child.event("link_up")
            client.number("k", 0)
            await client.has(1, "out/")
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert ([], 0) == (up_without, code)
    assert ["ready", "shutdown"] == [each.data["event"] for each in health(client)]
    assert {"unavailable"} == {line["kind"] for line in child.events("child_exited", actor="root/service/link/connection")[:5]}
    assert [] == child.events("intensity_exceeded")


async def test_a_service_without_its_broker_can_be_stopped(tmp_path: Path) -> None:
    async with service(tmp_path, config(free_port(), actors={"echo": echo_actor(tmp_path / "journal")})) as child:
        await child.event("service_started")
        await child.event("child_exited", actor="root/service/link/connection")
        child.signal(signal.SIGTERM)
        code = await child.exited()

    assert (0, "") == (code, child.stderr)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_refused_credentials_end_the_service_with_one_sentence_that_keeps_the_secret(tmp_path: Path, protocol: str) -> None:
    async with Mosquitto(("allow_anonymous false",)) as broker:
        url = f"mqtt://robot:{PASSWORD}@127.0.0.1:{broker.port}"
        table = config(broker.port, {"mqtt": {"url": url, "protocol": protocol}}, {"echo": echo_actor(tmp_path / "journal")})
        async with service(tmp_path, table) as child:
            code = await child.exited()

    (sentence,) = child.stderr.splitlines()
    assert 1 == code
    assert f"127.0.0.1:{broker.port}" in sentence
    assert CLIENT in sentence
    assert "credentials" in sentence or "password" in sentence
    assert "Traceback" not in child.stdout + child.stderr
    assert PASSWORD not in child.stdout + child.stderr


async def test_a_service_whose_session_is_taken_over_takes_it_back(tmp_path: Path) -> None:
    # Mosquitto 2.0.11 does not say "session taken over" (0x8E) to the client it drops: it looks like any other loss.
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with service(tmp_path, config(broker.port, actors={"echo": echo_actor(written)})) as child:
            await child.event("link_up")
            with trio.fail_after(10):
                async with Peer(broker.port, CLIENT):
                    await child.event("link_down", reason="lost")
                    await child.event("link_up", count=2)
            client.number("k", 0)
            await client.has(1)

    assert CLEAN == judge(client.sent, journal(written, "done"))
