"""Configuration, as the config manager hands it out, and how that manager is.

The contracts carry `checksum` and `signature`; checking them is the reader's. The old pair never agreed on what is signed,
so an old reader applies no update.
"""

from datetime import datetime
from typing import Any, ClassVar, Final, Literal

import attrs

from .fields import contract, now_utc
from .health import EVENT_TYPE_HEALTH, TOPIC_SYSTEM_HEALTH_PREFIX
from .pair import Pair

TOPIC_CONFIG_UPDATE: Final = "config/update"
TOPIC_HEALTH_CONFIG_MANAGER: Final = f"{TOPIC_SYSTEM_HEALTH_PREFIX}config-manager"

EVENT_TYPE_CONFIG_UPDATE: Final = "config.update"
EVENT_TYPE_CONFIG_HEALTH: Final = f"{EVENT_TYPE_HEALTH}.config-manager"

DatabaseStatus = Literal["healthy", "locked", "corrupted", "schema-mismatch"]
OperationalMode = Literal["normal", "read-only-fallback", "rebuilding"]
LitestreamStatus = Literal["healthy", "error", "disabled"]


@contract
class ConfigUpdatePayload:
    """The configuration of `service`, whole. `version` grows by one with each; `config_epoch` names the database it is from.

    `checksum`: SHA-256 of the configuration, in hex. `signature`: Ed25519. `issued_at`: ISO 8601.
    Old readers listen on ``system/config/<service>``, where nobody ever published; rename the topic if they shall hear you.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CONFIG_UPDATE, TOPIC_CONFIG_UPDATE)

    service: str
    config: dict[str, Any]
    version: int
    config_epoch: str
    checksum: str | None = None
    signature: str | None = None
    issued_at: datetime = attrs.field(factory=now_utc)


@contract
class ConfigHealthPayload:
    """How the config manager is, beside its `HealthPing` on the same topic. `lkg`: last known good. `last_backup`: ISO 8601."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CONFIG_HEALTH, TOPIC_HEALTH_CONFIG_MANAGER, retain=True)

    ok: bool
    database_status: DatabaseStatus
    operational_mode: OperationalMode
    config_epoch: str
    schema_version: int
    lkg_cache_valid: bool
    litestream_status: LitestreamStatus
    last_backup: datetime | None = None
    event: str | None = None
    err: str | None = None
