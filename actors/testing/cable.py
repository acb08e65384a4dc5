"""The cable between a service under test and a real broker: a TCP proxy on a port of its own, which can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

_CHUNK_BYTES: Final = 65_536


@attrs.define(eq=False)
class Cable:
    """`port`: where the service connects to, on 127.0.0.1."""

    target: int
    port: int = 0
    _open: set[trio.CancelScope] = attrs.field(factory=set, init=False)

    def cut(self) -> None:
        """Every connection ends without a goodbye; the next one stands."""
        for scope in self._open:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection."""
        with trio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with await trio.open_tcp_stream("127.0.0.1", self.target) as broker, trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, client, broker, nursery.cancel_scope)
                    nursery.start_soon(_pump, broker, client, nursery.cancel_scope)
            except OSError:
                return  # no broker: the client sees its connection close
            finally:
                self._open.discard(scope)
                client.socket.close()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(_CHUNK_BYTES):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    both.cancel()


@asynccontextmanager
async def cable_to(target: int) -> AsyncIterator[Cable]:
    """A cable to 127.0.0.1:`target`."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    cable = Cable(target, listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, cable.serve, [listener])
        yield cable
        nursery.cancel_scope.cancel()
