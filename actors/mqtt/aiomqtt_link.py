"""One live connection on aiomqtt and paho, as the port's `Link`.

Law: paho's callbacks only append to a deque, set an event or call a confirmation; trio tasks are woken once per
batch. Everything happens in trio's thread. A link that has ended never calls a confirmation again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aiomqtt
import attrs
import paho.mqtt.client as paho
import trio
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from . import aiomqtt_privates as privates
from .aiomqtt_packets import check_publish, encode_publish_properties
from .aiomqtt_reasons import UNSPECIFIED, End, connect_refused, disconnected
from .aiomqtt_socket import BufferedSocket
from .aiomqtt_traffic import NotConnected, ShortTraffic, Traffic
from .transport import Inbound, OnConfirmed, Outbound, ServerLimits

if TYPE_CHECKING:
    from trio_asyncio import TrioEventLoop

_FAILURE = 0x80


@attrs.define
class _Answer:
    """What a SUBSCRIBE or UNSUBSCRIBE waits for."""

    arrived: trio.Event = attrs.Factory(trio.Event)
    codes: tuple[int, ...] = ()


@attrs.define(eq=False)
class _Burst:
    """See `Link.burst`. One for each link: bursts are not nested."""

    link: AiomqttLink
    open: bool = False

    def __enter__(self) -> None:
        self.open = True

    def __exit__(self, *_: object) -> None:
        self.open = False
        if self.link.end is None:
            self.link.write_now()


class AiomqttLink:
    """See `Link`. Made by `AiomqttTransport`, which connects and closes it.

    paho sends every QoS 1 message at once: it is for the caller to keep at most `limits.receive_maximum`
    unconfirmed. Nothing is kept across connections, here or in paho: the client is as fresh as the link.
    """

    def __init__(self, client: aiomqtt.Client, loop: TrioEventLoop, where: str, sock: BufferedSocket | None) -> None:
        self.limits = ServerLimits(session_present=False)
        self.answered = trio.Event()
        """Set when the attempt to connect has come to something: see `end`."""
        self.connected = False
        """The CONNACK was a good one, once."""
        self.end: End | None = None
        self._crash: BaseException | None = None
        self._loop = loop
        self._where = where
        self._sock = sock
        self._paho = privates.paho_of(client)
        self._is_5 = self._paho.protocol == paho.MQTTv5
        self._inbox: list[Inbound] = []
        self._arrived = trio.Event()
        self._drained = trio.Event()
        self._write_due = False
        self._burst = _Burst(self)
        self._writer_fd: int | None = None
        self._traffic = (
            Traffic(self._paho, self._deliver) if sock is None else ShortTraffic(self._paho, self._deliver, sock, self._want_write)
        )
        self._answers: dict[int, _Answer] = {}
        self._hook(client)

    def _hook(self, client: aiomqtt.Client) -> None:
        """Stand between paho and aiomqtt, before the connect: a kept session is replayed right behind the CONNACK."""
        self._aiomqtt_on_connect: Any = self._paho.on_connect
        self._aiomqtt_on_disconnect: Any = self._paho.on_disconnect
        self._aiomqtt_on_socket_close: Any = self._paho.on_socket_close
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_subscribe = self._on_answer
        self._paho.on_unsubscribe = self._on_answer
        self._paho.on_socket_close = self._on_socket_close
        self._paho.on_socket_register_write = self._on_want_write
        self._paho.on_socket_unregister_write = None  # `_write` sees for itself when there is no more
        # Its lines say nothing that our errors do not, and it formats one for every packet.
        self._paho.disable_logger()
        privates.disconnected_of(client).add_done_callback(self._on_reader_gone)

    # -- what actors call -------------------------------------------------------------------------

    @property
    def silent_s(self) -> float:
        """See `Link.silent_s`."""
        return self._traffic.silent_s

    async def receive(self) -> Sequence[Inbound]:
        """See `Link.receive`. An error raised by a confirmation comes out here, as itself: it is the caller's."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._inbox:
            if self._crash is not None:
                raise self._crash
            if self.end is not None:
                raise self.end.error()
            self._arrived = trio.Event()
            await self._arrived.wait()
        batch, self._inbox = self._inbox, []
        return batch

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        """See `Link.subscribe`. Raises ValueError for a filter or QoS that cannot be."""
        if any(qos not in {0, 1} for _, qos in filters):
            raise ValueError(f"qos is 0 or 1: {filters!r}")
        self._check_alive()
        return await self._ask(*self._paho.subscribe(list(filters)))

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """See `Link.unsubscribe`."""
        self._check_alive()
        await self._ask(*self._paho.unsubscribe(list(filters)))

    async def _ask(self, rc: MQTTErrorCode, packet_id: int | None) -> tuple[int, ...]:
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise self._lost().error()
        answer = self._answers[packet_id] = _Answer()
        try:
            await answer.arrived.wait()
        finally:
            self._answers.pop(packet_id, None)
        if not answer.codes and self.end is not None:
            raise self.end.error()
        return answer.codes

    def publish(self, message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        """See `Link.publish`."""
        self._check_alive()
        section = encode_publish_properties(message) if self._is_5 else b""
        check_publish(message, self.limits, section)
        try:
            self._traffic.publish(message, section, on_confirmed)
        except NotConnected:
            raise self._lost().error() from None

    def ack(self, packet_id: int) -> bool:
        """See `Link.ack`."""
        if self.end is None:
            self._traffic.ack(packet_id)
        return self.end is None

    def burst(self) -> _Burst:
        """See `Link.burst`. Without it the write waits for a turn of the loop: two task switches, 15 µs."""
        return self._burst

    async def flush(self) -> None:
        """See `Link.flush`."""
        await trio.lowlevel.checkpoint()
        self._check_alive()
        if self._traffic.waits:
            if self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()
            self._check_alive()
        if self._sock is not None and self._sock.failure is not None:  # it takes what it is given, and knows that it goes nowhere
            raise self._lost().error()

    # -- its end ----------------------------------------------------------------------------------

    def finish(self, end: End) -> None:
        """The connection is over. The first reason stands; everybody who waits is woken."""
        if self.end is not None:
            return
        self.end = end
        self._traffic.end()
        self.answered.set()
        self._arrived.set()
        self._drained.set()
        for answer in self._answers.values():
            answer.arrived.set()

    def _lost(self) -> End:
        return self.end or End(f"no connection to {self._where}")

    def _check_alive(self) -> None:
        if self.end is not None:
            raise self.end.error()

    # -- what paho calls --------------------------------------------------------------------------

    def _on_connect(self, client: paho.Client, data: object, flags: paho.ConnectFlags, reason_code: ReasonCode, properties: Any) -> None:
        if reason_code.value >= _FAILURE:
            self.finish(connect_refused(reason_code.value, self._where))
        elif not self.connected:
            self.connected = True
            self.limits = ServerLimits(
                session_present=flags.session_present,
                receive_maximum=getattr(properties, "ReceiveMaximum", 65_535),
                max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
                max_qos=getattr(properties, "MaximumQoS", 2),
                retain_available=bool(getattr(properties, "RetainAvailable", 1)),
            )
        self._aiomqtt_on_connect(client, data, flags, reason_code, properties)

    def _on_disconnect(
        self, client: paho.Client, data: object, flags: paho.DisconnectFlags, reason_code: ReasonCode, properties: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.finish(disconnected(reason_code.value, self._where))
        else:
            # "Unspecified error" is how paho says that the socket broke or was closed.
            reason = "closed by the other side" if reason_code.value == UNSPECIFIED else str(reason_code)
            when = "lost" if self.connected else "lost before the broker answered CONNECT"
            self.finish(End(f"connection to {self._where} {when}: {reason}"))
        self._aiomqtt_on_disconnect(client, data, flags, reason_code, properties)

    def _on_reader_gone(self, future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, aiomqtt.MqttError | OSError):
            self._crash = error
        self.finish(End(f"connection to {self._where} lost" + ("" if error is None else f": {error}")))

    def _deliver(self, message: Inbound) -> None:
        self._inbox.append(message)
        self._arrived.set()

    def _on_answer(
        self, _client: paho.Client, _data: object, packet_id: int, reason_codes: Sequence[ReasonCode], _properties: object
    ) -> None:
        answer = self._answers.get(packet_id)
        if answer is not None:
            answer.codes = tuple(code.value for code in reason_codes)
            answer.arrived.set()

    # -- writing ----------------------------------------------------------------------------------

    def _on_want_write(self, _client: paho.Client, _data: object, _sock: object) -> None:
        """There is something to write. One hop to the loop, so that a burst handed over in one go is one run of `_write`.

        aiomqtt's own registers the descriptor later, when the socket may be closed and the number another's (measured:
        EBADF in the loop's nursery when a broker closes at once).
        """
        if self.connected:
            self._want_write()
        else:  # aiomqtt connects in a thread; nothing else happens in one
            self._loop.call_soon_threadsafe(self._write)

    def _want_write(self) -> None:
        if not self._write_due and not self._burst.open:
            self._write_due = True
            self._loop.call_soon(self._write)

    def write_now(self) -> None:
        """The end of a burst. What the kernel does not take now is written when it does."""
        self._traffic.write()
        if not self._traffic.waits:
            self._drained.set()
        elif self._writer_fd is None:
            self._want_write()

    def _write(self) -> None:
        self._write_due = False
        self._traffic.write()
        if self._paho.want_write():
            self._traffic.writing = True
            try:
                self._paho.loop_write()
            finally:
                self._traffic.writing = False
            self._traffic.write()  # what had to wait for the end of one of paho's packets
        if not self._traffic.waits:
            self._stop_writer()
            self._drained.set()
        elif self._writer_fd is None and (sock := self._paho.socket()) is not None:
            self._writer_fd = sock.fileno()
            self._loop.add_writer(self._writer_fd, self._write)

    def _stop_writer(self) -> None:
        if self._writer_fd is not None:
            self._loop.remove_writer(self._writer_fd)
            self._writer_fd = None

    def _on_socket_close(self, client: paho.Client, data: object, sock: Any) -> None:
        self._stop_writer()
        self._aiomqtt_on_socket_close(client, data, sock)
