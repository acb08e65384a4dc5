"""`Peer`: another client of the broker, so that a test sees the wire with eyes that are not our transport's.

Law: plain paho in its own thread, nothing of ours. Every wait is for a count and has a timeout.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import attrs
import paho.mqtt.client as mqtt
import trio
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support import paho_thread

PEER_TIMEOUT_S = 5.0


class PeerTimeout(AssertionError):
    """What the peer waited for did not come."""


@attrs.frozen
class Seen:
    """One PUBLISH as a peer received it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    user_properties: tuple[tuple[str, str], ...] = ()
    expires_s: int | None = None


class Peer:
    """Another MQTT client: `async with Peer(port) as peer:`. It collects what it subscribed, in order, in `seen`.

    Every wait has a timeout of `PEER_TIMEOUT_S` and raises `PeerTimeout`, which shows what had come until then.
    """

    def __init__(
        self,
        port: int,
        client_id: str = "peer",
        *,
        username: str | None = None,
        password: str | None = None,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    ) -> None:
        self.port = port
        self.seen: list[Seen] = []
        self._changed = threading.Condition()
        self._connected = False
        self._answered: set[int] = set()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False)
        self._client.max_inflight_messages = 0
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_socket_open = _without_delay
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_answer
        self._client.on_subscribe = self._on_answer

    async def __aenter__(self) -> Self:
        await trio.to_thread.run_sync(self._start)
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._stop)

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
        """Publish and return when the broker has it (QoS 0: when it is written). `count` > 1 appends b"-0", b"-1"… to the payload."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if user_properties:
            properties.UserProperty = list(user_properties)
        if expires_s is not None:
            properties.MessageExpiryInterval = expires_s
        payloads = [payload] if count == 1 else [b"%s-%d" % (payload, index) for index in range(count)]

        def publish() -> None:
            ids = {self._client.publish(topic, body, qos, retain, properties).mid for body in payloads}
            self._wait(lambda: ids <= self._answered, f"{len(ids)} publishes to {topic} to be confirmed")

        await trio.to_thread.run_sync(publish)

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe and return when the broker has answered; what comes then stands in `seen`."""

        def subscribe() -> None:
            _, mid = self._client.subscribe(topic_filter, qos)
            self._wait(lambda: mid in self._answered, f"SUBACK for {topic_filter}")

        await trio.to_thread.run_sync(subscribe)

    async def received(self, count: int) -> list[Seen]:
        """The first `count` messages, as soon as there are that many."""
        await trio.to_thread.run_sync(self._wait, lambda: len(self.seen) >= count, f"{count} messages")
        return self.seen[:count]

    async def heard(self, topic: str, count: int = 1) -> list[Seen]:
        """The first `count` messages on `topic`, as soon as there are that many."""

        def on_topic() -> list[Seen]:
            return [each for each in self.seen if each.topic == topic]

        await trio.to_thread.run_sync(self._wait, lambda: len(on_topic()) >= count, f"{count} messages on {topic}")
        return on_topic()[:count]

    def _start(self) -> None:
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        self._wait(lambda: self._connected, "CONNACK")

    def _stop(self) -> None:
        paho_thread.end(self._client)

    def _wait(self, until: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(until, PEER_TIMEOUT_S):
                msg = f"peer: no {what} within {PEER_TIMEOUT_S} s; seen so far: {self.seen[:20]}"
                raise PeerTimeout(msg)

    def _on_connect(self, *_: object) -> None:
        with self._changed:
            self._connected = True
            self._changed.notify_all()

    def _on_disconnect(self, *_: object) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()

    def _on_answer(self, _client: object, _userdata: object, mid: int, *_: object) -> None:
        with self._changed:
            self._answered.add(mid)
            self._changed.notify_all()

    def _on_message(self, _client: object, _userdata: object, message: Any) -> None:
        properties = message.properties
        seen = Seen(
            message.topic,
            bytes(message.payload),
            message.qos,
            bool(message.retain),
            tuple(getattr(properties, "UserProperty", ())),
            getattr(properties, "MessageExpiryInterval", None),
        )
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()


def _without_delay(_client: object, _userdata: object, opened: Any) -> None:
    """Each packet goes out at once. Else the kernel holds one back for 40 ms, waiting for the other side's acknowledgement."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
