"""How a service is, and that it is there at all. Times are Unix epoch seconds."""

from typing import ClassVar, Final

import attrs

from .fields import absent_when_none, also_read_as, contract, new_id, now_s
from .pair import Pair

TOPIC_SYSTEM_HEALTH_PREFIX: Final = "system/health/"
TOPIC_SYSTEM_KEEPALIVE_PREFIX: Final = "system/keepalive/"

EVENT_TYPE_HEALTH: Final = "system.health"
# The type in the envelope of what a client says about itself on `system/health/{client_id}`.
EVENT_TYPE_HEALTH_STATUS: Final = "health.status"
EVENT_TYPE_KEEPALIVE: Final = "system.keepalive"

# What some old services publish beside the topic of their client id: a topic and event type of the service's name.
BY_SERVICE: Final = tuple(
    Pair(f"{EVENT_TYPE_HEALTH}.{service}", f"{TOPIC_SYSTEM_HEALTH_PREFIX}{service}", retain=True)
    for service in ("tts", "stt", "router", "memory")
)


@contract
class HealthPing:
    """A service's health. Retained, so the last one counts. Its empty fields are left out, as its old writer does.

    `event`: ready, reconnected, degraded, shutdown, lost (by the Will), or a service's own word. `err`: what is wrong;
    old readers know no ``error``. The old wake service sends ``{"ok", "version", "ts"}``: ``ts`` is read as
    `timestamp`, ``version`` is ignored. Any other unknown field is refused.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_HEALTH_STATUS, f"{TOPIC_SYSTEM_HEALTH_PREFIX}{{client_id}}", retain=True)
    IGNORED_WHEN_READ: ClassVar[frozenset[str]] = frozenset({"version"})

    message_id: str = attrs.field(factory=new_id)
    ok: bool
    event: str | None = attrs.field(default=None, metadata=absent_when_none())
    err: str | None = attrs.field(default=None, metadata=absent_when_none())
    timestamp: float = attrs.field(factory=now_s, metadata=also_read_as("ts"))


@contract
class HeartbeatPayload:
    """One beat of a client, sent as it is, without an envelope.

    At QoS 1, though the written standard says 0: a beat is there to find out whether the broker still confirms.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_KEEPALIVE, f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{{client_id}}")

    ok: bool = True
    event: str = "heartbeat"
    timestamp: float = attrs.field(factory=now_s)
