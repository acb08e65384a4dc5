"""A publish that ends the connection is found among those sent with it, and set aside; nobody else is."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from support.links import Around, links
from support.service import World, running
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import LinkDown, LinkUp
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.proven import MAX_TOPICS, Proven
from tars.actors.mqtt.sender import ALONE, TOGETHER
from tars.actors.mqtt.transport import Link, OnConfirmed, Outbound
from tars.actors.testing import NO_LIMITS, ServerLimits

LIMIT_BYTES = 1000
LINKS = TOGETHER + ALONE
OLD: dict[str, Any] = {"mqtt": {"protocol": "3.1.1"}}


class Says(Actor):
    """Publishes the payloads it is told of, each of so many bytes."""

    @subscribe("say/{topic}")
    async def on_say(self, event: dict[str, Any], ctx: Context) -> None:
        for number, size in enumerate(event["sizes"]):
            payload = b"%d:" % number + b"x" * (size - 2)
            await ctx.publish_raw(ctx.params["topic"], payload, retain=event.get("retain", False))


class Heard(Around):
    """A link, and the numbers of what it was given to publish on "out"."""

    def __init__(self, link: Link, given: list[int]) -> None:
        super().__init__(link)
        self._given = given

    def publish(self, message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        if message.topic == "out":
            self._given.append(int(message.payload.split(b":")[0]))
        self.link.publish(message, on_confirmed)


def limited() -> MemoryBroker:
    return MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=LIMIT_BYTES))


def said(world: World, topic: str) -> list[str]:
    """What the broker took, in order, each once."""
    return list(dict.fromkeys(entry.payload.split(b":")[0].decode() for entry in world.said(topic)))


@pytest.mark.parametrize("first", [0, 1, 7])
async def test_one_too_large_among_others_is_a_dead_letter_and_the_others_are_said_in_order(_virtual: MockClock, first: int) -> None:
    sizes = [10] * first + [2 * LIMIT_BYTES] + [10] * 5
    async with running(Says, broker=limited(), config=OLD) as world:
        await world.deliver("say/out", {"sizes": sizes})
        (letter,) = await world.store.until(1)
        await world.settled()
        await world.event(LinkUp, count=LINKS + 1)
        await world.quiet()
        downs = world.events_of(LinkDown)

        assert (Why.REFUSED, 2 * LIMIT_BYTES, "root/service/handlers/says") == (letter.why, len(letter.payload), letter.actor)
        assert "the connection ended 5 times before it was confirmed, 3 times with nothing else on its way" in letter.error
        assert [str(number) for number in range(len(sizes)) if number != first] == said(world, "out")
        assert LINKS == len(downs)
        assert [] == world.unacked


async def test_who_has_nothing_to_do_with_it_is_heard_again(_virtual: MockClock) -> None:
    async with running(Says, broker=limited(), config=OLD) as world:
        await world.deliver("say/out", {"sizes": [2 * LIMIT_BYTES]})
        await world.event(LinkDown)
        await world.deliver("say/other", {"sizes": [10, 10]})
        await world.published("other", 2)
        await world.settled()
        (letter,) = await world.store.until(1)

        assert "out" == letter.topic


@pytest.mark.parametrize("links", [LINKS - 1, LINKS])
async def test_only_so_many_ends_make_a_suspect(_virtual: MockClock, links: int) -> None:
    async with running(Says, broker=limited(), config=OLD) as world:
        await world.deliver("say/out", {"sizes": [2 * LIMIT_BYTES]})
        await world.event(LinkDown, count=links)
        world.broker.limits = NO_LIMITS
        await world.settled()

        assert ([], ["0"]) if links < LINKS else ([Why.REFUSED], []) == ([each.why for each in world.store.letters], said(world, "out"))


async def test_one_like_those_the_broker_has_taken_is_never_suspected(_virtual: MockClock) -> None:
    async with running(Says, config=OLD) as world:
        await world.deliver("say/out", {"sizes": [2 * LIMIT_BYTES]})
        await world.settled()
        world.broker.limits = limited().limits
        await world.deliver("say/out", {"sizes": [10, 2 * LIMIT_BYTES]})
        await world.event(LinkDown, count=4 * LINKS)
        world.broker.limits = NO_LIMITS
        await world.settled()

        assert [] == world.store.letters
        assert 3 == len({entry.payload for entry in world.said("out")})


async def test_a_suspect_is_sent_alone(_virtual: MockClock) -> None:
    given: list[list[int]] = []

    def hears(_number: int, link: Link) -> Heard:
        given.append([])
        return Heard(link, given[-1])

    async with running(Says, broker=limited(), config=OLD, transport=links(hears)) as world:
        await world.deliver("say/out", {"sizes": [2 * LIMIT_BYTES, 10, 10]})
        await world.event(LinkUp, count=LINKS + 1)
        await world.settled()

    together, alone, rest = given[:TOGETHER], given[TOGETHER:LINKS], given[LINKS:]

    assert [[0, 1]] * TOGETHER == [each[:2] for each in together]  # the second finds the link ended
    assert [[0]] * ALONE == alone
    assert [[1, 2]] == rest


async def test_what_is_set_aside_is_not_told_again_as_our_retained_state(_virtual: MockClock) -> None:
    async with running(Says, broker=limited(), config=OLD) as world:
        await world.deliver("say/out", {"sizes": [2 * LIMIT_BYTES], "retain": True})
        await world.store.until(1)
        await world.settled()
        await world.event(LinkUp, count=LINKS + 1)
        world.broker.kill(persistent=False)
        world.broker.restart()
        await world.event(LinkUp, count=LINKS + 2)
        with trio.move_on_after(60):
            await world.event(LinkUp, count=LINKS + 3)

        assert LINKS + 2 == len(world.events_of(LinkUp))


def test_proof_is_of_topic_and_size_and_does_not_grow() -> None:
    proven = Proven()
    for number in range(MAX_TOPICS + 1):
        proven.took(Outbound(f"t/{number}", b"x" * 10))

    assert not Proven().vouches_for(Outbound("t", b""))
    assert proven.vouches_for(Outbound("t/1", b"x" * 10))
    assert not proven.vouches_for(Outbound("t/1", b"x" * 11))
    assert not proven.vouches_for(Outbound("other", b"x"))
    assert not proven.vouches_for(Outbound("t/0", b"x"))
