"""What a broker's access list does to a service: who it lets in by name and password, and which of the actors it lets listen."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from support.broker import Mosquitto
from support.contract_broker import plugin_path, security
from support.peer import Peer
from support.process import HEALTH, config, echo_actor, service, started, toml
from support.verifier import journal
from support.verifier_client import outside

PASSWORD = "p@ss:w/ö r%d#?"


def guarded(refused: str = "nothing/#", *, anonymous: bool = False) -> Mosquitto:
    """A Mosquitto that lets "robot" in with `PASSWORD`, but not to what is `refused`."""
    broker = Mosquitto()
    allow(broker, refused)
    file = broker.directory / "dynamic-security.json"
    broker.config = [f"allow_anonymous {str(anonymous).lower()}", f"plugin {plugin_path()}", f"plugin_opt_config_file {file}"]
    return broker


def allow(broker: Mosquitto, refused: str) -> None:
    """From its next start on."""
    (broker.directory / "dynamic-security.json").write_bytes(orjson.dumps(security(refused, PASSWORD)))


def url(port: int) -> str:
    return f"mqtt://robot:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"


@pytest.mark.parametrize("from_environment", [False, True], ids=["file", "environment"])
async def test_name_and_password_may_be_any_text_percent_encoded_in_the_url(tmp_path: Path, *, from_environment: bool) -> None:
    async with guarded() as broker:
        there = {} if from_environment else {"url": url(broker.port)}
        table = config(1, {"mqtt": there}, {"echo": {"use": "tars.actors.services.router:Router"}})
        file = tmp_path / "service.toml"
        file.write_text(toml(table))
        async with started(tmp_path, file, {"MQTT_URL": url(broker.port)} if from_environment else {}) as child:
            await child.event("link_up")
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert (0, "") == (code, child.stderr)


@pytest.mark.parametrize(("protocol", "code"), [("5", 0x87), ("3.1.1", 0x80)])
async def test_a_filter_that_the_broker_refuses_parks_its_actor_until_it_is_granted_and_the_others_run_on(
    tmp_path: Path, protocol: str, code: int
) -> None:
    actors = {
        "may": echo_actor(tmp_path / "may", topic="in/may/{key}"),
        "may_not": echo_actor(tmp_path / "may_not", topic="in/may-not/{key}"),
    }
    async with guarded("in/may-not/#", anonymous=True) as broker, outside(broker.port, "out/#", HEALTH) as client:
        table = config(broker.port, {"mqtt": {"url": url(broker.port), "protocol": protocol}}, actors)
        async with service(tmp_path, table) as child:
            parked = await child.event("actor_parked")
            client.number("k", 0, prefix="in/may")
            await client.has(1, "out/")
            health = client.on(HEALTH)[0].data
            allow(broker, "nothing/#")
            await broker.restart()
            recovered = await child.event("actor_recovered")
            async with Peer(broker.port) as peer:
                await peer.publish("in/may-not/k", b'{"key": "k", "seq": 1}')
                await child.event("message_settled", topic="in/may-not/k")
            child.signal(signal.SIGTERM)
            ended = await child.exited()

    place = "root/service/handlers/may_not"
    assert (0, "") == (ended, child.stderr)
    assert (place, "in/may-not/+", code, 30.0) == tuple(parked[key] for key in ("actor", "filter", "code", "park_s"))
    assert (False, "degraded") == (health["ok"], health["event"])
    assert f"subscription in/may-not/+: refused by the broker (code {code:#x}), which parks may_not" == health["err"]
    assert place == recovered["actor"]
    assert [("k", 0)] == journal(tmp_path / "may", "done")
    assert [("k", 1)] == journal(tmp_path / "may_not", "done")
    assert [] == child.events("intensity_exceeded")


async def test_a_broker_that_grants_qos_0_only_is_a_warning_at_every_filter_and_its_messages_are_handled(tmp_path: Path) -> None:
    # Its MQTT 5 Will and heartbeat would be of QoS 1, which such a broker does not take either.
    tables = {"health": {"enabled": False}, "heartbeat": {"enabled": False}}
    actors = {"echo": echo_actor(tmp_path / "journal", reply="")}
    async with Mosquitto(config=["allow_anonymous true", "max_qos 0"]) as broker:
        async with service(tmp_path, config(broker.port, tables, actors)) as child, Peer(broker.port) as peer:
            weakened = await child.event("subscription_weakened")
            await child.event("link_up")
            await peer.publish("in/k", b'{"key": "k", "seq": 0}', qos=0)
            await child.event("message_settled", topic="in/k")
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert (0, "") == (code, child.stderr)
    assert ("warning", "in/+", "echo", 1, 0) == tuple(weakened[key] for key in ("level", "filter", "actors", "asked", "granted"))
    assert [("k", 0)] == journal(tmp_path / "journal", "done")
    assert [] == child.events("actor_parked")


async def test_a_broker_that_takes_no_will_of_qos_1_ends_the_service_with_one_sentence_that_says_what_it_lacks(tmp_path: Path) -> None:
    async with (
        Mosquitto(config=["allow_anonymous true", "max_qos 0"]) as broker,
        service(tmp_path, config(broker.port, {}, {"echo": echo_actor(tmp_path / "journal")})) as child,
    ):
        code = await child.exited()

    assert 1 == code
    assert 1 == child.stderr.count("\n")
    assert "QoS not supported (0x9B)" in child.stderr
    assert "takes no QoS 1" in child.stderr
