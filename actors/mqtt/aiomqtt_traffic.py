"""Messages and their acknowledgements on one connection: by way of paho alone, or past it where there are many.

Law: both ways do the same, as the contract suite shows; the second is the first with PUBLISH and PUBACK taken out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from . import aiomqtt_privates as privates
from .aiomqtt_packets import encode_publish
from .aiomqtt_sieve import Sieve, lenient
from .aiomqtt_socket import BufferedSocket
from .transport import Inbound, OnConfirmed, Outbound

_PACKET_IDS: Final = 65_535
_PINGRESP: Final = b"\xd0\x00"


class NotConnected(Exception):
    """There is nobody to send it to."""


class Traffic:
    """By way of paho. `deliver` gets every message, in order; it must not raise."""

    def __init__(self, client: paho.Client, deliver: Callable[[Inbound], None]) -> None:
        self._paho = client
        self._deliver = deliver
        self._confirmations: dict[int, OnConfirmed] = {}
        self.writing = False
        """paho is about to write: see `_on_publish`."""
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.manual_ack_set(on=True)
        client.max_inflight_messages = 0

    def publish(self, message: Outbound, section: bytes, on_confirmed: OnConfirmed | None) -> None:
        """Send a message that can be sent; `section` is its MQTT 5 properties, empty under 3.1.1. Raises `NotConnected`."""
        properties = privates.PackedProperties(section) if len(section) > 1 else None
        for _ in range(_PACKET_IDS):
            info = self._paho.publish(message.topic, message.payload, message.qos, message.retain, properties)
            # paho counts packet ids round and does not step over one that is still unconfirmed: try the next.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                break
        else:
            raise _all_unconfirmed()
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NotConnected
        if message.qos and on_confirmed is not None:
            self._confirmations[info.mid] = on_confirmed

    def ack(self, packet_id: int) -> None:
        """Send PUBACK."""
        self._paho.ack(packet_id, 1)

    def write(self) -> None:
        """Give the socket what waits and does not come from paho."""

    @property
    def waits(self) -> bool:
        """Has something not gone to the socket yet?"""
        return self._paho.want_write()

    @property
    def silent_s(self) -> float:
        """See `Link.silent_s`. paho's pings hide the silence, and so do their answers."""
        return time.monotonic() - privates.last_arrival(self._paho)

    def end(self) -> None:
        """No confirmation is called from now on."""
        self._confirmations.clear()

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            topic = lenient(error.object)
        qos, packet_id = message.qos, message.mid
        if qos > 1:
            # Left over from a session of another program. paho has answered PUBREC; the exchange ends here.
            client.ack(packet_id, qos)
            qos, packet_id = 0, 0
        properties = message.properties
        user = tuple(getattr(properties, "UserProperty", ()))
        expires_s = getattr(properties, "MessageExpiryInterval", None)
        payload, retain, duplicate = bytes(message.payload), bool(message.retain), bool(message.dup)
        self._deliver(Inbound(topic, payload, qos, retain, duplicate, packet_id, user, expires_s))

    def _on_publish(self, _client: paho.Client, _data: object, packet_id: int, reason_code: ReasonCode, _properties: object) -> None:
        # paho also calls it when a QoS 0 message is written; its number may be one that is still unconfirmed.
        if not self.writing:
            self._confirm(packet_id, reason_code.value)

    def _confirm(self, packet_id: int, code: int) -> None:
        on_confirmed = self._confirmations.pop(packet_id, None)
        if on_confirmed is not None:
            on_confirmed(code)


class ShortTraffic(Traffic):
    """Past paho: it sees neither the messages, nor what acknowledges them, in both directions.

    `wants_write` is called when something has been queued in `sock`. Packet ids are given out here, paho's included.
    """

    def __init__(
        self, client: paho.Client, deliver: Callable[[Inbound], None], sock: BufferedSocket, wants_write: Callable[[], None]
    ) -> None:
        super().__init__(client, deliver)
        self._sock = sock
        self._wants_write = wants_write
        self._is_5 = client.protocol == paho.MQTTv5
        self._last_id = 0
        self._heard_at = time.monotonic()
        self._sieve = Sieve(self._is_5, deliver, self._confirm)
        sock.sift = self._sift
        privates.number_packets(client, self._next_id)

    def publish(self, message: Outbound, section: bytes, on_confirmed: OnConfirmed | None) -> None:
        """See `Traffic`."""
        packet_id = self._next_id() if message.qos else 0
        if message.qos:
            self._confirmations[packet_id] = on_confirmed or _nobody_waits
        self._send(encode_publish(message, section, packet_id))

    def ack(self, packet_id: int) -> None:
        """See `Traffic`."""
        self._send(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    def write(self) -> None:
        """See `Traffic`."""
        self._sock.write_queued()

    @property
    def waits(self) -> bool:
        """See `Traffic`."""
        return self._sock.queued_bytes > 0 or super().waits

    @property
    def silent_s(self) -> float:
        """See `Link.silent_s`."""
        return time.monotonic() - self._heard_at

    def _sift(self, data: bytes) -> bytes:
        now = time.monotonic()
        privates.note_arrival(self._paho, now)
        if data != _PINGRESP:
            self._heard_at = now
        return self._sieve.sift(data)

    def _send(self, packet: bytes) -> None:
        if not self._sock.queued_bytes:
            self._wants_write()
        self._sock.queue(packet)

    def _next_id(self) -> int:
        for _ in range(_PACKET_IDS):
            self._last_id = self._last_id % _PACKET_IDS + 1
            if self._last_id not in self._confirmations:
                return self._last_id
        raise _all_unconfirmed()


def _nobody_waits(_code: int) -> None:
    """The packet id is in use all the same."""


def _all_unconfirmed() -> ValueError:
    return ValueError(f"all {_PACKET_IDS} packet ids are unconfirmed: keep to limits.receive_maximum")
