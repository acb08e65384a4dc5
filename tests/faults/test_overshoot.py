"""A broker that sends more than the Receive Maximum it was given, as Mosquitto 2.0.11 does: it is borne with, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from support.broker import Mosquitto
from support.process import config
from support.process_live import live
from support.process_record import Record, echo
from support.service import Seen, running
from support.verifier import CLEAN, judge, rounds
from support.verifier_client import outside
from tars.actors import subscribe
from tars.actors.mqtt.events import DeadLettered, LinkDown, Overflowed
from tars.actors.mqtt.memory import MemoryBroker

WINDOW = 5
KEYS = ("a", "b", "c")


@pytest.mark.parametrize("ack_order", ["settled", "arrival"])
@pytest.mark.usefixtures("autojump_clock")
async def test_what_is_sent_past_the_window_is_handled_once_in_order_and_acknowledged(ack_order: str) -> None:
    handled = Seen()
    at_once = 0

    @subscribe("in/+", qos=1)
    async def sink(event: dict[str, Any]) -> None:
        nonlocal at_once
        at_once = max(at_once, len(world.broker.unacked("robot7")))
        await trio.sleep(0.001)
        handled.add((event["key"], event["seq"]))

    sent = list(rounds(KEYS, 0, 100))
    settings = {"mqtt": {"receive_maximum": WINDOW, "ack_order": ack_order}}
    async with running(sink, config=settings, broker=MemoryBroker(overshoots=True)) as world:
        for key, seq in sent:
            await world.deliver(f"in/{key}", {"key": key, "seq": seq})
        await world.settled()

        assert at_once > WINDOW
        assert CLEAN == judge(sent, handled.items)
        assert [] == world.events_of(Overflowed) + world.events_of(LinkDown) + world.store.letters


async def test_the_same_beside_a_real_one(tmp_path: Path) -> None:
    record = Record()
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with live(tmp_path, config(broker.port, {"mqtt": {"receive_maximum": WINDOW}}, {"echo": {}}), echo(record)) as service:
            for key, seq in rounds(KEYS, 0, 300):
                client.number(key, seq)
            await client.has(900)
            await service.settled()
            troubles = [*service.events_of(LinkDown), *service.events_of(DeadLettered)]

    lost_or_twice = judge(client.sent, record.handled)
    assert ((), (), ()) == (lost_or_twice.lost, lost_or_twice.duplicated, lost_or_twice.invented)
    assert [] == troubles
