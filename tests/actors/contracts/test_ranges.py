"""Ranges and closed sets: which values a field takes, on the wire and when a message is made."""

from typing import Any

import attrs
import pytest

from support.contract_table import CONTRACTS
from tars.actors.contracts import DecodeError, structure
from tars.actors.contracts.camera import CameraCaptureRequest, CameraFrame, CameraImageResponse, CameraStatusUpdate
from tars.actors.contracts.config import ConfigHealthPayload
from tars.actors.contracts.llm import ConversationMessage
from tars.actors.contracts.memory import CharacterResetTraits, CharacterTraitUpdate, MemoryQuery
from tars.actors.contracts.movement import (
    MoveArmParams,
    MoveLegsParams,
    MovementAction,
    MovementCommand,
    MovementState,
    MovementStateEvent,
    MovementStatusEvent,
    MovementStatusUpdate,
    MovementTestCommand,
    MovementTestRequest,
)
from tars.actors.contracts.stt import AudioFFTData, FinalTranscript, PartialTranscript
from tars.actors.contracts.tts import TtsControlCommand, TtsStatus
from tars.actors.contracts.wake import WakeEvent, WakeMicCommand

PERCENT = ([1, 100, 1.0, 55.5], [0, 101, 0.99, 100.01, -5])
ANY_PERCENT = ([*PERCENT[0], None], PERCENT[1])
SIZE = ([1, 1920, None], [0, -100])

CASES: list[tuple[type, str, list[Any], list[Any]]] = [
    (FinalTranscript, "confidence", [0, 1, 0.0, 1.0, 0.5, None], [-0.001, 1.001, 1.5, -1, 2]),
    (PartialTranscript, "confidence", [0, 1, None], [-0.001, 1.001]),
    (AudioFFTData, "sample_rate", [1, 48000], [0, -1]),
    (WakeEvent, "confidence", [0, 1, None], [-0.1, 1.1]),
    (WakeEvent, "energy", [0, 1e9, None], [-0.1]),
    (WakeMicCommand, "ttl_ms", [0, 3000, None], [-1]),
    (WakeMicCommand, "action", ["mute", "unmute"], ["enable", "start"]),
    (TtsStatus, "event", ["speaking_start", "speaking_end", "paused", "resumed", "stopped"], ["", "started", "PAUSED"]),
    (TtsControlCommand, "action", ["pause", "resume", "stop", "mute", "unmute"], ["cancel", "Pause"]),
    (ConversationMessage, "role", ["user", "assistant"], ["system"]),
    (MemoryQuery, "top_k", [1, 50], [0, 51, -1]),
    (MemoryQuery, "max_tokens", [1, 10_000, None], [0, 10_001]),
    (MemoryQuery, "context_window", [0, 5], [-1, 6]),
    (MemoryQuery, "retrieval_strategy", ["hybrid", "recent", "similarity", "of my own"], []),
    (CharacterTraitUpdate, "value", [0, 100], [-1, 101]),
    (CharacterTraitUpdate, "section", ["traits"], ["voice"]),
    (CharacterResetTraits, "action", ["reset_traits"], ["reset"]),
    (MovementTestRequest, "speed", [0.1, 1.0, 1], [0.05, 1.5, 0, 0.09]),
    *((MoveLegsParams, name, *PERCENT) for name in ("height_percent", "left_percent", "right_percent")),
    (MoveArmParams, "port_main", *PERCENT),  # the one joint of the table: without it there is none
    *((MoveArmParams, name, *ANY_PERCENT) for name in ("port_forearm", "port_hand", "star_main", "star_forearm", "star_hand")),
    (CameraCaptureRequest, "format", ["jpeg", "png", "raw"], ["gif", "JPEG"]),
    (CameraCaptureRequest, "quality", [1, 85, 95, 100], [0, 101]),
    (CameraCaptureRequest, "width", *SIZE),
    (CameraCaptureRequest, "height", *SIZE),
    (CameraImageResponse, "format", ["jpeg", "png", "raw"], ["bmp"]),
    *((CameraImageResponse, name, [0, 640], [-1, -100]) for name in ("width", "height", "size_bytes")),
    (CameraFrame, "format", ["jpeg", "png"], ["bmp", "raw"]),
    (CameraFrame, "width", [1, 1920], [0, -1]),
    (CameraFrame, "height", [1, 1080], [0, -1]),
    (CameraFrame, "frame_number", [0, 42], [-1]),
    (CameraFrame, "fps", [0, 30.0, None], [-0.1]),
    (
        CameraStatusUpdate,
        "event",
        ["camera_ready", "camera_unavailable", "capture_started", "capture_completed", "capture_failed"],
        ["ready"],
    ),
    (ConfigHealthPayload, "database_status", ["healthy", "locked", "corrupted", "schema-mismatch"], ["invalid-status"]),
    (ConfigHealthPayload, "operational_mode", ["normal", "read-only-fallback", "rebuilding"], ["fallback"]),
    (ConfigHealthPayload, "litestream_status", ["healthy", "error", "disabled"], ["ok"]),
]


@pytest.mark.parametrize(("cls", "field", "right", "wrong"), CASES, ids=[f"{cls.__name__}.{field}" for cls, field, _, _ in CASES])
def test_ranges_and_closed_sets_hold_at_both_ends(cls: type, field: str, right: list[Any], wrong: list[Any]) -> None:
    least: Any = structure(cls, CONTRACTS[cls][0])
    for value in right:
        assert value == getattr(structure(cls, {**CONTRACTS[cls][0], field: value}), field)
        assert value == getattr(attrs.evolve(least, **{field: value}), field)
    for value in wrong:
        with pytest.raises(DecodeError, match=rf"\$\.{field}"):
            structure(cls, {**CONTRACTS[cls][0], field: value})
        with pytest.raises(ValueError, match=f"{cls.__name__}.{field} must be"):
            attrs.evolve(least, **{field: value})


@pytest.mark.parametrize(
    ("cls", "field", "members"),
    [
        (MovementCommand, "command", MovementAction),
        (MovementTestRequest, "command", MovementTestCommand),
        (MovementStatusUpdate, "event", MovementStatusEvent),
        (MovementState, "event", MovementStateEvent),
    ],
)
def test_an_enum_is_read_by_its_value_and_made_of_its_members_only(cls: type, field: str, members: Any) -> None:
    least: Any = structure(cls, CONTRACTS[cls][0])
    for member in members:
        assert member is getattr(structure(cls, {**CONTRACTS[cls][0], field: member.value}), field)
        assert member is getattr(attrs.evolve(least, **{field: member}), field)
    with pytest.raises(DecodeError, match=rf"expected one of .*, found str 'invalid_action' @ \$\.{field}"):
        structure(cls, {**CONTRACTS[cls][0], field: "invalid_action"})
    with pytest.raises(ValueError, match=f"{cls.__name__}.{field} must be a {members.__name__}, got 'invalid_action'"):
        attrs.evolve(least, **{field: "invalid_action"})


def test_nan_is_in_no_range() -> None:
    with pytest.raises(ValueError, match=r"confidence must be in 0\.\.1 or None, got nan"):
        FinalTranscript(text="x", confidence=float("nan"))
