"""For authors' own tests: a whole service on a broker of the test's own, in memory and virtual time, or real.

    @in_virtual_time
    async def test_a_visitor_is_greeted() -> None:
        async with running("door-bell.toml") as service:            # or running(DoorBell), or with_real=True
            await service.deliver("door-bell/front/visitor", {"name": "Ada"})
            (greeting,) = await service.wait_published("door-bell/greeting")

        assert greeting.data == {"text": "Hello, Ada!", "door": "front"}

``docs/authors.md`` teaches it. It needs no test framework: `running` is a plain async context manager, `in_virtual_time` makes
a plain function of an ``async def``. `MemoryBroker` is the broker in memory by itself, with its faults.
"""

from __future__ import annotations

from typing import Any, TypeVar

from tars.actors.contracts import DecodeError, Envelope, encode, wrap
from tars.actors.contracts import decode as _decode
from tars.actors.mqtt.dead_letter import DeadLetter, Why
from tars.actors.mqtt.events import (
    ActorParked,
    ActorRecovered,
    DeadLettered,
    HandlerFailed,
    HandlerUnavailable,
    LinkDown,
    LinkUp,
    Overflowed,
)
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.memory_core import NO_LIMITS
from tars.actors.mqtt.memory_session import Loss
from tars.actors.mqtt.memory_watch import Lost, Published, SessionInfo
from tars.actors.mqtt.transport import (
    ConnectSettings,
    Inbound,
    Link,
    LinkLost,
    LinkRefused,
    Outbound,
    ServerLimits,
    Transport,
    Will,
)

from .clock import in_virtual_time
from .mosquitto import MosquittoFailed, MosquittoMissing
from .report import Unfulfilled
from .running import Delivered, Running
from .start import running

__all__ = [
    "NO_LIMITS",
    "ActorParked",
    "ActorRecovered",
    "ConnectSettings",
    "DeadLetter",
    "DeadLettered",
    "DecodeError",
    "Delivered",
    "Envelope",
    "HandlerFailed",
    "HandlerUnavailable",
    "Inbound",
    "Link",
    "LinkDown",
    "LinkLost",
    "LinkRefused",
    "LinkUp",
    "Loss",
    "Lost",
    "MemoryBroker",
    "MemoryTransport",
    "MosquittoFailed",
    "MosquittoMissing",
    "Outbound",
    "Overflowed",
    "Published",
    "Running",
    "ServerLimits",
    "SessionInfo",
    "Transport",
    "Unfulfilled",
    "Why",
    "Will",
    "connect_settings",
    "decode",
    "event",
    "in_virtual_time",
    "running",
]

T = TypeVar("T")


def connect_settings(client_id: str = "test", protocol: str = "5", *, receive_maximum: int = 256) -> ConnectSettings:
    """Settings a `MemoryBroker` takes, whatever its name and port; for the rest, `attrs.evolve` them."""
    return ConnectSettings("memory", 1883, client_id, protocol, receive_maximum=receive_maximum)


def event(event_type: str, data: dict[str, Any], *, message_id: str = "1", source: str = "test", ts: float = 0.0) -> bytes:
    """An enveloped event, as another service would send it, the same bytes every time. Raises EncodeError."""
    return encode(wrap(event_type, data, source=source, correlation_id=message_id, now=lambda: ts, new_id=str))


def decode(published: Published, cls: type[T]) -> T:
    """What a service published, as a subscriber annotated with `cls` would get it (`Envelope` gives that). Raises DecodeError."""
    return _decode(published.payload, cls).event
