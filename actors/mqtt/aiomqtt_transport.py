"""The real transport: aiomqtt 2.5 (on paho) on an asyncio loop of its own, inside trio.

Only the `aiomqtt_*` modules (and the embedded broker) import asyncio, aiomqtt, paho, trio_asyncio.

Law: a fresh loop and a fresh client per attempt. An aiomqtt client that was cancelled once refuses for ever, and a
future nobody looked at takes down the loop it is collected in. Whatever happens inside the block, what leaves it
is that very exception: trio-asyncio's nurseries never wrap it.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiomqtt
import attrs
import trio
import trio_asyncio
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from . import aiomqtt_privates as privates
from .aiomqtt_link import AiomqttLink
from .aiomqtt_packets import check_settings
from .aiomqtt_reasons import (
    UNSUPPORTED_PROTOCOL,
    End,
    broker_distrusted,
    connect_refused,
    perhaps_tls,
    unusable_files,
    wants_tls,
    we_are_distrusted,
)
from .aiomqtt_socket import BufferedSocket, hold_open, open_socket, tls_context, wait_for_end
from .transport import ConnectSettings, Link, LinkLost, TlsSettings

if TYPE_CHECKING:
    from trio_asyncio import TrioEventLoop

_CANCEL_AGAIN_S = 0.1
_CONNACK_311_WRONG_PROTOCOL = b"\x20\x02\x00\x01"
_TLS_ALERT = b"\x15\x03"  # RFC 8446 section 5.1: the content type, and the first half of the version


@attrs.frozen
class AiomqttTransport:
    """See `Transport`.

    `goodbye_s` bounds the end of a block, in which what was published is still delivered, with DISCONNECT behind it.
    A broker that hears nothing any more costs all of it. `buffered` False gives paho the bare socket: one packet and
    three system calls per wake-up, a quarter of the speed, and two refusals that only our socket sees are losses.
    """

    buffered: bool = True
    goodbye_s: float = 1.0

    @asynccontextmanager
    async def connect(self, settings: ConnectSettings) -> AsyncIterator[Link]:
        """See `Transport.connect`. Raises ValueError for settings that no CONNECT can hold; TLS files that cannot be used are a refusal."""
        check_settings(settings)
        failure: BaseException | None = None
        async with trio_asyncio.open_loop() as loop:
            try:
                async with self._connection(settings, loop) as link:
                    yield link
            except BaseException as error:  # noqa: BLE001 - raised again below, outside of the loop's nurseries
                failure = error
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    @asynccontextmanager
    async def _connection(self, settings: ConnectSettings, loop: TrioEventLoop) -> AsyncIterator[Link]:
        where = f"{settings.host}:{settings.port}"
        sock: socket.socket | BufferedSocket | None = None
        client: aiomqtt.Client | None = None
        link: AiomqttLink | None = None
        try:
            try:
                with trio.fail_after(settings.connect_timeout_s):
                    context = None if settings.tls is None else await _context(settings.tls, where)
                    opened = await open_socket(settings.host, settings.port, context)
                    sock = BufferedSocket(opened) if self.buffered else opened
                    client = _client(settings)
                    privates.use_socket(privates.paho_of(client), sock)
                    link = AiomqttLink(client, loop, where, sock if isinstance(sock, BufferedSocket) else None)
                    await _enter(client, link, loop)
            except trio.TooSlowError:
                raise LinkLost(f"no answer from {where} within {settings.connect_timeout_s:g} s") from None
            except OSError as error:
                raise _open_failed(error, where, settings.tls).error() from error
            if link.end is not None:
                raise _why(link.end, sock, where, settings.tls).error()
            yield link
        finally:
            with trio.CancelScope(shield=True):
                if client is not None and link is not None:
                    await self._close(client, link, loop, where)
                if sock is not None:
                    sock.close()

    async def _close(self, client: aiomqtt.Client, link: AiomqttLink, loop: TrioEventLoop, where: str) -> None:
        """Say goodbye if there is somebody to say it to. Leaves no socket, and no exception that nobody looked at."""
        if link.connected and link.end is None:
            with trio.move_on_after(self.goodbye_s), hold_open(privates.paho_of(client).socket()) as held:
                # Lost while saying goodbye: that is an end as well.
                with suppress(aiomqtt.MqttError):
                    await loop.run_aio_coroutine(client.__aexit__(None, None, None))
                await wait_for_end(held)
        link.finish(End(f"the connection to {where} was closed by this side"))
        privates.close_socket(privates.paho_of(client))
        privates.retrieve_exceptions(client)


async def _context(tls: TlsSettings, where: str) -> ssl.SSLContext:
    try:
        return await trio.to_thread.run_sync(tls_context, tls)
    except ValueError as unusable:
        raise unusable_files(where, str(unusable)).error() from unusable


def _client(settings: ConnectSettings) -> aiomqtt.Client:
    is_5 = settings.protocol == "5"
    properties = None
    if is_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
    will = settings.will
    return aiomqtt.Client(
        settings.host,
        settings.port,
        identifier=settings.client_id,
        username=settings.username,
        password=settings.password,
        protocol=aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311,
        # Both say "give me my old session"; each version of the protocol has its own word and wants the other's default.
        clean_start=False if is_5 else MQTT_CLEAN_START_FIRST_ONLY,
        clean_session=None if is_5 else settings.session_expiry_s == 0,
        properties=properties,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
        keepalive=settings.keepalive_s,
        timeout=settings.connect_timeout_s,
    )


async def _enter(client: aiomqtt.Client, link: AiomqttLink, loop: TrioEventLoop) -> None:
    """Return when the connection stands, or `link.end` says why not.

    aiomqtt notices a refusal, but not a connection that closes before the CONNACK: it would wait on. So what is
    awaited is the link's own knowledge, and aiomqtt's attempt is ended when the link knows better.
    """
    done = trio.Event()

    def entered(_: object) -> None:
        done.set()
        link.answered.set()

    entering = loop.create_task(client.__aenter__())
    entering.add_done_callback(entered)
    try:
        await link.answered.wait()
    finally:
        with trio.CancelScope(shield=True):
            while not done.is_set():
                # Again and again: a cancellation that meets aiomqtt's thread just as it returns is lost.
                entering.cancel()
                with trio.move_on_after(_CANCEL_AGAIN_S):
                    await done.wait()
    error = None if entering.cancelled() else entering.exception()
    if error is not None and link.end is None:
        # With the socket open already, this is aiomqtt's own idea of a timeout, or something nobody has thought of.
        raise ConnectionError(str(error)) if isinstance(error, aiomqtt.MqttError) else error


def _why(end: End, sock: socket.socket | BufferedSocket, where: str, tls: TlsSettings | None) -> End:
    """The end of an attempt, made more precise by what the socket saw and paho keeps to itself."""
    if end.code is not None or not isinstance(sock, BufferedSocket):
        return end
    if sock.opening == _CONNACK_311_WRONG_PROTOCOL:
        return connect_refused(UNSUPPORTED_PROTOCOL, where)
    if tls is None and sock.opening[:2] == _TLS_ALERT:
        return wants_tls(where)
    return end if sock.failure is None else _open_failed(sock.failure, where, tls)


def _open_failed(error: OSError, where: str, tls: TlsSettings | None) -> End:
    """TLS 1.3 tells us only after the handshake what the broker thinks of our certificate, hence the look at alerts."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return broker_distrusted(where, error.verify_code, error.verify_message, tls.ca_file if tls else None)
    if isinstance(error, ssl.SSLError) and any(word in (error.reason or "") for word in ("CERTIFICATE", "UNKNOWN_CA")):
        return we_are_distrusted(where, str(error.reason), tls.cert_file if tls else None)
    causes = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else [error.__cause__ or error]
    words = "; ".join(dict.fromkeys(_in_words(cause) for cause in causes))
    # A listener without TLS hangs up on a handshake, one with TLS on a CONNECT (measured: Mosquitto), and neither says why.
    hung_up = any(isinstance(cause, ConnectionResetError | ssl.SSLEOFError) or "WRONG_VERSION" in str(cause) for cause in causes)
    return End(f"cannot connect to {where}: {words}{perhaps_tls(spoken=tls is not None) if hung_up else ''}")


def _in_words(error: BaseException) -> str:
    """Just what went wrong, e.g. "Connection refused": no number, and not the address again."""
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno)
