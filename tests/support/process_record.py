"""An actor that answers and keeps a record the test can read and wait for; for services that run in the test's process.

Law: the record is the test's, made by it and passed in; an incarnation of the actor keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from support.verifier import Number
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.pulse import Pulse

PATIENCE_S: Final = 20.0


def opened() -> trio.Event:
    """A gate that is open."""
    gate = trio.Event()
    gate.set()
    return gate


@attrs.define(eq=False)
class Record:
    """`taken`: what handlers began, `handled`: what they finished, in order. Between the two each waits for `gate`."""

    taken: list[Number] = attrs.field(factory=list)
    handled: list[Number] = attrs.field(factory=list)
    handled_at: dict[Number, float] = attrs.field(factory=dict)
    gate: trio.Event = attrs.field(factory=opened)
    changed: Pulse = attrs.field(factory=Pulse)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds; it is asked again whenever a handler did something."""
        with trio.move_on_after(PATIENCE_S):
            while not condition():
                await self.changed.wait()
            return
        raise AssertionError(f"no {what} within {PATIENCE_S:g} s; {len(self.taken)} taken, {len(self.handled)} handled")

    async def has_taken(self, count: int) -> None:
        await self.until(lambda: len(self.taken) >= count, f"{count} messages taken")

    async def has_handled(self, count: int) -> None:
        await self.until(lambda: len(self.handled) >= count, f"{count} messages handled")

    def take(self, key: str, seq: int) -> None:
        """A handler has begun with this."""
        self.taken.append((key, seq))
        self.changed.beat()

    def finish(self, key: str, seq: int) -> None:
        """A handler is through with this."""
        self.handled.append((key, seq))
        self.handled_at[key, seq] = trio.current_time()
        self.changed.beat()

    async def handle(self, event: dict[str, Any], ctx: Context, reply: str = "out", qos: int = 1) -> None:
        """What the actors here do with a message: write it down, wait for the gate, answer on ``REPLY/KEY``."""
        key, seq = event["key"], event["seq"]
        self.take(key, seq)
        await self.gate.wait()
        if reply:
            await ctx.publish("test.reply", event, topic=f"{reply}/{key}", qos=1 if qos else 0, correlation_id=f"{key}-{seq}")
        self.finish(key, seq)


def echo(record: Record, *, qos: int = 1) -> type[Actor]:
    """An actor class, named ``echo`` in the config: it answers ``in/KEY`` on ``out/KEY``, at `qos`."""

    class Echo(Actor):
        @subscribe("in/{key}", qos=1)
        async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
            await record.handle(event, ctx, qos=qos)

    return Echo
