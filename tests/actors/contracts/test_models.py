"""Every contract, field for field: what old services send is read, what they read is sent."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.contracts import Between, DecodeError, Reason, decode_json, encode, structure, unstructure
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
from tars.actors.contracts.stt import AudioFFTData, FinalTranscript, PartialTranscript
from tars.actors.contracts.tts import TtsControlCommand, TtsSay, TtsStatus
from tars.actors.contracts.wake import WakeEvent, WakeMicCommand

AUTO = object()  # an id or a time, made when none is given

# class -> (the least a sender may send, every other field with its default)
CONTRACTS: dict[type, tuple[dict[str, Any], dict[str, Any]]] = {
    FinalTranscript: (
        {"text": "hello"},
        {"message_id": AUTO, "lang": "en", "confidence": None, "utt_id": None, "ts": AUTO, "is_final": True},
    ),
    PartialTranscript: (
        {"text": "hel"},
        {"message_id": AUTO, "lang": "en", "confidence": None, "utt_id": None, "ts": AUTO, "is_final": False},
    ),
    AudioFFTData: ({"fft_data": [], "sample_rate": 16000}, {"message_id": AUTO, "ts": AUTO}),
    TtsSay: (
        {"text": "hello"},
        {
            "message_id": AUTO,
            "voice": None,
            "lang": None,
            "utt_id": None,
            "style": None,
            "stt_ts": None,
            "wake_ack": None,
            "system_announce": None,
        },
    ),
    TtsStatus: (
        {"event": "speaking_start"},
        {"message_id": AUTO, "text": "", "timestamp": AUTO, "utt_id": None, "reason": None, "wake_ack": None, "system_announce": None},
    ),
    TtsControlCommand: ({"action": "pause"}, {"message_id": AUTO, "reason": None, "ts": AUTO}),
    ConversationMessage: ({"role": "user", "content": "hello"}, {"timestamp": None}),
    LLMRequest: (
        {"id": "rt-1", "text": "hello"},
        {
            "message_id": AUTO,
            "stream": True,
            "use_rag": None,
            "rag_k": None,
            "system": None,
            "params": None,
            "conversation_history": None,
        },
    ),
    LLMResponse: (
        {"id": "rt-1"},
        {"message_id": AUTO, "reply": None, "error": None, "provider": None, "model": None, "tokens": None},
    ),
    LLMStreamDelta: (
        {"id": "rt-1"},
        {"message_id": AUTO, "seq": None, "delta": None, "done": False, "provider": None, "model": None},
    ),
    LLMCancel: ({"id": "rt-1"}, {"message_id": AUTO}),
    ToolSpec: ({"function": {"name": "f"}}, {"type": "function"}),
    ToolsRegistry: ({"tools": []}, {"message_id": AUTO}),
    ToolCallRequest: ({"call_id": "1", "name": "mcp:a:b", "arguments": {}}, {"message_id": AUTO}),
    ToolCallResult: ({"call_id": "1"}, {"message_id": AUTO, "result": None, "error": None}),
    WakeEvent: (
        {"type": "wake"},
        {"message_id": AUTO, "tts_id": None, "cause": None, "confidence": None, "energy": None, "ts": None},
    ),
    WakeMicCommand: ({"action": "mute"}, {"message_id": AUTO, "reason": "wake", "ttl_ms": None}),
    HealthPing: ({"ok": True}, {"message_id": AUTO, "event": None, "err": None, "timestamp": AUTO}),
    HeartbeatPayload: ({}, {"ok": True, "event": "heartbeat", "timestamp": AUTO}),
}
EACH = pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)


@EACH
def test_the_least_a_sender_may_send_is_filled_with_the_defaults(cls: type) -> None:
    least, defaults = CONTRACTS[cls]

    event: Any = structure(cls, least)

    assert set(least) | set(defaults) == {field.name for field in attrs.fields(cls)}
    for name, default in defaults.items():
        value = getattr(event, name)
        if default is not AUTO:
            assert default == value, name
        elif name == "message_id":
            assert 32 == len(value)
            assert value != getattr(structure(cls, least), name)
        else:
            assert isinstance(value, float)
            assert value > 1.6e9


@EACH
def test_a_missing_required_field_is_named(cls: type) -> None:
    least, _ = CONTRACTS[cls]
    for name in least:
        with pytest.raises(DecodeError) as caught:
            structure(cls, {key: value for key, value in least.items() if key != name})

        assert Reason.WRONG_DATA == caught.value.reason
        assert f"missing field @ $.{name}" in caught.value.detail


@EACH
def test_an_unknown_field_is_refused_by_name(cls: type) -> None:
    with pytest.raises(DecodeError, match="unknown fields 'correlation_id'"):
        structure(cls, {**CONTRACTS[cls][0], "correlation_id": "1"})


@EACH
def test_every_field_refuses_a_value_of_another_type(cls: type) -> None:
    least, _ = CONTRACTS[cls]
    for field in attrs.fields(cls):
        for wrong in ("str", 7, 7.5, True, [1], {"a": 1}):
            if _accepts(field.type, wrong):
                continue
            with pytest.raises(DecodeError) as caught:
                structure(cls, {**least, field.name: wrong})

            assert f"$.{field.name}" in caught.value.detail
            assert type(wrong).__name__ in caught.value.detail


@EACH
def test_what_is_sent_has_exactly_the_contract_s_fields_and_null_for_none(cls: type) -> None:
    least, defaults = CONTRACTS[cls]

    sent = decode_json(encode(structure(cls, least)))

    assert isinstance(sent, dict)
    names = [field.name for field in attrs.fields(cls)]
    if cls is HealthPing:
        names = ["message_id", "ok", "timestamp"]  # its empty fields are left out
    assert names == list(sent)
    assert {name for name in names if (least | defaults)[name] is None} == {name for name, value in sent.items() if value is None}


@EACH
def test_a_value_cannot_be_changed(cls: type) -> None:
    event: Any = structure(cls, CONTRACTS[cls][0])

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, attrs.fields(cls)[0].name, "x")
    assert not hasattr(event, "__dict__")


@given(st.data())
@EACH
def test_any_value_comes_back_from_the_wire_as_it_was(cls: type, data: st.DataObject) -> None:
    event: Any = data.draw(st.builds(cls, **{field.name: _values(field.type) for field in attrs.fields(cls)}))

    assert event == structure(cls, decode_json(encode(event)))
    assert event == structure(cls, unstructure(event))


@pytest.mark.parametrize(
    ("cls", "field", "right", "wrong"),
    [
        (FinalTranscript, "confidence", [0, 1, 0.0, 1.0, 0.5, None], [-0.001, 1.001, 1.5, -1, 2]),
        (PartialTranscript, "confidence", [0, 1, None], [-0.001, 1.001]),
        (AudioFFTData, "sample_rate", [1, 48000], [0, -1]),
        (WakeEvent, "confidence", [0, 1, None], [-0.1, 1.1]),
        (WakeEvent, "energy", [0, 1e9, None], [-0.1]),
        (WakeMicCommand, "ttl_ms", [0, 3000, None], [-1]),
        (TtsStatus, "event", ["speaking_start", "speaking_end", "paused", "resumed", "stopped"], ["", "started", "PAUSED"]),
        (TtsControlCommand, "action", ["pause", "resume", "stop", "mute", "unmute"], ["cancel", "Pause"]),
        (WakeMicCommand, "action", ["mute", "unmute"], ["enable"]),
        (ConversationMessage, "role", ["user", "assistant"], ["system"]),
    ],
)
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


def test_nan_is_in_no_range() -> None:
    with pytest.raises(ValueError, match=r"confidence must be in 0\.\.1 or None, got nan"):
        FinalTranscript(text="x", confidence=float("nan"))


def test_health_is_sent_without_its_empty_fields_and_read_with_or_without_them() -> None:
    ping = HealthPing(message_id="m", ok=False, err="no microphone", timestamp=5.0)

    assert {"message_id": "m", "ok": False, "err": "no microphone", "timestamp": 5.0} == decode_json(encode(ping))
    assert ping == structure(HealthPing, {"message_id": "m", "ok": False, "event": None, "err": "no microphone", "timestamp": 5})


def test_a_tool_result_is_read_with_the_error_field_of_either_old_contract() -> None:
    assert "no such tool" == structure(ToolCallResult, {"call_id": "1", "error": "no such tool"}).error
    assert "no such tool" == structure(ToolCallResult, {"call_id": "1", "error_msg": "no such tool"}).error
    assert unstructure(ToolCallResult(message_id="m", call_id="1", error="e")) == {
        "message_id": "m",
        "call_id": "1",
        "result": None,
        "error": "e",
    }


def test_a_tool_result_with_both_error_fields_is_refused() -> None:
    with pytest.raises(DecodeError, match="only one of 'error_msg' and 'error'"):
        structure(ToolCallResult, {"call_id": "1", "error_msg": "a", "error": "b"})


def test_a_wrong_field_deep_inside_is_named_with_its_whole_path() -> None:
    with pytest.raises(DecodeError) as caught:
        structure(
            LLMRequest, {"id": 1, "text": "x", "conversation_history": [{"role": "user", "content": "a"}, {"role": "god", "content": 3}]}
        )

    assert (
        "as LLMRequest: expected str, found int 1 @ $.id; "
        "expected one of 'user', 'assistant', found str 'god' @ $.conversation_history[1].role; "
        "expected str, found int 3 @ $.conversation_history[1].content"
    ) == caught.value.detail


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _accepts(annotation: Any, value: object) -> bool:
    """Whether JSON of this Python type may stand in a field of `annotation`; written apart from the codec on purpose."""
    kinds: set[type] = set()
    for member in _members(annotation):
        plain = get_args(member)[0] if get_origin(member) is Annotated else member
        kinds |= {list} if get_origin(plain) is tuple else set()
        scalars: dict[Any, set[Any]] = {float: {float, int}, int: {int}, str: {str}, bool: {bool}}
        kinds |= scalars.get(plain, {get_origin(plain)})
    return type(value) in kinds


def _values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line per kind of type
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of(*map(_values, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is Annotated:
        between = next(extra for extra in annotation.__metadata__ if isinstance(extra, Between))
        return _numbers(get_args(annotation)[0], between.at_least, between.at_most)
    if get_origin(annotation) is tuple:
        return st.lists(_values(get_args(annotation)[0]), max_size=4).map(tuple)
    if get_origin(annotation) is dict:
        return st.dictionaries(_texts(), _json(), max_size=4)
    if attrs.has(annotation):
        return st.builds(annotation, **{field.name: _values(field.type) for field in attrs.fields(annotation)})
    if annotation in (int, float):
        return _numbers(annotation, None, None)
    return {str: _texts(), bool: st.booleans(), types.NoneType: st.none()}[annotation]


def _numbers(kind: type, low: float | None, high: float | None) -> st.SearchStrategy[Any]:
    if kind is int:
        return st.integers(-(2**63) if low is None else int(low), 2**63 - 1 if high is None else int(high))
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def _texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _json() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.one_of(st.none(), st.booleans(), _numbers(int, None, None), _numbers(float, None, None), _texts()),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts(), inner, max_size=3)),
        max_leaves=6,
    )
