"""The packets there are thousands of, read here; all others, and whatever is not as it should be, are left to paho.

Law: the stream is cut at packet boundaries, however it arrives; what is left over is byte for byte what came, in its order.
A PUBLISH that cannot be read to its end, or that takes part in a longer exchange (QoS 2), is left over. One that can is heard, also where
paho would give up the connection for it (a property said twice, text that is no UTF-8): it would only come again.

paho reads a packet byte by byte into fresh dicts, makes MQTT 5's property tables anew for each and asks a topic matcher of its
own. Measured: 45 µs for a PUBLISH, here 3.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import attrs

from .transport import Inbound, UserProperties

_PUBLISH: Final = 0x30
_PUBLISH_MASK: Final = 0xF4  # of QoS only the lower bit may be set
_PUBACK: Final = 0x40
_LAST_SHIFT: Final = 21  # MQTT 1.5.5: a length has four bytes at most
_MESSAGE_EXPIRY: Final = 0x02
_USER_PROPERTY: Final = 0x26
_FIXED_BYTES: Final = MappingProxyType({0x01: 1, _MESSAGE_EXPIRY: 4})
"""Of a PUBLISH's properties (MQTT 3.3.2.3); a topic alias (0x23) is none of them: we never allow one."""
_STRINGS: Final = frozenset({0x03, 0x08, 0x09})
_SUBSCRIPTION_ID: Final = 0x0B


class _Odd(Exception):
    """Not one of ours."""


@attrs.define(eq=False)
class Sieve:
    """`on_publish(message)` and `on_puback(packet_id, reason_code)` are called in the order of arrival, within `sift`."""

    is_5: bool
    on_publish: Callable[[Inbound], None]
    on_puback: Callable[[int, int], None]
    _waiting: list[bytes] = attrs.field(factory=list, init=False)  # the beginning of a packet
    _waiting_bytes: int = attrs.field(default=0, init=False)
    _needed_bytes: int = attrs.field(default=0, init=False)  # to know more
    _lost: bool = attrs.field(default=False, init=False)  # no packet boundary is known any more: all is paho's

    def sift(self, data: bytes) -> bytes:
        """Handle what is ours in what has come; returns the rest. An error of a callback passes through."""
        if self._lost:
            return data
        if self._waiting:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if self._waiting_bytes < self._needed_bytes:
                return b""
            data = b"".join(self._waiting)
            self._waiting.clear()
        rest: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            body, stop = _bounds(data, at, end)
            if not body:
                self._lost = True
                rest.append(data[at:])
                break
            if stop > end:
                self._wait(data[at:], stop - at)
                break
            first = data[at]
            if first & _PUBLISH_MASK == _PUBLISH:
                message = self._publish(first, data, body, stop)
                if message is not None:
                    self.on_publish(message)
                else:
                    rest.append(data[at:stop])
            elif first == _PUBACK and (stop - body == 2 or (self.is_5 and stop - body > 2)):
                self.on_puback(data[body] << 8 | data[body + 1], data[body + 2] if stop - body > 2 else 0)
            else:
                rest.append(data[at:stop])
            at = stop
        return b"".join(rest)

    def _wait(self, data: bytes, needed_bytes: int) -> None:
        self._waiting.append(data)
        self._waiting_bytes, self._needed_bytes = len(data), needed_bytes

    def _publish(self, first: int, data: bytes, body: int, stop: int) -> Inbound | None:
        """None: paho's."""
        qos = first >> 1 & 1
        packet_id = 0
        user: UserProperties = ()
        expires_s = None
        try:
            at = body + 2 + (data[body] << 8 | data[body + 1])
            name = data[body + 2 : at]
            if qos:
                packet_id = data[at] << 8 | data[at + 1]
                at += 2
            if self.is_5:
                if data[at]:
                    user, expires_s, at = _properties(data, at)
                else:
                    at += 1
        except (IndexError, _Odd):
            return None
        if at > stop or not name or (qos and not packet_id):
            return None
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            topic = lenient(name)
        return Inbound(topic, data[at:stop], qos, bool(first & 1), bool(first & 8), packet_id, user, expires_s)


def lenient(text: bytes) -> str:
    """No broker should let it through (MQTT 1.5.4). As a topic it matches no subscription, and so is counted and acknowledged."""
    return text.decode(errors="backslashreplace")


def _bounds(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the packet's body begins and ends. An end beyond `end`: more is needed to know more; (0, 0): it is no MQTT."""
    body = at + 2
    if body > end:
        return body, body
    length = data[at + 1]
    shift = 7
    while length >> shift:  # the last byte read had its continuation bit
        if shift > _LAST_SHIFT:
            return 0, 0
        if body == end:
            return body, body + 1
        length = length & ((1 << shift) - 1) | data[body] << shift
        body += 1
        shift += 7
    return body, body + length


def _properties(data: bytes, at: int) -> tuple[UserProperties, int | None, int]:
    """User properties, expiry, and where the payload begins."""
    at, end = _length(data, at)
    if end > len(data):
        raise _Odd
    user: list[tuple[str, str]] = []
    expires_s = None
    while at < end:
        kind = data[at]
        at += 1
        if kind == _USER_PROPERTY:
            key, at = _string(data, at)
            value, at = _string(data, at)
            user.append((key, value))
        elif kind in _FIXED_BYTES:
            stop = at + _FIXED_BYTES[kind]
            if kind == _MESSAGE_EXPIRY:
                expires_s = int.from_bytes(data[at:stop], "big")
            at = stop
        elif kind in _STRINGS:
            at += 2 + (data[at] << 8 | data[at + 1])
        elif kind == _SUBSCRIPTION_ID:
            at, _ = _length(data, at)
        else:
            raise _Odd
    if at != end:
        raise _Odd
    return tuple(user), expires_s, at


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A Variable Byte Integer: where it ends, and that plus its value."""
    body, stop = _bounds(data, at - 1, len(data))
    if not body:
        raise _Odd
    return body, stop


def _string(data: bytes, at: int) -> tuple[str, int]:
    begin = at + 2
    end = begin + (data[at] << 8 | data[at + 1])
    return lenient(data[begin:end]), end
