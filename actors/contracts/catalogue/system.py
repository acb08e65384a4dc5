"""Health, the beats of the clients, configuration."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from tars.actors.contracts.config import ConfigHealthPayload, ConfigUpdatePayload
from tars.actors.contracts.health import BY_SERVICE, HealthPing, HeartbeatPayload

from .entry import NOW_S, Chapter, Entry, Example, example_id

_CLIENTS: Final[Mapping[str, tuple[str, str]]] = {
    "system.health.tts": ("speaker", "tars-tts"),
    "system.health.stt": ("speech recogniser", "tars-stt"),
    "system.health.router": ("router", "tars-router"),
    "system.health.memory": ("memory", "memory-worker"),
}
_EPOCH: Final = "7b0f7b0e-6f6c-4b57-9a43-0c5b4c9f5a10"
_ISSUED: Final = datetime.fromtimestamp(NOW_S, UTC)


def _ping(name: str) -> Example:
    return Example(HealthPing(message_id=example_id(name), ok=True, event="ready", timestamp=NOW_S))


HEALTH: Final = Chapter(
    title="Health",
    module="health",
    intro=(
        "Every client says on its own topic how it is; the broker keeps the last word and, when the client vanishes, says "
        '`ok: false, event: "lost"` for it. The topics named after a service are what some old services publish beside it.'
    ),
    entries=(
        Entry(
            HealthPing.PAIR,
            sent_by="every client",
            read_by="router, screens",
            source="tars-stt",
            names=(("client_id", "tars-stt"),),
            examples=(
                _ping("health.status"),
                Example(HealthPing(message_id=example_id("not well"), ok=False, event="degraded", err="no microphone", timestamp=NOW_S)),
            ),
        ),
        *(
            Entry(
                pair,
                sent_by=_CLIENTS[pair.event_type][0],
                read_by="screens",
                source=_CLIENTS[pair.event_type][1],
                examples=(_ping(pair.event_type),),
            )
            for pair in BY_SERVICE
        ),
        Entry(
            HeartbeatPayload.PAIR,
            sent_by="every client",
            read_by="nobody: its confirmation counts",
            source="tars-stt",
            names=(("client_id", "tars-stt"),),
            examples=(Example(HeartbeatPayload(timestamp=NOW_S)),),
            enveloped=False,
        ),
    ),
)

CONFIG: Final = Chapter(
    title="Configuration",
    module="config",
    intro="`checksum` and `signature` are carried; to check them is the reader's.",
    entries=(
        Entry(
            ConfigUpdatePayload.PAIR,
            sent_by="config manager",
            read_by="every service with a configuration there",
            source="config-manager",
            examples=(
                Example(
                    ConfigUpdatePayload(
                        service="stt-worker",
                        config={"whisper_model": "base.en", "vad_threshold": 0.5},
                        version=4,
                        config_epoch=_EPOCH,
                        issued_at=_ISSUED,
                    )
                ),
            ),
        ),
        Entry(
            ConfigHealthPayload.PAIR,
            sent_by="config manager",
            read_by="screens",
            source="config-manager",
            examples=(
                Example(
                    ConfigHealthPayload(
                        ok=True,
                        database_status="healthy",
                        operational_mode="normal",
                        config_epoch=_EPOCH,
                        schema_version=1,
                        lkg_cache_valid=True,
                        litestream_status="disabled",
                    )
                ),
            ),
        ),
    ),
)
