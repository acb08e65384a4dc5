"""When two messages are the same message."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.in_flight import Delivery
from tars.actors.mqtt.keys import NAMESPACE, derived_id, key_of, property_of
from tars.actors.mqtt.transport import Inbound, UserProperties


def envelope(data: Any, *, id: str = "e1", type: str = "t", ts: float = 1.0) -> bytes:  # noqa: A002 - the wire's words
    return orjson.dumps({"id": id, "type": type, "ts": ts, "source": "s", "data": data})


def delivery(payload: bytes, topic: str = "in", properties: UserProperties = (), serial: int = 1) -> Delivery:
    return Delivery(Inbound(topic, payload, 1, user_properties=properties), serial)


SAME = [
    ("an envelope and its repetition, at another time", delivery(envelope({"a": 1, "b": 2})), delivery(envelope({"b": 2, "a": 1}, ts=9.0))),
    ("one seq, whatever else is in it", delivery(envelope({"seq": 3, "text": "x"})), delivery(envelope({"seq": 3, "text": "y"}))),
    (
        "one message-id, whatever is in it",
        delivery(b"x", properties=(("message-id", "m1"),)),
        delivery(b"y", properties=(("other", "m2"), ("message-id", "m1"))),
    ),
]
DIFFERENT = [
    ("another envelope id", delivery(envelope({})), delivery(envelope({}, id="e2"))),
    ("another type", delivery(envelope({})), delivery(envelope({}, type="u"))),
    ("another topic", delivery(envelope({})), delivery(envelope({}), topic="other")),
    ("other data", delivery(envelope({"a": 1})), delivery(envelope({"a": 2}))),
    ("the next of a stream", delivery(envelope({"seq": 3})), delivery(envelope({"seq": 4}))),
    ("a seq that is a bool", delivery(envelope({"seq": True, "a": 1})), delivery(envelope({"seq": True, "a": 2}))),
    ("an envelope without an id", delivery(envelope({}, id="")), delivery(envelope({}, id=""), serial=2)),
    ("raw JSON twice", delivery(b'{"a":1}'), delivery(b'{"a":1}', serial=2)),
    ("bytes twice", delivery(b"\xff"), delivery(b"\xff", serial=2)),
    ("one field too many to be an envelope", delivery(b'{"id":"1"}'), delivery(b'{"id":"1"}', serial=2)),
    (
        "another message-id",
        delivery(envelope({}), properties=(("message-id", "m1"),)),
        delivery(envelope({}), properties=(("message-id", "m2"),)),
    ),
    ("one message-id on two topics", delivery(b"", "a", (("message-id", "m"),)), delivery(b"", "b", (("message-id", "m"),))),
]


@pytest.mark.parametrize(("one", "other"), [pytest.param(one, other, id=name) for name, one, other in SAME])
def test_these_are_the_same_message(one: Delivery, other: Delivery) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("one", "other"), [pytest.param(one, other, id=name) for name, one, other in DIFFERENT])
def test_these_are_two_messages(one: Delivery, other: Delivery) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"null", b"1", b"[" * 5000, envelope([1]), envelope(None), b'{"seq":1}'])
def test_every_payload_has_a_key(payload: bytes) -> None:
    assert key_of(delivery(payload)).startswith("in|")


@pytest.mark.parametrize("payload", [b"raw", envelope({}), envelope({}, id="i" * 65_000), envelope({}, type="t" * 65_000)])
@pytest.mark.parametrize("properties", [(), (("message-id", "m" * 65_000),)])
def test_a_key_is_short_whatever_a_stranger_puts_into_topic_id_and_properties(payload: bytes, properties: UserProperties) -> None:
    one, other = (delivery(payload, "t" * 65_000 + last, properties) for last in "ab")

    assert 600 > len(key_of(one).encode())
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("properties", "value"),
    [((), ""), ((("a", "1"),), "1"), ((("b", "0"), ("a", "1"), ("a", "2")), "1")],
)
def test_of_a_user_property_that_stands_twice_the_first_counts(properties: UserProperties, value: str) -> None:
    assert value == property_of(properties, "a")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_derived_id_is_a_uuid5(name: str) -> None:
    assert str(uuid.uuid5(NAMESPACE, name)) == derived_id(name)


def test_a_key_that_is_no_unicode_has_a_derived_id_all_the_same() -> None:
    assert 5 == uuid.UUID(derived_id("a topic with \udcff in it")).version
