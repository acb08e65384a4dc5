"""What a subscriber gets for a payload: the envelope's data, the whole document, or a reason why neither."""

import contextlib
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.contracts import (
    MAX_DEPTH,
    DecodeError,
    Envelope,
    Reason,
    decode,
    decode_document,
    decode_envelope,
    decode_json,
)
from tars.actors.contracts.stt import AudioFFTData, FinalTranscript
from tars.supervisor.errors import TarsError

EVENT: dict[str, Any] = {"message_id": "m", "text": "hi", "lang": "en", "confidence": 0.5, "utt_id": None, "ts": 1.0, "is_final": True}
TRANSCRIPT = FinalTranscript(message_id="m", text="hi", confidence=0.5, ts=1.0)
WRAPPED: dict[str, Any] = {"id": "a", "type": "stt.final", "ts": 2.0, "source": "tars-stt", "data": EVENT}
ENVELOPE = Envelope(**WRAPPED)


@attrs.frozen
class LooksLikeAnEnvelope:
    id: str
    type: str
    ts: float
    source: str
    data: dict[str, Any]


@pytest.mark.parametrize(
    ("document", "cls", "event", "envelope"),
    [
        (WRAPPED, FinalTranscript, TRANSCRIPT, ENVELOPE),
        (WRAPPED, dict, EVENT, ENVELOPE),
        (WRAPPED, dict[str, Any], EVENT, ENVELOPE),
        (WRAPPED, Envelope, ENVELOPE, ENVELOPE),
        (EVENT, FinalTranscript, TRANSCRIPT, None),
        (EVENT, dict, EVENT, None),
        ({}, dict, {}, None),
        ({"channels": {"1": 1500}}, dict, {"channels": {"1": 1500}}, None),
        ({**WRAPPED, "seq": 1}, dict, {**WRAPPED, "seq": 1}, None),  # six fields: no envelope, so the document itself
        # an envelope in an envelope: only the outer one is taken off
        ({**WRAPPED, "data": WRAPPED}, dict, WRAPPED, Envelope(**{**WRAPPED, "data": WRAPPED})),
        ({**WRAPPED, "data": WRAPPED}, LooksLikeAnEnvelope, LooksLikeAnEnvelope(**WRAPPED), Envelope(**{**WRAPPED, "data": WRAPPED})),
    ],
)
def test_the_annotation_decides_what_is_delivered(document: Any, cls: type, event: Any, envelope: Envelope | None) -> None:
    decoded: Any = decode(orjson.dumps(document), cls)

    assert event == decoded.event
    assert envelope == decoded.envelope
    assert decoded == decode_document(document, cls)


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", b"{", orjson.dumps(WRAPPED)])
def test_bytes_gets_the_payload_as_it_came_whatever_it_is(payload: bytes) -> None:
    decoded: Any = decode(payload, bytes)

    assert payload == decoded.event
    assert decoded.envelope is None


@pytest.mark.parametrize(
    ("document", "cls", "reason", "words"),
    [
        # bad data in an envelope is an error, even where the document itself would do
        ({**WRAPPED, "data": {"text": 5}}, FinalTranscript, Reason.WRONG_DATA, "as FinalTranscript: expected str, found int 5 @ $.text"),
        (WRAPPED, LooksLikeAnEnvelope, Reason.WRONG_DATA, "unknown fields"),
        ({**WRAPPED, "ts": "x"}, LooksLikeAnEnvelope, Reason.NOT_AN_ENVELOPE, "$.ts"),
        ({**WRAPPED, "ts": "x"}, dict, Reason.NOT_AN_ENVELOPE, "$.ts"),
        ({**WRAPPED, "data": []}, dict, Reason.NOT_AN_ENVELOPE, "$.data"),
        # neither an envelope nor the event
        ({"text": 5}, FinalTranscript, Reason.WRONG_DATA, "not an envelope (without data, id, source, ts, type), and as FinalTranscript"),
        ({**WRAPPED, "seq": 1}, FinalTranscript, Reason.WRONG_DATA, "not an envelope (1 fields too many), and as FinalTranscript"),
        ({"type": "stt.final", "data": EVENT}, FinalTranscript, Reason.WRONG_DATA, "not an envelope (without id, source, ts)"),
        (EVENT, Envelope, Reason.NOT_AN_ENVELOPE, "without data, id, source, type"),
        ([EVENT], FinalTranscript, Reason.NOT_AN_OBJECT, "expected an object, found list of 1"),
        ([], dict, Reason.NOT_AN_OBJECT, "found list of 0"),
        ("text", dict, Reason.NOT_AN_OBJECT, "found str 'text'"),
        (None, FinalTranscript, Reason.NOT_AN_OBJECT, "found null"),
        (7, Envelope, Reason.NOT_AN_OBJECT, "found int 7"),
    ],
)
def test_anything_else_is_refused_with_a_reason(document: Any, cls: type, reason: Reason, words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(orjson.dumps(document), cls)

    assert reason == caught.value.reason
    assert words in caught.value.detail


HOSTILE = [
    ("nothing", b"", Reason.NOT_JSON),
    ("spaces", b"   ", Reason.NOT_JSON),
    ("a word", b"hello", Reason.NOT_JSON),
    ("half a document", b'{"text": "hi', Reason.NOT_JSON),
    ("two documents", b"{} {}", Reason.NOT_JSON),
    ("a comment", b'{"text": "hi"} // yes', Reason.NOT_JSON),
    ("single quotes", b"{'text': 'hi'}", Reason.NOT_JSON),
    ("a NUL", b"\x00", Reason.NOT_JSON),
    ("a byte order mark", b'\xef\xbb\xbf{"text": "hi"}', Reason.NOT_JSON),
    ("NaN", b'{"text": "hi", "confidence": NaN}', Reason.NOT_JSON),
    ("infinity", b'{"text": "hi", "confidence": -Infinity}', Reason.NOT_JSON),
    ("a float too large", b'{"text": "hi", "ts": 1e400}', Reason.NOT_JSON),
    ("a lone surrogate", b'{"text": "\\ud800"}', Reason.NOT_JSON),
    ("a lone surrogate, encoded", b'{"text": "\xed\xa0\x80"}', Reason.NOT_UTF8),
    ("Latin-1", b'{"text": "caf\xe9"}', Reason.NOT_UTF8),
    ("noise", bytes(range(128, 256)), Reason.NOT_UTF8),
    ("UTF-16", '{"text": "hi"}'.encode("utf-16"), Reason.NOT_UTF8),
    ("1 MiB of arrays", b"[" * (1 << 20), Reason.TOO_DEEP),
    ("1 MiB of objects", b'{"a":' * (1 << 18), Reason.TOO_DEEP),
    ("one level too many", b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), Reason.TOO_DEEP),
    ("the last level that is read", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, Reason.NOT_AN_OBJECT),
    ("deep inside the data", b'{"text": "hi", "x": ' + b"[" * 900 + b"]" * 900 + b"}", Reason.TOO_DEEP),
    ("many arrays, side by side", b"[" + b"[]," * 100_000 + b"1]", Reason.NOT_AN_OBJECT),
    ("brackets in a string", b'"' + b"[" * 100_000 + b'"', Reason.NOT_AN_OBJECT),
    ("an int over 64 bits where a str stands", b'{"text": 123456789012345678901234567890}', Reason.WRONG_DATA),
    ("a million digits", b'{"text": ' + b"9" * 1_000_000 + b"}", Reason.NOT_JSON),
    ("200 000 unknown fields", b'{"text":"hi",' + b",".join(b'"%d":1' % i for i in range(200_000)) + b"}", Reason.WRONG_DATA),
    ("a field name of 1 MiB", b'{"text":"hi","' + b"x" * (1 << 20) + b'":1}', Reason.WRONG_DATA),
    ("a value of 1 MiB", b'{"text":"hi","confidence":"' + b"x" * (1 << 20) + b'"}', Reason.WRONG_DATA),
    ("17 MiB", b'{"text": "' + b"x" * (17 << 20) + b'"}', Reason.TOO_LARGE),
]


@pytest.mark.parametrize(("payload", "reason"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_hostile_payload_is_one_clean_short_error(payload: bytes, reason: Reason) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload, FinalTranscript)

    assert reason == caught.value.reason
    assert f"{reason}: {caught.value.detail}" == str(caught.value)
    assert len(str(caught.value)) < 2500
    assert isinstance(caught.value, TarsError)


def test_a_payload_of_wrong_items_costs_no_more_than_the_first_few() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(b'{"sample_rate":1,"fft_data":[' + b'"a",' * 300_000 + b'"a"]}', AudioFFTData)

    assert 20 == caught.value.detail.count("expected a finite float, found str 'a'")
    assert "$.fft_data[19]" in caught.value.detail


def test_values_in_an_error_are_cut_to_40_characters() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(orjson.dumps({"text": "hi", "confidence": "secret " * 10}), FinalTranscript)

    assert "secret secret secret secret secret secr" in caught.value.detail
    assert "secret secret secret secret secret secret" not in caught.value.detail


def test_a_key_that_stands_twice_has_its_last_value() -> None:
    assert "b" == decode(b'{"text": "a", "text": "b"}', FinalTranscript).event.text


def test_an_int_over_64_bits_is_a_float_so_an_int_field_refuses_it() -> None:
    assert 18446744073709551615 == decode_json(b"18446744073709551615")
    assert isinstance(decode_json(b"18446744073709551616"), float)
    with pytest.raises(DecodeError, match=r"expected int, found float 1.8446744073709552e\+19"):
        decode(b'{"fft_data": [], "sample_rate": 18446744073709551616}', AudioFFTData)


def test_a_smaller_limit_on_the_size_may_be_set() -> None:
    assert {} == decode_json(b"{}", max_bytes=2)
    with pytest.raises(DecodeError, match="too_large: 3 bytes, at most 2 are read"):
        decode_json(b"{ }", max_bytes=2)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_only_failure_is_a_decode_error(payload: bytes) -> None:
    for cls in (FinalTranscript, dict, Envelope):
        with contextlib.suppress(DecodeError):
            decode(payload, cls)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab"),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*WRAPPED, *EVENT]), inner),
    )
)
def test_whatever_the_document_the_only_failure_is_a_decode_error(document: Any) -> None:
    for cls in (FinalTranscript, dict, Envelope):
        with contextlib.suppress(DecodeError):
            decode_document(document, cls)


def test_decode_envelope_is_decode_for_envelopes() -> None:
    assert ENVELOPE == decode_envelope(orjson.dumps(WRAPPED))
