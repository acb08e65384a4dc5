"""As much of MQTT 3.1.1 and 5 as a feeder needs: packets encoded, and a stream of bytes cut into packets. Pure.

Section numbers are those of the MQTT 5 specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

Protocol: TypeAlias = Literal["3.1.1", "5"]

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

UNLIMITED: Final = 65_535
"""The Receive Maximum of a client that names none (3.1.2.11.3), and of every 3.1.1 client."""

_RECEIVE_MAXIMUM: Final = 0x21
_PROPERTY_BYTES: Final[Mapping[int, int]] = MappingProxyType({0x11: 4, 0x21: 2, 0x22: 2, 0x27: 4, 0x17: 1, 0x19: 1})
"""How long the values of CONNECT's numbers are (2.2.2.2)."""
_USER_PROPERTY: Final = 0x26
_METHOD: Final = 0x15
_DATA: Final = 0x16


class Malformed(Exception):
    """What came is no MQTT, or more of it than this module knows."""


# -- numbers and strings --------------------------------------------------------------------------


def encode_length(length: int) -> bytes:
    """A Variable Byte Integer (1.5.5)."""
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | 0x80 if length else low)
        if not length:
            return bytes(out)


def decode_length(data: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The Variable Byte Integer at `start`, and where it ends; None if it is not all there. Raises `Malformed`."""
    value = 0
    for place in range(4):
        if start + place >= len(data):
            return None
        byte = data[start + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise Malformed("a length of more than four bytes")


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A whole packet around `body`."""
    return bytes([kind << 4 | flags]) + encode_length(len(body)) + body


def _string(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


# -- what a feeder sends --------------------------------------------------------------------------


def publish(topic: str, payload: bytes, *, qos: int, packet_id: int, protocol: Protocol) -> bytes:
    """A PUBLISH without properties; `packet_id` means nothing at QoS 0."""
    number = packet_id.to_bytes(2, "big") if qos else b""
    properties = b"\0" if protocol == "5" else b""
    return packet(PUBLISH, _string(topic) + number + properties + payload, qos << 1)


def connect(client_id: str, protocol: Protocol) -> bytes:
    """A CONNECT for a fresh session, without keepalive and without properties."""
    properties = b"\0" if protocol == "5" else b""
    return packet(CONNECT, _string("MQTT") + bytes([5 if protocol == "5" else 4, 0x02, 0, 0]) + properties + _string(client_id))


def subscribe(topic_filter: str, packet_id: int, *, qos: int) -> bytes:
    """A 3.1.1 SUBSCRIBE to one filter."""
    return packet(SUBSCRIBE, packet_id.to_bytes(2, "big") + _string(topic_filter) + bytes([qos]), 0x02)


# -- what a fake broker answers -------------------------------------------------------------------


def connack(protocol: Protocol) -> bytes:
    """Welcome, to a fresh session."""
    return packet(CONNACK, b"\0\0\0" if protocol == "5" else b"\0\0")


def acknowledge(kind: int, packet_id: bytes, protocol: Protocol, codes: Sequence[int] = ()) -> bytes:
    """A PUBACK, SUBACK or UNSUBACK."""
    with_properties = protocol == "5" and kind != PUBACK
    return packet(kind, packet_id + (b"\0" if with_properties else b"") + bytes(codes))


@attrs.frozen
class Connect:
    """What a client's CONNECT says about itself."""

    protocol: Protocol
    receive_maximum: int


def read_connect(body: bytes) -> Connect:
    """Raises `Malformed` for what is neither 3.1.1 nor 5."""
    level = body[6:7]
    if body[:6] != b"\0\4MQTT" or level not in {b"\4", b"\5"}:
        raise Malformed("no CONNECT of MQTT 3.1.1 or 5")
    if level == b"\4":
        return Connect("3.1.1", UNLIMITED)
    return Connect("5", _receive_maximum(body, 10))


def _receive_maximum(body: bytes, start: int) -> int:
    found = decode_length(body, start)
    if found is None:
        raise Malformed("CONNECT ends before its properties")
    length, at = found
    end = at + length
    while at < end:
        name = body[at]
        at += 1
        if name == _RECEIVE_MAXIMUM:
            return int.from_bytes(body[at : at + 2], "big")
        if name in {_USER_PROPERTY, _METHOD, _DATA}:
            for _ in range(2 if name == _USER_PROPERTY else 1):
                at += 2 + int.from_bytes(body[at : at + 2], "big")
        else:
            try:
                at += _PROPERTY_BYTES[name]
            except KeyError:
                raise Malformed(f"property {name:#x} in CONNECT") from None
    return UNLIMITED


def read_filters(body: bytes, protocol: Protocol, *, with_options: bool) -> list[str]:
    """The filters of a SUBSCRIBE (`with_options`) or UNSUBSCRIBE body. Raises `Malformed`."""
    at = 2
    if protocol == "5":
        found = decode_length(body, at)
        if found is None:
            raise Malformed("ends before its properties")
        at = found[0] + found[1]
    filters: list[str] = []
    while at < len(body):
        length = int.from_bytes(body[at : at + 2], "big")
        filters.append(body[at + 2 : at + 2 + length].decode())
        at += 2 + length + (1 if with_options else 0)
    return filters


# -- a stream, cut ----------------------------------------------------------------------------------


@attrs.frozen
class Packet:
    """One packet of the stream: its type, the flags of its first byte, and what follows the length."""

    kind: int
    flags: int
    body: bytes


@attrs.define
class Cutter:
    """Cuts what a socket gives into packets. PUBACKs, of which there are many, are only counted: `take_pubacks`."""

    _rest: bytes = b""
    _pubacks: int = 0

    def take_pubacks(self) -> int:
        """How many have come since the last call."""
        count, self._pubacks = self._pubacks, 0
        return count

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Every packet but PUBACKs that `data` completes. Raises `Malformed`, also for a PUBACK that says no."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        short, odd = divmod(len(data), 4)
        if not odd and data[::4] == b"\x40" * short and data[1::4] == b"\x02" * short:  # nothing but short PUBACKs
            self._pubacks += short
            return
        at = 0
        while at < len(data):
            found = decode_length(data, at + 1)
            if found is None or sum(found) > len(data):
                break
            length, start = found
            kind = data[at] >> 4
            body = data[start : start + length]
            if kind == PUBACK:
                if length > 2 and body[2] >= 0x80:
                    raise Malformed(f"the consumer refused a message: reason code {body[2]:#x}")
                self._pubacks += 1
            else:
                yield Packet(kind, data[at] & 0x0F, body)
            at = start + length
        self._rest = data[at:]


def read_publish(sent: Packet, protocol: Protocol) -> tuple[str, bytes, bytes]:
    """Topic, packet id (two bytes, none at QoS 0) and payload of a PUBLISH. Raises `Malformed`."""
    end = 2 + int.from_bytes(sent.body[:2], "big")
    topic, at = sent.body[2:end].decode(), end
    packet_id = b""
    if sent.flags & 0x06:
        packet_id, at = sent.body[at : at + 2], at + 2
    if protocol == "5":
        found = decode_length(sent.body, at)
        if found is None:
            raise Malformed("PUBLISH ends before its properties")
        at = sum(found)
    return topic, packet_id, sent.body[at:]
