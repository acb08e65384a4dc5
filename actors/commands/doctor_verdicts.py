"""What `tars doctor` makes of what it found: each verdict in words, with what it means for the promises. Pure.

Law: a verdict says what was seen, not what a broker of that name is known for.
"""

from __future__ import annotations

import enum
import statistics
from collections.abc import Sequence
from typing import Final

import attrs

SLOW_P99_S: Final = 0.1
"""From here on an acknowledged round trip is slow: an actor under durable dedup does at most one message in that time."""


class Grade(enum.Enum):
    """`BAD`: a promise does not hold on this broker. `LIMIT`: it holds within bounds worth knowing."""

    GOOD = "good"
    LIMIT = "limit"
    BAD = "bad"


@attrs.frozen
class Verdict:
    """One line of the report: the question, what was found, and what it means."""

    what: str
    grade: Grade
    found: str
    means: str


@attrs.frozen
class Findings:
    """What the probes saw. Counts of messages; times in seconds.

    `window` was asked for, `outstanding` is the most that came unacknowledged. `queued` of `queue_sent` messages came back that a
    session without a connection was sent.
    """

    protocol: str
    shared: bool
    window: int
    outstanding: int
    retained: bool
    session_kept: bool
    queue_sent: int
    queued: int
    in_order: bool
    round_trips_s: Sequence[float]
    max_packet_bytes: int | None = None


def verdicts(found: Findings) -> list[Verdict]:
    """All of them, in the order of the report."""
    return [
        _protocol(found),
        _session(found),
        _queue(found),
        _window(found),
        _shared(found),
        _retained(found),
        _packets(found),
        _speed(found),
    ]


def _protocol(found: Findings) -> Verdict:
    if found.protocol == "5":
        return Verdict("MQTT 5", Grade.GOOD, "spoken", "Repeated messages are recognised by their message-id, and publishes can expire.")
    return Verdict(
        "MQTT 5",
        Grade.LIMIT,
        f"refused, {found.protocol} is spoken",
        "No message-id on the wire: the next service does not recognise what a killed one says again.",
    )


def _session(found: Findings) -> Verdict:
    if found.session_kept:
        return Verdict("sessions", Grade.GOOD, "kept over a reconnect", "What comes while a service is away waits for it.")
    return Verdict("sessions", Grade.BAD, "forgotten at the end of a connection", "Each lost connection loses messages: at most once.")


def _queue(found: Findings) -> Verdict:
    if found.queued < found.queue_sent:
        what = f"{found.queued} of {found.queue_sent} messages kept for a session without a connection"
        return Verdict(
            "queue",
            Grade.LIMIT if found.queued else Grade.BAD,
            what,
            "The rest was confirmed and dropped, and nobody is told. Raise its limit.",
        )
    if not found.in_order:
        return Verdict("queue", Grade.BAD, "kept, in another order", "The order of a topic does not survive an outage.")
    return Verdict("queue", Grade.GOOD, f"all {found.queue_sent} messages kept, in order", "An outage of that many messages costs nothing.")


def _window(found: Findings) -> Verdict:
    if found.protocol != "5":
        return Verdict("Receive Maximum", Grade.LIMIT, "not in this protocol", "A broker sends all it has at once; services bear it.")
    if found.outstanding > found.window:
        what = f"{found.outstanding} unacknowledged at a time, {found.window} asked for"
        return Verdict("Receive Maximum", Grade.LIMIT, what, "A burst needs more memory than planned. Nothing is lost by it.")
    return Verdict("Receive Maximum", Grade.GOOD, "kept to", "A slow service is sent no more than it asked for.")


def _shared(found: Findings) -> Verdict:
    if found.shared:
        return Verdict("shared subscriptions", Grade.GOOD, "deliver", "Several services can share the work of one topic.")
    return Verdict("shared subscriptions", Grade.BAD, "nothing came", "A $share subscription gets no messages here, and nothing says so.")


def _retained(found: Findings) -> Verdict:
    if found.retained:
        return Verdict("retained messages", Grade.GOOD, "kept", "Whoever asks later learns of health and state.")
    return Verdict("retained messages", Grade.BAD, "not kept", "Health is seen by those only who listen at the moment.")


def _packets(found: Findings) -> Verdict:
    if found.max_packet_bytes is None:
        return Verdict("packet size", Grade.GOOD, "no limit stated", "No message is too large for this broker, as far as it says.")
    what = f"{found.max_packet_bytes} bytes at most"
    return Verdict("packet size", Grade.LIMIT, what, "A larger publish becomes a dead letter.")


def _speed(found: Findings) -> Verdict:
    cuts = statistics.quantiles(found.round_trips_s, n=100, method="inclusive")
    p50_s, p99_s = cuts[49], cuts[98]
    what = f"{p50_s * 1000:.1f} ms in the middle, {p99_s * 1000:.1f} ms for 99 of 100, there and back at QoS 1"
    if p99_s < SLOW_P99_S:
        return Verdict("round trip", Grade.GOOD, what, "A heartbeat's deadline of seconds is far away.")
    return Verdict("round trip", Grade.LIMIT, what, "Each confirmed answer takes that long; give the heartbeat's deadline room.")


def is_fit(report: Sequence[Verdict]) -> bool:
    """No promise is broken on this broker."""
    return all(verdict.grade is not Grade.BAD for verdict in report)
