"""The dispatcher in a whole service: who gets a message, and what happens when an actor is too slow for its share."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.dispatcher import DispatchPorts
from tars.actors.mqtt.events import MessageUnmatched, Overflowed
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.testing import connect_settings
from tars.supervisor import ChildExited

# -- who gets it ----------------------------------------------------------------------------------


async def test_every_subscription_that_matches_gets_the_message(_virtual: MockClock) -> None:
    seen = Seen()

    class Two(Actor):
        @subscribe("sensors/{room}/temp")
        async def on_room(self, _event: bytes, ctx: Context) -> None:
            seen.add(("two", "room", dict(ctx.params)))

        @subscribe("sensors/#")
        async def on_any(self, _event: bytes, ctx: Context) -> None:
            seen.add(("two", "any", dict(ctx.params)))

    @subscribe("sensors/+/{kind}")
    async def one(_event: bytes, ctx: Context) -> None:
        seen.add(("one", "kind", dict(ctx.params)))

    @subscribe("sensors/hall/temp")
    async def exact(_event: bytes, ctx: Context) -> None:
        seen.add(("exact", ctx.topic, dict(ctx.params)))

    async with running(Two, one, exact) as world:
        await world.deliver("sensors/hall/temp", b"x")
        await world.settled()

        assert [
            ("exact", "sensors/hall/temp", {}),
            ("one", "kind", {"kind": "temp"}),
            ("two", "any", {}),
            ("two", "room", {"room": "hall"}),
        ] == sorted(seen.items, key=lambda item: item[:2])
        assert (1,) == world.broker.acked(CLIENT)


async def test_topics_of_the_system_reach_only_who_names_them(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("#")
    async def everything(_event: bytes, ctx: Context) -> None:
        seen.add(("everything", ctx.topic))

    @subscribe("$SYS/#")
    async def system(_event: bytes, ctx: Context) -> None:
        seen.add(("system", ctx.topic))

    async with running(everything, system, config={"health": {"enabled": False}}) as world:
        await world.deliver("$SYS/uptime", b"1")
        await world.deliver("uptime", b"2")
        await world.settled()

        assert [("everything", "uptime"), ("system", "$SYS/uptime")] == sorted(seen.items)


async def test_what_nobody_subscribes_any_more_is_acknowledged_and_told(_virtual: MockClock) -> None:
    @subscribe("new")
    async def now(_event: bytes) -> None: ...

    broker = MemoryBroker()
    async with MemoryTransport(broker).connect(attrs.evolve(connect_settings(CLIENT), session_expiry_s=3600)) as link:
        await link.subscribe([("old", 1)])
    async with running(now, broker=broker) as world:
        await world.deliver("old", {"n": 1}, message_id="m1")
        unmatched = await world.event(MessageUnmatched)
        await world.settled()

        assert (MessageUnmatched("old", "m1"), (1,)) == (unmatched, broker.acked(CLIENT))


async def test_a_renamed_topic_is_subscribed_under_its_new_name(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("stt/final")
    async def listens(_event: bytes, ctx: Context) -> None:
        seen.add(ctx.topic)
        await ctx.publish("tts.say", {"text": "x"})

    topics = {"stt/final": "robot7/stt/final", "tts/say": "robot7/tts/say"}
    async with running(listens, actors={"listens": {"topics": topics}}) as world:
        await world.deliver("stt/final", b"x")
        await world.deliver("robot7/stt/final", b"x")
        await world.published("robot7/tts/say")

        assert ["robot7/stt/final"] == seen.items


# -- the share ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mailbox", "receive_maximum", "share"),
    [(64, 256, 64), (1000, 256, 128), (1000, 10, 5), (64, 3, 1), (64, 2, 1), (64, 1, 1), (1, 256, 1)],
)
async def test_the_share_is_at_most_half_of_the_credit_and_never_below_1(
    _virtual: MockClock, mailbox: int, receive_maximum: int, share: int
) -> None:
    @subscribe("in")
    async def one(_event: bytes) -> None: ...

    config = {"mqtt": {"receive_maximum": receive_maximum}}
    async with running(one, config=config, actors={"one": {"mailbox": mailbox}}) as world:
        assert share == world.estate.boxes["one"].share


def hung(seen: Seen, gate: trio.Event) -> type[Actor]:
    class Hung(Actor):
        @subscribe("hung")
        async def on_hung(self, event: dict[str, Any]) -> None:
            seen.add(event["n"])
            await gate.wait()

    return Hung


@pytest.mark.parametrize(
    ("policy", "handled", "letters", "acked"),
    [
        ("dead_letter", [0, 1, 2, 3, 4], [*range(5, 20)], 15),
        ("drop_newest", [0, 1, 2, 3, 4], [], 15),
        ("drop_oldest", [0, 16, 17, 18, 19], [], 15),
        ("block", [*range(20)], [], 0),
    ],
)
async def test_what_is_over_the_share_for_too_long_goes_the_way_of_the_policy(
    _virtual: MockClock, policy: str, handled: list[int], letters: list[int], acked: int
) -> None:
    seen, gate = Seen(), trio.Event()
    options = {"hung": {"mailbox": 4, "overflow": policy, "overflow_after_s": 1.0, "handler_timeout_s": 1e6}}
    async with running(hung(seen, gate), actors=options) as world:
        for n in range(20):
            await world.deliver("hung", {"n": n})
        began = trio.current_time()
        await world.quiet()

        assert ([], ()) == (world.events_of(Overflowed), world.broker.acked(CLIENT))
        if policy != "block":
            overflowed = await world.event(Overflowed)

            assert ("root/service/handlers/hung", 15, 4, policy) == (
                overflowed.actor,
                overflowed.count,
                overflowed.share,
                overflowed.policy,
            )
            assert 1.0 == pytest.approx(trio.current_time() - began)
        await trio.sleep(100)

        assert (acked, 20 - acked) == (len(world.broker.acked(CLIENT)), len(world.unacked))
        gate.set()
        await world.settled()

        assert handled == seen.items
        assert [(Why.OVERFLOW, f"e{n + 1}") for n in letters] == sorted(
            [(letter.why, letter.message_id.split("|")[2]) for letter in world.store.letters], key=lambda item: int(item[1][1:])
        )


async def test_a_burst_to_a_busy_handler_is_no_event(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def busy(event: dict[str, Any]) -> None:
        await trio.sleep(0.004)
        seen.add(event["n"])

    async with running(busy, actors={"busy": {"mailbox": 8}}) as world:
        for n in range(200):
            await world.deliver("in", {"n": n})
        await world.settled()

        assert (list(range(200)), [], []) == (seen.items, world.events_of(Overflowed), world.store.letters)


async def test_a_hung_actor_costs_the_others_no_time_and_loses_nothing(_virtual: MockClock) -> None:
    seen, gate, others = Seen(), trio.Event(), Seen()

    def other(number: int) -> type[Actor]:
        async def on_other(_self: Actor, event: dict[str, Any]) -> None:
            others.add((number, event["n"], trio.current_time()))

        return type(f"Other{number}", (Actor,), {"on_other": subscribe("others")(on_other)})

    actors = {"hung": {"handler_timeout_s": 1e6}}
    async with running(hung(seen, gate), *[other(number) for number in range(9)], actors=actors) as world:
        for n in range(100):
            await world.deliver("hung", {"n": n})
            at = trio.current_time()
            await world.deliver("others", {"n": n})
            await others.until(9 * (n + 1))

            assert {at} == {when for _, _, when in others.items[-9:]}
            await trio.sleep(0.5)
        gate.set()
        await world.settled()

        assert 900 == len(others.items)
        assert 100 == len(seen.items) + len(world.store.letters)
        assert 200 == len(world.broker.acked(CLIENT))
        assert [] == world.events_of(ChildExited)


async def test_a_flood_to_a_hung_actor_holds_the_others_up_for_overflow_after_s_and_no_longer(_virtual: MockClock) -> None:
    seen, gate, other_at = Seen(), trio.Event(), Seen()

    @subscribe("other")
    async def other(_event: bytes) -> None:
        other_at.add(trio.current_time())

    config = {"mqtt": {"receive_maximum": 10}}
    async with running(hung(seen, gate), other, config=config, actors={"hung": {"handler_timeout_s": 1e6}}) as world:
        for n in range(100):
            await world.deliver("hung", {"n": n})
        began = trio.current_time()
        await world.deliver("other", b"behind them all")
        await other_at.until(1)

        assert 1.0 == pytest.approx(trio.current_time() - began, abs=0.1)
        gate.set()
        await world.settled()

        assert 100 == len(seen.items) + len(world.store.letters)


async def test_only_an_actor_that_holds_more_than_its_share_is_looked_at_and_only_while_it_does(_virtual: MockClock) -> None:
    seen: list[DispatchPorts] = []

    def keep(ports: DispatchPorts) -> DispatchPorts:
        seen.append(ports)
        return ports

    go = trio.Event()

    @subscribe("slow")
    async def slow(_event: bytes) -> None:
        await go.wait()

    @subscribe("#")
    async def quick(_event: bytes) -> None:
        pass

    async with running(slow, quick, actors={"slow": {"mailbox": 2, "overflow": "block"}}, ports={"dispatcher": keep}) as world:
        await world.deliver("other", b"x")
        await world.settled()

        assert [[]] == [[each.name for each in ports.full] for ports in seen]

        for _ in range(6):
            await world.deliver("slow", b"x")
        await world.quiet()

        assert [["slow"]] == [[each.name for each in ports.full] for ports in seen]

        go.set()
        await world.settled()
        await world.deliver("other", b"x")
        await world.settled()

        assert [[]] == [[each.name for each in ports.full] for ports in seen]
