"""The context of one call of an actor's function: the message around the event, and the ways to speak.

Law: what is published while a delivery is handled belongs to that delivery. It settles, and is acknowledged,
only when those publishes are confirmed; and they carry ids derived from it, so that handling it a second time
says nothing a second time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from tars.actors.contracts import Envelope, TopicRegistry, UnknownEventType, seal, structure
from tars.supervisor import Mailbox, MailboxFull, TooSlow

from .bound_logger import bound_at_first_use
from .in_flight import Delivery, InFlight
from .keys import CAUSATION_ID, MESSAGE_ID, bounded, cause_of, derived_id
from .link_state import Filters
from .outgoing import Outgoing
from .requests import Requests
from .topics import validate_topic
from .transport import Outbound


@attrs.frozen(eq=False)
class Voice:
    """What an actor speaks through; one per actor, owned by the tree. `renames`: topic as written -> topic on the wire."""

    actor: str
    source: str
    registry: TopicRegistry
    renames: Mapping[str, str]
    outbox: Mailbox[Outgoing]
    table: InFlight
    filters: Filters
    requests: Requests
    logger: Callable[[], Any] = attrs.field(factory=bound_at_first_use)


class Context:
    """One call. `topic`, `params`, `envelope` (None for raw JSON), `qos`, `retain`, `duplicate`, `attempt` describe the message.

    In `started`, `stopping` and `@every` there is no message: `topic` is "", `attempt` 1.
    """

    def __init__(
        self,
        voice: Voice,
        *,
        delivery: Delivery | None = None,
        subscription_id: str = "",
        params: Mapping[str, str] | None = None,
        envelope: Envelope | None = None,
        attempt: int = 1,
        scope: trio.CancelScope | None = None,
    ) -> None:
        inbound = delivery.inbound if delivery is not None else None
        self.topic: str = inbound.topic if inbound else ""
        self.qos: int = inbound.qos if inbound else 0
        self.retain: bool = inbound.retain if inbound else False
        self.duplicate: bool = inbound.duplicate if inbound else False
        self.params: Mapping[str, str] = params or {}
        self.envelope = envelope
        self.attempt = attempt
        self.message_id: str = delivery.message_id if delivery is not None else ""
        self._voice = voice
        self._delivery = delivery
        self._subscription_id = subscription_id
        self._scope = scope
        self._log: Any = None
        self._said = 0
        self._waiting = 0  # publishes that wait for room
        self._left_s = 0.0  # of the handler's time, meanwhile

    @property
    def correlation_id(self) -> str:
        """The envelope's id, as it may be logged; "" without an envelope."""
        return bounded(self.envelope.id) if self.envelope else ""

    @property
    def causation_id(self) -> str | None:
        """The id of the message whose handling made this one, if it says so; as it may be logged."""
        return cause_of(self._delivery.inbound.user_properties) if self._delivery is not None else None

    @property
    def log(self) -> Any:  # structlog's loggers are typed by their configuration
        """A logger that names the message wherever it is used: `topic`, `message_id`, `correlation_id`, `attempt`, `causation_id`.

        While the message is handled every line says this anyway; this one is for what outlives the call.
        """
        if self._log is None:
            self._log = self._voice.logger()
            if self._delivery is not None:
                cause = {"causation_id": self.causation_id} if self.causation_id else {}
                names = {"topic": self.topic, "message_id": self.message_id, "correlation_id": self.correlation_id, "attempt": self.attempt}
                self._log = self._log.bind(**names, **cause)
        return self._log

    async def publish(
        self,
        event_type: str,
        data: object,
        *,
        topic: str | None = None,
        qos: int = 1,
        retain: bool = False,
        correlation_id: str | None = None,
        expires_s: float | None = None,
    ) -> str:
        """Publish `data` (a contract or a dict) in an envelope; returns the envelope's id when the outbox has it.

        The topic comes from the registry unless given. `correlation_id`, when given, *is* the envelope's id.
        `expires_s`: not sent later than that (0 or more). Waits for room in the outbox, which costs the handler
        no time. Raises `UnknownEventType`, `ValueError` (QoS 2, bad topic), `EncodeError`.
        """
        message_id = self._next_id()
        name = topic if topic is not None else self._topic_of(event_type)
        envelope, payload = seal(event_type, data, source=self._voice.source, correlation_id=correlation_id or message_id.replace("-", ""))
        await self._put(message_id, name, payload, qos=qos, retain=retain, expires_s=expires_s)
        return envelope.id

    async def publish_raw(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expires_s: float | None = None) -> None:
        """Publish `payload` as it is. See `publish`."""
        await self._put(self._next_id(), topic, payload, qos=qos, retain=retain, expires_s=expires_s)

    async def request(self, event_type: str, data: object, *, reply: str, timeout_s: float, topic: str | None = None) -> Envelope:
        """Publish and wait for the envelope with the same id on the topic (or filter, or event type) `reply`.

        Raises `TooSlow` after `timeout_s` seconds (a reply travels at QoS 0 and may be lost), and `DecodeError` when what
        carries the id is no envelope. Waiting for the reply counts against `handler_timeout_s`: keep `timeout_s` below it.
        """
        name = self._voice.registry.topic_of(reply) if "/" not in reply and self._knows(reply) else reply
        reply_filter = self._voice.renames.get(name, name)
        request_id = uuid.uuid4().hex
        with self._voice.requests.open(request_id, reply_filter) as pending, self._voice.filters.asking(reply_filter):
            with trio.move_on_after(timeout_s):
                await self._voice.filters.holding(reply_filter)
                await self.publish(event_type, data, topic=topic, correlation_id=request_id)
                await pending.answered.wait()
            if pending.answered.is_set():
                return structure(Envelope, pending.reply)
        msg = f"no reply to {event_type} on {reply_filter!r} within {timeout_s:g} s"
        raise TooSlow(msg)

    def _topic_of(self, event_type: str) -> str:
        try:
            return self._voice.registry.topic_of(event_type)
        except UnknownEventType as unknown:
            raise UnknownEventType(event_type, unknown.suggestion, "; an event of your own is published with topic=...") from None

    def _knows(self, event_type: str) -> bool:
        return any(pair.event_type == event_type for pair in self._voice.registry.pairs)

    def _next_id(self) -> str:
        """uuid5(inbound key | actor | subscription | ordinal): the same for every attempt at the same delivery."""
        self._said += 1
        if self._delivery is None:
            return str(uuid.uuid4())
        return derived_id(f"{self._delivery.key}|{self._voice.actor}|{self._subscription_id}|{self._said}")

    async def _put(self, message_id: str, topic: str, payload: bytes, *, qos: int, retain: bool, expires_s: float | None) -> None:
        if qos not in (0, 1):
            msg = f"qos must be 0 or 1, got {qos!r}: the client library acknowledges QoS 2 before a handler sees it"
            raise ValueError(msg)
        name = self._voice.renames.get(topic, topic)
        validate_topic(name)
        properties = [(MESSAGE_ID, message_id)]
        if self.message_id:
            properties.append((CAUSATION_ID, self.message_id))
        expires = None if expires_s is None else max(1, round(expires_s))
        message = Outbound(name, payload, qos=qos, retain=retain, user_properties=tuple(properties), expires_s=expires)
        outgoing = Outgoing(
            message,
            self._owes(qos),
            None if expires_s is None else trio.current_time() + expires_s,
            self._voice.actor,
            delivery=self._delivery if qos > 0 else None,
        )
        try:
            try:
                self._voice.outbox.send_nowait(outgoing)  # no turn of the scheduler for each of a burst's answers
            except MailboxFull:
                with self._free_of_charge():
                    await self._voice.outbox.send(outgoing)
        except BaseException:
            outgoing.on_settled()  # it never got there: no debt
            raise
        cause = {"causation_id": self.message_id} if self.message_id else {}
        self._voice.logger().debug("message_published", topic=name, message_id=message_id, **cause)

    def _owes(self, qos: int) -> Callable[[], None]:
        """The delivery does not settle before this publish is confirmed."""
        delivery = self._delivery
        if delivery is None or qos == 0:
            return _nothing
        self._voice.table.hold(delivery)
        return lambda: self._voice.table.release(delivery)

    @contextmanager
    def _free_of_charge(self) -> Iterator[None]:
        """Waiting for room in the outbox is not the handler's fault: its deadline moves by as much.

        It stands still while any of several publishes waits; the first sets it aside, the last puts it back.
        """
        scope = self._scope
        if scope is None:
            yield
            return
        if not self._waiting:
            self._left_s, scope.deadline = scope.deadline - trio.current_time(), float("inf")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                scope.deadline = trio.current_time() + self._left_s


def _nothing() -> None:
    return
