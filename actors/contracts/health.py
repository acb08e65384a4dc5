"""How a service is, and that it is there at all. Times are Unix epoch seconds."""

from typing import Final

import attrs

from .fields import absent_when_none, contract, new_id, now_s

TOPIC_SYSTEM_HEALTH_PREFIX: Final = "system/health/"
TOPIC_SYSTEM_KEEPALIVE_PREFIX: Final = "system/keepalive/"

EVENT_TYPE_HEALTH: Final = "system.health"
# The type in the envelope of what a client says about itself on `system/health/{client_id}`.
EVENT_TYPE_HEALTH_STATUS: Final = "health.status"


@contract
class HealthPing:
    """A service's health. Retained, so the last one counts; old readers know the field as `err`, never `error`.

    The one contract whose empty fields are left out instead of being written as null: its old writer does so.
    """

    message_id: str = attrs.field(factory=new_id)
    ok: bool
    event: str | None = attrs.field(default=None, metadata=absent_when_none())
    err: str | None = attrs.field(default=None, metadata=absent_when_none())
    timestamp: float = attrs.field(factory=now_s)


@contract
class HeartbeatPayload:
    """One beat on `system/keepalive/{client_id}`. Sent as it is, without an envelope."""

    ok: bool = True
    event: str = "heartbeat"
    timestamp: float = attrs.field(factory=now_s)
