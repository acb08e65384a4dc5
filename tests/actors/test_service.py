"""A service as `wire` builds it: its shape, and a message's whole way through it."""

from __future__ import annotations

from typing import Any

from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import Actor, Context, subscribe


async def test_a_message_is_handled_answered_and_acknowledged(_virtual: MockClock) -> None:
    seen = Seen()

    class Echo(Actor):
        @subscribe("in/{name}")
        async def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            seen.add((ctx.params["name"], event))
            await ctx.publish_raw("out", b"x")

    async with running(Echo) as world:
        await world.deliver("in/a", {"n": 1})
        await world.settled()

        assert [("a", {"n": 1})] == seen.items
        assert 1 == len(world.said("out"))
        assert (1,) == world.broker.acked(CLIENT)
