"""What is sent and subscribed to: the contract, the ten filters, the topics. Pure.

Law: every consumer decodes into this contract. Whoever has a way of its own to say so (FastStream: pydantic) says the same.
"""

from __future__ import annotations

from typing import Final

import attrs

HANDLERS: Final = 10
DEVICES: Final = 10
EVENT_TYPE: Final = "bench.reading"


@attrs.frozen
class Reading:
    """The event in an envelope. `last` True: the handler's last message of a phase, to be reported and not counted."""

    sensor: str
    value: float
    unit: str
    seq: int
    ok: bool
    last: bool


def filter_of(handler: int) -> str:
    """The topic filter of a handler, 0..`HANDLERS` - 1."""
    return f"bench/k{handler}/+"


def topic_of(handler: int, device: int) -> str:
    """A topic that exactly one handler's filter matches."""
    return f"bench/k{handler}/device-{device}"


FILTERS: Final = tuple(filter_of(handler) for handler in range(HANDLERS))


# -- requests -------------------------------------------------------------------------------------

CLIENTS: Final = 10
ASKED: Final = "bench.asked"
ANSWERED: Final = "bench.answered"
ASK_FILTER: Final = "bench/ask/+"


@attrs.frozen
class Question:
    """A client's request number `seq`."""

    client: int
    seq: int


@attrs.frozen
class Answer:
    """`handled_ns`: when the handler had it, by the monotonic clock, which on Linux is one for all processes."""

    seq: int
    handled_ns: int


def ask_topic(client: int) -> str:
    """Where a client asks."""
    return f"bench/ask/{client}"


def answer_topic(client: int) -> str:
    """Where it is answered."""
    return f"bench/answer/{client}"
