"""A dead letter: a message nobody will handle, with everything needed to understand and to replay it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeAlias

import attrs

from .transport import UserProperties


class Why(enum.Enum):
    """The machine-readable reason."""

    UNDECODABLE = "undecodable"  # not what the subscription's model asks for
    REJECTED = "rejected"  # the handler raised Reject
    CRASHED = "crashed"  # the handler failed on it `max_attempts` times
    TIMED_OUT = "timed_out"  # a `def` handler hangs on it in its thread
    PARKED = "parked"  # its actor is parked
    OVERFLOW = "overflow"  # its actor was too slow for too long
    REFUSED = "refused"  # outbound: the broker refused it, or it is too large
    EXPIRED = "expired"  # outbound: `expires_s` passed before it could be sent
    DISCARDED = "discarded"  # still queued at the final stop
    REMOVED = "removed"  # its actor or subscription was taken out of the config
    QUARANTINED = "quarantined"  # two processes died with it in hand
    POISON = "poison"  # dedup or dispatcher failed on it


@attrs.frozen
class DeadLetter:
    """One dead letter, as it is stored.

    `direction` "in" or "out"; `actor` (its path in the tree) and `subscription` are empty where there is none; `attempts` how often
    it was begun; `at` Unix epoch seconds; `error` one line, `traceback` the whole report or "".
    """

    why: Why
    direction: str
    topic: str
    payload: bytes = attrs.field(repr=False)
    qos: int
    retain: bool
    at: float
    actor: str = ""
    subscription: str = ""
    attempts: int = 0
    error: str = ""
    traceback: str = attrs.field(default="", repr=False)
    message_id: str = ""
    correlation_id: str = ""
    user_properties: UserProperties = ()


@attrs.frozen(eq=False)
class ToStore:
    """A dead letter on its way to the store; `on_stored` is called, in the event loop, once it is on disk."""

    letter: DeadLetter
    on_stored: Callable[[], None]


class Outcome(enum.Enum):
    """How a replay ended."""

    HANDLED = "handled"  # by the subscription that had failed
    SENT = "sent"  # outbound: the broker confirmed it
    FAILED = "failed"  # something of it became a dead letter again: a new one
    DROPPED = "dropped"  # its actor's overflow policy dropped it
    REFUSED = "refused"  # its subscription is no longer in the config


@attrs.frozen(eq=False)
class ReplayEnded:
    """The end of a replay on its way to the store: numbers of the `request` and of the `letter`; `at` Unix epoch seconds."""

    request: int
    letter: int
    at: float
    outcome: Outcome
    on_stored: Callable[[], None]


StoreItem: TypeAlias = ToStore | ReplayEnded
"""What the store takes."""
