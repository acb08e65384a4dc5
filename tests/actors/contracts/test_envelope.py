"""The envelope: five fields, and what is made of a document that has them, or nearly."""

import itertools
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.contracts import (
    DecodeError,
    EncodeError,
    Envelope,
    Reason,
    decode_envelope,
    decode_json,
    encode,
    seal,
    unstructure,
    wrap,
    wrap_now,
)

WIRE = {"id": "a", "type": "stt.final", "ts": 12.5, "source": "tars-stt", "data": {"text": "hi"}}


def test_an_envelope_on_the_wire_has_exactly_the_five_fields() -> None:
    envelope = wrap("stt.final", {"text": "hi"}, source="tars-stt", now=lambda: 12.5, new_id=lambda: "a")

    assert WIRE == decode_json(encode(envelope))
    assert envelope == decode_envelope(encode(envelope))


def test_a_correlation_id_is_the_envelope_s_id() -> None:
    assert "parent" == wrap("t", {}, source="s", correlation_id="parent", now=lambda: 0.0, new_id=lambda: "own").id


@pytest.mark.parametrize("none", [None, ""])
def test_without_a_correlation_id_the_id_is_a_new_one_each_time(none: str | None) -> None:
    ids = itertools.count()

    def make() -> Envelope:
        return wrap("t", {}, source="s", correlation_id=none, now=lambda: 0.0, new_id=lambda: str(next(ids)))

    assert ["0", "1"] == [make().id, make().id]


def test_the_rim_gives_32_hex_digits_and_epoch_seconds() -> None:
    envelope = wrap_now("t", {}, source="s")

    assert 32 == len(envelope.id)
    assert int(envelope.id, 16) >= 0
    assert envelope.id != wrap_now("t", {}, source="s").id
    assert isinstance(envelope.ts, float)
    assert envelope.ts > 1.6e9


@attrs.frozen
class Event:
    at: datetime
    more: dict[str, Any]


@pytest.mark.parametrize("data", [{"a": [1, None, {"b": 2.5}], "c": UUID(int=7)}, Event(datetime(2026, 1, 2, tzinfo=UTC), {"a": (1,)})])
@pytest.mark.parametrize("correlation_id", ["parent", "", None])
def test_to_seal_is_to_wrap_and_encode(data: Any, correlation_id: str | None) -> None:
    envelope, payload = seal("t", data, source="s", correlation_id=correlation_id)
    in_steps = wrap_now("t", unstructure(data), source="s", correlation_id=correlation_id)

    assert envelope == decode_envelope(payload)
    assert attrs.evolve(in_steps, ts=envelope.ts, id=correlation_id or envelope.id) == envelope
    assert encode(envelope) == payload
    assert 32 == len(envelope.id) or correlation_id == envelope.id
    assert abs(in_steps.ts - envelope.ts) < 60


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize(
    ("event_type", "data", "words"),
    [
        ("t", {"a": {"b": math.nan}}, "a finite number at ['a']['b']"),
        ("t", {"a": 2**64}, "dict: Integer exceeds 64-bit range"),
        ("t", {"a": {1, 2}}, "a JSON value at ['a']"),
        ("t", [1], "expected an attrs instance or a dict"),
        ("t", {"a": nested(63)}, "nested deeper than 64 levels"),
        (7, {}, "expected str, found int 7 @ $.type"),
        (None, {}, "found null @ $.type"),
        ("t", Event("now", {}), "Event: a field holds something else than its class says"),  # type: ignore[arg-type]
    ],
)
def test_what_nobody_could_read_is_not_sealed(event_type: Any, data: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        seal(event_type, data, source="s")

    assert words in str(caught.value)


def test_a_whole_number_of_seconds_is_a_time_too() -> None:
    assert 12.0 == decode_envelope(encode({**WIRE, "ts": 12})).ts


@pytest.mark.parametrize(
    ("document", "reason", "words"),
    [
        ([], Reason.NOT_AN_OBJECT, "found list of 0"),
        ("envelope", Reason.NOT_AN_OBJECT, "found str 'envelope'"),
        (None, Reason.NOT_AN_OBJECT, "found null"),
        ({}, Reason.NOT_AN_ENVELOPE, "without data, id, source, ts, type"),
        *(({key: value for key, value in WIRE.items() if key != name}, Reason.NOT_AN_ENVELOPE, f"without {name}") for name in WIRE),
        ({**WIRE, "correlate": "x"}, Reason.NOT_AN_ENVELOPE, "1 fields too many"),
        ({**WIRE, "ts": "not-a-number"}, Reason.NOT_AN_ENVELOPE, "expected a finite float, found str 'not-a-number' @ $.ts"),
        ({**WIRE, "ts": True}, Reason.NOT_AN_ENVELOPE, "found bool True @ $.ts"),
        ({**WIRE, "ts": None}, Reason.NOT_AN_ENVELOPE, "found null @ $.ts"),
        ({**WIRE, "id": 7}, Reason.NOT_AN_ENVELOPE, "expected str, found int 7 @ $.id"),
        ({**WIRE, "type": None}, Reason.NOT_AN_ENVELOPE, "found null @ $.type"),
        ({**WIRE, "source": ["x"]}, Reason.NOT_AN_ENVELOPE, "found list of 1 @ $.source"),
        ({**WIRE, "data": [1]}, Reason.NOT_AN_ENVELOPE, "expected an object, found list of 1 @ $.data"),
        ({**WIRE, "data": "x"}, Reason.NOT_AN_ENVELOPE, "expected an object, found str 'x' @ $.data"),
        ({**WIRE, "data": None}, Reason.NOT_AN_ENVELOPE, "expected an object, found null @ $.data"),
        ({**WIRE, "id": 7, "ts": "x"}, Reason.NOT_AN_ENVELOPE, "found int 7 @ $.id; expected a finite float, found str 'x' @ $.ts"),
    ],
)
def test_what_is_no_envelope_is_refused_with_a_reason(document: Any, reason: Reason, words: str) -> None:
    payload = encode(document) if isinstance(document, dict) else {"[]": b"[]"}.get(repr(document), b'"envelope"' if document else b"null")

    with pytest.raises(DecodeError) as caught:
        decode_envelope(payload)

    assert reason == caught.value.reason
    assert words in caught.value.detail


def test_an_envelope_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Envelope(**WIRE).id = "b"  # type: ignore[misc, arg-type]


@given(
    st.builds(
        Envelope,
        id=st.text(st.characters(exclude_categories=["Cs"])),
        type=st.text(st.characters(exclude_categories=["Cs"])),
        ts=st.floats(allow_nan=False, allow_infinity=False),
        source=st.text(st.characters(exclude_categories=["Cs"])),
        data=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
        ),
    )
)
def test_any_envelope_comes_back_from_the_wire_as_it_was(envelope: Envelope) -> None:
    assert envelope == decode_envelope(encode(envelope))
