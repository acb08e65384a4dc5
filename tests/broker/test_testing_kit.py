"""The author's kit: the very same test on the broker in memory, in virtual time, and on a real Mosquitto."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest
import trio

from tars.actors import Actor, Context, Reject, subscribe
from tars.actors.testing import MosquittoMissing, Why, in_virtual_time, running
from tars.actors.testing.mosquitto import mosquitto_in

both = functools.partial(pytest.mark.parametrize, "with_real", [False, True])


@attrs.frozen
class Number:
    n: int


class Doubles(Actor):
    @subscribe("in/{key}", qos=1)
    async def on_number(self, event: Number, ctx: Context) -> None:
        if event.n < 0:
            raise Reject("negative")
        if event.n == 13:
            raise RuntimeError("a bug")
        await ctx.publish("number.doubled", {"n": 2 * event.n, "retained": ctx.retain}, topic=f"out/{ctx.params['key']}")

    @subscribe("in0", qos=0)
    async def on_fleeting(self, event: Number, ctx: Context) -> None:
        await ctx.publish("number.doubled", {"n": 2 * event.n}, topic="out0", qos=0)


@both()
@in_virtual_time
async def test_a_message_comes_back_doubled_and_nothing_else_happens(with_real: bool) -> None:
    async with running(Doubles, with_real=with_real) as service:
        await service.deliver("in/a", Number(1))
        await service.deliver_raw("in/b", {"n": 2})
        await service.deliver("in0", Number(3), qos=0)
        await service.settled()

    assert {"out/a": 2, "out/b": 4, "out0": 6} == {each.topic: each.data["n"] for each in service.published}
    assert ([], []) == (service.dead_letters, service.failures)


@both()
@in_virtual_time
async def test_a_repetition_is_recognised_by_its_envelope_or_by_its_message_id(with_real: bool) -> None:
    async with running(Doubles, with_real=with_real) as service:
        first = await service.deliver("in/a", Number(1))
        await service.settled()
        await service.deliver_again(first)
        for n in (2, 3):
            await service.deliver("in/a", Number(n), message_id="m1")
            await service.settled()
        await service.deliver("in/a", Number(1))
        await service.settled()

    assert [2, 4, 2] == [each.data["n"] for each in service.published]


@both()
@in_virtual_time
async def test_what_cannot_be_handled_is_a_dead_letter_with_its_reason(with_real: bool) -> None:
    async with running(Doubles, with_real=with_real) as service:
        await service.deliver_raw("in/a", b"\xff")
        await service.deliver("in/a", Number(-1))
        await service.deliver("in/a", Number(13))
        letters = await service.wait_dead_letters(3)
        await service.wait_restarted("doubles", 3)

    assert [Why.UNDECODABLE, Why.REJECTED, Why.CRASHED] == [each.why for each in letters]
    assert ["a bug"] * 3 == [str(each.error) for each in service.failures]


@both()
@in_virtual_time
async def test_a_cut_link_comes_back_and_nothing_is_lost(with_real: bool) -> None:
    async with running(Doubles, with_real=with_real) as service:
        await service.cut()
        await service.deliver("in/a", Number(1))
        await service.wait_published("out/a")
        async with service.unplugged():
            await service.deliver("in/a", Number(2))
            await service.advance(0.1)

            assert 1 == len(service.published)
        await service.wait_published("out/a", count=2)
        await service.settled()

    assert [2, 4] == [each.data["n"] for each in service.published]


@both()
@in_virtual_time
async def test_a_link_cut_in_the_middle_of_a_message_brings_it_once_more_at_most(with_real: bool) -> None:
    entered, go_on = trio.Event(), trio.Event()

    @subscribe("in", qos=1)
    async def slow(event: dict[str, Any], ctx: Context) -> None:
        entered.set()
        await go_on.wait()
        await ctx.publish("done", event, topic="out")

    async with running(slow, with_real=with_real) as service:
        await service.deliver("in", {"n": 1})
        await entered.wait()
        await service.cut()
        go_on.set()
        await service.settled()

    assert [{"n": 1}] == [each.data for each in service.published]


@both()
@in_virtual_time
async def test_what_the_broker_holds_is_there_from_the_start(with_real: bool) -> None:
    async with running(Doubles, with_real=with_real, retained={"in/a": Number(1), "in/b": b'{"n": 2}'}) as service:
        await service.wait_published("out/+", count=2)
        await service.deliver("in/c", Number(3), retain=True)
        await service.settled()

    assert {"out/a": True, "out/b": True, "out/c": False} == {each.topic: each.data["retained"] for each in service.published}


@both()
@in_virtual_time
async def test_a_worker_thread_is_waited_for(with_real: bool) -> None:
    @subscribe("in", qos=1)
    def works(event: dict[str, Any], ctx: Any) -> None:
        ctx.publish("done", event, topic="out")

    async with running(works, with_real=with_real) as service:
        for n in range(3):
            await service.deliver("in", {"n": n})
        await service.settled()

    assert [0, 1, 2] == [each.data["n"] for each in service.published]


@both()
@in_virtual_time
async def test_a_chain_of_two_services_on_one_broker(with_real: bool) -> None:
    @subscribe("out/+", qos=1)
    async def listens(event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish("end", event, topic="end")

    async with (
        running(Doubles, with_real=with_real) as first,
        running(listens, beside=first, config={"service": {"name": "second"}}) as second,
    ):
        await second.cut()
        await first.deliver("in/a", Number(1))
        await first.settled()
        await second.settled()

    assert [2] == [each.data["n"] for each in second.published_on("end")]


@in_virtual_time
async def test_a_real_broker_has_no_insides_to_look_into() -> None:
    async with running(Doubles, with_real=True) as service:
        with pytest.raises(RuntimeError, match="no broker in memory"):
            _ = service.broker


async def test_where_no_mosquitto_is_the_error_says_how_to_get_one(tmp_path: str) -> None:
    with pytest.raises(MosquittoMissing, match="apt-get install mosquitto"):
        mosquitto_in(str(tmp_path))
