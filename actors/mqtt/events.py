"""What happens on the MQTT side, as values; the log renders them under their snake_case names."""

from __future__ import annotations

from typing import ClassVar

import attrs


@attrs.frozen
class LinkUp:
    """Connected and subscribed. `took_s` from the attempt's start; `session_present`: the broker kept our session."""

    level: ClassVar[str] = "info"
    epoch: int
    protocol: str
    session_present: bool
    filters: int
    took_s: float


@attrs.frozen
class LinkDown:
    """The connection of `epoch` is over. `in_flight` deliveries wait for the next one."""

    epoch: int
    reason: str
    up_s: float
    in_flight: int

    @property
    def level(self) -> str:
        """A goodbye of our own is no warning."""
        return "info" if self.reason == "closed" else "warning"


@attrs.frozen
class SubscriptionRefused:
    """The broker refused `filter`, with reason `code`; nothing will arrive for it on this connection.

    `actors`: the names of those that listen to it, "" when it is nobody's own.
    """

    level: ClassVar[str] = "error"
    filter: str
    code: int
    actors: str = ""

    @property
    def problem(self) -> str:
        """As health says it."""
        return f"refused by the broker (code {self.code:#x})" + (f", which parks {self.actors}" if self.actors else "")


@attrs.frozen
class SubscriptionWeakened:
    """The broker granted `filter` at a lower QoS than was asked for: messages for `actors` may be lost on this connection."""

    level: ClassVar[str] = "warning"
    filter: str
    actors: str
    asked: int
    granted: int

    @property
    def problem(self) -> str:
        """As health says it."""
        whose = f" for {self.actors}" if self.actors else ""
        return f"granted by the broker at QoS {self.granted} where {self.asked} was asked for: messages{whose} may be lost"


@attrs.frozen
class Qos0Shed:
    """`count` QoS 0 messages were thrown away on arrival: `limit` of them are waiting already."""

    level: ClassVar[str] = "warning"
    count: int
    limit: int


@attrs.frozen
class MessageUnmatched:
    """A message arrived that no subscription matches; it was acknowledged."""

    level: ClassVar[str] = "warning"
    topic: str
    message_id: str


@attrs.frozen
class SequenceGap:
    """In the stream `key` of `topic` the publisher's count has a gap: `expected` was due, `got` came.

    `missing`: how many are missing more than the last line of this stream told; `missing_in_all`: since the stream began.
    Where one line tells of several gaps, `expected` is of the first and `got` of the last.
    """

    level: ClassVar[str] = "warning"
    topic: str
    key: str
    expected: int
    got: int
    missing: int
    missing_in_all: int


@attrs.frozen
class SequenceFilled:
    """What was missing in a stream has come after all."""

    level: ClassVar[str] = "info"
    topic: str
    key: str


@attrs.frozen
class HandlerFailed:
    """The one report of a failure. `final`: the message became a dead letter; `causation_id`: the message that caused this one.

    `correlation_id`: the envelope's id, as on every line the handler itself has logged.
    """

    level: ClassVar[str] = "error"
    actor: str
    subscription: str
    topic: str
    message_id: str
    attempt: int
    max_attempts: int
    final: bool
    error: BaseException
    causation_id: str | None = None
    correlation_id: str | None = None


@attrs.frozen
class HandlerUnavailable:
    """The handler's backend is down; the message is kept and costs no attempt. Of a tick or hook, `topic` and `message_id` are ""."""

    level: ClassVar[str] = "warning"
    actor: str
    subscription: str
    topic: str
    message_id: str
    reason: str


@attrs.frozen
class ActorParked:
    """An actor failed `failures` times in a row: it gets no message for `park_s`, then one trial.

    Or the broker refused its `filter` with reason `code`: then the trial is that the broker is asked again.
    """

    level: ClassVar[str] = "error"
    actor: str
    failures: int
    park_s: float
    filter: str | None = None
    code: int | None = None


@attrs.frozen
class ActorRecovered:
    """A parked actor handled a message again."""

    level: ClassVar[str] = "info"
    actor: str


@attrs.frozen
class Overflowed:
    """An actor was too slow for too long: `count` messages over its `share` left its mailbox under `policy`."""

    level: ClassVar[str] = "warning"
    actor: str
    count: int
    share: int
    policy: str


@attrs.frozen
class DeadLettered:
    """A message became a dead letter; it is stored, and can be replayed."""

    level: ClassVar[str] = "warning"
    why: str
    direction: str
    topic: str
    actor: str
    subscription: str
    message_id: str
    attempts: int
    error: str
    causation_id: str | None = None


@attrs.frozen
class DeadLetterUnpublished:
    """A dead letter is in the store, but not on its topic. `topic` and `message_id` are the original's."""

    level: ClassVar[str] = "warning"
    topic: str
    message_id: str
    reason: str


@attrs.frozen
class DeadLetterReplayed:
    """The replay of dead letter number `letter` is over; `outcome` as in `dead_letter.Outcome`."""

    letter: int
    outcome: str
    direction: str
    topic: str
    actor: str
    subscription: str
    message_id: str

    @property
    def level(self) -> str:
        """What did not go well is worth a look."""
        return "info" if self.outcome in {"handled", "sent"} else "warning"


@attrs.frozen
class DrainEnded:
    """The link has stopped taking messages. `unsettled` deliveries were left for the broker to send again."""

    level: ClassVar[str] = "info"
    unsettled: int
    unsent: int
    took_s: float
