"""Dead letters on the wire: each is also published to ``system/dead-letter/{client_id}``, when the config says so.

The payload is the original's, byte for byte; the facts are MQTT 5 user properties. Laws. The original is acknowledged after the
broker has confirmed it. A dead letter of a dead-letter topic is stored and never published: two services that watch each
other would go on for ever. One that cannot be published is in the store all the same, and the log says so.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Final

import attrs

from tars.supervisor import Mailbox, MailboxClosed, Overflow
from tars.supervisor.redact import redact

from .dead_letter import DeadLetter
from .events import DeadLetterUnpublished
from .keys import CAUSATION_ID, MESSAGE_ID
from .outgoing import Outgoing
from .transport import Outbound, UserProperties

PREFIX: Final = "system/dead-letter/"
MOST: Final = 1000
"""So many wait while there is no link; what comes on top is stored only."""
_NAMESPACE: Final = uuid.UUID("0b0f7d4e-5a0c-5c0d-8f0e-3c9f4a7be6d5")
_MAX_CHARS: Final = 1000


@attrs.define(eq=False)
class LetterTopic:
    """`topic` None: nothing is published. `waiting` is what the connection sends from."""

    emit: Callable[[object], None]
    topic: str | None = None
    waiting: Mailbox[Outgoing] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.waiting = Mailbox(MOST, Overflow.DROP_NEWEST, on_evicted=self._evicted)

    def wants(self, letter: DeadLetter) -> bool:
        """Is `letter` to be published?"""
        return self.topic is not None and not letter.topic.startswith(PREFIX)

    def publish(self, letter: DeadLetter, identity: str, on_settled: Callable[[], None]) -> None:
        """Send `letter`; `on_settled` is called once, when it is confirmed or given up. The same `identity`: the same message-id."""
        message_id = str(uuid.uuid5(_NAMESPACE, identity.encode("utf-8", "backslashreplace").decode()))
        message = Outbound(self.topic or "", letter.payload, qos=1, user_properties=((MESSAGE_ID, message_id), *facts(letter)))
        self._send(Outgoing(message, on_settled, actor=letter.actor, is_letter=True))

    def give_up(self, outgoing: Outgoing, error: BaseException | str) -> None:
        """It was refused. One too large for the broker goes without its payload, which is in the store."""
        message = outgoing.message
        if isinstance(error, ValueError) and message.payload:
            properties = (*message.user_properties, ("payload-omitted", f"{len(message.payload)} bytes"))
            without = attrs.evolve(message, payload=b"", user_properties=properties)
            self._send(attrs.evolve(outgoing, message=without))
        else:
            self._drop(outgoing, str(error))

    def close(self) -> None:
        """The process ends: what is not sent by now is in the store only."""
        self.waiting.close("the service stopped before it could be sent")

    def _send(self, outgoing: Outgoing) -> None:
        try:
            self.waiting.send_nowait(outgoing)
        except MailboxClosed as closed:
            self._drop(outgoing, str(closed))

    def _evicted(self, outgoing: Outgoing, reason: str) -> None:
        self._drop(outgoing, f"{MOST} others wait already" if reason == "overflow" else reason)

    def _drop(self, outgoing: Outgoing, error: str) -> None:
        found = dict(outgoing.message.user_properties)
        self.emit(DeadLetterUnpublished(found.get("original-topic", ""), found.get(CAUSATION_ID, ""), error))
        outgoing.on_settled()


def facts(letter: DeadLetter) -> UserProperties:
    """What is known of it, but for the traceback; what is not known is left out."""
    found = (
        ("reason", letter.why.value),
        ("direction", letter.direction),
        ("original-topic", letter.topic),
        ("original-qos", str(letter.qos)),
        ("original-retain", "true" if letter.retain else ""),
        ("at", dt.datetime.fromtimestamp(letter.at, dt.UTC).isoformat(timespec="milliseconds")),
        ("actor", letter.actor),
        ("subscription", letter.subscription),
        ("attempts", str(letter.attempts)),
        ("error", letter.error),
        ("original-message-id", letter.message_id),
        ("correlation-id", letter.correlation_id),
        (CAUSATION_ID, letter.message_id),
    )
    return tuple((name, _sendable(value)) for name, value in found if value)


def _sendable(value: str) -> str:
    """As an MQTT string: it holds neither U+0000 nor half a character, and one that is long is cut."""
    text = redact(value).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 1]}…"
