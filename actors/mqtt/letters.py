"""From a message that nobody will handle to a dead letter on its way to the store.

Laws: the delivery it came from does not settle before the letter is on disk, and published where that is wanted. What an
error says goes to disk without the credentials of the URLs in it; the message itself goes as it came.
"""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable

import attrs

from tars.actors.contracts import decode_json
from tars.supervisor import Mailbox
from tars.supervisor.redact import redact
from tars.supervisor.render import said

from .dead_letter import DeadLetter, StoreItem, ToStore, Why
from .events import DeadLettered
from .in_flight import Delivery, InFlight, Work
from .keys import MESSAGE_ID, cause_of, correlation_of, property_of
from .letter_topic import LetterTopic
from .outgoing import Outgoing


@attrs.frozen(eq=False)
class Letters:
    """Writes dead letters. Neither method waits."""

    mailbox: Mailbox[StoreItem]
    table: InFlight
    emit: Callable[[object], None]
    now: Callable[[], float] = time.time  # Unix epoch seconds
    topic: LetterTopic | None = None

    def inbound(self, work: Work, why: Why, *, attempts: int = 0, error: BaseException | str = "") -> None:
        """`work` will not be handled by its subscription."""
        self._write(work.delivery, why, work.subscription.path, work.subscription.id, attempts, error)

    def unhandled(self, delivery: Delivery, why: Why, *, attempts: int, error: BaseException | str) -> None:
        """The pipeline itself failed on `delivery`: it reaches no subscription."""
        self._write(delivery, why, "", "", attempts, error)

    def outbound(self, outgoing: Outgoing, why: Why, error: BaseException | str) -> None:
        """`outgoing` will not be sent. It counts as settled once the letter is stored."""
        if outgoing.is_letter and self.topic is not None:
            self.topic.give_up(outgoing, error)
            return
        message = outgoing.message
        if outgoing.delivery is not None:
            outgoing.delivery.dead_letters += 1
        letter = DeadLetter(
            why=why,
            direction="out",
            topic=message.topic,
            payload=message.payload,
            qos=message.qos,
            retain=message.retain,
            at=self.now(),
            actor=outgoing.actor,
            error=_line(error),
            message_id=property_of(message.user_properties, MESSAGE_ID),
            correlation_id=correlation_of(lambda: decode_json(message.payload)),
            user_properties=message.user_properties,
        )
        self._send(letter, f"out|{letter.message_id or uuid.uuid4()}|{why.value}", outgoing.on_settled)

    def _write(self, delivery: Delivery, why: Why, actor: str, subscription: str, attempts: int, error: BaseException | str) -> None:
        inbound = delivery.inbound
        letter = DeadLetter(
            why=why,
            direction="in",
            topic=inbound.topic,
            payload=inbound.payload,
            qos=inbound.qos,
            retain=inbound.retain,
            at=self.now(),
            actor=actor,
            subscription=subscription,
            attempts=attempts,
            error=_line(error),
            traceback=redact("".join(traceback.format_exception(error))) if isinstance(error, BaseException) else "",
            message_id=delivery.message_id,
            correlation_id=correlation_of(delivery.document),
            user_properties=inbound.user_properties,
        )
        delivery.dead_letters += 1
        self.table.hold(delivery)
        self._send(letter, f"in|{delivery.key}|{actor}|{subscription}|{why.value}", lambda: self.table.release(delivery))

    def _send(self, letter: DeadLetter, identity: str, on_settled: Callable[[], None]) -> None:
        self.emit(
            DeadLettered(
                why=letter.why.value,
                direction=letter.direction,
                topic=letter.topic,
                actor=letter.actor,
                subscription=letter.subscription,
                message_id=letter.message_id,
                attempts=letter.attempts,
                error=letter.error,
                causation_id=cause_of(letter.user_properties),
            )
        )
        if self.topic is not None and self.topic.wants(letter):
            on_settled = _second_time(on_settled)
            self.topic.publish(letter, identity, on_settled)
        self.mailbox.send_nowait(ToStore(letter, on_settled))


def _second_time(call: Callable[[], None]) -> Callable[[], None]:
    """Something that does nothing when it is called for the first time."""
    called = False

    def count() -> None:
        nonlocal called
        if called:
            call()
        called = True

    return count


def _line(error: BaseException | str) -> str:
    return redact(error if isinstance(error, str) else f"{type(error).__name__}: {said(error)}")
