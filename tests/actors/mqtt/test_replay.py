"""Dead letters that are replayed by a service with its store on disk: to whom, how often, in which order, and what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import orjson
import pytest
import trio

from support.lanes import keys_in
from support.service import Seen, World, running
from tars.actors import Context, Reject, Unavailable, subscribe
from tars.actors.mqtt.dead_letter import DeadLetter, Outcome, Why
from tars.actors.mqtt.events import ActorParked, DeadLettered, DeadLetterReplayed, HandlerUnavailable
from tars.actors.mqtt.lanes import lane_of
from tars.actors.mqtt.replay import ReplayPorts
from tars.actors.mqtt.store_db import DATABASE_NAME, append, open_database
from tars.actors.mqtt.store_letters import Found, Sought, find
from tars.actors.mqtt.store_replays import Answer, ask, waiting
from tars.actors.mqtt.store_view import changing, look
from tars.supervisor import ChildStarted, current

T = TypeVar("T")

HANDLERS = "root/service/handlers/"
PATIENCE_S = 20.0
EVERYTHING = Sought()


def quickly(port: T) -> T:
    return attrs.evolve(port, poll_s=0.005) if isinstance(port, ReplayPorts) else port


@asynccontextmanager
async def service(state_dir: Path, *actors: Any, **tables: Any) -> AsyncIterator[World]:
    """A service of these actors that looks for replays all the time."""
    filled(state_dir)  # made before two open it at once: only the switch of a new file to WAL does not wait for the other
    with trio.fail_after(PATIENCE_S):
        async with running(*actors, state_dir=state_dir, ports={"replay": quickly}, **tables) as world:
            yield world


def replay(state_dir: Path, sought: Sought = EVERYTHING, *, again: bool = False) -> int:
    """As the command does; how many replays wait now because of this."""
    with changing(state_dir) as database:
        return sum(asked.answer is Answer.ASKED for asked in ask(database, sought, 5.0, again=again))


def letters(state_dir: Path, sought: Sought = EVERYTHING) -> list[Found]:
    return look(state_dir, lambda database, version: find(database, version, sought, payloads=True)) or []


def outcomes(state_dir: Path) -> list[Outcome | None]:
    return [each.outcome for each in letters(state_dir)]


def letter(n: int, *, actor: str = "gate", subscription: str = "gate|in|1", **more: Any) -> DeadLetter:
    given = {"why": Why.CRASHED, "direction": "in", "topic": "in", "qos": 1, "retain": False, "at": 1.0, "message_id": f"m{n}", **more}
    return DeadLetter(payload=orjson.dumps({"n": n}), actor=f"{HANDLERS}{actor}" if actor else "", subscription=subscription, **given)


def filled(state_dir: Path, *found: DeadLetter) -> None:
    """A store as a service before left it."""
    with contextlib.closing(open_database(state_dir / DATABASE_NAME)) as database:
        append(database, found, 10_000)


async def replayed(world: World, count: int) -> list[DeadLetterReplayed]:
    """The first so many ends of replays, in order, once the last of them is on disk."""
    await world.event(DeadLetterReplayed, count=count)
    while world.estate.replays.ended < count:
        await world.estate.replays.changed.wait()
    return world.events_of(DeadLetterReplayed)[:count]


@attrs.define(eq=False)
class Script:
    """What the actors of a test do with message n; what they saw. `fails` are rejected."""

    seen: Seen = attrs.field(factory=Seen)
    fails: set[int] = attrs.field(factory=set)

    def actor(self, name: str, topic: str = "in", says: str | None = None) -> Callable[..., Any]:
        async def on_message(event: dict[str, Any], ctx: Context) -> None:
            n = event["n"]
            self.seen.add((name, n))
            if says is not None:
                await ctx.publish("test.said", {"n": n}, topic=says)
            if n in self.fails:
                msg = f"not {n}"
                raise Reject(msg)

        on_message.__name__ = on_message.__qualname__ = name
        return subscribe(topic)(on_message)


# -- to whom --------------------------------------------------------------------------------------


async def test_a_replay_goes_to_the_subscription_that_failed_and_to_no_other(tmp_path: Path) -> None:
    fine, broken = Script(), Script(fails={1})
    async with service(tmp_path, fine.actor("fine"), broken.actor("broken")) as world:
        await world.deliver("in", {"n": 1}, message_id="m1")
        await world.settled()
        broken.fails.clear()
        replay(tmp_path)
        (end,) = await replayed(world, 1)

    assert [("fine", 1)] == fine.seen.items
    assert [("broken", 1)] * 2 == broken.seen.items
    assert (1, "handled", "in", f"{HANDLERS}broken", "m1") == (end.letter, end.outcome, end.topic, end.actor, end.message_id)
    assert [Outcome.HANDLED] == outcomes(tmp_path)


async def test_of_an_actor_with_lanes_a_replay_goes_to_the_lane_of_its_key_and_its_letter_names_the_actor(tmp_path: Path) -> None:
    seen, fails = Seen(), {"b"}

    @subscribe("rooms/{room}")
    async def gate(event: bytes, ctx: Context) -> None:
        me = current()
        seen.add((me.path if me is not None else "", ctx.params["room"], event))
        if ctx.params["room"] in fails:
            raise Reject("not yet")

    async with service(tmp_path, gate, actors={"gate": {"concurrency": 8, "key": "{room}"}}) as world:
        for room in "abc":
            await world.deliver(f"rooms/{room}", b"x", message_id=room)
        await world.settled()
        fails.clear()
        replay(tmp_path)
        (end,) = await replayed(world, 1)

    assert (f"{HANDLERS}gate", "handled") == (end.actor, end.outcome)
    assert 2 == seen.count((f"{HANDLERS}gate/{lane_of('b', 8)}", "b", b"x"))
    assert 4 == len(seen.items)


async def test_a_handler_sees_the_message_as_it_came_and_that_it_comes_again(tmp_path: Path) -> None:
    seen = Seen()

    @subscribe("rooms/{room}")
    async def gate(event: bytes, ctx: Context) -> None:
        seen.add((event, ctx.topic, dict(ctx.params), ctx.qos, ctx.duplicate, ctx.attempt, ctx.message_id))
        if len(seen.items) == 1:
            raise Reject("not yet")

    async with service(tmp_path, gate) as world:
        await world.deliver("rooms/kitchen", b"\x00raw", message_id="m1")
        await world.settled()
        replay(tmp_path)
        await replayed(world, 1)

    first, second = seen.items
    assert (b"\x00raw", "rooms/kitchen", {"room": "kitchen"}, 1, False, 1, "m1") == first
    assert (*first[:4], True, *first[5:]) == second


async def test_what_reached_nobody_goes_to_everybody_it_was_meant_for(tmp_path: Path) -> None:
    script = Script()
    filled(tmp_path, letter(1, actor="", subscription="", why=Why.POISON))
    replay(tmp_path)
    async with service(tmp_path, script.actor("one"), script.actor("two")) as world:
        await replayed(world, 1)

    assert [("one", 1), ("two", 1)] == sorted(script.seen.items)
    assert [Outcome.HANDLED] == outcomes(tmp_path)


async def test_what_could_not_be_sent_is_sent_with_the_id_it_had(tmp_path: Path) -> None:
    said = letter(1, subscription="", direction="out", topic="out", user_properties=(("message-id", "m1"), ("k", "v")))
    filled(tmp_path, said)
    replay(tmp_path)
    async with service(tmp_path, Script().actor("gate")) as world:
        await replayed(world, 1)
        (sent,) = world.said("out")

    assert (said.payload, 1, False, said.user_properties) == (sent.payload, sent.qos, sent.retain, sent.user_properties)
    assert [Outcome.SENT] == outcomes(tmp_path)


@pytest.mark.parametrize("gone", [letter(1, actor="gone"), letter(1, subscription="gone")])
async def test_a_letter_whose_subscription_has_gone_is_refused_and_kept(tmp_path: Path, gone: DeadLetter) -> None:
    script = Script()
    filled(tmp_path, gone)
    replay(tmp_path)
    async with service(tmp_path, script.actor("gate")) as world:
        (end,) = await replayed(world, 1)

    assert ("refused", "warning", []) == (end.outcome, end.level, script.seen.items)
    assert [Outcome.REFUSED] == outcomes(tmp_path)


async def test_an_old_retained_message_does_not_take_the_place_of_the_new_one(tmp_path: Path) -> None:
    script = Script(fails={1})
    async with service(tmp_path, script.actor("gate")) as world:
        for n in (1, 2):
            await world.deliver("in", {"n": n}, retain=True)
            await world.settled()
        script.fails.clear()
        replay(tmp_path)
        await replayed(world, 1)
        shown = [work.delivery.document()["data"]["n"] for work in world.estate.boxes["gate"].retained.all()]

    assert [("gate", 1), ("gate", 2), ("gate", 1)] == script.seen.items
    assert shown in ([], [2])


# -- how often, and in which order ----------------------------------------------------------------


async def test_one_call_is_one_replay_however_often_the_service_looks(tmp_path: Path) -> None:
    script = Script(fails=set(range(5)))
    async with service(tmp_path, script.actor("gate")) as world:
        for n in range(5):
            await world.deliver("in", {"n": n})
        await world.settled()
        script.fails.clear()
        replay(tmp_path)
        await replayed(world, 5)
        for n in range(100, 103):
            await world.deliver("in", {"n": n})
        await world.settled()

    assert [("gate", n) for n in [*range(5), *range(5), 100, 101, 102]] == script.seen.items
    assert [Outcome.HANDLED] * 5 == outcomes(tmp_path)


async def test_replays_of_one_actor_keep_the_order_of_the_letters_also_when_one_fails_again(tmp_path: Path) -> None:
    script = Script(fails={2})
    async with service(tmp_path, script.actor("gate")) as world:
        filled(tmp_path, *[letter(n, subscription=world.estate.boxes["gate"].subscriptions[0].id) for n in range(1, 5)])
        replay(tmp_path)
        ends = await replayed(world, 4)

    assert [("gate", n) for n in (1, 2, 3, 4)] == script.seen.items
    assert [(1, "handled"), (2, "failed"), (3, "handled"), (4, "handled")] == [(end.letter, end.outcome) for end in ends]
    assert [Outcome.HANDLED, Outcome.FAILED, Outcome.HANDLED, Outcome.HANDLED, None] == outcomes(tmp_path)
    assert "m2" == letters(tmp_path)[4].letter.message_id


async def test_an_actor_that_hangs_holds_up_its_own_replays_only(tmp_path: Path) -> None:
    open_gate, script = trio.Event(), Script()

    @subscribe("slow")
    async def slow(event: dict[str, Any]) -> None:
        script.seen.add(("slow", event["n"]))
        await open_gate.wait()

    async with service(tmp_path, slow, script.actor("gate")) as world:
        ids = {name: box.subscriptions[0].id for name, box in world.estate.boxes.items()}
        filled(
            tmp_path,
            *[letter(n, actor="slow", subscription=ids["slow"], topic="slow") for n in (1, 2)],
            *[letter(n, subscription=ids["gate"]) for n in (3, 4)],
        )
        replay(tmp_path)
        await replayed(world, 2)
        by_then = list(script.seen.items)
        open_gate.set()
        await replayed(world, 4)

    assert [("slow", 1), ("gate", 3), ("gate", 4)] == sorted(by_then, key=lambda each: each[1])
    assert ("slow", 2) == script.seen.items[-1]


async def test_a_replay_that_waits_for_a_backend_is_begun_once(tmp_path: Path) -> None:
    calls = Seen()

    @subscribe("in")
    async def gate(event: dict[str, Any], ctx: Context) -> None:
        calls.add((event["n"], ctx.attempt))
        if len(calls.items) == 1:
            raise Unavailable("the backend is down", retry_after_s=0.01)

    async with service(tmp_path, gate) as world:
        filled(tmp_path, letter(1, subscription=world.estate.boxes["gate"].subscriptions[0].id))
        replay(tmp_path)
        await replayed(world, 1)

    assert [(1, 1), (1, 1)] == calls.items
    assert 1 == len(world.events_of(HandlerUnavailable))


async def test_a_parked_actor_gets_its_replays_after_its_trial(tmp_path: Path) -> None:
    calls = Seen()

    @subscribe("in")
    async def gate(event: dict[str, Any]) -> None:
        calls.add(event["n"])
        if event["n"] == 1:
            raise ValueError("broken")

    limits = {"gate": {"max_attempts": 1, "max_failures_in_a_row": 1, "park_s": 0.2}}
    async with service(tmp_path, gate, actors=limits) as world:
        filled(tmp_path, letter(2, subscription=world.estate.boxes["gate"].subscriptions[0].id))
        await world.deliver("in", {"n": 1})
        await world.event(ActorParked)
        replay(tmp_path, Sought(ids=((1, 1),)))
        await replayed(world, 1)

    assert [1, 2] == calls.items
    assert [Outcome.HANDLED, None] == outcomes(tmp_path)


async def test_no_lane_of_an_actor_gets_replays_while_one_of_them_is_parked(tmp_path: Path) -> None:
    fine, bad = keys_in(2, lane_of)

    @subscribe("rooms/{room}")
    async def gate(event: dict[str, Any]) -> None:
        if event["n"] == 1:
            raise ValueError("broken")

    limits = {"max_attempts": 1, "max_failures_in_a_row": 1, "park_s": 0.2, "concurrency": 2, "key": "{room}"}
    async with service(tmp_path, gate, actors={"gate": limits}) as world:
        filled(tmp_path, letter(2, topic=f"rooms/{fine}", subscription=world.estate.actors["gate"].subscriptions[0].id))
        await world.deliver(f"rooms/{bad}", {"n": 1})
        await world.event(ActorParked)
        replay(tmp_path, Sought(ids=((1, 1),)))
        await replayed(world, 1)

    told = [event for event in world.events if isinstance(event, (ActorParked, ChildStarted, DeadLetterReplayed))]
    assert [ActorParked, ChildStarted, DeadLetterReplayed] == [type(event) for event in told][-3:]
    assert [Outcome.HANDLED, None] == outcomes(tmp_path)


async def test_what_is_said_in_a_replay_is_confirmed_before_the_replay_is_over(tmp_path: Path) -> None:
    script = Script()
    async with service(tmp_path, script.actor("gate", says="out")) as world:
        filled(tmp_path, letter(1, subscription=world.estate.boxes["gate"].subscriptions[0].id))
        replay(tmp_path)
        await replayed(world, 1)
        at_the_end = len(world.said("out"))

    assert (1, [Outcome.HANDLED]) == (at_the_end, outcomes(tmp_path))


# -- nothing is lost ------------------------------------------------------------------------------


async def test_a_replay_that_was_asked_for_while_nothing_ran_is_made_at_the_next_start(tmp_path: Path) -> None:
    script = Script(fails={1, 2})
    async with service(tmp_path, script.actor("gate")) as world:
        for n in (1, 2):
            await world.deliver("in", {"n": n})
        await world.settled()
    asked = replay(tmp_path)
    script.fails.clear()
    async with service(tmp_path, script.actor("gate")) as world:
        await replayed(world, 2)

    assert 2 == asked
    assert [("gate", n) for n in (1, 2, 1, 2)] == script.seen.items


async def test_a_stop_in_the_middle_leaves_the_replay_for_the_next_start(tmp_path: Path) -> None:
    entered, script = trio.Event(), Script()

    @subscribe("in")
    async def gate(_event: dict[str, Any]) -> None:
        entered.set()
        await trio.sleep_forever()

    async with service(tmp_path, gate, config={"service": {"drain_s": 0.01}}) as world:
        filled(tmp_path, *[letter(n, subscription=world.estate.boxes["gate"].subscriptions[0].id) for n in (1, 2)])
        replay(tmp_path)
        await entered.wait()
        await world.stop()
    left = [each.letter for each in waiting(tmp_path, 0, 10)]
    kept = len(letters(tmp_path))
    async with service(tmp_path, script.actor("gate")) as world:
        await replayed(world, 2)

    assert ([1, 2], 2) == (left, kept)
    assert [("gate", 1), ("gate", 2)] == script.seen.items
    assert [Outcome.HANDLED] * 2 == outcomes(tmp_path)


async def test_a_letter_thrown_away_while_its_replay_waits_is_not_replayed(tmp_path: Path) -> None:
    script = Script()
    async with service(tmp_path, script.actor("gate")) as world:
        subscription = world.estate.boxes["gate"].subscriptions[0].id
        filled(tmp_path, *[letter(n, subscription=subscription) for n in (1, 2, 3)])
        with changing(tmp_path) as database:
            ask(database, EVERYTHING, 5.0)
            database.execute("DELETE FROM dead_letter WHERE id = 2")
        await world.event(DeadLetterReplayed, lambda end: end.letter == 3)

    assert [("gate", n) for n in (1, 2, 3) if n != 2] == [each for each in script.seen.items if each[1] != 2]
    assert [1, 3] == [each.id for each in letters(tmp_path)]


async def test_a_replay_that_fails_as_before_is_a_new_letter_and_the_old_one_stays(tmp_path: Path) -> None:
    async with service(tmp_path, Script(fails={1}).actor("gate")) as world:
        await world.deliver("in", {"n": 1}, message_id="m1")
        await world.settled()
        replay(tmp_path)
        await replayed(world, 1)
        count = len(world.events_of(DeadLettered))

    assert 2 == count
    assert [(1, "m1", Outcome.FAILED), (2, "m1", None)] == [(each.id, each.letter.message_id, each.outcome) for each in letters(tmp_path)]
