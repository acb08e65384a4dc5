"""What lies in mailboxes when the service ends: what the broker still keeps comes again, the rest becomes dead letters.

Law: nothing vanishes, and nothing that the broker sends again is a dead letter too.
"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from support.service import Seen, World, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import LinkUp
from tars.actors.mqtt.transport import Inbound
from tars.supervisor import ChildStarted

PAYLOADS = [b"0", b"1", b"2", b"3", b"4"]


def hung(seen: Seen, name: str = "Hung", topic: str = "in") -> type[Actor]:
    async def on_in(_self: Actor, event: bytes) -> None:
        seen.add(event)
        await trio.sleep_forever()

    return type(name, (Actor,), {"on_in": subscribe(topic)(on_in)})


async def again(world: World, *, keeps_session: bool) -> None:
    """The broker dies and is back; the service is connected again."""
    world.broker.kill(persistent=keeps_session)
    world.broker.restart()
    await world.event(LinkUp, count=len(world.events_of(LinkUp)) + 1)
    await world.quiet()


def letters(world: World) -> list[tuple[str, Why, bytes]]:
    return sorted((letter.direction, letter.why, letter.payload) for letter in world.store.letters)


@pytest.mark.parametrize("keeps_session", [True, False])
async def test_what_no_broker_keeps_becomes_a_dead_letter_when_the_service_ends(_virtual: MockClock, keeps_session: bool) -> None:
    seen = Seen()
    async with running(hung(seen)) as world:
        for payload in PAYLOADS:
            await world.deliver("in", payload)
        await seen.until(1)
        await again(world, keeps_session=keeps_session)

        assert [] == world.store.letters
        await world.stop()

        expected = [] if keeps_session else [("in", Why.DISCARDED, payload) for payload in PAYLOADS]
        assert expected == letters(world)
        assert (["in"] * 5 if keeps_session else []) == world.unacked


async def test_of_two_sessions_only_what_came_in_the_lost_one_becomes_a_dead_letter(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(hung(seen)) as world:
        await world.deliver("in", b"before")
        await seen.until(1)
        await again(world, keeps_session=False)
        await world.deliver("in", b"after")  # by the packet id that the first one had
        await world.quiet()
        await world.stop()

        assert [("in", Why.DISCARDED, b"before")] == letters(world)
        assert ["in"] == world.unacked


async def test_what_came_at_qos_0_becomes_a_dead_letter_and_what_came_at_qos_1_comes_again(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(hung(seen)) as world:
        for payload, qos in ((b"0", 1), (b"1", 0), (b"2", 1)):
            await world.deliver("in", payload, qos=qos)
        await seen.until(1)
        await world.stop()

        assert [("in", Why.DISCARDED, b"1")] == letters(world)
        assert ["in", "in"] == world.unacked


async def test_what_was_handed_to_nobody_yet_becomes_a_dead_letter_unless_the_broker_keeps_it(_virtual: MockClock) -> None:
    async with running(hung(Seen())) as world:
        await world.deliver("in", b"0")
        await world.quiet()
        for inbound in (Inbound("in", b"at qos 0"), Inbound("in", b"at qos 1", qos=1, packet_id=7)):
            world.estate.table.arrive(inbound, 1)  # as if the pipeline were starting again
        await world.stop()

        assert [("in", Why.DISCARDED, b"at qos 0")] == letters(world)


@pytest.mark.parametrize("keeps_session", [True, False])
async def test_a_reply_that_was_never_confirmed_becomes_a_dead_letter_unless_its_question_comes_again(
    _virtual: MockClock, keeps_session: bool
) -> None:
    @subscribe("in")
    async def answers(event: bytes, ctx: Context) -> None:
        await ctx.publish_raw("out", b"re: " + event)

    async with running(answers) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"question")
        await world.published("out")
        world.broker.kill(persistent=keeps_session)
        world.broker.restart()
        world.broker.hold_pubacks()
        await world.published("out", 2)
        await world.stop()

        assert ([] if keeps_session else [("out", Why.DISCARDED, b"re: question")]) == letters(world)
        assert (["in"] if keeps_session else []) == world.unacked


# -- the receive window ---------------------------------------------------------------------------


async def test_four_hung_actors_leave_room_for_the_fifth(_virtual: MockClock) -> None:
    stuck, seen = Seen(), Seen()
    topics = [f"in/{n}" for n in range(4)]

    class Fifth(Actor):
        @subscribe("in/fifth")
        async def on_in(self, event: bytes) -> None:
            seen.add((event, trio.current_time() - began))

    async with running(*[hung(stuck, f"Hung{n}", topic) for n, topic in enumerate(topics)], Fifth) as world:
        began = trio.current_time()
        for topic in topics:
            for n in range(64):
                await world.deliver(topic, b"%d" % n)
        await world.deliver("in/fifth", b"me too")
        ((event, after_s),) = await seen.until(1)

        assert b"me too" == event
        assert after_s <= 1.0  # the default `overflow_after_s`; a hung handler is given 30 s
        assert 4 == len(stuck.items)
        assert {1} == {each.incarnation for each in world.events_of(ChildStarted, lambda each: "/handlers/" in each.path)}
