"""What a test can see of the in-memory broker, and wait for.

Law: everything here is a record. A wait wakes when something has happened and looks again; it never polls, and it has
no timeout of its own: `trio.fail_after` is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import trio

from tars.actors.contracts import DecodeError, Envelope, decode, decode_envelope, decode_json

from .memory_session import Loss, Message, Session
from .topics import matches, validate_filter
from .transport import Outbound, UserProperties

T = TypeVar("T")


@attrs.frozen
class Published:
    """One PUBLISH the broker took from a client, or a Will it published for one.

    `code` is the PUBACK's: >= 0x80 is a refusal, and nobody was sent the message. `expires_s` and
    `user_properties` are as sent; under 3.1.1 there are none.
    """

    client_id: str
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    user_properties: UserProperties = ()
    expires_s: int | None = None
    code: int = 0
    will: bool = False

    @property
    def envelope(self) -> Envelope | None:
        """The envelope around it; None for a raw message."""
        try:
            return decode_envelope(self.payload)
        except DecodeError:
            return None

    @property
    def id(self) -> str:
        """The envelope's id, which a reply must carry; "" of a raw message."""
        envelope = self.envelope
        return "" if envelope is None else envelope.id

    @property
    def data(self) -> Any:  # JSON
        """What is in the envelope; of a raw message its JSON. Raises `DecodeError` for what is no JSON."""
        envelope = self.envelope
        return decode_json(self.payload) if envelope is None else envelope.data

    def read(self, cls: type[T]) -> T:
        """What a subscriber annotated with `cls` would get. Raises `DecodeError`."""
        return decode(self.payload, cls).event


@attrs.frozen
class Lost:
    """One message a subscriber was not sent, and why."""

    client_id: str
    topic: str
    payload: bytes
    why: Loss


@attrs.frozen
class SessionInfo:
    """One session as it is now. `unacked` are packet ids in order of sending, `queued` counts what waits to be sent."""

    client_id: str
    connected: bool
    subscriptions: Mapping[str, int]
    unacked: tuple[int, ...]
    queued: int


class BrokerWatch:
    """The part of `MemoryBroker` that looks. Nothing recorded here is ever lost, not by `kill` either."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        """Everything clients published, in order, with refusals and Wills."""
        self.lost: list[Lost] = []
        """Everything a subscriber was not sent, in order."""
        self.stray_acks: list[tuple[str, int]] = []
        """(client id, packet id) of PUBACKs for what was not unacknowledged: a client that does so is wrong."""
        self.connects: list[str] = []
        """The client id of every connection that came about, in order."""
        self._sessions: dict[str, Session] = {}
        self._acked: dict[str, list[int]] = {}
        self._happened: trio.Event | None = None

    @property
    def sessions(self) -> Mapping[str, SessionInfo]:
        """Every session by its client id, connected or kept."""
        self._expire_sessions()
        return {client_id: _info(session) for client_id, session in self._sessions.items()}

    def unacked(self, client_id: str) -> dict[int, Published]:
        """What was sent to this client and not acknowledged, by packet id, in order of sending. No session: nothing."""
        self._expire_sessions()
        session = self._sessions.get(client_id)
        deliveries = {} if session is None else session.unacked
        return {
            packet_id: Published(client_id, sent.message.topic, sent.message.payload, sent.qos, sent.retain, sent.message.user_properties)
            for packet_id, sent in deliveries.items()
        }

    def acked(self, client_id: str) -> tuple[int, ...]:
        """The packet ids this client has acknowledged, in order, over all its connections and sessions."""
        return tuple(self._acked.get(client_id, ()))

    async def wait_until(self, true: Callable[[], bool]) -> None:
        """Return when `true` returns True. It is asked now, and after anything that happens in the broker."""
        await trio.lowlevel.checkpoint()
        while not true():
            if self._happened is None:
                self._happened = trio.Event()
            await self._happened.wait()

    async def wait_published(
        self, topic_filter: str = "#", *, count: int = 1, where: Callable[[Published], bool] | None = None
    ) -> list[Published]:
        """The first `count` publishes whose topic matches and for which `where` is true, as soon as there are as many.

        Refused ones count; ask for `code` when it matters. Raises ValueError for a filter that cannot be.
        """
        validate_filter(topic_filter)
        found: list[Published] = []
        looked_at = 0

        def enough() -> bool:
            nonlocal looked_at
            new, looked_at = self.published[looked_at:], len(self.published)
            found.extend(entry for entry in new if matches(topic_filter, entry.topic) and (where is None or where(entry)))
            return len(found) >= count

        await self.wait_until(enough)
        return found[:count]

    async def wait_subscribed(self, topic_filter: str, client_id: str | None = None) -> None:
        """Return when a connected client (or that one) has subscribed this very filter: what is published from now on reaches it."""
        await self.wait_until(
            lambda: any(
                session.link is not None and topic_filter in session.subscriptions and client_id in {None, session.client_id}
                for session in self._sessions.values()
            )
        )

    async def wait_connected(self, client_id: str) -> None:
        """Return when the client is connected."""
        await self.wait_until(lambda: client_id in self._sessions and self._sessions[client_id].link is not None)

    async def wait_disconnected(self, client_id: str) -> None:
        """Return when the client is not connected."""
        await self.wait_until(lambda: client_id not in self._sessions or self._sessions[client_id].link is None)

    async def wait_acked(self, client_id: str, count: int) -> tuple[int, ...]:
        """The first `count` packet ids this client acknowledged, as soon as there are as many."""
        await self.wait_until(lambda: len(self._acked.get(client_id, ())) >= count)
        return self.acked(client_id)[:count]

    # -- what the broker writes -------------------------------------------------------------------

    def _note(self) -> None:
        """Something happened: whoever waits looks again."""
        if self._happened is not None:
            self._happened.set()
            self._happened = None

    def _note_published(self, client_id: str, message: Outbound, *, is_5: bool, code: int = 0, will: bool = False) -> None:
        properties, expires_s = (message.user_properties, message.expires_s) if is_5 else ((), None)
        self.published.append(
            Published(client_id, message.topic, message.payload, message.qos, message.retain, properties, expires_s, code, will)
        )
        self._note()

    def _note_lost(self, session: Session, message: Message, why: Loss) -> None:
        self.lost.append(Lost(session.client_id, message.topic, message.payload, why))
        self._note()

    def _note_ack(self, client_id: str, packet_id: int, *, known: bool) -> None:
        if known:
            self._acked.setdefault(client_id, []).append(packet_id)
        else:
            self.stray_acks.append((client_id, packet_id))
        self._note()

    def _expire_sessions(self) -> None:
        """The broker forgets what is past its time before anybody looks."""
        raise NotImplementedError


def _info(session: Session) -> SessionInfo:
    return SessionInfo(session.client_id, session.link is not None, dict(session.subscriptions), tuple(session.unacked), len(session.queue))
