"""Every contract, field for field, written apart from the classes on purpose: what the old services agreed on."""

from typing import Any, Final

from tars.actors.contracts.camera import CameraCaptureRequest, CameraFrame, CameraImageResponse, CameraStatusUpdate
from tars.actors.contracts.config import ConfigHealthPayload, ConfigUpdatePayload
from tars.actors.contracts.health import HealthPing, HeartbeatPayload
from tars.actors.contracts.llm import (
    ConversationMessage,
    LLMCancel,
    LLMRequest,
    LLMResponse,
    LLMStreamDelta,
    ToolCallRequest,
    ToolCallResult,
    ToolSpec,
    ToolsRegistry,
)
from tars.actors.contracts.memory import (
    CharacterGetRequest,
    CharacterResetTraits,
    CharacterSection,
    CharacterSnapshot,
    CharacterTraitUpdate,
    MemoryQuery,
    MemoryResult,
    MemoryResults,
)
from tars.actors.contracts.movement import (
    EmergencyStopCommand,
    MoveArmParams,
    MoveLegsParams,
    MovementCommand,
    MovementFrame,
    MovementState,
    MovementStatusUpdate,
    MovementTestRequest,
)
from tars.actors.contracts.stt import AudioFFTData, FinalTranscript, PartialTranscript
from tars.actors.contracts.tts import TtsControlCommand, TtsSay, TtsStatus
from tars.actors.contracts.wake import WakeEvent, WakeMicCommand

AUTO: Final = object()  # an id or a time, made when none is given
ID: Final = {"message_id": AUTO}
STAMPED: Final = {"message_id": AUTO, "timestamp": AUTO}


def none(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


FRAME: Final = {"id": "m-1", "seq": 0, "total": 3, "duration_ms": 400, "hold_ms": 0, "channels": {"0": 1500, "15": 1620}}
IMAGE: Final = {"request_id": "r", "image_data": "AA==", "format": "jpeg", "width": 640, "height": 480, "size_bytes": 1}
CONFIG_HEALTH: Final = {
    "ok": True,
    "database_status": "healthy",
    "operational_mode": "normal",
    "config_epoch": "e",
    "schema_version": 1,
    "lkg_cache_valid": True,
    "litestream_status": "healthy",
}

# class -> (the least a sender may send, every other field with its default)
CONTRACTS: Final[dict[type, tuple[dict[str, Any], dict[str, Any]]]] = {
    FinalTranscript: ({"text": "hello"}, ID | none("confidence", "utt_id") | {"lang": "en", "ts": AUTO, "is_final": True}),
    PartialTranscript: ({"text": "hel"}, ID | none("confidence", "utt_id") | {"lang": "en", "ts": AUTO, "is_final": False}),
    AudioFFTData: ({"fft_data": [], "sample_rate": 16000}, ID | {"ts": AUTO}),
    TtsSay: ({"text": "hello"}, ID | none("voice", "lang", "utt_id", "style", "stt_ts", "wake_ack", "system_announce")),
    TtsStatus: ({"event": "speaking_start"}, STAMPED | none("utt_id", "reason", "wake_ack", "system_announce") | {"text": ""}),
    TtsControlCommand: ({"action": "pause"}, ID | none("id", "reason") | {"ts": AUTO}),
    ConversationMessage: ({"role": "user", "content": "hello"}, none("timestamp")),
    LLMRequest: (
        {"id": "rt-1", "text": "hello"},
        ID | none("use_rag", "rag_k", "system", "params", "conversation_history") | {"stream": True},
    ),
    LLMResponse: ({"id": "rt-1"}, ID | none("reply", "error", "provider", "model", "tokens")),
    LLMStreamDelta: ({"id": "rt-1"}, ID | none("seq", "delta", "provider", "model") | {"done": False}),
    LLMCancel: ({"id": "rt-1"}, ID),
    ToolSpec: ({"function": {"name": "f"}}, {"type": "function"}),
    ToolsRegistry: ({"tools": []}, ID),
    ToolCallRequest: ({"call_id": "1", "name": "mcp:a:b", "arguments": {}}, ID),
    ToolCallResult: ({"call_id": "1"}, ID | none("result", "error")),
    WakeEvent: ({"type": "wake"}, ID | none("tts_id", "cause", "confidence", "energy", "ts")),
    WakeMicCommand: ({"action": "mute"}, ID | none("ttl_ms") | {"reason": "wake"}),
    HealthPing: ({"ok": True}, STAMPED | none("event", "err")),
    HeartbeatPayload: ({}, {"ok": True, "event": "heartbeat", "timestamp": AUTO}),
    MemoryQuery: (
        {"text": "rain"},
        ID | none("max_tokens") | {"top_k": 5, "include_context": False, "context_window": 1, "retrieval_strategy": "hybrid"},
    ),
    MemoryResult: ({"document": "I like rain"}, none("score", "timestamp", "token_count") | {"context_type": "target"}),
    MemoryResults: (
        {"query": "rain", "k": 5},
        ID | none("total_tokens") | {"results": (), "strategy_used": "hybrid", "truncated": False},
    ),
    CharacterGetRequest: ({}, ID | none("section")),
    CharacterSnapshot: (
        {"name": "TARS"},
        ID
        | none("description", "systemprompt")
        | {name: {} for name in ("traits", "voice", "meta", "scenario", "personality_notes", "example_interactions")},
    ),
    CharacterSection: ({"section": "traits"}, ID | none("value")),
    CharacterTraitUpdate: ({"trait": "humor", "value": 60}, ID | {"section": "traits"}),
    CharacterResetTraits: ({}, ID | {"action": "reset_traits"}),
    MovementCommand: ({"command": "step_forward"}, STAMPED | {"id": AUTO, "params": {}}),
    MovementFrame: (FRAME, STAMPED | {"disable_after": False, "done": False}),
    MovementState: ({"id": "m-1", "event": "started"}, STAMPED | none("seq", "detail")),
    MovementTestRequest: ({"command": "wave"}, STAMPED | none("request_id") | {"speed": 1.0, "params": {}}),
    MovementStatusUpdate: ({"event": "command_started"}, STAMPED | none("command", "detail", "request_id")),
    EmergencyStopCommand: ({}, STAMPED | none("reason")),
    MoveLegsParams: ({"height_percent": 50, "left_percent": 50, "right_percent": 50}, {}),
    MoveArmParams: ({"port_main": 50}, none("port_forearm", "port_hand", "star_main", "star_forearm", "star_hand")),
    CameraCaptureRequest: ({}, STAMPED | none("width", "height", "purpose") | {"request_id": AUTO, "format": "jpeg", "quality": 85}),
    CameraImageResponse: (IMAGE, STAMPED | none("error", "purpose") | {"success": True, "capture_timestamp": AUTO}),
    CameraStatusUpdate: ({"event": "camera_ready"}, STAMPED | none("request_id", "detail")),
    CameraFrame: ({"frame_data": "AA==", "width": 1, "height": 1, "frame_number": 0}, STAMPED | none("fps") | {"format": "jpeg"}),
    ConfigUpdatePayload: (
        {"service": "stt", "config": {"a": 1}, "version": 1, "config_epoch": "e"},
        none("checksum", "signature") | {"issued_at": AUTO},
    ),
    ConfigHealthPayload: (CONFIG_HEALTH, none("last_backup", "event", "err")),
}
