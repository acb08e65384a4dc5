"""Whatever is in a payload, reading it ends in a value that can be written again, or in one short `DecodeError`."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from support.contract_table import CONTRACTS
from support.contract_values import events
from support.fuzz import ENVELOPES, FUZZ, JSON_TEXTS, damaged
from tars.actors.contracts import DecodeError, Envelope, Reason, decode, decode_json, encode, unstructure, wrap
from tars.actors.mqtt.in_flight import InFlight
from tars.actors.mqtt.keys import MAX_KEY_CHARS, correlation_of, key_of
from tars.actors.mqtt.transport import Inbound

READERS: Final = (Envelope, dict, *CONTRACTS)
DETAIL_BYTES: Final = 4_000
"""A dead letter's error is a line in the log: it never holds a payload."""

PAYLOADS: Final = st.binary(max_size=100) | (JSON_TEXTS | ENVELOPES).map(lambda text: text.encode())


def read_or_refuse(payload: bytes, cls: type[Any]) -> None:
    """The law of this file, for one reader."""
    try:
        event: Any = decode(payload, cls).event
    except DecodeError as error:
        refusal = error
    else:
        assert event == decode(encode(event), cls).event
        return

    assert refusal.reason in Reason
    assert len(refusal.detail.encode()) < DETAIL_BYTES
    assert [refusal.detail] == refusal.detail.splitlines()


@FUZZ
@given(PAYLOADS)
def test_any_payload_is_read_or_refused_by_every_contract(payload: bytes) -> None:
    for cls in READERS:
        read_or_refuse(payload, cls)


@FUZZ
@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    cls: type[Any] = data.draw(st.sampled_from(list(CONTRACTS)))
    event = data.draw(events(cls))
    whole = encode(
        wrap("a.type", unstructure(event), source="s", now=lambda: 1.5, new_id=lambda: "e") if data.draw(st.booleans()) else event
    )
    payload = data.draw(damaged(whole))
    for reader in (cls, Envelope, dict):
        read_or_refuse(payload, reader)


@FUZZ
@given(PAYLOADS)
def test_any_document_that_is_read_is_written_and_read_the_same(payload: bytes) -> None:
    try:
        document: Any = decode(payload, dict).event
    except DecodeError:
        return

    assert document == decode_json(encode(document))


@FUZZ
@given(PAYLOADS)
def test_any_payload_has_a_key_and_a_correlation_that_can_be_kept_and_logged(payload: bytes) -> None:
    delivery = InFlight(lambda _: None).arrive(Inbound("t", payload, 1, packet_id=1), 1)
    key, correlation = key_of(delivery), correlation_of(delivery.document)

    assert key == key_of(delivery)
    assert max(len(key), len(correlation)) <= MAX_KEY_CHARS
    assert (key, correlation) == (key.encode().decode(), correlation.encode().decode())
