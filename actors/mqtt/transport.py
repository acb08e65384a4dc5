"""The transport port: what the actors need of an MQTT client library, and nothing else of it.

Two implementations: `aiomqtt_transport` (the real one; the only module that may import aiomqtt, paho,
asyncio) and `tars.actors.testing` (scripted, in memory). One contract suite runs against both.

Rules every implementation keeps:

* `Transport.connect` is one connection attempt: an async context manager that yields a connected `Link`,
  or raises `LinkLost` (try again later), `LinkRefused` (trying again is pointless) or `ValueError` (the
  settings cannot mean anything). Leaving the block closes the connection within a bounded time, whatever
  happened inside, and leaves nothing behind.
* A `Link` lives for exactly one connection; `receive` raises `LinkLost` when it is over.
* A QoS 1 message is acknowledged when `ack` is called, and never before.
* Nothing here waits for another actor, and nothing is ever dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol, TypeAlias

import attrs

from tars.supervisor.errors import TarsError, Unavailable

UserProperties: TypeAlias = tuple[tuple[str, str], ...]

FAILURE: Final = 0x80
"""Reason codes from here on say no (MQTT 5 section 2.4)."""


class LinkLost(Unavailable):
    """The connection is gone, or could not be made. Trying again later makes sense."""


class LinkRefused(TarsError):
    """The broker said no in a way that waiting does not mend: bad credentials, not authorised, taken over.

    `code` is the MQTT reason code (5: numbers of MQTT 5 section 2.4; 3.1.1's are mapped onto them), `hint`
    says in words what to do.
    """

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@attrs.frozen
class TlsSettings:
    """Paths of PEM files. `ca_file` None means the system's store."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@attrs.frozen
class Will:
    """What the broker publishes when the connection ends without a goodbye."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


@attrs.frozen
class ConnectSettings:
    """One CONNECT. `protocol` is "5" or "3.1.1"; times in seconds; `receive_maximum` 1..65535 (MQTT 5 only).

    Every connect asks for the old session (clean_start False). `session_expiry_s` 0: the session ends with the
    connection; any other number is MQTT 5's, under 3.1.1 a session has no expiry.
    """

    host: str
    port: int
    client_id: str
    protocol: str = "5"
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: TlsSettings | None = None
    keepalive_s: int = 60
    session_expiry_s: int = 3600
    receive_maximum: int = 256
    connect_timeout_s: float = 10.0
    will: Will | None = None


@attrs.frozen(slots=True)
class Inbound:
    """One PUBLISH as it arrived. `packet_id` is 0 for QoS 0. `expires_s`: what is left of its life (MQTT 5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0
    user_properties: UserProperties = ()
    expires_s: int | None = None


@attrs.frozen(slots=True)
class Outbound:
    """One PUBLISH to send. `user_properties` and `expires_s` are left out under 3.1.1."""

    topic: str
    payload: bytes = attrs.field(repr=False)
    qos: int = 1
    retain: bool = False
    user_properties: UserProperties = ()
    expires_s: int | None = None


@attrs.frozen
class ServerLimits:
    """What the CONNACK said. Under 3.1.1 the defaults. `max_packet_bytes` None: no limit stated."""

    session_present: bool
    receive_maximum: int = 65535
    max_packet_bytes: int | None = None
    max_qos: int = 2
    retain_available: bool = True


OnConfirmed: TypeAlias = Callable[[int], None]
"""Called once with the PUBACK's reason code (0 under 3.1.1); >= 0x80 is a refusal. Never called after the link ended."""


class Link(Protocol):
    """One live connection. All methods but `receive` and `subscribe` return without waiting."""

    @property
    def limits(self) -> ServerLimits:
        """What the broker granted at CONNECT."""
        ...

    @property
    def silent_s(self) -> float:
        """Seconds since the broker sent anything, were it a part of a packet; the answer to a ping says nothing."""
        ...

    async def receive(self) -> Sequence[Inbound]:
        """Everything that has arrived since the last call, at least one, in order of arrival.

        Raises `LinkLost`, `LinkRefused` (taken over); what had arrived before is still returned first.
        """
        ...

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        """SUBSCRIBE to (filter, qos) pairs; the SUBACK's code for each, in order; >= 0x80 is a refusal. Raises `LinkLost`."""
        ...

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """UNSUBSCRIBE and wait for the answer. Raises `LinkLost`."""
        ...

    def publish(self, message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        """Hand `message` to the connection. QoS 1: `on_confirmed` is called at its PUBACK.

        Raises `LinkLost` when the connection is over, `ValueError` for a topic, payload or packet that can
        never be sent (wildcards, over the broker's maximum packet size).
        """
        ...

    def ack(self, packet_id: int) -> bool:
        """PUBACK. False, and nothing happens, when the connection is over: the broker will redeliver."""
        ...

    def burst(self) -> AbstractContextManager[None]:
        """What is handed over within the block goes out together, at its end at the latest. Nothing may be awaited in it."""
        ...

    async def flush(self) -> None:
        """Return when everything handed over so far has been written to the socket. Raises `LinkLost`."""
        ...


class Transport(Protocol):
    """Makes connections. An instance is passed to the connection actor; tests pass theirs."""

    def connect(self, settings: ConnectSettings) -> AbstractAsyncContextManager[Link]:
        """One attempt, one connection. See the module's rules."""
        ...
