"""A client outside of the service, that survives its broker: ``async with outside(broker.port, "out/#") as client: ...``.

Laws. Plain paho and nothing of ours on the wire. A fresh paho client for every connection, and what is unconfirmed is sent
again by us, in order: paho's own way lets a message that is published while it reconnects overtake older ones. Everything is
kept in trio's thread; paho's threads only post to it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import orjson
import paho.mqtt.client as mqtt
import trio
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support import paho_thread
from support.process import PATIENCE_S
from support.verifier import Number
from tars.actors.mqtt.pulse import Pulse

_RETRY_S: Final = 0.01


@attrs.frozen(slots=False)
class Came:
    """One message that came. `data`: of the envelope, {} when it is none."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    message_id: str

    @functools.cached_property
    def data(self) -> dict[str, Any]:
        document = orjson.loads(self.payload) if self.payload else {}
        found: dict[str, Any] = document.get("data", {}) if isinstance(document, dict) else {}
        return found

    @functools.cached_property
    def number(self) -> Number:
        return self.data.get("key", ""), self.data.get("seq", -1)


@attrs.frozen
class _Sending:
    serial: int
    topic: str
    payload: bytes
    retain: bool
    message_id: str


@attrs.define(eq=False)
class Outside:
    """See `outside`. `came` is what its subscriptions brought, in order; `unanswered` what of `sent` has not come on ``out/KEY``."""

    port: int
    client_id: str
    came: list[Came] = attrs.field(factory=list)
    sent: list[Number] = attrs.field(factory=list)
    unanswered: set[Number] = attrs.field(factory=set)
    connections: int = 0
    _filters: dict[str, int] = attrs.field(factory=dict)
    _unconfirmed: dict[int, _Sending] = attrs.field(factory=dict)
    _serials: int = 0
    _by_packet: dict[int, int] = attrs.field(factory=dict)
    _asked: set[int] = attrs.field(factory=set)
    _client: mqtt.Client | None = None
    _epoch: int = 0
    _over: trio.Event = attrs.field(factory=trio.Event)
    _changed: Pulse = attrs.field(factory=Pulse)

    # -- what tests call --------------------------------------------------------------------------

    def number(self, key: str, seq: int, *, prefix: str = "in", message_id: str = "", **more: object) -> None:
        """Send message `seq` of `key` to ``PREFIX/KEY``, in an envelope whose id is its own. Returns at once."""
        self.sent.append((key, seq))
        self.unanswered.add((key, seq))
        envelope = {"id": f"{key}-{seq}", "type": "test.event", "ts": 0.0, "source": "outside", "data": {"key": key, "seq": seq, **more}}
        self.send(f"{prefix}/{key}", orjson.dumps(envelope), message_id=message_id)

    def send(self, topic: str, payload: bytes, *, retain: bool = False, message_id: str = "") -> None:
        """Send at QoS 1, again and again until the broker has confirmed it, in order. Returns at once."""
        self._serials += 1
        sending = _Sending(self._serials, topic, payload, retain, message_id)
        self._unconfirmed[sending.serial] = sending
        if self._client is not None:
            self._publish(self._client, sending)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe, now and on every later connection; returns when the broker has answered."""
        self._filters[topic_filter] = qos
        await self.until(lambda: self._client is not None, "a connection")
        if self._client is not None:
            self._ask(self._client, topic_filter, qos)
        await self.until(lambda: not self._asked, f"SUBACK for {topic_filter}")

    async def confirmed(self) -> None:
        """Return when the broker has confirmed everything sent."""
        await self.until(lambda: not self._unconfirmed, "confirmation of everything sent")

    async def answered(self) -> None:
        """Return when everything sent has been answered on ``out/KEY``."""
        await self.until(lambda: not self.unanswered, "answer to everything sent")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds; it is asked again whenever something happened here."""
        with trio.move_on_after(PATIENCE_S):
            while not condition():
                await self._changed.wait()
            return
        raise AssertionError(f"{self.client_id}: no {what} within {PATIENCE_S:g} s; {len(self.came)} came, the last: {self.came[-3:]}")

    async def has(self, count: int, topic: str = "") -> list[Came]:
        """The first `count` that came on topics beginning with `topic`."""
        await self.until(lambda: len(self.came) >= count and len(self.on(topic)) >= count, f"{count} messages on {topic or 'any topic'}")
        return self.on(topic)[:count]

    def on(self, topic: str) -> list[Came]:
        """What came on topics beginning with `topic`."""
        return [each for each in self.came if each.topic.startswith(topic)]

    def numbers(self, topic: str = "out/") -> list[Number]:
        """The numbers that came there, in order."""
        return [each.number for each in self.on(topic)]

    @property
    def unconfirmed(self) -> int:
        """How many messages wait for the broker's confirmation."""
        return len(self._unconfirmed)

    # -- the connection ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        token = trio.lowlevel.current_trio_token()
        while True:
            self._over = trio.Event()
            self._epoch += 1
            client = self._new_client(token, self._epoch)
            try:
                if await trio.to_thread.run_sync(_connect, client, self.port):
                    await self._over.wait()
                else:
                    await trio.sleep(_RETRY_S)  # a broker that comes back tells nobody
            finally:
                self._client = None
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(paho_thread.end, client)

    def _new_client(self, token: trio.lowlevel.TrioToken, epoch: int) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        client.max_inflight_messages = 0

        def post(function: Callable[..., None], *arguments: object) -> None:
            token.run_sync_soon(self._of_epoch, epoch, functools.partial(function, *arguments))

        def on_connect(_client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
            post(self._over.set if code.value >= 0x80 else functools.partial(self._connected, client))

        def on_message(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
            properties = dict(getattr(message.properties, "UserProperty", ()))
            post(
                self._add,
                Came(message.topic, bytes(message.payload), message.qos, bool(message.retain), properties.get("message-id", "")),
            )

        client.on_connect = on_connect
        client.on_message = on_message
        client.on_disconnect = lambda *_: post(self._over.set)
        client.on_publish = lambda _client, _data, packet_id, *_: post(self._answered, packet_id)
        client.on_subscribe = lambda _client, _data, packet_id, *_: post(self._asked.discard, packet_id)
        return client

    def _add(self, came: Came) -> None:
        self.came.append(came)
        if came.topic.startswith("out/"):
            self.unanswered.discard(came.number)

    def _of_epoch(self, epoch: int, function: Callable[[], None]) -> None:
        if epoch == self._epoch:
            function()
        self._changed.beat()

    def _connected(self, client: mqtt.Client) -> None:
        self._client = client
        self.connections += 1
        self._by_packet.clear()
        self._asked.clear()
        for topic_filter, qos in self._filters.items():
            self._ask(client, topic_filter, qos)
        for sending in self._unconfirmed.values():
            self._publish(client, sending)

    def _ask(self, client: mqtt.Client, topic_filter: str, qos: int) -> None:
        _, packet_id = client.subscribe(topic_filter, qos)
        if packet_id is not None:
            self._asked.add(packet_id)

    def _publish(self, client: mqtt.Client, sending: _Sending) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if sending.message_id:
            properties.UserProperty = [("message-id", sending.message_id)]
        info = client.publish(sending.topic, sending.payload, 1, sending.retain, properties)
        self._by_packet[info.mid] = sending.serial

    def _answered(self, packet_id: int) -> None:
        self._unconfirmed.pop(self._by_packet.pop(packet_id, 0), None)


@asynccontextmanager
async def outside(port: int, *filters: str, client_id: str = "outside") -> AsyncIterator[Outside]:
    """Another client, connected and subscribed to `filters` at QoS 1; its session outlives its connections and the broker."""
    client = Outside(port, client_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        for topic_filter in filters:
            await client.subscribe(topic_filter)
        await client.until(lambda: client.connections > 0, "a connection")
        yield client
        nursery.cancel_scope.cancel()


def _connect(client: mqtt.Client, port: int) -> bool:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    try:
        client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    except OSError:
        return False
    client.loop_start()
    return True


def distinct(came: Iterable[Came]) -> list[Number]:
    """Each message-id once: what a reader that knows message ids would handle."""
    first: dict[str, Number] = {}
    for each in came:
        first.setdefault(each.message_id, each.number)
    return list(first.values())
