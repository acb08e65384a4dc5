"""Requests inside handlers: the reply finds its asker, needs no credit, and may be late or never come."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, World, running
from tars.actors import Actor, Context, TooSlow, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import HandlerFailed, LinkUp, MessageUnmatched
from tars.actors.mqtt.link_state import IDLE_REPLIES, Filters
from tars.actors.mqtt.memory_watch import Published
from tars.actors.mqtt.requests import Requests
from tars.supervisor import ChildExited


@attrs.define(eq=False)
class Answering:
    """An outside service: answers what is asked on ``ask`` on ``answer``, with the id of the question."""

    world: World
    asked: list[Published] = attrs.field(factory=list)

    async def answer(self, count: int, *, qos: int = 1) -> None:
        for _ in range(count):
            questions = await self.world.published("ask", len(self.asked) + 1)
            self.asked.append(questions[-1])
            question = orjson.loads(questions[-1].payload)
            await self.world.deliver("answer", {"to": question["data"]["n"]}, envelope_id=question["id"], qos=qos)


def asker(seen: Seen, *, timeout_s: float = 5.0) -> type[Actor]:
    class Asker(Actor):
        @subscribe("in", qos=1)
        async def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            try:
                reply = await ctx.request("test.ask", {"n": event["n"]}, topic="ask", reply="answer", timeout_s=timeout_s)
            except TooSlow:
                seen.add((event["n"], None))
            else:
                seen.add((event["n"], reply.data["to"]))

    return Asker


@pytest.mark.parametrize("receive_maximum", [1, 2, 256])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_reply_finds_its_asker_whatever_the_credit(_virtual: MockClock, receive_maximum: int, qos: int) -> None:
    seen = Seen()
    async with running(asker(seen), config={"mqtt": {"receive_maximum": receive_maximum}}) as world:
        for n in range(20):
            await world.deliver("in", {"n": n})
        await Answering(world).answer(20, qos=qos)
        await world.settled()

        assert [(n, n) for n in range(20)] == seen.items
        assert {"in": 1, "answer": 0} == world.broker.sessions[CLIENT].subscriptions
        assert ([], []) == (world.events_of(MessageUnmatched), world.store.letters)


async def test_a_reply_filter_an_actor_subscribes_keeps_its_qos_and_both_get_the_reply(_virtual: MockClock) -> None:
    seen, also = Seen(), Seen()

    @subscribe("answer", qos=1)
    async def listens(event: dict[str, Any]) -> None:
        also.add(event["to"])

    async with running(asker(seen), listens) as world:
        await world.deliver("in", {"n": 7})
        await Answering(world).answer(1)
        await world.settled()

        assert ([(7, 7)], [7], 1) == (seen.items, also.items, world.broker.sessions[CLIENT].subscriptions["answer"])


async def test_the_asker_has_the_reply_for_itself(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("answer", qos=1)
    async def listens(event: dict[str, Any]) -> None:
        seen.add(event.pop("to"))

    @subscribe("in", qos=1)
    async def asks(event: dict[str, Any], ctx: Context) -> None:
        reply = await ctx.request("test.ask", {"n": event["n"]}, topic="ask", reply="answer", timeout_s=5.0)
        seen.add(reply.data.pop("to"))

    async with running(asks, listens) as world:
        await world.deliver("in", {"n": 7})
        await Answering(world).answer(1)
        await world.settled()

        assert ([7, 7], []) == (seen.items, world.events_of(HandlerFailed))


async def test_replies_are_told_apart_by_the_id_of_their_envelope(_virtual: MockClock) -> None:
    seen = Seen()
    one, two = (type(name, (asker(seen),), {}) for name in ("One", "Two"))
    async with running(one, two) as world:
        await world.deliver("in", {"n": 1})
        first, second = (orjson.loads(entry.payload) for entry in await world.published("ask", 2))

        assert first["id"] != second["id"]
        await world.deliver("answer", {"to": "second"}, envelope_id=second["id"])
        await seen.until(1)
        await world.deliver("answer", {"to": "first"}, envelope_id=first["id"])
        await seen.until(2)

        assert [(1, "second"), (1, "first")] == seen.items


async def test_a_reply_on_another_topic_is_none_whatever_its_id(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def asks(_event: bytes, ctx: Context) -> None:
        with trio.move_on_after(1):
            await ctx.request("test.ask", {}, topic="ask/other", reply="answer/other", timeout_s=5.0)
        reply = await ctx.request("test.ask", {}, topic="ask", reply="answer", timeout_s=5.0)
        seen.add(reply.data["to"])

    async with running(asks) as world:
        await world.deliver("in", b"x")
        (question,) = await world.published("ask")
        for topic, to in [("answer/other", "nobody"), ("answer", "me")]:
            await world.deliver(topic, {"to": to}, envelope_id=orjson.loads(question.payload)["id"])
            await world.quiet()
        await world.settled()

        assert ["me"] == seen.items


async def test_a_reply_that_never_comes_is_too_slow_after_timeout_s(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(asker(seen, timeout_s=5.0)) as world:
        began = trio.current_time()
        await world.deliver("in", {"n": 1})
        await world.settled()

        assert [(1, None)] == seen.items
        assert 5.0 == pytest.approx(trio.current_time() - began)


async def test_a_late_reply_is_no_reason_for_a_warning(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(asker(seen, timeout_s=5.0)) as world:
        await world.deliver("in", {"n": 1})
        await seen.until(1)
        await Answering(world).answer(1)
        await world.settled()

        assert ([(1, None)], []) == (seen.items, world.events_of(MessageUnmatched))


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xff",
        b"[1]",
        b"{}",
        b'{"id":[]}',
        b'{"id":{"a":1}}',
        b'{"id":1}',
        b'{"id":null}',
        b'{"id":"other","type":"t","ts":1,"source":"s","data":{}}',
    ],
)
async def test_junk_on_the_reply_topic_hurts_nobody(_virtual: MockClock, junk: bytes) -> None:
    seen = Seen()
    async with running(asker(seen)) as world:
        await world.deliver("in", {"n": 1})
        await world.published("ask")
        await world.deliver("answer", junk)
        await Answering(world).answer(1)
        await world.settled()

        assert ([(1, 1)], []) == (seen.items, world.events_of(ChildExited))


async def test_a_reply_that_is_no_envelope_fails_the_handler_that_asked_and_nobody_else(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(asker(seen), actors={"asker": {"max_attempts": 1}}) as world:
        await world.deliver("in", {"n": 1})
        (question,) = await world.published("ask")
        await world.deliver("answer", orjson.dumps({"id": orjson.loads(question.payload)["id"], "data": 1}))
        await world.settled()

        assert [Why.CRASHED] == [letter.why for letter in world.store.letters]
        assert {"root/service/handlers/asker"} == {each.path for each in world.events_of(ChildExited)}


async def test_a_request_waits_for_the_link_within_its_time(_virtual: MockClock) -> None:
    seen, go = Seen(), trio.Event()

    @subscribe("in")
    async def later(_event: bytes, ctx: Context) -> None:
        await go.wait()
        reply = await ctx.request("test.ask", {"n": 1}, topic="ask", reply="answer", timeout_s=20.0)
        seen.add(reply.data["to"])

    async with running(later) as world:
        await world.deliver("in", {"n": 1})
        await world.quiet()
        world.broker.kill()
        go.set()
        await trio.sleep(5)
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await Answering(world).answer(1)
        await world.settled()

        assert ([1], []) == (seen.items, world.events_of(HandlerFailed))


async def test_two_new_reply_filters_while_the_broker_is_slow_to_answer_are_both_subscribed(_virtual: MockClock) -> None:
    """The second is asked for while the answer to the first is on its way."""
    seen, gates = Seen(), {name: trio.Event() for name in ("one", "two")}

    def actor(name: str) -> type[Actor]:
        async def on_message(_self: Any, _event: bytes, ctx: Context) -> None:
            await gates[name].wait()
            await ctx.request("test.ask", {"n": name}, topic="ask", reply=f"answer/{name}", timeout_s=10.0)
            seen.add(name)

        return type(name.title(), (Actor,), {"on_message": subscribe(name)(on_message)})

    async with running(actor("one"), actor("two")) as world:
        for name in gates:
            await world.deliver(name, b"x")
        await world.quiet()
        world.broker.freeze()
        for gate in gates.values():
            gate.set()
            await world.quiet()
        world.broker.thaw()
        for question in [orjson.loads(entry.payload) for entry in await world.published("ask", 2)]:
            await world.deliver(f"answer/{question['data']['n']}", {}, envelope_id=question["id"])
        await world.settled()

        assert (["one", "two"], []) == (sorted(seen.items), world.events_of(HandlerFailed))


# -- reply filters come and go --------------------------------------------------------------------


async def test_a_reply_topic_of_its_own_for_each_request_leaves_a_few_subscriptions_behind_and_no_more(_virtual: MockClock) -> None:
    seen = Seen()

    @subscribe("in")
    async def asks(event: dict[str, Any], ctx: Context) -> None:
        reply = await ctx.request("test.ask", event, topic="ask", reply=f"answer/{event['n']}", timeout_s=5.0)
        seen.add(reply.data["n"])

    async with running(asks, config={"health": {"enabled": False}}) as world:
        for n in range(100):
            await world.deliver("in", {"n": n})
            question = orjson.loads((await world.published("ask", n + 1))[-1].payload)
            await world.deliver(f"answer/{n}", {"n": n}, envelope_id=question["id"])
            await seen.until(n + 1)
        await world.settled()

        assert [*range(100)] == seen.items
        assert {"in", *(f"answer/{n}" for n in range(100 - IDLE_REPLIES, 100))} == set(world.broker.sessions[CLIENT].subscriptions)


async def test_a_filter_asked_on_again_while_it_is_being_given_up_is_subscribed_again_before_the_question(_virtual: MockClock) -> None:
    filters = Filters({})
    filters.held["answer/0"] = 0
    with filters.asking("answer/0"):
        held = filters.wanted()
    for n in range(1, IDLE_REPLIES + 1):
        with filters.asking(f"answer/{n}"):
            pass
    given_up = filters.give_up()  # the UNSUBSCRIBE is on its way
    with filters.asking("answer/0"), trio.move_on_after(1) as too_early:
        await filters.holding("answer/0")
    filters.drop(given_up)

    assert ([], ["answer/0"], True) == (held, given_up, too_early.cancelled_caught)


async def test_requests_on_one_filter_at_once_share_it_until_the_last_is_over() -> None:
    filters = Filters({})
    with filters.asking("answer"):
        with filters.asking("answer"):
            pass
        for n in range(IDLE_REPLIES * 2):
            with filters.asking(f"answer/{n}"):
                pass

        assert "answer" in filters.replies


def test_what_was_asked_for_and_never_answered_is_given_up_when_nobody_wants_it() -> None:
    filters = Filters({"a": 1})
    filters.ask(filters.wanted())
    filters.forget()  # the connection ended before the answer
    filters.want({})

    assert ["a"] == filters.give_up()
    filters.drop(["a"])
    assert [] == filters.give_up()


def test_a_reply_that_comes_twice_counts_once() -> None:
    requests = Requests()
    with requests.open("q1", "answer/+") as pending:
        told = [requests.resolve("answer/1", {"id": "q1", "data": number}) for number in (1, 2)]

    assert ([True, True], {"id": "q1", "data": 1}) == (told, pending.reply)
