"""The messages of a phase, encoded before the clock runs. Pure.

A phase: `count` messages over all topics in turn, one in `REPEAT_EVERY` of them a repetition of an earlier one, then one
last message for each handler, at QoS 1. Law: numbers go on from phase to phase, so nothing but the repetitions is a duplicate.
"""

from __future__ import annotations

from typing import Final

import attrs
import orjson

from .contract import DEVICES, EVENT_TYPE, HANDLERS, topic_of
from .packets import Protocol, publish

REPEAT_EVERY: Final = 100
REPEAT_BACK: Final = 50
SENSORS: Final = 1000
"""Messages come from so many in turn."""
PROBE_EVERY: Final = 64
"""At QoS 0 one message in so many goes at QoS 1: its PUBACK says how far the consumer is."""
PROBES_AHEAD: Final = 16
WINDOW: Final = 256
"""At QoS 1 so many are unacknowledged at most, also for clients that would take more (3.1.1 has no word for it)."""
_PACKET_IDS: Final = 65_535


@attrs.frozen
class Message:
    """One message of a phase."""

    topic: str
    payload: bytes
    qos: int


@attrs.frozen
class Phase:
    """A phase, encoded: message `i` is ``data[ends[i - 1]:ends[i]]``. `fresh` of them are neither repeated nor last."""

    data: bytes
    ends: tuple[int, ...]
    fresh: int
    acks: int


def message(number: int, *, qos: int) -> Message:
    """The message of that number; of two equal payloads the second is the duplicate."""
    return _message(number - REPEAT_BACK if is_repetition(number) else number, last=None, qos=qos)


def sensor(number: int) -> str:
    """The name of a sensor, 0..`SENSORS` - 1."""
    return f"sensor-{number}"


def is_repetition(number: int) -> bool:
    """Is this number a duplicate of the one `REPEAT_BACK` before it?"""
    return number % REPEAT_EVERY == REPEAT_EVERY - 1


def _message(number: int, *, last: int | None, qos: int) -> Message:
    handler, device = (number % HANDLERS, number // HANDLERS % DEVICES) if last is None else (last, 0)
    document = {
        "id": f"{number:032x}",
        "type": EVENT_TYPE,
        "ts": 1_700_000_000 + number / 1000,
        "source": "feeder",
        "data": {
            "sensor": sensor(number % SENSORS),
            "value": number / 7,
            "unit": "degrees",
            "seq": number // (HANDLERS * DEVICES),  # of the topic: nothing is missing
            "ok": True,
            "last": last is not None,
        },
    }
    return Message(topic_of(handler, device), orjson.dumps(document), qos)


def messages(first: int, count: int, *, qos: int) -> list[Message]:
    """Those of a phase that begins at number `first`, a multiple of `REPEAT_EVERY`, and is `numbers` long."""
    sent = [message(number, qos=qos or int(number % PROBE_EVERY == PROBE_EVERY - 1)) for number in range(first, first + count)]
    sent += [_message(first + count + handler, last=handler, qos=1) for handler in range(HANDLERS)]
    return sent


def numbers(count: int) -> int:
    """How many numbers a phase of `count` messages uses up: the next one begins at a multiple of `REPEAT_EVERY`."""
    return -(-(count + HANDLERS) // REPEAT_EVERY) * REPEAT_EVERY


def fresh(first: int, count: int) -> int:
    """How many of the `count` from `first` on are no repetitions."""
    return count - sum(map(is_repetition, range(first, first + count)))


def phase(first: int, count: int, *, qos: int, protocol: Protocol) -> Phase:
    """Encode a phase. At QoS 0 every `PROBE_EVERY`-th message is sent at QoS 1."""
    parts: list[bytes] = []
    ends: list[int] = []
    size = acks = 0
    for sent in messages(first, count, qos=qos):
        acks += sent.qos
        packet_id = (acks - 1) % _PACKET_IDS + 1
        parts.append(publish(sent.topic, sent.payload, qos=sent.qos, packet_id=packet_id, protocol=protocol))
        size += len(parts[-1])
        ends.append(size)
    return Phase(b"".join(parts), tuple(ends), fresh(first, count), acks)


def may_send(acked: int, *, qos: int, window: int) -> int:
    """How many messages of the phase may have been sent when `acked` of it are acknowledged."""
    return acked + min(window, WINDOW) if qos else (acked + min(window, PROBES_AHEAD)) * PROBE_EVERY
