"""Where old services and old documents differ from the contracts: what is read all the same, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tars.actors.contracts import DecodeError, decode_json, encode, structure, unstructure, wrap_now
from tars.actors.contracts.camera import CameraFrame
from tars.actors.contracts.codec import decode
from tars.actors.contracts.config import ConfigUpdatePayload
from tars.actors.contracts.health import HealthPing
from tars.actors.contracts.llm import LLMRequest, ToolCallRequest, ToolCallResult, ToolsRegistry
from tars.actors.contracts.memory import CharacterResetTraits, CharacterTraitUpdate, MemoryQuery, read_character_update
from tars.actors.contracts.movement import MovementFrame, MovementStatusUpdate
from tars.actors.contracts.stt import AudioFFTData, FinalTranscript
from tars.actors.contracts.tts import TtsControlCommand
from tars.actors.contracts.wake import WakeEvent, WakeMicCommand

CONFIG = {"service": "a", "config": {}, "version": 1, "config_epoch": "e"}
NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)

READ_ALL_THE_SAME: list[tuple[str, type, dict[str, Any], dict[str, Any]]] = [
    (
        "the old wake service's health",
        HealthPing,
        {"ok": True, "version": "0.1.0", "ts": 5.0},
        {"ok": True, "timestamp": 5.0, "event": None},
    ),
    ("health with the empty fields written", HealthPing, {"ok": False, "event": None, "err": "x"}, {"event": None, "err": "x"}),
    ("the second tool contract's result", ToolCallResult, {"call_id": "1", "result": None, "error_msg": "no"}, {"error": "no"}),
    (
        "the second tool contract's good result",
        ToolCallResult,
        {"call_id": "1", "result": {"a": 1}, "error_msg": None},
        {"result": {"a": 1}},
    ),
    ("the second tool contract's request", ToolCallRequest, {"call_id": "1", "name": "f", "arguments": {}}, {"name": "f"}),
    ("the second tool contract's registry", ToolsRegistry, {"tools": []}, {"tools": ()}),
    ("the character tool's update, without a section", CharacterTraitUpdate, {"trait": "humor", "value": 3}, {"section": "traits"}),
    (
        "the old wake service's barge-in",
        TtsControlCommand,
        {"action": "pause", "reason": "wake_interrupt", "id": "rt-1"},
        {"id": "rt-1", "reason": "wake_interrupt"},
    ),
    ("a wake event by the monotonic clock", WakeEvent, {"type": "wake", "ts": 5120.5}, {"ts": 5120.5}),
    ("the microcontroller's bare status", MovementStatusUpdate, {"event": "connected"}, {"command": None}),
    (
        "a time without a zone",
        ConfigUpdatePayload,
        {**CONFIG, "issued_at": "2025-11-06T12:00:00"},
        {"issued_at": NOON.replace(tzinfo=None)},
    ),
    ("a time that ends in Z", ConfigUpdatePayload, {**CONFIG, "issued_at": "2025-11-06T12:00:00Z"}, {"issued_at": NOON}),
]


@pytest.mark.parametrize(("cls", "sent", "read"), [case[1:] for case in READ_ALL_THE_SAME], ids=[case[0] for case in READ_ALL_THE_SAME])
def test_what_old_services_send_is_read_bare_and_in_an_envelope_of_any_type(cls: type, sent: dict[str, Any], read: dict[str, Any]) -> None:
    for payload in (encode(sent), encode(wrap_now("mic.control", sent, source="an-old-service"))):
        event: Any = decode(payload, cls).event

        assert read == {name: getattr(event, name) for name in read}


REFUSED: list[tuple[str, type, dict[str, Any], str]] = [
    ("health with another field", HealthPing, {"ok": True, "uptime": 5}, "unknown fields 'uptime'"),
    ("health with `error`", HealthPing, {"ok": False, "error": "x"}, "unknown fields 'error'"),
    ("health with both times", HealthPing, {"ok": True, "ts": 1, "timestamp": 1}, "only one of 'ts' and 'timestamp'"),
    (
        "a tool result with both errors",
        ToolCallResult,
        {"call_id": "1", "error_msg": "a", "error": "b"},
        "only one of 'error_msg' and 'error'",
    ),
    ("a tool result that is no object", ToolCallResult, {"call_id": "1", "result": "text"}, "$.result"),
    ("a correlation id in the event", FinalTranscript, {"text": "hi", "correlation_id": "c"}, "unknown fields 'correlation_id'"),
    (
        "a documented wake event",
        WakeEvent,
        {"detected": True, "score": 0.9, "wake_word": "tars"},
        "unknown fields 'detected', 'score', 'wake_word'",
    ),
    ("a wake event with a keyword", WakeEvent, {"type": "wake", "keyword": "tars"}, "unknown fields 'keyword'"),
    ("a documented microphone command", WakeMicCommand, {"action": "enable"}, "$.action"),
    ("a documented speech command", TtsControlCommand, {"command": "cancel"}, "unknown fields 'command'"),
    ("a documented memory query", MemoryQuery, {"query": "rain", "k": 5}, "unknown fields 'k', 'query'"),
    ("a documented request of messages", LLMRequest, {"id": "1", "messages": []}, "unknown fields 'messages'"),
    ("the recogniser's spectrum", AudioFFTData, {"fft": [0.1], "ts": 1.0}, "unknown fields 'fft'"),
    ("the microcontroller's frame", MovementFrame, {"ch0": 1500, "timestamp": 1}, "unknown fields 'ch0'"),
    ("a documented camera frame", CameraFrame, {"frame": "AA==", "mqtt_rate": 2}, "unknown fields 'frame', 'mqtt_rate'"),
    ("a progress in the status", MovementStatusUpdate, {"status": "running", "progress": 0.5}, "unknown fields 'progress', 'status'"),
    ("a time that is a number", ConfigUpdatePayload, {"issued_at": 5}, "expected an ISO 8601 time, found int 5 @ $.issued_at"),
]


@pytest.mark.parametrize(("cls", "sent", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_only_old_documents_say_is_refused(cls: type, sent: dict[str, Any], words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        structure(cls, sent)

    assert words in caught.value.detail


def test_what_is_read_tolerantly_is_never_written() -> None:
    ping = structure(HealthPing, {"message_id": "m", "ok": True, "version": "0.1.0", "ts": 5})
    result = structure(ToolCallResult, {"message_id": "m", "call_id": "1", "error_msg": "no"})

    assert {"message_id": "m", "ok": True, "timestamp": 5.0} == decode_json(encode(ping))
    assert {"message_id": "m", "call_id": "1", "result": None, "error": "no"} == unstructure(result)


def test_what_is_read_is_left_as_it_was_for_the_other_subscribers_of_the_message() -> None:
    document = {"ok": True, "version": "0.1.0", "ts": 5}

    structure(HealthPing, document)

    assert {"ok": True, "version": "0.1.0", "ts": 5} == document


def test_a_speech_command_names_an_utterance_only_when_it_is_meant() -> None:
    everything = TtsControlCommand(message_id="m", action="stop", ts=1.0)
    one = TtsControlCommand(message_id="m", action="stop", id="rt-1", ts=1.0)

    assert {"message_id": "m", "action": "stop", "reason": None, "ts": 1.0} == decode_json(encode(everything))
    assert {"message_id": "m", "action": "stop", "reason": None, "ts": 1.0, "id": "rt-1"} == decode_json(encode(one))


def test_a_reset_without_its_action_is_no_reset() -> None:
    assert isinstance(read_character_update({"action": "reset_traits"}), CharacterResetTraits)
    with pytest.raises(DecodeError, match=r"as CharacterTraitUpdate: missing field @ \$\.trait; missing field @ \$\.value"):
        read_character_update({})
