"""A service under test: everything of `Watched`, and what a test says to it and does to it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson

from tars.actors.contracts import STANDARD, UnknownTopic, seal
from tars.actors.mqtt.keys import MESSAGE_ID
from tars.actors.mqtt.topics import matches
from tars.actors.mqtt.transport import Outbound
from tars.supervisor import Supervisor, SupervisorSpec

from .places import Cut
from .watched import Watched


@attrs.frozen
class Delivered:
    """One message the test has sent. `id` is the envelope's, "" of a raw message."""

    message: Outbound
    id: str = ""


@attrs.define(eq=False, repr=False, kw_only=True)
class Running(Watched):
    """A service that runs. Made by `running`."""

    cut_link: Cut
    spec: SupervisorSpec
    supervisor: Supervisor = attrs.field(init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    # -- saying -----------------------------------------------------------------------------------

    async def deliver(
        self,
        topic: str,
        data: object,
        *,
        event_type: str | None = None,
        qos: int = 1,
        retain: bool = False,
        correlation_id: str | None = None,
        message_id: str | None = None,
        source: str = "test",
    ) -> Delivered:
        """Publish `data` (a contract or a dict) in an envelope, as another service would; returns when the broker has it.

        `event_type`: the registry's for this topic, else "test.event". The envelope's id is a new one unless given;
        `message_id` is the user property of that name, by which a repetition is recognised. Raises `EncodeError`, ValueError.
        """
        event_id = correlation_id or f"test-{next(self._numbers)}"
        _, payload = seal(event_type or _event_type_of(topic), data, source=source, correlation_id=event_id)
        properties = () if message_id is None else ((MESSAGE_ID, message_id),)
        return await self.deliver_again(Delivered(Outbound(topic, payload, qos, retain, properties), event_id))

    async def deliver_raw(self, topic: str, payload: bytes | dict[str, Any], *, qos: int = 1, retain: bool = False) -> Delivered:
        """Publish without an envelope: bytes as they are, a dict as JSON."""
        content = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        return await self.deliver_again(Delivered(Outbound(topic, content, qos, retain)))

    async def deliver_again(self, delivered: Delivered) -> Delivered:
        """Publish the very same once more, as a publisher does that missed its confirmation."""
        topic = delivered.message.topic
        if not self.estate.matcher.match(topic) and not any(matches(each, topic) for each in self.estate.filters.replies):
            self._unheard[topic] = None  # no mistake in itself: it may be for a service beside this one

        async def publish() -> Delivered:
            await self.place.publish(delivered.message)
            return delivered

        return await self.patiently(publish, f"the broker did not take the message to {delivered.message.topic}", None, ends=False)

    # -- doing ------------------------------------------------------------------------------------

    async def cut(self) -> None:
        """The connection breaks without a goodbye. Returns when the service has noticed; it connects again by itself."""
        self.cut_link()
        await self.patiently(self._down, "the link is still up", None)

    @asynccontextmanager
    async def unplugged(self) -> AsyncIterator[None]:
        """No connection within the block; returns from it when there is one again."""
        self.recorder.unplugged = True
        try:
            await self.cut()
            yield
        finally:
            self.recorder.unplugged = False
        await self.wait_up()

    async def stop(self) -> None:
        """Stop the service as SIGTERM would, with its drain; returns when nothing of it runs."""

        async def stopped() -> None:
            await self.supervisor.stop()
            await self._ended.wait()

        await self.patiently(stopped, "the service does not stop", None, ends=False)


def _event_type_of(topic: str) -> str:
    try:
        return STANDARD.event_of(topic)
    except UnknownTopic:
        return "test.event"
