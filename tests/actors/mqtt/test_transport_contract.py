"""The transport contract, kept by the transport in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import attrs
import pytest
import trio

from support.peer import Seen
from support.transport_contract import TransportContract
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.transport import ConnectSettings, Link, ServerLimits, Transport

_MAX_PACKET_BYTES = 20_000
_HERE, _NOWHERE, _SILENCE, _WEAK = 1883, 1884, 1885, 1886


@attrs.frozen
class Places:
    """A transport with another broker at each port, and the first one at any other."""

    brokers: Mapping[int, MemoryBroker]

    def connect(self, settings: ConnectSettings) -> AbstractAsyncContextManager[Link]:
        return MemoryTransport(self.brokers.get(settings.port, self.brokers[_HERE])).connect(settings)


@attrs.frozen
class MemorySide:
    """See `ContractBroker`."""

    places: Places
    peer: Link
    rivals: trio.Nursery
    refused: str = "refused/#"
    max_packet_bytes: int = _MAX_PACKET_BYTES
    seen: list[Seen] = attrs.Factory(list)
    cables: set[str] = attrs.Factory(set)

    @property
    def broker(self) -> MemoryBroker:
        return self.places.brokers[_HERE]

    def settings(self, client_id: str, protocol: str) -> ConnectSettings:
        return ConnectSettings("memory", _HERE, client_id, protocol, "robot", "right")

    def cable(self, settings: ConnectSettings) -> ConnectSettings:
        self.cables.add(settings.client_id)
        return settings

    def wrong_password(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, password="open-sesame")

    def nobody(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=_NOWHERE)

    def silent(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=_SILENCE)

    def weak(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=_WEAK)

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 1,
        *,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
        expires_s: int | None = None,
        count: int = 1,
    ) -> None:
        for body in [payload] if count == 1 else [b"%s-%d" % (payload, index) for index in range(count)]:
            self.broker.deliver(topic, body, qos, retain=retain, user_properties=tuple(user_properties), expires_s=expires_s)

    async def subscribe(self, topic_filter: str) -> None:
        await self.peer.subscribe([(topic_filter, 1)])

    async def received(self, count: int) -> list[Seen]:
        while len(self.seen) < count:
            for message in await self.peer.receive():
                self.peer.ack(message.packet_id)
                self.seen.append(
                    Seen(message.topic, message.payload, message.qos, message.retain, message.user_properties, message.expires_s)
                )
        return self.seen[:count]

    async def take_over(self, client_id: str) -> None:
        await self.rivals.start(_hold, self.places, self.settings(client_id, "5"))

    def cut(self) -> None:
        for client_id in self.cables:
            self.broker.drop_link(client_id)

    def freeze(self) -> None:
        self.broker.freeze()

    def kill(self) -> None:
        self.broker.kill()


async def _hold(transport: Transport, settings: ConnectSettings, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    async with transport.connect(settings):
        task_status.started()
        await trio.sleep_forever()


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def places(self) -> Places:
        limits = ServerLimits(session_present=False, max_packet_bytes=_MAX_PACKET_BYTES)
        weak = MemoryBroker(limits=ServerLimits(session_present=False, max_qos=0))
        here = MemoryBroker(users={"robot": "right"}, limits=limits)
        return Places({_HERE: here, _NOWHERE: MemoryBroker(), _SILENCE: MemoryBroker(), _WEAK: weak})

    @pytest.fixture
    def transport(self, places: Places) -> Transport:
        return places

    @pytest.fixture
    async def broker(self, places: Places) -> AsyncIterator[MemorySide]:
        places.brokers[_HERE].refuse_subscribe("refused/#")
        places.brokers[_HERE].refuse_publish("refused/#")
        places.brokers[_NOWHERE].kill()
        places.brokers[_SILENCE].freeze()
        peer_settings = ConnectSettings("memory", _HERE, "peer", "5", "robot", "right")
        async with places.connect(peer_settings) as peer, trio.open_nursery() as nursery:
            yield MemorySide(places, peer, nursery)
            nursery.cancel_scope.cancel()
