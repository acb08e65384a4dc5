"""A service whose config changes while it runs (B9): only what changed restarts, and no message is lost over it."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from support.cases import case
from support.service import CLIENT, Seen, World, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import ActorParked, HandlerFailed, LinkUp
from tars.actors.mqtt.memory import MemoryBroker
from tars.supervisor import Changes, ChildStarted

HANDLERS = "root/service/handlers/"
LINK = "root/service/link/"


class Broken(Exception):
    """What the actors of these tests fail with."""


@attrs.frozen
class Settings:
    greeting: str = "hello"


@attrs.define(eq=False)
class Scene:
    """What the actors of one test do: they write down (actor, life, number), and wait at the gate for what is held."""

    seen: Seen = attrs.field(factory=Seen)
    gate: trio.Event = attrs.field(factory=trio.Event)
    lives: dict[str, int] = attrs.field(factory=dict)

    def actor(self, name: str, *topics: str, qos: Literal[0, 1] = 1, fails: bool = False) -> type[Actor]:
        """An actor that handles `topics`. A message with ``hold`` waits at the gate; each is answered on ``out``, but for qos 0."""
        scene = self

        def begin(this: Any) -> None:
            scene.lives[name] = this.life = scene.lives.get(name, 0) + 1

        async def on_message(this: Any, event: dict[str, Any], ctx: Context) -> None:
            if event.get("hold"):
                scene.seen.add((name, "holds"))
                await scene.gate.wait()
            if fails:
                raise Broken(name)
            for _ in range(event.get("replies", 1)):
                await ctx.publish("test.reply", {"n": event["n"]}, topic="out")
            scene.seen.add((name, this.life, event["n"]))

        def handler(topic: str) -> Any:
            async def handle(this: Any, event: dict[str, Any], ctx: Context) -> None:
                await on_message(this, event, ctx)

            return subscribe(topic, qos=qos)(handle)

        handlers = {f"on_{number}": handler(topic) for number, topic in enumerate(topics)}
        return type(name, (Actor,), {"__annotations__": {"settings": Settings}, "__init__": begin, **handlers})

    async def held(self, name: str) -> None:
        while (name, "holds") not in self.seen.items:
            await self.seen.until(len(self.seen.items) + 1)

    def handled(self, name: str) -> list[tuple[int, int]]:
        """(life, number) of each message `name` has handled."""
        return [(each[1], each[2]) for each in self.seen.items if each[0] == name and len(each) == 3]


def started(world: World) -> list[str]:
    return [event.path for event in world.events_of(ChildStarted)]


def subscribed(world: World) -> dict[str, int]:
    return dict(world.broker.sessions[CLIENT].subscriptions)


async def is_subscribed(world: World, *filters: str) -> None:
    await world.broker.wait_until(lambda: set(filters) == set(subscribed(world)))


# -- one actor ------------------------------------------------------------------------------------


@case("B9")
async def test_only_the_actor_whose_settings_changed_restarts_and_its_mailbox_is_kept(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one"), scene.actor("Two", "two")
    async with running(one, two) as world:
        await world.deliver("one", {"n": 0, "hold": True})
        for n in (1, 2):
            await world.deliver("one", {"n": n})
        await scene.held("One")
        before = len(started(world))
        changes = await world.reload(one, two, actors={"one": {"settings": {"greeting": "hi"}}})
        scene.gate.set()
        await world.settled()

        assert Changes(restarted=(f"{HANDLERS}one",)) == changes
        assert [f"{HANDLERS}one"] == started(world)[before:]
        assert [(2, 0), (2, 1), (2, 2)] == scene.handled("One")
        assert (1, []) == (len(world.broker.connects), world.store.letters)


@case("B9")
async def test_a_config_that_says_the_same_changes_nothing(_virtual: MockClock) -> None:
    one = Scene().actor("One", "one")
    async with running(one, config={"heartbeat": {"enabled": True}}) as world:
        assert not await world.reload(one, config={"heartbeat": {"enabled": True}})


# -- limits ---------------------------------------------------------------------------------------


async def overflow(world: World, _scene: Scene) -> None:
    """Nothing new comes: the change alone must wake whoever looks."""
    assert [Why.OVERFLOW] * 3 == [letter.why for letter in await world.store.until(3)]


async def handler_timeout(world: World, scene: Scene) -> None:
    scene.gate.set()
    scene.gate = trio.Event()
    await world.settled()
    await world.deliver("one", {"n": 9, "hold": True})
    failed = await world.event(HandlerFailed)
    scene.gate.set()

    assert "handler_timeout_s = 2 s" in str(failed.error)


async def dedup(world: World, scene: Scene) -> None:
    scene.gate.set()
    for _ in range(2):
        await world.deliver("one", {"n": 9}, message_id="again")
        await world.settled()

    assert [(1, 9), (1, 9)] == scene.handled("One")[-2:]


@case("B9")
@pytest.mark.parametrize(
    ("config", "limits", "shows"),
    [
        ({}, {"mailbox": 1, "overflow": "dead_letter"}, overflow),
        ({}, {"overflow": "block", "handler_timeout_s": 2.0}, handler_timeout),
        ({"dedup": {"ttl_s": 0.0}}, {"overflow": "block"}, dedup),
    ],
)
async def test_changed_limits_apply_without_a_restart(
    _virtual: MockClock, config: dict[str, Any], limits: dict[str, Any], shows: Any
) -> None:
    scene = Scene()
    one = scene.actor("One", "one")
    async with running(one, actors={"one": {"overflow": "block"}}) as world:
        for n in range(5):
            await world.deliver("one", {"n": n, "hold": True})
        await scene.held("One")
        await world.quiet()

        assert not await world.reload(one, config=config, actors={"one": limits})
        await shows(world, scene)
        scene.gate.set()
        await world.settled()
        assert 1 == len(world.broker.connects)


@case("B9")
async def test_a_changed_budget_counts_from_now_on(_virtual: MockClock) -> None:
    one = Scene().actor("One", "one", fails=True)
    async with running(one) as world:
        limits = {"max_attempts": 1, "max_failures_in_a_row": 2, "park_s": 7.0}

        assert not await world.reload(one, actors={"one": limits})
        await world.deliver("one", {"n": 0})
        (letter,) = await world.store.until(1)
        await world.deliver("one", {"n": 1})
        parked = await world.event(ActorParked)
        assert (Why.CRASHED, 1) == (letter.why, letter.attempts)
        assert (2, 7.0) == (parked.failures, parked.park_s)


@case("B9")
async def test_a_wider_outbox_lets_in_who_waits_for_room(_virtual: MockClock) -> None:
    scene = Scene()
    one = scene.actor("One", "one")
    async with running(one, config={"mqtt": {"outbox": 1}}) as world:
        await world.deliver("one", {"n": 0, "hold": True, "replies": 5})
        await scene.held("One")
        world.broker.kill()
        scene.gate.set()
        await world.quiet()
        before = scene.handled("One")

        assert not await world.reload(one, config={"mqtt": {"outbox": 10}})
        await world.quiet()
        after = scene.handled("One")
        world.broker.restart()
        await world.settled()
        assert ([], [(1, 0)]) == (before, after)
        assert 5 == len(world.said("out"))


# -- actors that come and go ----------------------------------------------------------------------


@case("B9")
async def test_a_removed_actor_is_stopped_its_filter_unsubscribed_and_what_it_had_is_kept_as_dead_letters(
    _virtual: MockClock,
) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one", "both"), scene.actor("Two", "two", "both")
    async with running(one, two) as world:
        await world.deliver("one", {"n": 0, "hold": True})
        await scene.held("One")
        for n, topic in enumerate(("one", "both", "one"), 1):
            await world.deliver(topic, {"n": n})
        await world.quiet()
        changes = await world.reload(two)
        await is_subscribed(world, "two", "both")
        await world.settled()

        assert Changes(stopped=(f"{HANDLERS}one",)) == changes
        assert {(Why.REMOVED, f"{HANDLERS}one")} == {(letter.why, letter.actor) for letter in world.store.letters}
        assert [1, 2, 3, 0] == [orjson.loads(letter.payload)["data"]["n"] for letter in world.store.letters]
        assert [(1, 2)] == scene.handled("Two")
        assert ([], {}) == (world.unacked, world.estate.health.problems)


@case("B9")
async def test_a_removed_actor_may_finish_what_is_in_its_hand(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one"), scene.actor("Two", "two")
    async with running(one, two) as world:
        await world.deliver("one", {"n": 0, "hold": True})
        await scene.held("One")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.reload, two)
            await trio.sleep(0.5)
            scene.gate.set()
        await world.settled()

        assert ([(1, 0)], [], 1) == (scene.handled("One"), world.store.letters, len(world.said("out")))


@case("B9")
async def test_an_added_actor_is_started_and_subscribed(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one"), scene.actor("Two", "two")
    async with running(one) as world:
        changes = await world.reload(one, two)
        await is_subscribed(world, "one", "two")
        await world.deliver("two", {"n": 0})
        await world.settled()

        assert Changes(started=(f"{HANDLERS}two",)) == changes
        assert [(1, 0)] == scene.handled("Two")


@case("B9")
async def test_an_added_actor_is_shown_what_is_retained_also_on_a_filter_that_is_held_already(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "state/#"), scene.actor("Two", "state/#")
    async with running(one) as world:
        await world.deliver("state/door", {"n": 7}, retain=True)
        await world.settled()
        await world.reload(one, two)
        while not scene.handled("Two"):
            await scene.seen.until(len(scene.seen.items) + 1)

        assert [(1, 7)] == scene.handled("Two")


@case("B9")
async def test_an_actor_that_was_removed_and_is_added_again_begins_anew(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one"), scene.actor("Two", "two")
    async with running(one, two) as world:
        await world.reload(two)
        await is_subscribed(world, "two")
        await world.reload(one, two)
        await is_subscribed(world, "one", "two")
        await world.deliver("one", {"n": 0})
        await world.settled()

        assert [(2, 0)] == scene.handled("One")
        assert [] == world.store.letters


@case("B9")
async def test_a_removed_actor_that_was_parked_leaves_health_well(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one", fails=True), scene.actor("Two", "two")
    async with running(one, two, actors={"one": {"max_failures_in_a_row": 1}}) as world:
        await world.deliver("one", {"n": 0})
        await world.health("degraded")
        await world.reload(two)
        await world.health("ready", 2)

        assert {} == world.estate.health.problems


# -- topics ---------------------------------------------------------------------------------------


@case("B9")
async def test_messages_of_a_vanished_subscription_become_dead_letters_and_the_others_are_handled(_virtual: MockClock) -> None:
    scene = Scene()
    one = scene.actor("One", "old", "kept")
    async with running(one) as world:
        await world.deliver("kept", {"n": 0, "hold": True})
        await scene.held("One")
        await world.deliver("old", {"n": 1})
        await world.deliver("kept", {"n": 2})
        await world.quiet()
        changes = await world.reload(one, actors={"one": {"topics": {"old": "new"}}})
        await is_subscribed(world, "new", "kept")
        await world.deliver("new", {"n": 3})
        scene.gate.set()
        await world.settled()

        assert Changes(restarted=(f"{HANDLERS}one",)) == changes
        assert [(2, 0), (2, 2), (2, 3)] == scene.handled("One")
        assert [(Why.REMOVED, "old")] == [(letter.why, letter.topic) for letter in world.store.letters]
        assert [] == world.unacked


@case("B9")
async def test_a_message_for_a_new_subscription_waits_for_the_incarnation_that_knows_it(_virtual: MockClock) -> None:
    """While an actor that is removed takes its time, the one with the new topic still runs in its old incarnation."""
    scene = Scene()
    slow, one = scene.actor("Slow", "slow"), scene.actor("One", "old")
    async with running(slow, one) as world:
        await world.deliver("slow", {"n": 0, "hold": True})
        await scene.held("Slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: world.reload(one, actors={"one": {"topics": {"old": "new"}}}))
            await world.broker.wait_until(lambda: "new" in subscribed(world))
            await world.deliver("new", {"n": 1})
            await world.quiet()
            early = scene.handled("One")
        await world.settled()

        assert ([], [(2, 1)]) == (early, scene.handled("One"))
        assert ["slow"] == [letter.topic for letter in world.store.letters]


@case("B9")
async def test_what_was_retained_on_a_vanished_topic_is_not_shown_again(_virtual: MockClock) -> None:
    scene = Scene()
    one, broker = scene.actor("One", "old"), MemoryBroker()
    broker.deliver("old", orjson.dumps({"n": 0}), 1, retain=True)
    async with running(one, broker=broker) as world:
        await world.settled()
        await world.reload(one, actors={"one": {"topics": {"old": "new"}}})
        await is_subscribed(world, "new")
        await world.deliver("new", {"n": 1})
        await world.settled()

        assert [(1, 0), (2, 1)] == scene.handled("One")
        assert [] == world.store.letters


@case("B9")
async def test_a_filter_the_broker_refused_spoils_health_only_as_long_as_it_is_wanted(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "a/+"), scene.actor("Two", "two")
    broker = MemoryBroker()
    broker.refuse_subscribe("a/+", 0x87)
    async with running(one, two, broker=broker) as world:
        refused = set(world.estate.health.problems)
        await world.reload(two)

        assert ({"subscription a/+"}, {}) == (refused, world.estate.health.problems)


# -- the link -------------------------------------------------------------------------------------


@case("B9")
@pytest.mark.parametrize(
    ("config", "restarted"),
    [
        ({"mqtt": {"keepalive_s": 30}}, ("connection", "heartbeat")),
        ({"mqtt": {"receive_maximum": 10}}, ("connection", "heartbeat")),
        ({"health": {"enabled": False}}, ("connection", "heartbeat")),
        ({"heartbeat": {"interval_s": 9.0}}, ("connection", "heartbeat")),
        ({"service": {"drain_s": 2.0}}, ("connection", "heartbeat")),
    ],
)
async def test_what_the_link_is_made_from_restarts_the_link_only_and_what_is_in_hand_is_handled_once(
    _virtual: MockClock, config: dict[str, dict[str, Any]], restarted: tuple[str, ...]
) -> None:
    scene = Scene()
    one = scene.actor("One", "one")
    beats = {"heartbeat": {"enabled": True}}
    async with running(one, config=beats) as world:
        await world.deliver("one", {"n": 0, "hold": True})
        await scene.held("One")
        await world.deliver("one", {"n": 1})
        await world.quiet()
        changes = await world.reload(one, config={**config, "heartbeat": {**beats["heartbeat"], **config.get("heartbeat", {})}})
        await world.event(LinkUp, count=2)
        await world.deliver("one", {"n": 2})
        scene.gate.set()
        await world.settled()

        assert tuple(f"{LINK}{name}" for name in restarted) == changes.restarted
        assert [(1, 0), (1, 1), (1, 2)] == scene.handled("One")
        assert 3 == len(world.said("out"))
        assert ([], []) == (world.store.letters, world.unacked)


@case("B9")
async def test_heartbeats_are_switched_on_and_off_without_a_new_connection(_virtual: MockClock) -> None:
    one = Scene().actor("One", "one")
    async with running(one) as world:
        on = await world.reload(one, config={"heartbeat": {"enabled": True}})
        await world.published(f"system/keepalive/{CLIENT}")
        off = await world.reload(one)

        assert (Changes(started=(f"{LINK}heartbeat",)), Changes(stopped=(f"{LINK}heartbeat",))) == (on, off)
        assert 1 == len(world.broker.connects)


@case("B9")
async def test_a_changed_backoff_of_the_link_restarts_nothing(_virtual: MockClock) -> None:
    one = Scene().actor("One", "one")
    async with running(one) as world:
        assert not await world.reload(one, config={"mqtt": {"backoff": {"initial_s": 3.0, "max_s": 9.0}}})


# -- filters --------------------------------------------------------------------------------------


@case("B9")
async def test_a_filter_is_held_at_the_highest_qos_anyone_asks_for_now(_virtual: MockClock) -> None:
    scene = Scene()
    low, high = scene.actor("Low", "t", qos=0), scene.actor("High", "t")
    async with running(low) as world:
        qos = [subscribed(world)["t"]]
        for uses in ((low, high), (low,)):
            await world.reload(*uses)
            await world.quiet()
            qos.append(subscribed(world)["t"])

        assert [0, 1, 0] == qos


@case("B9")
async def test_a_reload_while_the_link_is_down_holds_from_the_next_connection(_virtual: MockClock) -> None:
    scene = Scene()
    one, two = scene.actor("One", "one"), scene.actor("Two", "two")
    async with running(one) as world:
        world.broker.kill()
        await world.reload(two)
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.broker.wait_until(lambda: "two" in subscribed(world))
        await world.deliver("two", {"n": 0})
        await world.settled()

        assert [(1, 0)] == scene.handled("Two")
