"""The orderly end as actors see it: `stopping` runs once, after the last message, with the link up, and nothing vanishes."""

from __future__ import annotations

import orjson
import trio
from trio.testing import MockClock

from support.service import CLIENT, HEALTH, Seen, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import DrainEnded, HandlerFailed, LinkDown
from tars.supervisor import ChildExited, SupervisorStopped


def motor(seen: Seen, name: str = "Motor", *, takes_s: float = 0.0) -> type[Actor]:
    async def on_in(_self: Actor, event: bytes) -> None:
        await trio.sleep(takes_s)
        seen.add((name, event))

    async def stopping(_self: Actor, ctx: Context) -> None:
        seen.add((name, "stopping"))
        await ctx.publish_raw(f"off/{name}", b"off")

    return type(name, (Actor,), {"on_in": subscribe("in")(on_in), "stopping": stopping})


async def test_stopping_runs_once_in_every_actor_after_its_last_message_and_is_heard(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(motor(seen, "A", takes_s=1.0), motor(seen, "B")) as world:
        await world.deliver("in", b"1")
        await world.deliver("in", b"2")
        await world.quiet()
        await world.stop()

        assert [("B", b"1"), ("B", b"2"), ("A", b"1"), ("A", b"2")] == seen.items[:4]
        assert {("A", "stopping"), ("B", "stopping")} == set(seen.items[4:])
        assert 6 == len(seen.items)
        assert (1, 1) == (len(world.said("off/A")), len(world.said("off/B")))
        assert (1, 2) == tuple(sorted(world.broker.acked(CLIENT)))
        assert HEALTH == world.broker.published[-1].topic
        assert b'"shutdown"' in world.broker.published[-1].payload


SUPERVISORS = {"root/service", "root/service/link", "root/service/pipeline", "root/service/handlers"}


async def test_the_link_goes_first_then_the_pipeline_then_the_handlers_then_the_store(_virtual: MockClock) -> None:
    async with running(motor(Seen())) as world:
        await world.stop()

        assert [
            "root/service/link/connection",
            "root/service/pipeline/dispatcher",
            "root/service/pipeline/dedup",
            "root/service/handlers/motor",
            "root/store",
        ] == [each.path for each in world.events_of(ChildExited) if each.path not in SUPERVISORS]
        assert ["link", "pipeline", "handlers", "service", "root"] == [
            each.path.rpartition("/")[2] for each in world.events_of(SupervisorStopped)
        ]


async def test_a_stopping_that_fails_is_told_and_stops_nobody_from_stopping(_virtual: MockClock) -> None:
    seen = Seen()

    class Bad(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes) -> None: ...

        async def stopping(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            raise RuntimeError("cannot stop")

    async with running(Bad, motor(seen)) as world:
        began = trio.current_time()
        await world.stop()

        assert (began, [("Motor", "stopping")]) == (trio.current_time(), seen.items)
        assert {"stopping"} == {each.subscription for each in world.events_of(HandlerFailed)}
        assert b'"shutdown"' in world.broker.published[-1].payload


async def test_a_stopping_that_hangs_holds_the_others_up_for_a_moment_only(_virtual: MockClock) -> None:
    seen = Seen()

    class Hung(Actor):
        @subscribe("in")
        async def on_in(self, _event: bytes) -> None: ...

        async def stopping(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            await trio.sleep_forever()

    async with running(Hung, motor(seen), config={"service": {"drain_s": 5.0}}) as world:
        began = trio.current_time()
        await world.stop()

        assert trio.current_time() - began <= 5.0 + 3.0
        assert [("Motor", "stopping")] == seen.items
        assert [b"off"] == [entry.payload for entry in world.said("off/Motor")]
        assert b'"shutdown"' in world.broker.published[-1].payload


async def test_without_a_link_stopping_runs_too_and_what_it_says_is_kept(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(motor(seen)) as world:
        world.broker.kill()
        await world.event(LinkDown)
        await world.stop()

        assert [("Motor", "stopping")] == seen.items
        assert [(Why.DISCARDED, "out", "off/Motor")] == [(letter.why, letter.direction, letter.topic) for letter in world.store.letters]


async def test_what_a_delivery_said_and_could_not_be_sent_is_no_dead_letter_since_both_come_again(_virtual: MockClock) -> None:
    @subscribe("in")
    async def replies(_event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"x")

    async with running(replies) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        await world.published("out")
        await world.stop()
        (drained,) = world.events_of(DrainEnded)

        assert (["in"], []) == (world.unacked, world.store.letters)
        assert 1 == drained.unsettled


async def test_qos_0_messages_still_queued_at_the_end_are_dead_letters_and_qos_1_stay_with_the_broker(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def slow(event: bytes) -> None:
        seen.add(event)
        await trio.sleep(1000)

    async with running(slow, actors={"slow": {"handler_timeout_s": 1e6, "overflow": "block"}}) as world:
        for n in range(3):
            await world.deliver("in", b"qos 1, %d" % n)
            await world.deliver("in", b"qos 0, %d" % n, qos=0)
        await world.quiet()
        await world.stop()

        assert [(Why.DISCARDED, b"qos 0, %d" % n) for n in range(3)] == [(each.why, each.payload) for each in world.store.letters]
        assert ["in"] * 3 == world.unacked


async def test_a_reply_that_what_is_in_hand_waits_for_reaches_it_and_nobody_else(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def asks(_event: bytes, ctx: Context) -> None:
        seen.add((await ctx.request("test.ask", {}, topic="ask", reply="answer/+", timeout_s=2.0)).data["to"])

    @subscribe("answer/+")
    async def listens(event: bytes) -> None:
        seen.add(event)

    async with running(asks, listens) as world:
        await world.deliver("in", b"1")
        (question,) = await world.published("ask")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.quiet()
            for topic in ("in", "answer/0"):
                world.broker.deliver(topic, b"too late: it is the next process's")
            await world.deliver("answer/1", {"to": "me"}, envelope_id=orjson.loads(question.payload)["id"])

        assert (["me"], [], ["in", "answer/0", "answer/1"]) == (seen.items, world.events_of(HandlerFailed), world.unacked)
        assert 0 == world.events_of(DrainEnded)[-1].unsettled
