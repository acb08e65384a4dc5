"""A service as `wire` builds it: the shape of its tree, and a message's whole way through it, in both versions of MQTT."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from support.service import CLIENT, HEALTH, Seen, running
from tars.actors import Actor, Context, subscribe
from tars.actors.definition import define
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.service import GOODBYE_S, wire
from tars.actors.service_config import ServiceConfig
from tars.actors.settings import (
    ActorSettings,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
)
from tars.actors.url import BrokerUrl
from tars.supervisor import ChildSpec, ChildStarted, Strategy, SupervisorSpec


def echo(seen: Seen) -> type[Actor]:
    class Echo(Actor):
        @subscribe("in/{name}")
        async def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            seen.add((ctx.params["name"], event, ctx.attempt))
            await ctx.publish("tts.say", {"text": event["text"]})

    return Echo


def config(**tables: Any) -> ServiceConfig:
    url = BrokerUrl("broker.example", 8883, "user", "secret", tls=True)
    settled = ServiceConfig(
        service=ServiceSettings("robot7", drain_s=7.0),
        mqtt=MqttSettings(keepalive_s=30, session_expiry_s=60, receive_maximum=8, connect_timeout_s=3.0),
        broker=BrokerSettings(),
        health=HealthSettings(),
        heartbeat=HeartbeatSettings(),
        dedup=DedupSettings(),
        store=StoreSettings(),
        actors={"echo": ActorSettings("test:it")},
        url=url,
        protocol="5",
        client_id="robot7",
        source="robot7",
    )
    return attrs.evolve(settled, **tables)


def tree(settings: ServiceConfig) -> SupervisorSpec:
    return wire(settings, [define("echo", echo(Seen()))], transport=MemoryTransport(MemoryBroker())).spec


def shape(spec: ChildSpec | SupervisorSpec) -> Any:
    if isinstance(spec, ChildSpec):
        return spec.id
    return (spec.id, spec.strategy, [shape(child) for child in spec.children])


def find(spec: SupervisorSpec, path: str) -> ChildSpec | SupervisorSpec:
    here: ChildSpec | SupervisorSpec = spec
    for name in path.split("/"):
        assert isinstance(here, SupervisorSpec)
        (here,) = [child for child in here.children if child.id == name]
    return here


# -- the tree -------------------------------------------------------------------------------------


def test_the_tree_is_the_one_of_the_design() -> None:
    service = (
        "service",
        Strategy.REST_FOR_ONE,
        [
            ("handlers", Strategy.ONE_FOR_ONE, ["echo"]),
            ("pipeline", Strategy.REST_FOR_ONE, ["dedup", "dispatcher"]),
            ("link", Strategy.ONE_FOR_ALL, ["connection", "heartbeat"]),
            "replay",
        ],
    )

    assert ("root", Strategy.ONE_FOR_ONE, ["store", "journal", "watch", service]) == shape(tree(config()))


def test_the_heartbeat_and_the_embedded_broker_are_there_when_asked_for() -> None:
    spec = tree(config(heartbeat=HeartbeatSettings(enabled=False), broker=BrokerSettings(embedded=True)))

    assert ["broker", "handlers", "pipeline", "link", "replay"] == [child.id for child in find(spec, "service").children]  # type: ignore[union-attr]
    assert ("link", Strategy.ONE_FOR_ALL, ["connection"]) == shape(find(spec, "service/link"))


def test_the_connection_may_take_as_long_as_the_drain_and_the_goodbye() -> None:
    connection = find(tree(config()), "service/link/connection")

    assert 7.0 + GOODBYE_S == connection.shutdown_s


def test_the_link_backs_off_as_configured() -> None:
    link = find(tree(config()), "service/link")

    assert isinstance(link, SupervisorSpec)
    assert (0.5, 30.0, 2.0, 1.0) == (link.backoff.initial_s, link.backoff.max_s, link.backoff.factor, link.backoff.jitter)


@pytest.mark.parametrize("health", [True, False])
def test_the_broker_is_asked_for_what_the_config_says(health: bool) -> None:
    connection = find(tree(config(health=HealthSettings(enabled=health))), "service/link/connection")
    assert isinstance(connection, ChildSpec)
    assert isinstance(connection.start, functools.partial)
    asked = connection.start.args[0].settings

    assert ("broker.example", 8883, "user", "secret") == (asked.host, asked.port, asked.username, asked.password)
    assert (30, 60, 8, 3.0, "5", "robot7") == (
        asked.keepalive_s,
        asked.session_expiry_s,
        asked.receive_maximum,
        asked.connect_timeout_s,
        asked.protocol,
        asked.client_id,
    )
    assert asked.tls is not None
    assert health == (asked.will is not None)
    assert "secret" not in repr(asked)


# -- a message ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_message_is_handled_answered_and_acknowledged(_virtual: MockClock, protocol: str, qos: int) -> None:
    seen = Seen()
    async with running(echo(seen), config={"mqtt": {"protocol": protocol}}) as world:
        await world.deliver("in/a", {"text": "hello"}, qos=qos)
        await world.settled()

        assert [("a", {"text": "hello"}, 1)] == seen.items
        assert 1 == len(world.said("tts/say"))
        assert (1,) * qos == world.broker.acked(CLIENT)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_killed_broker_costs_no_message_and_doubles_none(_virtual: MockClock, protocol: str) -> None:
    seen = Seen()
    async with running(echo(seen), config={"mqtt": {"protocol": protocol}}) as world:
        for n in range(100):
            if n % 20 == 10:
                world.broker.kill()
                world.broker.restart()
            await world.deliver("in/a", {"text": str(n)})
        await world.settled()

        assert [str(n) for n in range(100)] == [event["text"] for _, event, _ in seen.items]
        assert ([], []) == (world.unacked, world.broker.stray_acks)


async def test_everything_behind_the_link_has_started_before_it_connects(_virtual: MockClock) -> None:
    async with running(echo(Seen())) as world:
        assert [
            "root/store",
            "root/service/handlers/echo",
            "root/service/pipeline/dedup",
            "root/service/pipeline/dispatcher",
            "root/service/link/connection",
        ] == [each.path for each in world.events_of(ChildStarted) if "/" in each.path and each.path.rpartition("/")[2] not in GROUPS]
        assert [HEALTH] == [entry.topic for entry in await world.published("#")]


GROUPS = frozenset({"service", "handlers", "pipeline", "link"})


def test_nothing_is_written_before_the_tree_runs(tmp_path: Path) -> None:
    tree(config(service=ServiceSettings("robot7", state_dir=tmp_path / "state")))

    assert [] == list(tmp_path.iterdir())
