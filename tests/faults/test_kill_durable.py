"""Services that are killed under ``[dedup] durable = true``: what is done stays done, whenever its acknowledgement was to go out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.broker import Mosquitto
from support.process import Child, Gate, config, echo_actor, gated, service
from support.proxy import proxied
from support.verifier import CLEAN, Number, journal, judge
from support.verifier_client import Outside, distinct, outside

ACTORS = ("one", "two")
KILLS = 3
PER_LIFE = 30
HELD = 20
"""Of the messages of a life, the one at which each actor stops and waits, with the rest behind it."""
DURABLE = {"dedup": {"durable": True, "ttl_s": 300.0}}


def first(port: int, written: Path, gate: Gate | None = None) -> dict[str, Any]:
    return config(port, DURABLE, {name: echo_actor(written, gate, topic=f"in/{name}/{{key}}", overflow_after_s=60.0) for name in ACTORS})


def second(port: int, written: Path) -> dict[str, Any]:
    """The service behind it: ``out/KEY`` becomes ``end/KEY``."""
    actor = echo_actor(written, topic="out/{key}", reply="end", overflow_after_s=60.0)
    return config(port, {**DURABLE, "service": {"name": "robot8"}}, {"next": actor})


def settled(child: Child) -> set[Number]:
    """The messages of which the process said that they are settled, that is: recorded."""
    return {number_of(line["message_id"]) for line in child.events("message_settled") if line["topic"].startswith("in/")}


def number_of(message_id: str) -> Number:
    """`Outside` gives message SEQ of KEY the envelope id KEY-SEQ: topic|type|KEY-SEQ|..."""
    key, _, seq = message_id.split("|")[2].rpartition("-")
    return key, int(seq)


async def send(client: Outside, life: int, count: int, *, hold: int | None = None) -> None:
    for seq in range(life * count, (life + 1) * count):
        for name in ACTORS:
            client.number(name, seq, prefix=f"in/{name}", hold=seq % count == hold)
    await client.confirmed()


async def test_killed_with_a_message_of_each_actor_in_hand_only_those_are_handled_twice(tmp_path: Path) -> None:
    written = tmp_path / "journal"
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client, gated() as gate:
        table = first(broker.port, written, gate)
        for life in range(KILLS):
            async with service(tmp_path, table) as child:
                await child.event("link_up")
                if life:
                    await gate.holds(len(ACTORS))  # what the last life had in hand, redelivered
                    gate.let_through()
                await send(client, life, PER_LIFE, hold=HELD)
                await gate.arrives((2 * life + 1) * len(ACTORS))
                for name in ACTORS:
                    await child.event("message_settled", topic=f"in/{name}/{name}", given=1, count=PER_LIFE if life else HELD)
                await child.kill()  # at once: nobody has waited for an acknowledgement to arrive
        gate.open()
        async with service(tmp_path, table):
            await client.answered()

    held = {(name, life * PER_LIFE + HELD) for name in ACTORS for life in range(KILLS)}
    taken = journal(written, "taken")

    assert held >= {number for number, times in Counter(taken).items() if times > 1}
    assert ((), (), ()) == (judge(client.sent, taken).lost, judge(client.sent, taken).reordered, judge(client.sent, taken).invented)
    assert CLEAN == judge(client.sent, journal(written, "done"))
    assert CLEAN == judge(client.sent, client.numbers())


async def test_both_services_of_a_chain_killed_in_full_flow_lose_nothing_and_repeat_one_message_of_each_actor(tmp_path: Path) -> None:
    written, next_written = tmp_path / "journal", tmp_path / "next-journal"
    lives: list[tuple[int, set[Number]]] = []  # how many were taken by the end of each, what was settled in it
    async with Mosquitto() as broker, outside(broker.port, "out/#") as client, outside(broker.port, "end/#", client_id="end") as end:
        tables = {"first": first(broker.port, written), "second": second(broker.port, next_written)}
        for life in range(KILLS):
            async with service(tmp_path, tables["second"], "second") as behind, service(tmp_path, tables["first"], "first") as child:
                await child.event("link_up")
                await behind.event("link_up")
                await send(client, life, 200)
                await behind.event("message_settled", given=1, count=50)
                await child.event("message_settled", given=1, count=100)
                await child.kill()
                await behind.kill()
                lives.append((len(journal(written, "taken")), settled(child)))
        async with service(tmp_path, tables["second"], "second"), service(tmp_path, tables["first"], "first"):
            await client.answered()
            await end.until(lambda: set(end.numbers("end/")) >= set(client.sent), "end of the chain for everything sent")

    verdicts = [judge(client.sent, journal(path, step)) for path in (written, next_written) for step in ("taken", "done")]
    taken, next_taken = journal(written, "taken"), journal(next_written, "taken")

    assert [((), (), ())] * 4 == [(each.lost, each.reordered, each.invented) for each in verdicts]
    for before, done in lives:
        assert len(done) > 20
        assert done.isdisjoint(taken[before:])
    assert len(taken) - len(client.sent) <= KILLS * len(ACTORS)  # in each life, one in the hand of each actor
    assert len(next_taken) - len(client.sent) <= KILLS
    assert CLEAN == judge(client.sent, distinct(end.on("end/")))


@pytest.mark.parametrize(("durable", "times"), [(True, 1), (False, 2)])
async def test_what_was_handled_while_no_acknowledgement_could_go_out_is_handled_again_only_without_it(
    tmp_path: Path, durable: bool, times: int
) -> None:
    written, count = tmp_path / "journal", 15  # fewer than Mosquitto has in flight to one client
    async with Mosquitto() as broker, outside(broker.port, "probed/#") as client, gated() as gate, proxied(broker.port) as proxy:
        actors = {
            "one": echo_actor(written, gate, reply="", overflow_after_s=60.0),
            "probe": echo_actor(tmp_path / "probe", topic="probe/{key}", reply="probed"),
        }
        table = config(proxy.port, {"dedup": {"durable": durable, "ttl_s": 300.0}, "heartbeat": {"enabled": False}}, actors)
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            for seq in range(count):
                client.number("k", seq, hold=seq == 0)
            await gate.holds(1)
            client.send("probe/p", b'{"key": "p", "seq": 0}')
            await client.has(1, "probed/")  # so the service has them all
            proxy.stall()
            gate.open()
            await child.event("message_settled", topic="in/k", given=1, count=count)
            await child.kill()
        proxy.cut()  # and what it held back is gone with the connection
        proxy.flow()
        async with service(tmp_path, table) as child:
            await child.event("link_up")
            client.number("k", count)
            await child.event("message_settled", topic="in/k", given=1, count=1 if durable else count + 1)

    assert [times] * count + [1] == [Counter(journal(written, "taken"))["k", seq] for seq in range(count + 1)]
    assert () == judge(client.sent, journal(written, "taken")).reordered
