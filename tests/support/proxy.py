"""A TCP proxy between a service and its broker that can be told to misbehave: `async with proxied(broker.port) as proxy:`.

`cut` closes both sides, `reset` sends RST (SO_LINGER 0), `stall` goes on accepting and forwards nothing (a half-open
link), `delay_s` holds every chunk back, `cut_before` ends the next connections just before the broker's answer of one kind
gets through. All of it holds for connections that stand and those to come, until told otherwise.

Law: trio only, one port for all its life. What it does to a packet is decided here, never by timing.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from tars.actors.mqtt.pulse import Pulse

CONNACK: Final = 2
SUBACK: Final = 9
PUBACK: Final = 4
"""MQTT control packet types, as the upper half of a packet's first byte."""
_CHUNK_BYTES: Final = 65_536


@attrs.define(eq=False)
class Proxy:
    """See the module. `connections` counts those accepted so far; `cuts` those that `cut_before` has ended."""

    target: int
    port: int = 0
    delay_s: float = 0.0
    connections: int = 0
    cuts: int = 0
    _cut_before: dict[int, int] = attrs.field(factory=dict)
    _flowing: trio.Event = attrs.field(factory=trio.Event)
    _open: dict[trio.SocketStream, trio.CancelScope] = attrs.field(factory=dict)
    _changed: Pulse = attrs.field(factory=Pulse)

    def cut(self) -> None:
        """Close every connection, in the orderly way of TCP."""
        for scope in self._open.values():
            scope.cancel()

    def reset(self) -> None:
        """End every connection with a RST to the client."""
        for stream in self._open:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut()

    def stall(self) -> None:
        """Forward nothing any more, in either direction; nobody is told."""
        self._flowing = trio.Event()

    def flow(self) -> None:
        """The end of `stall`."""
        self._flowing.set()

    def cut_before(self, packet_type: int, times: int) -> None:
        """End the next `times` connections on which the broker sends a packet of this type, without passing it on."""
        self._cut_before[packet_type] = times

    async def closed_but(self, count: int) -> None:
        """Return when no more than `count` connections are open."""
        while len(self._open) > count:
            await self._changed.wait()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        self.connections += 1
        with trio.CancelScope() as scope:
            self._open[client] = scope
            try:
                await self._relay(client)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                del self._open[client]
                client.socket.close()
                self._changed.beat()

    async def _relay(self, client: trio.SocketStream) -> None:
        try:
            broker = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            return  # no broker: the client sees its connection close
        async with broker, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, broker, None, nursery.cancel_scope)
            nursery.start_soon(self._pump, broker, client, _Packets(), nursery.cancel_scope)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, packets: _Packets | None, both: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(_CHUNK_BYTES):
                await self._flowing.wait()
                if self.delay_s:
                    await trio.sleep(self.delay_s)
                if packets is not None and self._is_the_end(packets.types(data)):
                    break
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()

    def _is_the_end(self, types: list[int]) -> bool:
        for packet_type in types:
            if self._cut_before.get(packet_type, 0) > 0:
                self._cut_before[packet_type] -= 1
                self.cuts += 1
                return True
        return False


@attrs.define(eq=False)
class _Packets:
    """The types of the packets in a stream of bytes, by their fixed headers."""

    _header: bytearray = attrs.field(factory=bytearray)
    _to_skip: int = 0

    def types(self, data: bytes) -> list[int]:
        """Of the packets that begin in `data`."""
        found: list[int] = []
        position = 0
        while position < len(data):
            if self._to_skip:
                step = min(self._to_skip, len(data) - position)
                self._to_skip -= step
                position += step
                continue
            self._header.append(data[position])
            position += 1
            if len(self._header) == 1:
                found.append(data[position - 1] >> 4)
            elif self._header[-1] < 0x80:  # the last byte of the remaining length
                self._to_skip = sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(self._header[1:]))
                self._header.clear()
        return found


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 in front of `target`."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = Proxy(target, listener.socket.getsockname()[1])
    proxy.flow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
