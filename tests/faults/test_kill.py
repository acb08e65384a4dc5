"""A service that is killed with deliveries in hand, again and again: what its successor, and the service behind it, make of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from support.broker import Mosquitto
from support.process import Child, Gate, config, echo_actor, gated, service
from support.verifier import CLEAN, journal, judge
from support.verifier_client import Outside, outside

KILLS = 3
ACTORS = ("one", "two")
PER_LIFE = 30
HELD = 20
"""Of the messages of a life, the one at which each actor stops and waits, with the rest behind it."""


def killed(port: int, written: Path, gate: Gate) -> dict[str, Any]:
    """The service that is killed. Its third actor answers a probe: then everything that went before it is with the broker."""
    actors = {name: echo_actor(written, gate, topic=f"in/{name}/{{key}}", overflow_after_s=60.0) for name in ACTORS}
    return config(port, actors=actors | {"probe": echo_actor(written.with_suffix(".probe"), topic="probe/{key}", reply="probed")})


def following(port: int, written: Path) -> dict[str, Any]:
    """The service behind it: it takes the answers, and answers nobody."""
    actor = echo_actor(written, topic="out/{key}", reply="", overflow_after_s=60.0)
    return config(port, {"service": {"name": "robot8"}, "dedup": {"ttl_s": 120.0}}, {"next": actor})


async def everything_else_is_settled(client: Outside, child: Child, life: int, count: int) -> None:
    for name in ACTORS:
        await child.event("message_settled", topic=f"in/{name}/{name}", count=count)
    client.send("probe/p", b'{"key": "p", "seq": %d}' % life)
    await client.until(lambda: ("p", life) in client.numbers("probed/"), "answer to the probe")


async def test_kill_9_loses_nothing_and_repeats_what_was_in_hand_one_message_for_each_actor(tmp_path: Path) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#", "probed/#") as client, gated() as gate:
        table = killed(broker.port, written, gate)
        for life in range(KILLS):
            async with service(tmp_path, table) as child:
                await child.event("link_up")
                if life:
                    await gate.holds(len(ACTORS))  # what the last life had in hand, redelivered
                    gate.let_through()
                for name in ACTORS:
                    for seq in range(life * PER_LIFE, (life + 1) * PER_LIFE):
                        client.number(name, seq, prefix=f"in/{name}", hold=seq % PER_LIFE == HELD)
                await client.confirmed()
                await gate.arrives((2 * life + 1) * len(ACTORS))
                await everything_else_is_settled(client, child, life, PER_LIFE if life else HELD)
                await child.kill()
        gate.open()
        async with service(tmp_path, table):
            await client.answered()

    held = {(name, life * PER_LIFE + HELD): 2 for name in ACTORS for life in range(KILLS)}
    assert Counter(client.sent) + Counter(held.keys()) == Counter(journal(written, "taken"))
    assert ((), ()) == (judge(client.sent, journal(written, "taken")).lost, judge(client.sent, journal(written, "taken")).reordered)
    assert CLEAN == judge(client.sent, journal(written, "done"))
    assert CLEAN == judge(client.sent, client.numbers())


async def test_kill_9_in_full_flow_loses_nothing_and_the_next_service_takes_every_answer_once(tmp_path: Path) -> None:
    written, next_written = tmp_path / "journal", tmp_path / "next-journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client, gated() as gate:
        table = killed(broker.port, written, gate)
        async with service(tmp_path, following(broker.port, next_written), "next") as behind:
            await behind.event("link_up")
            for life in range(KILLS):
                async with service(tmp_path, table) as child:
                    await child.event("link_up")
                    for seq in range(life * 100, (life + 1) * 100):
                        for name in ACTORS:
                            client.number(name, seq, prefix=f"in/{name}")
                    await child.event("message_settled", count=60)
                    await child.kill()
            async with service(tmp_path, table):
                await client.answered()
            await behind.event("message_settled", given=1, count=len(client.sent))

    taken = judge(client.sent, journal(written, "taken"))
    assert ((), (), ()) == (taken.lost, taken.reordered, taken.invented)
    assert CLEAN == judge(client.sent, journal(next_written, "taken"))
    assert CLEAN == judge(client.sent, journal(next_written, "done"))
