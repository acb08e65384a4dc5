"""What a `Connector` is made of, beside the actors it shares with a service: its words, its numbers, its smaller parts.

Law: nothing here knows the connector.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, TypeAlias

import attrs
import orjson
import trio

from tars.supervisor import Mailbox
from tars.supervisor.errors import TarsError

from .contracts import DecodeError, decode_json, encode, unstructure
from .errors import Reject
from .mqtt.context import Context
from .mqtt.dead_letter import StoreItem
from .mqtt.health import HealthTopic
from .mqtt.topics import validate_topic
from .mqtt.transport import Outbound

Callback: TypeAlias = Callable[[str, Any], Awaitable[object]]
"""``async def callback(topic: str, data)``; `data` is the message's JSON value, ``{}`` for an empty payload."""

OFFLINE: Final = frozenset({"lost", "shutdown"})
"""What the connection says of its end; anything else it says means that the link works."""


class ConnectorClosed(TarsError):
    """The connector's block has not been entered yet, or has been left."""


class CallbackFailed(Exception):
    """A callback raised; its own exception is the ``__cause__``. Whatever it raised, to the runtime it is a plain failure."""


# -- what is told ---------------------------------------------------------------------------------


@attrs.frozen
class PublishDropped:
    """A publish was dropped, and others may have been since: told once per `reason` and connection; `statistics` counts all."""

    level: ClassVar[str] = "warning"
    reason: str
    topic: str
    error: str = ""


@attrs.frozen
class NotJson:
    """A message that is no JSON came for a callback; it was not called."""

    level: ClassVar[str] = "warning"
    topic: str
    subscription: str
    error: str


@attrs.frozen
class ConnectorStatistics:
    """Counters since the beginning, and what is inside now.

    Every call of `publish` is in one of these: `sent` (at QoS 1: confirmed), `queued` (with what is sent and not confirmed yet),
    `overflowed` (the oldest of a full outbox), `closed` (before or after the block, or not sent by its end), `unsendable`
    (no topic, no JSON, QoS 2), `refused` (by the broker, or too large for it). `received` counts arrivals; `not_json`,
    `callback_failures` and `missed` (too slow for too long) count calls of callbacks that did not happen, or failed. `held` are
    messages that came before their callback; `unmatched` is what came for none, and was acknowledged.
    """

    connected: bool
    connections: int
    sent: int
    queued: int
    overflowed: int
    closed: int
    unsendable: int
    refused: int
    subscriptions: int
    received: int
    not_json: int
    callback_failures: int
    missed: int
    unmatched: int
    held: int


# -- the status topic -----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class StatusTopic(HealthTopic):
    """Who is there: retained ``{"status": "online"}`` and ``{"status": "offline"}`` on a topic of the program's choice."""

    name: str = attrs.field()

    @property
    def topic(self) -> str:
        """Where they go."""
        return self.name

    def _payload(self, event: str, *, ok: bool, err: str | None = None) -> bytes:  # noqa: ARG002 - what it overrides
        return orjson.dumps({"status": "offline" if event in OFFLINE else "online"})


# -- messages -------------------------------------------------------------------------------------


def outbound(topic: str, data: object, qos: int, *, retain: bool) -> Outbound:
    """One message: bytes as they are, anything else as JSON. Raises `ValueError`, `EncodeError`, `TypeError`, `RecursionError`."""
    if qos not in (0, 1):
        raise ValueError(f"qos must be 0 or 1, got {qos!r}")
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, got {type(topic).__name__}")
    validate_topic(topic)
    return Outbound(topic, _payload(data), qos=int(qos), retain=bool(retain))


def _payload(data: object) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, dict) or attrs.has(type(data)):
        return encode(data)
    return orjson.dumps(unstructure({"data": data})["data"])  # a list, a string, a number, True, None


def json_of(payload: bytes) -> Any:  # JSON
    """What a callback is given. An empty payload (a cleared retained message) is ``{}``. Raises `DecodeError`."""
    return decode_json(payload) if payload else {}


# -- actors ---------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Calls:
    """Makes the calls of one callback, as a handler actor's method. `retained`: how many of its messages were retained."""

    callback: Callback
    retained: int = attrs.field(default=0, init=False)

    async def call(self, _instance: object, payload: bytes, ctx: Context) -> None:
        """One message. Raises `Reject` (no JSON) and `CallbackFailed`."""
        self.retained += ctx.retain
        try:
            data = json_of(payload)
        except DecodeError as error:
            raise Reject(str(error)) from None
        try:
            await self.callback(ctx.topic, data)
        except Exception as error:
            raise CallbackFailed(f"{name_of(self.callback)} raised {type(error).__name__}: {error}") from error


def name_of(callback: Callback) -> str:
    """For the log."""
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def check_callback(callback: object) -> None:
    """Raise `TypeError` unless `callback` is an async function, a partial of one, or an object whose ``__call__`` is one."""
    if not (inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(type(callback), "__call__", None))):  # noqa: B004
        raise TypeError(f"a callback is `async def callback(topic, data)`, got {callback!r}")


async def bury(letters: Mailbox[StoreItem], *, task_status: trio.TaskStatus[None]) -> None:
    """Take dead letters and keep none: they were counted and told when they were written. In the place of a service's store."""
    task_status.started()
    async with letters.custody() as custody:
        while True:
            for taken in await custody.receive(256):
                custody.done(taken)
                taken.item.on_stored()
