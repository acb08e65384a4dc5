"""A link that breaks in every way TCP and a broker know: found, mended, nothing lost, and nothing left behind.

Here are those breaks of which more is to be said than the fault table does (`support.fault_table`), and MQTT 3.1.1, which the
table does not speak.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from support.broker import Mosquitto
from support.process import HEALTH, config
from support.process_live import Live, live
from support.process_record import Record, echo
from support.proxy import CONNACK, PUBACK, SUBACK, Proxy, proxied
from support.verifier import CLEAN, judge, rounds
from support.verifier_client import Outside, distinct, outside
from tars.actors.mqtt.events import LinkDown, LinkUp
from tars.supervisor import ChildExited

INTERVAL_S, DEADLINE_S = 1.0, 0.5
"""Of the heartbeat in these tests."""
CYCLES = 50


def table(port: int, protocol: str = "5", **mqtt: Any) -> dict[str, Any]:
    link = {"url": f"mqtt://127.0.0.1:{port}", "protocol": protocol, "backoff": {"initial_s": 0.02, "max_s": 0.05}, **mqtt}
    return config(
        port, {"mqtt": link, "heartbeat": {"interval_s": INTERVAL_S, "deadline_s": DEADLINE_S}}, {"echo": {"overflow_after_s": 60.0}}
    )


def send(client: Outside, first: int, count: int) -> None:
    for key, seq in rounds(("a", "b"), first, count):
        client.number(key, seq)


async def all_answered(client: Outside, service: Live) -> None:
    await client.answered()
    await service.settled()


# -- a broker that hears and does not answer ------------------------------------------------------------


async def test_a_frozen_broker_is_found_by_the_heartbeat_and_used_again_when_it_thaws(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto() as broker, outside(broker.port, "out/#", HEALTH) as client:
        async with live(tmp_path, table(broker.port, connect_timeout_s=0.5), echo(record)) as service:
            send(client, 0, 20)
            await all_answered(client, service)
            record.gate = trio.Event()
            send(client, 20, 20)
            await client.confirmed()
            await record.has_taken(41)
            broker.freeze()
            frozen_at = trio.current_time()
            await service.event(LinkDown)
            found_after_s = trio.current_time() - frozen_at
            record.gate.set()
            await record.has_handled(80)  # the handlers work on; their answers wait
            broker.thaw()
            await service.event(LinkUp, count=2)
            send(client, 40, 20)
            await all_answered(client, service)
            await client.until(lambda: client.on(HEALTH)[-1].data["event"] == "reconnected", "health")
            (report, *_) = service.events_of(ChildExited, lambda event: event.path.endswith("/heartbeat"))

    assert found_after_s < INTERVAL_S + DEADLINE_S + 1.0
    assert "did not confirm a heartbeat" in str(report.error)
    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == judge(client.sent, distinct(client.on("out/")))


# -- a network that breaks ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.reset], ids=["closed", "reset"])
async def test_a_connection_that_breaks_with_deliveries_in_hand_costs_nothing(
    tmp_path: Path, protocol: str, fault: Callable[[Proxy], None]
) -> None:
    record = Record()
    async with Mosquitto() as broker, proxied(broker.port) as proxy, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(proxy.port, protocol), echo(record)) as service:
            for cycle in range(5):
                record.gate = trio.Event()
                send(client, cycle * 20, 10)
                await client.confirmed()
                await record.has_taken(cycle * 40 + 1)
                fault(proxy)
                await service.event(LinkDown, count=cycle + 1)
                send(client, cycle * 20 + 10, 10)
                await service.event(LinkUp, count=cycle + 2)
                record.gate.set()
                await all_answered(client, service)

    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == attrs.evolve(judge(client.sent, client.numbers()), duplicated=())


async def test_a_connection_that_breaks_in_full_flow_again_and_again_costs_nothing(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto(("allow_anonymous true", "max_queued_messages 0")) as broker, proxied(broker.port) as proxy:
        async with outside(broker.port, "out/#") as client, live(tmp_path, table(proxy.port), echo(record)) as service:
            send(client, 0, 1000)
            for cycle in range(8):
                await record.has_handled((cycle + 1) * 200)
                (proxy.reset if cycle % 2 else proxy.cut)()
                await service.event(LinkUp, count=cycle + 2)
            await all_answered(client, service)

    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == judge(client.sent, distinct(client.on("out/")))


async def test_a_half_open_connection_is_found_by_the_heartbeat(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto() as broker, proxied(broker.port) as proxy, outside(broker.port, "out/#") as client:
        async with live(tmp_path, table(proxy.port, "3.1.1", connect_timeout_s=0.5), echo(record)) as service:
            send(client, 0, 20)
            await all_answered(client, service)
            proxy.stall()
            stalled_at = trio.current_time()
            send(client, 20, 20)
            await client.confirmed()
            await service.event(LinkDown)
            found_after_s = trio.current_time() - stalled_at
            proxy.cut()
            proxy.flow()
            await service.event(LinkUp, count=2)
            await all_answered(client, service)

    assert found_after_s < INTERVAL_S + DEADLINE_S + 1.0
    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == attrs.evolve(judge(client.sent, client.numbers()), duplicated=())


@pytest.mark.parametrize("packet", [CONNACK, SUBACK], ids=["CONNACK", "SUBACK"])
async def test_a_connection_that_breaks_before_it_is_up_is_tried_again(tmp_path: Path, packet: int) -> None:
    record = Record()
    async with Mosquitto() as broker, proxied(broker.port) as proxy, outside(broker.port, "out/#", HEALTH) as client:
        proxy.cut_before(packet, 3)
        async with live(tmp_path, table(proxy.port, "3.1.1"), echo(record)) as service:
            ups = service.events_of(LinkUp)
            send(client, 0, 20)
            await all_answered(client, service)
            proxy.cut_before(packet, 3)
            record.gate = trio.Event()
            send(client, 20, 20)
            await client.confirmed()
            await record.has_taken(41)
            proxy.cut()
            await service.event(LinkUp, count=2)
            record.gate.set()
            await all_answered(client, service)

    assert (1, 6, 8) == (len(ups), proxy.cuts, proxy.connections)
    assert CLEAN == judge(client.sent, record.taken)
    assert CLEAN == judge(client.sent, client.numbers())


async def test_an_answer_whose_confirmation_is_lost_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto() as broker, proxied(broker.port) as proxy, outside(broker.port, "out/#") as client:
        no_beats = table(proxy.port) | {"heartbeat": {"enabled": False}, "health": {"enabled": False}}
        async with live(tmp_path, no_beats, echo(record)) as service:
            proxy.cut_before(PUBACK, 1)
            client.number("k", 0)
            await client.has(2)
            await service.settled()

    assert [("k", 0)] == record.taken
    assert [("k", 0), ("k", 0)] == client.numbers()
    assert CLEAN == judge(client.sent, distinct(client.came))


# -- nothing left behind ----------------------------------------------------------------------------------


def asyncio_tasks() -> int:
    gc.collect()
    return sum(isinstance(each, asyncio.Task) and not each.done() for each in gc.get_objects())


def descriptors() -> int:
    """Open files and sockets of this process."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_links_that_failed_leave_no_task_and_no_socket(tmp_path: Path) -> None:
    async with Mosquitto() as broker, proxied(broker.port) as proxy:
        async with live(tmp_path, table(proxy.port), echo(Record())) as service:
            kinds = (Proxy.cut, Proxy.reset, cut_before_connack, cut_before_suback)
            await broken(proxy, service, kinds[0], 0)
            before = (asyncio_tasks(), descriptors())
            for cycle in range(1, CYCLES):
                await broken(proxy, service, kinds[cycle % len(kinds)], cycle)
            after = (asyncio_tasks(), descriptors())

    assert before == after


def cut_before_connack(proxy: Proxy) -> None:
    proxy.cut_before(CONNACK, 1)
    proxy.cut()


def cut_before_suback(proxy: Proxy) -> None:
    proxy.cut_before(SUBACK, 1)
    proxy.reset()


async def broken(proxy: Proxy, service: Live, fault: Callable[[Proxy], None], cycle: int) -> None:
    fault(proxy)
    await service.event(LinkUp, count=cycle + 2)
    with trio.fail_after(5):
        await proxy.closed_but(1)


@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "cancelled"])
async def test_services_that_end_at_any_moment_leave_no_task_and_no_socket(tmp_path: Path, orderly: bool) -> None:
    found = set()
    async with Mosquitto() as broker:
        for steps in range(0, CYCLES, 2):  # each time a few scheduler steps further into the connection
            async with live(tmp_path, table(broker.port), echo(Record()), up=False, orderly=orderly):
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
            found.add((asyncio_tasks(), descriptors()))

    assert 1 == len(found)
