"""What `tars doctor` makes of what it found: each verdict in words, with what it means for the promises. Pure.

Law: a verdict says what was seen, not what a broker of that name is known for.
"""

from __future__ import annotations

import enum
import statistics
from collections.abc import Sequence
from typing import Final

import attrs

from tars.supervisor.terminal import printable

from .doctor_clocks import Clock

CLOSE_S: Final = 1.0
"""Clocks less apart are as good as equal."""
DAY_S: Final = 86_400.0
SHOWN: Final = 5
NAME_CHARS: Final = 40
SLOW_P99_S: Final = 0.1
"""From here on an acknowledged round trip is slow: an actor under durable dedup does at most one message in that time."""


_WITHOUT_RETAIN: Final = (
    "Health is seen by those only who listen at the moment. If the broker refuses what is retained, services need [health] enabled = false."
)


class Grade(enum.Enum):
    """`BAD`: a promise does not hold on this broker. `LIMIT`: it holds within bounds worth knowing. `OPEN`: it could not be told."""

    GOOD = "good"
    LIMIT = "limit"
    BAD = "bad"
    OPEN = "open"


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
    session without a connection was sent. `speaks_5`: the broker does, also where the doctor was told not to. `session_expires`: one
    that should last a second is gone soon after; None: not in this protocol. `clocks`: of services, heard within `listened_s`; None:
    the broker lets nobody listen to them.
    """

    protocol: str
    speaks_5: bool
    shared: bool
    window: int
    outstanding: int
    retained: bool
    session_kept: bool
    session_expires: bool | None
    queue_sent: int
    queued: int
    in_order: bool
    round_trips_s: Sequence[float]
    max_packet_bytes: int | None = None
    listened_s: float = 0.0
    clocks: Sequence[Clock] | None = ()


def verdicts(found: Findings) -> list[Verdict]:
    """All of them, in the order of the report."""
    return [
        _protocol(found),
        _session(found),
        _expiry(found),
        _queue(found),
        _window(found),
        _shared(found),
        _retained(found),
        _packets(found),
        _speed(found),
        _clocks(found),
    ]


def _protocol(found: Findings) -> Verdict:
    if found.protocol == "5":
        return Verdict("MQTT 5", Grade.GOOD, "spoken", "Repeated messages are recognised by their message-id, and publishes can expire.")
    return Verdict(
        "MQTT 5",
        Grade.LIMIT,
        f"{'not asked for' if found.speaks_5 else 'refused'}, {found.protocol} is spoken",
        "No message-id on the wire: the next service does not recognise what a killed one says again.",
    )


def _session(found: Findings) -> Verdict:
    if found.session_kept:
        return Verdict("sessions", Grade.GOOD, "kept over a reconnect", "What comes while a service is away waits for it.")
    return Verdict("sessions", Grade.BAD, "forgotten at the end of a connection", "Each lost connection loses messages: at most once.")


def _expiry(found: Findings) -> Verdict:
    if found.session_expires is None:
        means = "What waits for a service that never comes back waits for ever, or as long as the broker's own setting says."
        return Verdict("session expiry", Grade.LIMIT, "not in this protocol", means)
    if found.session_expires:
        return Verdict("session expiry", Grade.GOOD, "kept to", "What waits for a service that is away is dropped after session_expiry_s.")
    means = "What waits for a service that never comes back stays with the broker after session_expiry_s. Nothing is lost by it."
    return Verdict("session expiry", Grade.LIMIT, "a session outlived its time", means)


def _queue(found: Findings) -> Verdict:
    if found.queued < found.queue_sent:
        what = f"{found.queued} of {found.queue_sent} messages kept for a session without a connection"
        return Verdict(
            "queue",
            Grade.LIMIT if found.queued else Grade.BAD,
            what,
            "The rest was confirmed and dropped, and nobody is told: an outage with more messages loses them. Raise the broker's limit.",
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
    return Verdict("retained messages", Grade.BAD, "not kept", _WITHOUT_RETAIN)


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


def _clocks(found: Findings) -> Verdict:
    heard = found.clocks
    if not heard:
        why = (
            "not listened for"
            if not found.listened_s
            else "this user may not hear services"
            if heard is None
            else f"no service was heard in {found.listened_s:g} s"
        )
        return Verdict("clocks", Grade.OPEN, why, "MQTT tells no time: only what services say of themselves shows how late it is there.")
    off = [clock for clock in heard if abs(clock.ahead_s) >= CLOSE_S and (clock.fresh or clock.ahead_s > 0)]
    told = [clock for clock in heard if clock.fresh or clock in off]
    shown = sorted(off or told, key=lambda clock: -abs(clock.ahead_s))
    if not shown:
        what = f"{_counted(len(heard))} said something, at times unknown"
        return Verdict("clocks", Grade.OPEN, what, "A message that the broker has kept does not tell how late it is where it came from.")
    words = ", ".join(_clock(clock) for clock in shown[:SHOWN]) + (f", and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
    if off:
        means = "No promise rests on clocks. Times in envelopes and logs are that far apart: let the machines set their clocks by NTP."
        return Verdict("clocks", Grade.LIMIT, words, means)
    return Verdict("clocks", Grade.GOOD, words, "Times in the envelopes and logs of these services can be compared with those here.")


def _counted(services: int) -> str:
    return "one service" if services == 1 else f"{services} services"


def _clock(clock: Clock) -> str:
    """A message may have been on its way for long: then a clock only looks as if it were behind."""
    name = printable(clock.source)
    name = name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"
    apart = abs(clock.ahead_s)
    much = "more than a day" if apart >= DAY_S else f"{apart:.1f} s" if apart >= CLOSE_S else f"{apart * 1000:.0f} ms"
    if clock.ahead_s > 0:
        return f"{name} is {'' if clock.fresh or apart >= DAY_S else 'at least '}{much} ahead"
    return f"{name} is {much} behind, or its messages are"


def is_fit(report: Sequence[Verdict]) -> bool:
    """No promise is broken on this broker."""
    return all(verdict.grade is not Grade.BAD for verdict in report)
