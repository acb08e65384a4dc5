"""What a type checker sees of the contexts. ``mypy tests`` is half of the test: `assert_type`, and each ``type: ignore`` must be needed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, assert_type

import pytest

from support.service import Seen, running
from tars.actors import Actor, Context, ThreadContext, every, subscribe
from tars.actors.contracts import Envelope

FACTS = ("topic", "qos", "retain", "duplicate", "params", "envelope", "attempt", "message_id")


@subscribe("asked/{room}")
async def in_the_loop(event: dict[str, Any], ctx: Context) -> None:
    """An ``async def`` handler awaits its calls."""
    assert_type(ctx.topic, str)
    assert_type(ctx.params, Mapping[str, str])
    assert_type(ctx.envelope, Envelope | None)
    assert_type(ctx.attempt, int)
    assert_type(ctx.causation_id, str | None)
    assert_type(await ctx.publish("a.b", event, topic="answered"), str)
    assert_type(await ctx.request("a.b", event, reply="answer", timeout_s=1.0, topic="question"), Envelope)


@subscribe("asked/{room}")
def in_a_thread(event: dict[str, Any], ctx: ThreadContext) -> None:
    """A `def` handler calls them."""
    assert_type(ctx.topic, str)
    assert_type(ctx.params, Mapping[str, str])
    assert_type(ctx.envelope, Envelope | None)
    assert_type(ctx.attempt, int)
    assert_type(ctx.causation_id, str | None)
    assert_type(ctx.publish("a.b", event, topic="answered"), str)
    assert_type(ctx.request("a.b", event, reply="answer", timeout_s=1.0, topic="question"), Envelope)


class Mistakes(Actor):
    """Never run: what the checker must refuse."""

    @subscribe("in")
    async def awaits_no_coroutine(self, event: dict[str, Any], ctx: ThreadContext) -> None:
        await ctx.publish("a.b", event)  # type: ignore[misc]
        ctx.publish("a.b", event, qos="1")  # type: ignore[arg-type]
        ctx.publish("a.b", event, retained=True)  # type: ignore[call-arg]
        ctx.publish_raw("a", "text")  # type: ignore[arg-type]
        ctx.no_such_name()  # type: ignore[attr-defined]

    @every(1.0)
    def takes_a_coroutine_for_a_string(self, ctx: Context) -> None:
        _said: str = ctx.publish("a.b", {})  # type: ignore[assignment]


def _public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_a_thread_has_every_public_name_of_a_context() -> None:
    assert _public(Context) == _public(ThreadContext)


@pytest.mark.parametrize("name", ["publish", "publish_raw", "request"])
def test_a_call_takes_the_same_in_a_thread(name: str) -> None:
    def parameters(kind: type) -> list[tuple[str, object, object, object]]:
        found = inspect.signature(getattr(kind, name)).parameters.values()
        return [(each.name, each.kind, each.default, each.annotation) for each in found]

    assert parameters(Context) == parameters(ThreadContext)


async def test_a_thread_is_told_every_fact_about_its_message() -> None:
    seen = Seen()

    @subscribe("in/{room}")
    async def awaits(_event: bytes, ctx: Context) -> None:
        seen.add([getattr(ctx, name) for name in FACTS])

    @subscribe("in/{room}")
    def calls(_event: bytes, ctx: ThreadContext) -> None:
        seen.add([getattr(ctx, name) for name in FACTS])

    async with running(awaits, calls) as world:
        await world.deliver("in/kitchen", b"raw", message_id="m1", retain=True)
        await world.settled()
        one, other = await seen.until(2)

    assert one == other
    assert ["in/kitchen", 1, False, False, {"room": "kitchen"}, None, 1, "m1"] == one
