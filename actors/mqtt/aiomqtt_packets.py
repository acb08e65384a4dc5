"""What can be sent at all, and how large it is: checked before the client library sees it.

Law: pure. A value that can never be sent is a `ValueError` here and not a broken connection later: an oversized
packet is answered with a disconnect, is sent again after the reconnect, and so on for ever.
"""

from __future__ import annotations

import struct
from typing import Final

from .transport import ConnectSettings, Outbound, ServerLimits, Will

MAX_REMAINING_BYTES: Final = 268_435_455  # MQTT 2.1.4: what four length bytes can say
MAX_STRING_BYTES: Final = 65_535  # MQTT 1.5.4: what two length bytes can say
_MAX_UINT16: Final = 65_535
_MAX_UINT32: Final = 4_294_967_295
_MESSAGE_EXPIRY: Final = 0x02
_USER_PROPERTY: Final = 0x26


def check_settings(settings: ConnectSettings) -> None:
    """Raise ValueError for settings no broker could accept, naming the field."""
    if settings.protocol not in {"5", "3.1.1"}:
        raise ValueError(f'protocol is "5" or "3.1.1", not {settings.protocol!r}')
    if not settings.host:
        raise ValueError("host is empty")
    encode_string(settings.client_id, "client_id")
    if not settings.client_id:
        raise ValueError("client_id is empty: a session that outlives its connection needs a name")
    if settings.password is not None and settings.username is None:
        raise ValueError("there is a password but no username")
    if settings.connect_timeout_s <= 0:
        raise ValueError("connect_timeout_s must be positive")
    ranges = (
        ("port", settings.port, 1, _MAX_UINT16),
        ("keepalive_s", settings.keepalive_s, 0, _MAX_UINT16),
        ("receive_maximum", settings.receive_maximum, 1, _MAX_UINT16),
        ("session_expiry_s", settings.session_expiry_s, 0, _MAX_UINT32),
    )
    for name, value, lowest, highest in ranges:
        if not lowest <= value <= highest:
            raise ValueError(f"{name} is {lowest}..{highest}, not {value}")
    if settings.will is not None:
        _check_will(settings.will)


def _check_will(will: Will) -> None:
    encode_topic(will.topic)
    if will.qos not in {0, 1}:
        raise ValueError(f"the Will's qos is 0 or 1, not {will.qos}")
    if len(will.payload) > MAX_STRING_BYTES:
        raise ValueError(f"the Will's payload has {len(will.payload)} bytes, more than {MAX_STRING_BYTES}")


def encode_string(text: str, what: str) -> bytes:
    """`text` as MQTT 1.5.4 wants it: UTF-8, without NUL, at most 65 535 bytes. Raises ValueError."""
    encoded = text.encode()
    if b"\0" in encoded:
        raise ValueError(f"{what} contains U+0000")
    if len(encoded) > MAX_STRING_BYTES:
        raise ValueError(f"{what} has {len(encoded)} bytes, more than {MAX_STRING_BYTES}")
    return encoded


def encode_topic(topic: str) -> bytes:
    """A topic to publish to: not empty, no wildcards (MQTT 4.7.1, 4.7.3). Raises ValueError."""
    if not topic:
        raise ValueError("the topic is empty")
    if "+" in topic or "#" in topic:
        raise ValueError(f"a topic to publish to has no wildcards: {topic[:100]!r}")
    return encode_string(topic, "the topic")


def encode_publish_properties(message: Outbound) -> bytes:
    """The property section of an MQTT 5 PUBLISH, with its length in front (MQTT 3.3.2.3). Raises ValueError."""
    parts = []
    if message.expires_s is not None:
        if not 0 <= message.expires_s <= _MAX_UINT32:
            raise ValueError(f"expires_s is 0..{_MAX_UINT32}, not {message.expires_s}")
        parts.append(struct.pack("!BL", _MESSAGE_EXPIRY, message.expires_s))
    for key, value in message.user_properties:
        name, text = encode_string(key, "a user property"), encode_string(value, "a user property")
        parts.append(b"%c%c%c%b%c%c%b" % (_USER_PROPERTY, len(name) >> 8, len(name) & 255, name, len(text) >> 8, len(text) & 255, text))
    body = b"".join(parts)
    return encode_length(len(body)) + body


def encode_publish(message: Outbound, properties: bytes, packet_id: int) -> bytes:
    """The packet of a message that `check_publish` has let pass (MQTT 3.3); `properties` as there, `packet_id` 1..65 535, at QoS 0 none."""
    topic = message.topic.encode()
    first = 0x30 | message.qos << 1 | message.retain
    number = packet_id.to_bytes(2, "big") if message.qos else b""
    length = 2 + len(topic) + len(number) + len(properties) + len(message.payload)
    return b"".join((bytes((first,)), encode_length(length), len(topic).to_bytes(2, "big"), topic, number, properties, message.payload))


def encode_length(length: int) -> bytes:
    """A Variable Byte Integer (MQTT 1.5.5), 0..268 435 455."""
    if length < 128:
        return bytes((length,))
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | 0x80 if length else low)
        if not length:
            return bytes(out)


def check_publish(message: Outbound, limits: ServerLimits, properties: bytes) -> None:
    """Raise ValueError unless this broker can be sent `message`; `properties` is its section (empty under 3.1.1)."""
    if message.qos not in {0, 1}:
        raise ValueError(f"qos is 0 or 1, not {message.qos}")
    if message.qos > limits.max_qos:
        raise ValueError(f"the broker takes QoS {limits.max_qos} at most")
    if message.retain and not limits.retain_available:
        raise ValueError("the broker keeps no retained messages")
    topic = encode_topic(message.topic)
    packet_id_bytes = 2 if message.qos else 0
    remaining_bytes = 2 + len(topic) + packet_id_bytes + len(properties) + len(message.payload)
    if remaining_bytes > MAX_REMAINING_BYTES:
        raise ValueError(f"a packet of {remaining_bytes} bytes: MQTT ends at {MAX_REMAINING_BYTES}")
    packet_bytes = 1 + len(encode_length(remaining_bytes)) + remaining_bytes
    if limits.max_packet_bytes is not None and packet_bytes > limits.max_packet_bytes:
        raise ValueError(f"a packet of {packet_bytes} bytes to {message.topic[:100]!r}: the broker takes {limits.max_packet_bytes} at most")
