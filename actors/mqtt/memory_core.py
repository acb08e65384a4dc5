"""What the in-memory broker does with each packet: the `Server` of its links.

Source of the rules: MQTT 5 sections 3.1 to 3.14. Law: a packet is worked off at once and whole, or, while the broker is
frozen, later and in order. Time is trio's, read when a packet is worked off.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio

from .aiomqtt_packets import check_publish
from .aiomqtt_reasons import SESSION_TAKEN_OVER, End, connect_refused, disconnected
from .memory_link import MemoryLink
from .memory_routing import Routing
from .memory_session import Message, Session
from .memory_watch import BrokerWatch
from .topics import matches
from .transport import ConnectSettings, Outbound, ServerLimits

NO_LIMITS: Final = ServerLimits(session_present=False)
NOT_AUTHORIZED: Final = 0x87
_NO_SUBSCRIBERS: Final = 0x10
_SUBACK_FAILURE_311: Final = 0x80
_BAD_CREDENTIALS: Final = 0x86
_RECEIVE_MAXIMUM_EXCEEDED: Final = 0x93
_PACKET_TOO_LARGE: Final = 0x95
_QOS_NOT_SUPPORTED: Final = 0x9B
_NEVER_EXPIRES: Final = 0xFFFF_FFFF


class BrokerCore(BrokerWatch):
    """The broker without its faults: see `MemoryBroker`."""

    def __init__(
        self, *, users: Mapping[str, str] | None, limits: ServerLimits, max_queued: int | None, max_inflight: int, overshoots: bool
    ) -> None:
        super().__init__()
        self._users = None if users is None else dict(users)
        self.limits = limits
        self._max_queued = max_queued
        self._max_inflight = max_inflight
        self._overshoots = overshoots
        self._routing = Routing()
        self._links: dict[str, MemoryLink] = {}
        self._refusal: End | None = None
        self._refused_subscribes: dict[str, int] = {}
        self._refused_publishes: dict[str, int] = {}
        self._granted_at_most: dict[str, int] = {}
        self._backlog: list[Callable[[], object]] | None = None
        self._held: dict[MemoryLink, list[tuple[int, int]]] | None = None
        self._next_expiry_s = math.inf

    # -- packets, as `Server` has them ------------------------------------------------------------

    def take_publish(self, link: MemoryLink, message: Outbound, packet_id: int) -> None:
        """See `Server`."""
        self._hear(functools.partial(self._on_publish, link, message, packet_id))

    def take_ack(self, link: MemoryLink, packet_id: int) -> None:
        """See `Server`."""
        self._hear(functools.partial(self._on_ack, link, packet_id))

    def take_subscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[tuple[str, int]]) -> None:
        """See `Server`."""
        self._hear(functools.partial(self._on_subscribe, link, packet_id, filters))

    def take_unsubscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[str]) -> None:
        """See `Server`."""
        self._hear(functools.partial(self._on_unsubscribe, link, packet_id, filters))

    def take_goodbye(self, link: MemoryLink) -> None:
        """See `Server`."""
        self._hear(functools.partial(self._gone, link, goodbye=True))

    def _hear(self, act: Callable[[], object]) -> None:
        if self._backlog is None:
            act()
        else:
            self._backlog.append(act)

    # -- connections ------------------------------------------------------------------------------

    def _accept(self, link: MemoryLink) -> None:
        settings = link.settings
        if link.end is not None:
            return  # given up while the broker was frozen
        if self._refusal is not None:
            link.finish(self._refusal)
            return
        if not self._lets_in(settings):
            link.finish(connect_refused(_BAD_CREDENTIALS, link.where))
            return
        if settings.will is not None and settings.will.qos > self.limits.max_qos:
            closed = End(f"connection to {link.where} lost before the broker answered CONNECT: closed by the other side")
            link.finish(connect_refused(_QOS_NOT_SUPPORTED, link.where) if link.is_5 else closed)
            return
        if settings.client_id in self._links:
            self._break(self._links[settings.client_id], SESSION_TAKEN_OVER)
        self._expire_sessions()
        session = self._sessions.get(settings.client_id)
        link.hear_connack(attrs.evolve(self.limits if link.is_5 else NO_LIMITS, session_present=session is not None))
        if session is None:
            session = self._sessions[settings.client_id] = Session(settings.client_id, self._note_lost, self._max_queued)
        self._links[settings.client_id] = link
        self.connects.append(settings.client_id)
        heeds = link.is_5 and not self._overshoots
        session.attach(link, min(settings.receive_maximum, self._max_inflight) if heeds else self._max_inflight, trio.current_time())
        self._note()

    def _lets_in(self, settings: ConnectSettings) -> bool:
        if self._users is None:
            return True
        return settings.username in self._users and settings.password == self._users[settings.username]

    def _break(self, link: MemoryLink, code: int) -> None:
        """The broker ends a connection, with a word for it under MQTT 5."""
        closed = End(f"connection to {link.where} lost: closed by the other side")
        link.finish(disconnected(code, link.where) if link.is_5 else closed)
        self._gone(link)

    def _gone(self, link: MemoryLink, *, goodbye: bool = False) -> None:
        """The connection is over. Without a goodbye its Will is published (MQTT 3.1.2.5)."""
        client_id, will = link.settings.client_id, link.settings.will
        if self._links.get(client_id) is not link:
            return
        self._detach(client_id)
        if will is not None and not goodbye:
            message = Outbound(will.topic, will.payload, will.qos, will.retain)
            self._note_published(client_id, message, is_5=link.is_5, will=True)
            self._route(message, is_5=link.is_5)
        self._note()

    def _session_of(self, link: MemoryLink) -> Session | None:
        """Whose packet it is. None: the broker ended this connection while the packet was on its way, and reads no more of it."""
        client_id = link.settings.client_id
        return self._sessions[client_id] if self._links.get(client_id) is link else None

    def _detach(self, client_id: str) -> None:
        link = self._links.pop(client_id)
        if self._held is not None:
            self._held.pop(link, None)
        keep_s: float = link.settings.session_expiry_s
        if keep_s == _NEVER_EXPIRES or (keep_s and not link.is_5):
            keep_s = math.inf
        expires_at_s = trio.current_time() + keep_s
        self._sessions[client_id].detach(expires_at_s)
        self._next_expiry_s = min(self._next_expiry_s, expires_at_s)

    def _expire_sessions(self) -> None:
        now_s = trio.current_time()
        if now_s < self._next_expiry_s:
            return
        for session in [session for session in self._sessions.values() if session.expires_at_s <= now_s]:
            for topic_filter in list(session.subscriptions):
                self._routing.unsubscribe(session, topic_filter)
            del self._sessions[session.client_id]
        self._next_expiry_s = min((session.expires_at_s for session in self._sessions.values()), default=math.inf)

    # -- messages ---------------------------------------------------------------------------------

    def _on_publish(self, link: MemoryLink, message: Outbound, packet_id: int) -> None:
        if self._session_of(link) is None:
            return
        if not link.is_5 and not self._takes(message):
            self._break(link, _PACKET_TOO_LARGE)
            return
        code = next((code for refused, code in self._refused_publishes.items() if code and matches(refused, message.topic)), 0)
        if not code and not self._route(message, is_5=link.is_5):
            code = _NO_SUBSCRIBERS
        # The record keeps a code that the wire has no word for.
        self._note_published(link.settings.client_id, message, is_5=link.is_5, code=code)
        if packet_id:
            self._confirm(link, packet_id, code if link.is_5 else 0)

    def _takes(self, message: Outbound) -> bool:
        """Is the packet small enough? Under 3.1.1 the client cannot know beforehand, and is cut off."""
        if self.limits.max_packet_bytes is None:
            return True
        try:
            check_publish(message, attrs.evolve(NO_LIMITS, max_packet_bytes=self.limits.max_packet_bytes), b"")
        except ValueError:
            return False
        return True

    def _confirm(self, link: MemoryLink, packet_id: int, code: int) -> None:
        if self._held is None or link.end is not None:
            link.hear_puback(packet_id, code)
            return
        held = self._held.setdefault(link, [])
        held.append((packet_id, code))
        if len(held) > link.limits.receive_maximum:
            self._break(link, _RECEIVE_MAXIMUM_EXCEEDED)

    def _route(self, message: Outbound, *, is_5: bool) -> bool:
        """Send to everybody who subscribed; False when nobody did. MQTT 3.3.1.3: it is live, so not marked retained."""
        self._expire_sessions()
        now_s = trio.current_time()
        properties, expires_s = (message.user_properties, message.expires_s) if is_5 else ((), None)
        expires_at_s = None if expires_s is None else now_s + expires_s
        routed = Message(message.topic, message.payload, message.qos, properties, expires_at_s)
        if message.retain:
            self._routing.retain(routed)
        receivers = self._routing.receivers(message.topic)
        for session, qos in receivers:
            session.offer(routed, qos, now_s)
        return bool(receivers)

    def _on_ack(self, link: MemoryLink, packet_id: int) -> None:
        session = self._session_of(link)
        if session is not None:
            self._note_ack(session.client_id, packet_id, known=session.ack(packet_id, trio.current_time()))

    # -- subscriptions ----------------------------------------------------------------------------

    def _on_subscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[tuple[str, int]]) -> None:
        session = self._session_of(link)
        if session is None:
            return
        codes: list[int] = []
        for topic_filter, qos in filters:
            refused = self._refused_subscribes.get(topic_filter, 0)
            if refused:
                codes.append(refused if link.is_5 else _SUBACK_FAILURE_311)
                continue
            codes.append(min(qos, self.limits.max_qos, self._granted_at_most.get(topic_filter, qos)))
            self._routing.subscribe(session, topic_filter, codes[-1])
        link.hear_answer(packet_id, tuple(codes))
        now_s = trio.current_time()
        for (topic_filter, _), code in zip(filters, codes, strict=True):
            if code < _SUBACK_FAILURE_311:
                for message in self._routing.kept(topic_filter, now_s):
                    session.offer(message, code, now_s, retain=True)
        self._note()

    def _on_unsubscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[str]) -> None:
        session = self._session_of(link)
        if session is None:
            return
        for topic_filter in filters:
            self._routing.unsubscribe(session, topic_filter)
        link.hear_answer(packet_id)
        self._note()
