"""A TCP proxy between a service and its broker that can be told to misbehave: `async with proxied(broker.port) as proxy:`.

`cut` closes both sides, `reset` sends RST (SO_LINGER 0), `stall` goes on accepting and forwards nothing (a half-open
link), `refuse` closes what is accepted, `hold_up` forwards what the broker says only (and a CONNECT, if told so), `delay_s` holds
every chunk back,
`cut_before` ends the next connections just before the broker's answer of one kind gets through, `cut_after` after so many
bytes of the broker's. All of it holds for connections that stand and those to come, until told otherwise.

Law: trio only, one port for all its life. What it does to a packet is decided here, never by timing.
"""

from __future__ import annotations

import math
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import trio

from tars.actors.mqtt.pulse import Pulse

CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
"""MQTT control packet types, as the upper half of a packet's first byte."""
_CHUNK_BYTES: Final = 65_536


@attrs.define(eq=False)
class Proxy:
    """See the module. `connections` counts those accepted so far; `cuts` those that `cut_before` and `cut_after` have ended."""

    target: int
    port: int = 0
    delay_s: float = 0.0
    connections: int = 0
    cuts: int = 0
    _refusing: bool = False
    _cut_before: dict[int, int] = attrs.field(factory=dict)
    _cut_after: deque[int] = attrs.field(factory=deque)
    _flowing: trio.Event = attrs.field(factory=trio.Event)
    _upwards: trio.Event = attrs.field(factory=trio.Event)
    _connects: bool = False
    _held: Counter[int] = attrs.field(factory=Counter)
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

    def refuse(self) -> None:
        """Close every connection, and from now on each new one at once."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """The end of `refuse`."""
        self._refusing = False

    def hold_up(self, *, connects: bool = False) -> None:
        """Keep what the client sends; what the broker sends goes through. With `connects`, so does the CONNECT of a new connection."""
        self._upwards, self._connects = trio.Event(), connects
        self._held.clear()

    def release_up(self) -> None:
        """The end of `hold_up`: what was kept goes on its way, in order."""
        self._upwards.set()

    async def holds(self, packet_type: int, count: int) -> None:
        """Return when `hold_up` keeps so many packets of that type."""
        while self._held[packet_type] < count:
            await self._changed.wait()

    async def accepts(self, count: int) -> None:
        """Return when `connections` is as many."""
        while self.connections < count:
            await self._changed.wait()

    def cut_before(self, packet_type: int, times: int) -> None:
        """End the next `times` connections on which the broker sends a packet of this type, without passing it on."""
        self._cut_before[packet_type] = times

    def cut_after(self, counts_bytes: Iterable[int]) -> None:
        """End the next connections, each when so many bytes of the broker's have got through."""
        self._cut_after = deque(counts_bytes)

    async def has_cut(self, count: int) -> None:
        """Return when `cuts` is as many."""
        while self.cuts < count:
            await self._changed.wait()

    async def closed_but(self, count: int) -> None:
        """Return when no more than `count` connections are open."""
        while len(self._open) > count:
            await self._changed.wait()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        self.connections += 1
        self._changed.beat()
        with trio.CancelScope() as scope:
            self._open[client] = scope
            try:
                if not self._refusing:
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
        written, to_write = trio.open_memory_channel[bytes](math.inf)
        async with broker, trio.open_nursery() as nursery:
            nursery.start_soon(self._from_client, client, written, nursery.cancel_scope)
            nursery.start_soon(self._to_broker, to_write, broker, nursery.cancel_scope)
            nursery.start_soon(self._downwards, broker, client, nursery.cancel_scope)

    async def _from_client(self, client: trio.SocketStream, written: trio.MemorySendChannel[bytes], both: trio.CancelScope) -> None:
        packets = _Packets()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await client.receive_some(_CHUNK_BYTES):
                types = packets.types(data)
                if not self._upwards.is_set():
                    self._held.update(types)
                    self._changed.beat()
                await written.send(data)
        both.cancel()

    async def _to_broker(self, to_write: trio.MemoryReceiveChannel[bytes], broker: trio.SocketStream, both: trio.CancelScope) -> None:
        first = True  # a client says nothing after its CONNECT before it has the broker's answer
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in to_write:
                if not (first and self._connects):
                    await self._upwards.wait()
                first = False
                await self._passes()
                chunks = [data]
                with suppress(trio.WouldBlock):
                    while True:
                        chunks.append(to_write.receive_nowait())
                await broker.send_all(b"".join(chunks))  # as TCP would: what came meanwhile waits no second time
        both.cancel()

    async def _downwards(self, broker: trio.SocketStream, client: trio.SocketStream, both: trio.CancelScope) -> None:
        packets = _Packets()
        left_bytes = self._cut_after.popleft() if self._cut_after else math.inf
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await broker.receive_some(_CHUNK_BYTES):
                await self._passes()
                if self._is_the_end(packets.types(data)):
                    break
                if len(data) > left_bytes:
                    await client.send_all(data[: int(left_bytes)])
                    self._has_cut_one()
                    break
                left_bytes -= len(data)
                await client.send_all(data)
        both.cancel()

    async def _passes(self) -> None:
        await self._flowing.wait()
        if self.delay_s:
            await trio.sleep(self.delay_s)

    def _is_the_end(self, types: list[int]) -> bool:
        for packet_type in types:
            if self._cut_before.get(packet_type, 0) > 0:
                self._cut_before[packet_type] -= 1
                self._has_cut_one()
                return True
        return False

    def _has_cut_one(self) -> None:
        self.cuts += 1
        self._changed.beat()


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
    proxy.release_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
