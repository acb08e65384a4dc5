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
from .transport import Inbound, OnConfirmed, Outbound, ServerLimits

if TYPE_CHECKING:
    from trio_asyncio import TrioEventLoop

_PACKET_IDS = 65_535
_FAILURE = 0x80


@attrs.define
class _Answer:
    """What a SUBSCRIBE or UNSUBSCRIBE waits for."""

    arrived: trio.Event = attrs.Factory(trio.Event)
    codes: tuple[int, ...] = ()


class AiomqttLink:
    """See `Link`. Made by `AiomqttTransport`, which connects and closes it.

    paho sends every QoS 1 message at once: it is for the caller to keep at most `limits.receive_maximum`
    unconfirmed. Nothing is kept across connections, here or in paho: the client is as fresh as the link.
    """

    def __init__(self, client: aiomqtt.Client, loop: TrioEventLoop, where: str) -> None:
        self.limits = ServerLimits(session_present=False)
        self.answered = trio.Event()
        """Set when the attempt to connect has come to something: see `end`."""
        self.connected = False
        """The CONNACK was a good one, once."""
        self.end: End | None = None
        self._crash: BaseException | None = None
        self._loop = loop
        self._where = where
        self._paho = privates.paho_of(client)
        self._is_5 = self._paho.protocol == paho.MQTTv5
        self._inbox: list[Inbound] = []
        self._arrived = trio.Event()
        self._drained = trio.Event()
        self._writing = False
        self._writer_fd: int | None = None
        self._confirmations: dict[int, OnConfirmed] = {}
        self._answers: dict[int, _Answer] = {}
        self._hook(client)

    def _hook(self, client: aiomqtt.Client) -> None:
        """Stand between paho and aiomqtt, before the connect: a kept session is replayed right behind the CONNACK."""
        self._aiomqtt_on_connect: Any = self._paho.on_connect
        self._aiomqtt_on_disconnect: Any = self._paho.on_disconnect
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish
        self._paho.on_subscribe = self._on_answer
        self._paho.on_unsubscribe = self._on_answer
        self._paho.on_socket_register_write = self._on_want_write
        self._paho.on_socket_unregister_write = self._on_wrote_all
        self._paho.manual_ack_set(on=True)
        self._paho.max_inflight_messages = 0
        # Its lines say nothing that our errors do not, and it formats one for every packet.
        self._paho.disable_logger()
        privates.disconnected_of(client).add_done_callback(self._on_reader_gone)

    # -- what actors call -------------------------------------------------------------------------

    async def receive(self) -> Sequence[Inbound]:
        """See `Link.receive`. An error raised by a confirmation comes out here, as itself: it is the caller's."""
        await trio.lowlevel.checkpoint()
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
        properties = privates.PackedProperties(section) if len(section) > 1 else None
        for _ in range(_PACKET_IDS):
            info = self._paho.publish(message.topic, message.payload, message.qos, message.retain, properties)
            # paho counts packet ids round and does not step over one that is still unconfirmed: try the next.
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                break
        else:
            raise ValueError(f"all {_PACKET_IDS} packet ids are unconfirmed: keep to limits.receive_maximum")
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._lost().error()
        if message.qos and on_confirmed is not None:
            self._confirmations[info.mid] = on_confirmed

    def ack(self, packet_id: int) -> None:
        """See `Link.ack`."""
        if self.end is None:
            self._paho.ack(packet_id, 1)

    async def flush(self) -> None:
        """See `Link.flush`."""
        await trio.lowlevel.checkpoint()
        self._check_alive()
        if self._paho.want_write():
            if self._drained.is_set():
                self._drained = trio.Event()
            await self._drained.wait()
            self._check_alive()

    # -- its end ----------------------------------------------------------------------------------

    def finish(self, end: End) -> None:
        """The connection is over. The first reason stands; everybody who waits is woken."""
        if self.end is not None:
            return
        self.end = end
        self._confirmations.clear()
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

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            # No broker should let it through (MQTT 1.5.4); it matches no subscription, and so is counted and acknowledged.
            topic = error.object.decode(errors="backslashreplace")
        qos, packet_id = message.qos, message.mid
        if qos > 1:
            # Left over from a session of another program. paho has answered PUBREC; the exchange ends here.
            client.ack(packet_id, qos)
            qos, packet_id = 0, 0
        properties = message.properties
        self._inbox.append(
            Inbound(
                topic,
                bytes(message.payload),
                qos,
                bool(message.retain),
                bool(message.dup),
                packet_id,
                tuple(getattr(properties, "UserProperty", ())),
                getattr(properties, "MessageExpiryInterval", None),
            )
        )
        self._arrived.set()

    def _on_publish(self, _client: paho.Client, _data: object, packet_id: int, reason_code: ReasonCode, _properties: object) -> None:
        # paho also calls it when a QoS 0 message is written; its number may be one that is still unconfirmed.
        if self._writing:
            return
        on_confirmed = self._confirmations.pop(packet_id, None)
        if on_confirmed is not None:
            on_confirmed(reason_code.value)

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
        # aiomqtt connects in a thread; nothing else happens in one.
        schedule = self._loop.call_soon if self.connected else self._loop.call_soon_threadsafe
        schedule(self._write)

    def _write(self) -> None:
        self._writing = True
        try:
            self._paho.loop_write()
        finally:
            self._writing = False
        sock = self._paho.socket()
        if sock is not None and self._paho.want_write() and self._writer_fd is None:
            self._writer_fd = sock.fileno()
            self._loop.add_writer(self._writer_fd, self._write)

    def _on_wrote_all(self, _client: paho.Client, _data: object, _sock: object) -> None:
        if self._writer_fd is not None:
            self._loop.remove_writer(self._writer_fd)
            self._writer_fd = None
        self._drained.set()
