"""Stand-ins for the services around the router: what they would send, and what the router said to them.

Law: everything crosses the wire as bytes; a stand-in knows the topics and the fields of the contracts, nothing of the router.
Each of its calls returns when the router has settled what was sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson
import trio
from trio.testing import MockClock

from support.service import World, running
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.memory_watch import Published
from tars.actors.services.router import Router
from tars.actors.testing import event


@attrs.frozen
class Heard:
    """One message of the router: `id` is the envelope's, `data` the event's."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def text(self) -> str:
        text: str = self.data["text"]
        return text


def opened(published: Published) -> Heard:
    """What is in the envelope."""
    envelope = orjson.loads(published.payload)
    return Heard(envelope["id"], envelope["type"], envelope["data"])


@attrs.define(eq=False)
class Voice:
    """The wake word, the transcriber, the language model and the speaker of one robot."""

    world: World
    _heard: int = attrs.field(default=0, init=False)

    # -- what they send ---------------------------------------------------------------------------

    async def send(self, topic: str, data: dict[str, Any], *, qos: int = 1, retain: bool = False) -> None:
        await self.world.deliver(topic, data, qos=qos, retain=retain)
        await self.world.settled()

    async def healthy(self, service: str, *, ok: bool = True) -> None:
        """`service` is tts or stt."""
        await self.send(f"system/health/tars-{service}", {"ok": ok, "event": "ready" if ok else "lost"}, retain=True)

    async def wake(self, kind: str = "wake", **fields: Any) -> None:
        await self.send("wake/event", {"type": kind, **fields})

    async def hear(self, text: str, **fields: Any) -> str:
        """Somebody said `text`; returns the transcript's message id."""
        self._heard += 1
        message_id = f"heard-{self._heard}"
        await self.send("stt/final", {"message_id": message_id, "text": text, **fields})
        return message_id

    async def ask(self, text: str, **fields: Any) -> Heard:
        """Wake, say `text`; returns the request the language model got."""
        await self.wake()
        await self.hear(text, **fields)
        return self.requests[-1]

    async def delta(self, request_id: str, seq: int | None, text: str | None = None, *, done: bool = False) -> None:
        await self.send("llm/stream", {"id": request_id, "seq": seq, "delta": text, "done": done}, qos=0)

    async def stream(self, request_id: str, *texts: str) -> None:
        """The deltas in order and the end, as the language model sends them."""
        for seq, text in enumerate(texts, 1):
            await self.delta(request_id, seq, text)
        await self.delta(request_id, len(texts) + 1, done=True)

    async def respond(self, request_id: str, reply: str | None = None, **fields: Any) -> None:
        await self.send("llm/response", {"id": request_id, "reply": reply, **fields})

    async def cancel(self, request_id: str) -> None:
        await self.send("llm/cancel", {"id": request_id})

    async def spoken(self, event: str = "speaking_end", **fields: Any) -> None:
        """The speaker's status."""
        await self.send("tts/status", {"event": event, **fields}, qos=0)

    # -- what they heard --------------------------------------------------------------------------

    def heard_on(self, topic: str) -> list[Heard]:
        return [opened(published) for published in self.world.said(topic)]

    @property
    def says(self) -> list[Heard]:
        return self.heard_on("tts/say")

    @property
    def texts(self) -> list[str]:
        """Everything said so far."""
        return [say.text for say in self.says]

    @property
    def requests(self) -> list[Heard]:
        return self.heard_on("llm/request")


@asynccontextmanager
async def robot(
    clock: MockClock, *uses: Any, topics: Mapping[str, str] | None = None, there: Sequence[str] = (), **settings: Any
) -> AsyncIterator[Voice]:
    """A running router, with these settings and renamed topics, or (in its place) the actors `uses`, the first of which is one.

    `there`: the services (tts, stt) that said they are well before the router came.
    """
    assert clock is trio.lowlevel.current_clock()  # else the test would run in real time
    actors = uses or (Router,)
    name = actors[0].__name__.lower()
    broker = MemoryBroker()
    for service in there:
        ping = event("health.status", {"ok": True, "event": "ready"}, message_id=f"health-{service}")
        broker.deliver(f"system/health/tars-{service}", ping, retain=True)
    async with running(*actors, actors={name: {"topics": dict(topics or {}), "settings": settings}}, broker=broker) as world:
        yield Voice(world)
