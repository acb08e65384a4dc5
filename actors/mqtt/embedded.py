"""The embedded broker: amqtt inside this process, so that a first start needs no broker installed.

For trying out. What it is not is logged at every start. Law: beside the aiomqtt transport the only module
that imports asyncio, trio_asyncio or amqtt. We own the listening socket and every connection
(amqtt calls that an "external" listener), so that we can say which port is taken and leave nothing open.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio
import trio_asyncio

from tars.supervisor import Escalate

if TYPE_CHECKING:
    from amqtt.broker import Broker

STOP_S: Final = 2.0
"""Longest orderly shutdown, in seconds; afterwards connections are cut."""

_LISTENER: Final = "default"
_CONNECT: Final = 0x10
_MQTT_5: Final = b"\0\4MQTT\5"
_REFUSED: Final = b"\x20\2\0\1"
"""CONNACK: unacceptable protocol version (MQTT 3.1.1, 3.2.2.3)."""


class PortStatus(Protocol):
    """``trio.TaskStatus[int]``, as a structural type."""

    def started(self, value: int) -> None:
        """The broker listens on this port."""
        ...


async def embedded_broker(host: str, port: int, *, task_status: PortStatus) -> None:
    """Run a broker on `host`:`port` until cancelled; fit for `ChildSpec.start`.

    Calls ``task_status.started(port)`` when it listens; `port` 0 takes a free one. Anonymous clients,
    MQTT 3.1.1, everything in memory. Raises `Escalate` when it cannot listen there or amqtt is missing:
    a restart would not help.
    """
    refused: OSError | ModuleNotFoundError | None = None
    async with trio_asyncio.open_loop():
        try:
            running = await trio_asyncio.aio_as_trio(_start)(host, port)
        except (OSError, ModuleNotFoundError) as error:
            refused = error  # raised below: open_loop would wrap it in exception groups
        else:
            await _serve(running, host, task_status)
    if refused is not None:
        raise Escalate(_reason(host, port, refused)) from refused


def _no_cancellation(record: logging.LogRecord) -> bool:
    """Amqtt logs its own shutdown as an error, if a task of its is cancelled in the wrong moment."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


async def _serve(running: _Running, host: str, task_status: PortStatus) -> None:
    try:
        structlog.stdlib.get_logger().warning(
            "embedded_broker_started",
            host=host,
            port=running.port,
            protocol="3.1.1",
            limits="for trying out: MQTT 3.1.1 only; forgets unacknowledged messages, so at most once across a link failure; "
            "$share subscriptions receive nothing; keeps nothing on disk. Use Mosquitto for real work.",
        )
        task_status.started(running.port)
        await trio.sleep_forever()
    finally:
        amqtts = logging.getLogger("amqtt.broker")
        amqtts.addFilter(_no_cancellation)
        try:
            with trio.move_on_after(STOP_S, shield=True):
                await trio_asyncio.aio_as_trio(running.stop)()
        finally:
            running.cut_connections()
            amqtts.removeFilter(_no_cancellation)


class _Replaying:
    """What amqtt reads a connection with: gives what has been read already, and then the rest."""

    def __init__(self, begun: bytes, reader: asyncio.StreamReader) -> None:
        self._begun = begun
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes, or all there will be. Raises IncompleteReadError."""
        end = len(self._begun) if n < 0 else n
        known, self._begun = self._begun[:end], self._begun[end:]
        if n < 0:
            return known + await self._reader.read()
        return known if len(known) == n else known + await self._reader.readexactly(n - len(known))

    def feed_eof(self) -> None:
        """Amqtt has had enough."""
        self._reader.feed_eof()


class _Running:
    """A started broker with its listening sockets and its clients' connections. asyncio-flavoured."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._connected, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from amqtt.adapters import StreamWriterAdapter  # noqa: PLC0415 - optional dependency

        self._writers.add(writer)
        try:
            # amqtt says goodbye to a client that has gone: no reason for the broker to go too.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                begun = await _beginning(reader)
                if begun.endswith(_MQTT_5):
                    writer.write(_REFUSED)  # amqtt would look for the client's name in MQTT 5's properties, and wait for the rest of it
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
                    return
                await self._broker.external_connected(_Replaying(begun, reader), StreamWriterAdapter(writer), _LISTENER)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()  # amqtt leaves some open, e.g. after a first packet that is no CONNECT

    async def stop(self) -> None:
        """No new clients, then amqtt's own shutdown, then no clients at all."""
        if self._server is not None:
            self._server.close()
        await self._broker.shutdown()

    def cut_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def _beginning(reader: asyncio.StreamReader) -> bytes:
    """Of a CONNECT all up to the protocol's level; of anything else the fixed header."""
    begun = await reader.readexactly(2)
    while begun[-1] & 0x80 and len(begun) < 5:
        begun += await reader.readexactly(1)
    return begun + await reader.readexactly(len(_MQTT_5)) if begun[0] == _CONNECT else begun


async def _start(host: str, port: int) -> _Running:
    from amqtt.broker import Broker  # noqa: PLC0415 - optional dependency

    broker = Broker(
        {
            "listeners": {_LISTENER: {"type": "external"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    running = _Running(broker)
    await broker.start()
    try:
        await running.listen(host, port)
    except OSError:
        await running.stop()
        raise
    return running


def _reason(host: str, port: int, error: OSError | ModuleNotFoundError) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the embedded broker needs the package {error.name!r}: pip install 'tars[broker]', "
            "or use another broker: set [broker] embedded = false and point [mqtt] url at it"
        )
    at = f"the embedded broker cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{at}: port {port} is in use. If that is a broker, use it: set [broker] embedded = false, or MQTT_URL=mqtt://{host}:{port}. "
            "Otherwise stop what holds the port, or choose another port in [mqtt] url"
        )
    return f"{at}: {error.strerror}. Choose another address in [mqtt] url"
