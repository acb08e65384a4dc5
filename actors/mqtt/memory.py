"""A broker in memory, and the transport to it: MQTT's rules and a broker's faults, without a socket, a thread or a sleep.

For tests in virtual time. What it keeps of MQTT: sessions and their expiry, QoS 0 and 1, redelivery on a new connection
only, Receive Maximum, retained messages, Wills, shared subscriptions, takeover, refusals. What it leaves out: QoS 2,
keepalive (a frozen broker is silent for ever), Will delay, subscription options.

Law: one instance is one broker and all its state. Nothing here waits; time is trio's, read when something happens.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from .aiomqtt_packets import check_settings
from .aiomqtt_reasons import End
from .memory_core import NO_LIMITS, NOT_AUTHORIZED, BrokerCore
from .memory_link import MemoryLink
from .memory_routing import Routing
from .topics import validate_filter, validate_topic
from .transport import ConnectSettings, Link, LinkLost, LinkRefused, Outbound, ServerLimits, UserProperties


class MemoryBroker(BrokerCore):
    """The broker. Connect to it through `MemoryTransport`; it answers at any host and port.

    `users`: user name to password; None lets everybody in. `limits`: what its CONNACK says (MQTT 5), and enforces.
    `max_queued`: messages kept per session beyond what is unacknowledged, None for any number; more are `lost`.
    `max_inflight`: unacknowledged messages per connection, where the client's Receive Maximum does not say less;
    `overshoots`: it pays no heed to that, as some brokers do.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        limits: ServerLimits = NO_LIMITS,
        max_queued: int | None = None,
        max_inflight: int = 65_535,
        overshoots: bool = False,
    ) -> None:
        super().__init__(users=users, limits=limits, max_queued=max_queued, max_inflight=max_inflight, overshoots=overshoots)
        self._attempts: set[MemoryLink] = set()
        self._down = False

    # -- what an outside client does --------------------------------------------------------------

    def deliver(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 1,
        *,
        retain: bool = False,
        user_properties: UserProperties = (),
        expires_s: int | None = None,
    ) -> None:
        """Publish as an MQTT 5 client outside would. Raises ValueError (topic, qos), LinkLost (the broker is killed).

        To a frozen broker it is on its way until `thaw`.
        """
        validate_topic(topic)
        if qos not in {0, 1}:
            raise ValueError(f"qos is 0 or 1, not {qos}")
        if self._down:
            raise LinkLost("the broker is killed: nobody can publish")
        message = Outbound(topic, payload, qos, retain, tuple(user_properties), expires_s)
        self._hear(functools.partial(self._route, message, is_5=True))

    @property
    def retained(self) -> Mapping[str, bytes]:
        """The payload kept for each topic."""
        return {topic: message.payload for topic, message in self._routing.retained.items()}

    # -- faults -----------------------------------------------------------------------------------

    def kill(self, *, persistent: bool = True) -> None:
        """The broker dies: every connection is lost, no Will is published, nobody listens until `restart`.

        `persistent`: sessions (with queues and unacknowledged messages) and retained messages survive.
        """
        self._down, self._backlog, self._held = True, None, None
        for link in [*self._links.values(), *self._attempts]:
            link.finish(End(f"connection to {link.where} lost: closed by the other side"))
        for client_id in list(self._links):
            self._detach(client_id)
        if not persistent:
            self._sessions.clear()
            self._routing = Routing()
        self._note()

    def restart(self) -> None:
        """The broker is there again, with what `kill` left it. One that was not killed is, persistent."""
        if not self._down:
            self.kill()
        self._down = False
        self._note()

    def freeze(self) -> None:
        """From now on the broker takes every byte and answers nothing; no connection ends. Until `thaw`, `kill` or `restart`."""
        if self._backlog is None and not self._down:
            self._backlog = []

    def thaw(self) -> None:
        """The broker works off what it was sent meanwhile, in order."""
        backlog, self._backlog = self._backlog or [], None
        for act in backlog:
            act()

    def refuse_connections(self, error: LinkLost | LinkRefused | None) -> None:
        """Every attempt to connect raises an error like this one; None: no more. Connections that stand are left alone."""
        code, hint = (error.code, error.hint) if isinstance(error, LinkRefused) else (None, "")
        self._refusal = None if error is None else End(str(error), code, hint)

    def drop_link(self, client_id: str) -> None:
        """The connection of this client breaks: its session is kept, its Will is published. Raises KeyError when it has none."""
        link = self._links[client_id]
        link.finish(End(f"connection to {link.where} lost: closed by the other side"))
        self._hear(functools.partial(self._gone, link))

    def hold_pubacks(self) -> None:
        """Publishes are taken and passed on, and not confirmed until `release_pubacks`."""
        self._held = self._held or {}

    def release_pubacks(self) -> None:
        """The confirmations that were held go out, in the order of each link; later ones are not held."""
        held, self._held = self._held or {}, None
        for link, answers in held.items():
            for packet_id, code in answers:
                link.hear_puback(packet_id, code)

    def refuse_subscribe(self, topic_filter: str, code: int = NOT_AUTHORIZED) -> None:
        """A SUBSCRIBE to this very filter is answered with `code`, 0x80 under 3.1.1; 0 allows it again."""
        validate_filter(topic_filter)
        self._refused_subscribes[topic_filter] = code

    def grant_at_most(self, topic_filter: str, qos: int) -> None:
        """A SUBSCRIBE to this very filter is granted at `qos` at most: what more was asked for is not refused, and not given."""
        validate_filter(topic_filter)
        self._granted_at_most[topic_filter] = qos

    def refuse_publish(self, topic_filter: str, code: int = NOT_AUTHORIZED) -> None:
        """A client's PUBLISH to a matching topic goes nowhere and is answered with `code`; 3.1.1 cannot say so. 0 allows it again."""
        validate_filter(topic_filter)
        self._refused_publishes[topic_filter] = code

    # -- one attempt to connect -------------------------------------------------------------------

    async def connect(self, settings: ConnectSettings) -> MemoryLink:
        """What `MemoryTransport.connect` stands on; the caller closes the link."""
        await trio.lowlevel.checkpoint()
        link = MemoryLink(self, settings)
        if self._down:
            raise LinkLost(f"cannot connect to {link.where}: nobody listens")
        self._attempts.add(link)
        try:
            with trio.fail_after(settings.connect_timeout_s):
                self._hear(functools.partial(self._accept, link))
                await link.answered.wait()
        except trio.TooSlowError:
            raise LinkLost(f"no answer from {link.where} within {settings.connect_timeout_s:g} s") from None
        finally:
            self._attempts.discard(link)
            if not link.answered.is_set():
                link.finish(End("given up"))
        if link.end is not None:
            raise link.end.error()
        return link


@attrs.frozen
class MemoryTransport:
    """See `Transport`. Any number of them, and of links, share one broker."""

    broker: MemoryBroker

    @asynccontextmanager
    async def connect(self, settings: ConnectSettings) -> AsyncIterator[Link]:
        """See `Transport.connect`. Leaving the block takes no time and says goodbye, whatever happened inside."""
        check_settings(settings)
        link = await self.broker.connect(settings)
        try:
            yield link
        finally:
            link.close()
