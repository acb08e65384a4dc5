"""The transport a service under test gets: the real one or the one in memory, with an ear on it.

Law: it changes nothing of what passes. What it adds, a filter for its own fence messages, the service never sees.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

import attrs

from tars.actors.mqtt.memory_watch import Published
from tars.actors.mqtt.pulse import Pulse
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Link, LinkLost, OnConfirmed, Outbound, ServerLimits, Transport


@attrs.define(eq=False)
class Recorder:
    """A `Transport`. `published`: what the broker took, in the order in which it said so (QoS 0: as it was sent).

    `unplugged`: no connection comes about. `fence`: a topic whose messages are for us; `fences`: their payloads so far.
    `unacked`: the topics of what has come on the present connection and is not acknowledged, by packet id.
    """

    inner: Transport
    fence: str
    heard: Callable[[], None]
    published: list[Published] = attrs.field(factory=list, init=False)
    unplugged: bool = attrs.field(default=False, init=False)
    fenced: bool = attrs.field(default=False, init=False)
    fences: set[bytes] = attrs.field(factory=set, init=False)
    unacked: dict[int, str] = attrs.field(factory=dict, init=False)
    changed: Pulse = attrs.field(factory=Pulse, init=False)

    @asynccontextmanager
    async def connect(self, settings: ConnectSettings) -> AsyncIterator[Link]:
        """See `Transport.connect`."""
        if self.unplugged:
            raise LinkLost("the test has unplugged this service")
        async with self.inner.connect(settings) as link:
            self.unacked.clear()
            yield _RecordedLink(self, link, settings.client_id)

    def record(self, client_id: str, message: Outbound, code: int) -> None:
        """The broker took `message`, or refused it (`code` >= 0x80)."""
        self.published.append(
            Published(
                client_id,
                message.topic,
                message.payload,
                message.qos,
                message.retain,
                message.user_properties,
                message.expires_s,
                code,
            )
        )
        self.heard()


@attrs.define(eq=False)
class _RecordedLink:
    _recorder: Recorder
    _link: Link
    _client_id: str
    _fenced: bool = False

    @property
    def limits(self) -> ServerLimits:
        return self._link.limits

    @property
    def silent_s(self) -> float:
        return self._link.silent_s

    async def receive(self) -> Sequence[Inbound]:
        while True:
            messages = await self._link.receive()
            rest = [each for each in messages if each.topic != self._recorder.fence]
            self._recorder.unacked.update({each.packet_id: each.topic for each in rest if each.qos})
            for each in messages:
                if each.topic == self._recorder.fence:
                    self._recorder.fences.add(each.payload)
                    if each.qos:
                        self._link.ack(each.packet_id)
            if len(rest) < len(messages):
                self._recorder.changed.beat()
            if rest:
                return rest

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        if self._fenced or not self._recorder.fence:
            return await self._link.subscribe(filters)
        codes = await self._link.subscribe([*filters, (self._recorder.fence, 1)])
        self._fenced = self._recorder.fenced = True
        return codes[:-1]

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        await self._link.unsubscribe(filters)

    def publish(self, message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        if message.qos == 0:
            self._link.publish(message, on_confirmed)
            self._recorder.record(self._client_id, message, 0)
            return

        def confirmed(code: int) -> None:
            self._recorder.record(self._client_id, message, code)
            if on_confirmed is not None:
                on_confirmed(code)

        self._link.publish(message, confirmed)

    def ack(self, packet_id: int) -> bool:
        self._recorder.unacked.pop(packet_id, None)
        return self._link.ack(packet_id)

    def burst(self) -> AbstractContextManager[None]:
        return self._link.burst()

    async def flush(self) -> None:
        await self._link.flush()
