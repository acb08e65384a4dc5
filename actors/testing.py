"""For authors' own tests: a broker in memory, to talk to a service in virtual time and to hurt its connection.

Run the test under trio's mock clock (pytest-trio: the test function itself takes `autojump_clock`; a fixture that takes
it changes nothing). Then waits cost no time, and `trio.fail_after` ends a test that would hang, at once.

    broker = MemoryBroker()
    async with MemoryTransport(broker).connect(connect_settings("robot7")) as link: ...
    await broker.wait_subscribed("stt/final")
    broker.deliver("stt/final", event("stt.final", {"text": "hello"}))
    (said,) = await broker.wait_published("tts/say")
"""

from __future__ import annotations

from typing import Any, TypeVar

from .contracts import decode as _decode
from .contracts import encode, wrap
from .mqtt.memory import MemoryBroker, MemoryTransport
from .mqtt.memory_core import NO_LIMITS
from .mqtt.memory_session import Loss
from .mqtt.memory_watch import Lost, Published, SessionInfo
from .mqtt.transport import (
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

__all__ = [
    "NO_LIMITS",
    "ConnectSettings",
    "Inbound",
    "Link",
    "LinkLost",
    "LinkRefused",
    "Loss",
    "Lost",
    "MemoryBroker",
    "MemoryTransport",
    "Outbound",
    "Published",
    "ServerLimits",
    "SessionInfo",
    "Transport",
    "Will",
    "connect_settings",
    "decode",
    "event",
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
