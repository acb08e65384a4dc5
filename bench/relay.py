"""A cable between a service and its broker, to be pulled and put back.

Law: what was on its way when it was pulled is gone, and nobody says goodbye.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False)
class Relay:
    """`port`: where the service connects to. `taken_s`: when its last attempt was taken, by `time.perf_counter`."""

    port: int
    taken_s: float
    _broker_port: int
    _nursery: trio.Nursery
    _listening: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def plug(self) -> None:
        """From now on attempts succeed."""
        self._listening = trio.CancelScope()
        await self._nursery.start(self._listen, self._listening)

    def pull(self) -> None:
        """End every connection, and refuse attempts."""
        self._listening.cancel()

    async def _listen(self, until: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        with until:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._carry, listeners)
                task_status.started()

    async def _carry(self, service: trio.SocketStream) -> None:
        self.taken_s = time.perf_counter()
        service.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        async with service, await trio.open_tcp_stream("127.0.0.1", self._broker_port) as broker, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, service, broker, nursery.cancel_scope)
            nursery.start_soon(_copy, broker, service, nursery.cancel_scope)


async def _copy(source: trio.SocketStream, to: trio.SocketStream, over: trio.CancelScope) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in source:
            await to.send_all(data)
    over.cancel()


@asynccontextmanager
async def relay(broker_port: int) -> AsyncIterator[Relay]:
    """Plugged in, within the block."""
    async with trio.open_nursery() as nursery:
        made = Relay(0, 0.0, broker_port, nursery)
        await made.plug()
        yield made
        nursery.cancel_scope.cancel()
