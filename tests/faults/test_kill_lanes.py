"""A service with lanes that is killed, or told to have others: each key keeps its order, and little or nothing runs again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from support.broker import Mosquitto
from support.process import config, echo_actor, service, toml
from support.verifier import CLEAN, journal, judge, rounds
from support.verifier_client import distinct, outside

KEYS = [f"k{number}" for number in range(12)]
KILLS = 3
PER_LIFE = 25
"""Messages of each key."""


def lanes(port: int, written: Path, concurrency: int) -> dict[str, Any]:
    actor = echo_actor(written, concurrency=concurrency, key="{key}", overflow_after_s=60.0)
    return config(port, {"dedup": {"durable": True, "ttl_s": 300.0}}, {"one": actor})


async def test_kill_9_in_full_flow_keeps_the_order_of_each_key_and_repeats_one_message_of_each_lane_at_most(tmp_path: Path) -> None:
    """Each life has another number of lanes than the one before."""
    written, concurrency = tmp_path / "journal", [4, 7, 4, 2]
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        for life in range(KILLS):
            async with service(tmp_path, lanes(broker.port, written, concurrency[life])) as child:
                await child.event("link_up")
                for key, seq in rounds(KEYS, life * PER_LIFE, PER_LIFE):
                    client.number(key, seq)
                await client.confirmed()
                await child.event("message_settled", given=1, count=100)
                await child.kill()
        async with service(tmp_path, lanes(broker.port, written, concurrency[KILLS])):
            await client.answered()

    taken = journal(written, "taken")

    assert ((), (), ()) == (judge(client.sent, taken).lost, judge(client.sent, taken).reordered, judge(client.sent, taken).invented)
    assert len(taken) - len(client.sent) <= sum(concurrency[:KILLS])
    assert CLEAN == judge(client.sent, distinct(client.on("out/")))


async def test_sighup_in_full_flow_gives_other_lanes_and_each_message_is_handled_once_in_order(tmp_path: Path) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client:
        async with service(tmp_path, lanes(broker.port, written, 1)) as child:
            await child.event("link_up")
            for count, concurrency in enumerate((8, 3, 1), 1):
                for key, seq in rounds(KEYS, (count - 1) * PER_LIFE, PER_LIFE):
                    client.number(key, seq)
                (tmp_path / "service.toml").write_text(toml(lanes(broker.port, written, concurrency)))
                child.signal(signal.SIGHUP)
                told = await child.event("reloaded", count=count)

                assert (["root/service/handlers/one"], None) == (told["restarted"], told.get("failed"))
            await client.answered()
            child.signal(signal.SIGTERM)

            assert 0 == await child.exited()

    assert CLEAN == judge(client.sent, journal(written, "done"))
    assert CLEAN == judge(client.sent, distinct(client.on("out/")))
