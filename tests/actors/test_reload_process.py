"""SIGHUP to a whole service, as a process on a real broker (B9): the actors change under a publisher that never stops."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import orjson

from support.broker import Mosquitto
from support.cases import case
from support.peer import Peer
from support.process import Child, config, echo_actor, gated, service, toml
from tars.actors.mqtt.store_db import read_dead_letters

ROUNDS = 20


async def reload(child: Child, folder: Path, table: dict[str, Any], count: int) -> dict[str, Any]:
    (folder / "service.toml").write_text(toml(table))
    child.signal(signal.SIGHUP)
    return await child.event("reloaded", count=count)


@case("B9")
async def test_actors_come_change_and_go_while_messages_arrive_and_each_message_is_answered_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        one = echo_actor(journal, topic="one/{key}", reply="out/old")
        before = config(broker.port, actors={"one": one})
        both = config(broker.port, actors={"one": {**one, "mailbox": 7}, "two": echo_actor(journal, topic="two/{key}", reply="out/two")})
        changed = config(
            broker.port, {"heartbeat": {"interval_s": 9.0}}, {"one": {**one, "settings": {**one["settings"], "reply": "out/new"}}}
        )
        async with service(tmp_path, before) as child:
            await child.event("link_up")
            await peer.subscribe("out/#")
            await publish(peer, "one", 0)
            added = await reload(child, tmp_path, both, 1)
            await child.event("message_settled", count=ROUNDS)
            await publish(peer, "one", ROUNDS)
            replaced = await reload(child, tmp_path, changed, 2)
            await child.event("link_up", count=2)
            await publish(peer, "one", 2 * ROUNDS)
            await peer.heard("out/new/k", ROUNDS)

            assert (["root/service/handlers/two"], None) == (added["started"], added.get("restarted"))
            assert ["root/service/handlers/two"] == replaced["stopped"]
            assert {"root/service/handlers/one", "root/service/link/connection", "root/service/link/heartbeat"} == {*replaced["restarted"]}
            # by message id: an answer that the broker had not confirmed when the link was replaced is sent again, under its id
            answers = {dict(seen.user_properties)["message-id"]: orjson.loads(seen.payload)["data"]["seq"] for seen in peer.seen}
            assert list(range(3 * ROUNDS)) == sorted(answers.values())
            assert {"out/new/k"} == {seen.topic for seen in peer.seen[-ROUNDS:]}

            child.signal(signal.SIGTERM)
            assert 0 == await child.exited()


async def publish(peer: Peer, actor: str, first: int, *, hold: bool = False) -> None:
    for seq in range(first, first + ROUNDS):
        await peer.publish(f"{actor}/k", orjson.dumps({"key": "k", "seq": seq, "hold": hold}))


@case("B9")
async def test_what_a_removed_actor_had_lies_in_the_store_and_nothing_stays_in_flight(tmp_path: Path) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer, gated() as gate:
        stays, goes = echo_actor(tmp_path / "a", topic="a/{key}"), echo_actor(tmp_path / "b", gate, topic="b/{key}")
        async with service(tmp_path, config(broker.port, actors={"stays": stays, "goes": goes})) as child:
            await child.event("link_up")
            await publish(peer, "b", 0, hold=True)
            await gate.holds(1)
            told = await reload(child, tmp_path, config(broker.port, actors={"stays": stays}), 1)
            await child.event("message_settled", count=ROUNDS)
            child.signal(signal.SIGTERM)

            assert 0 == await child.exited()
            assert ["root/service/handlers/goes"] == told["stopped"]
    letters = read_dead_letters(tmp_path / "var" / "robot7")
    assert {("removed", "b/k")} == {(letter.why.value, letter.topic) for _, letter in letters}
    # What reached the service after the change finds no subscription any more: acknowledged, with a warning.
    assert ROUNDS == len(letters) + len(child.events("message_unmatched"))
