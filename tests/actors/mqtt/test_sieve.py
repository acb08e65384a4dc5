"""The sieve: what of a stream is ours, and that the rest is paho's, byte for byte, wherever the stream was cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.aiomqtt_packets import encode_length, encode_publish, encode_publish_properties
from tars.actors.mqtt.aiomqtt_sieve import Sieve
from tars.actors.mqtt.transport import Inbound, Outbound

TEXT = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), max_size=12)
MESSAGES = st.builds(
    Outbound,
    topic=TEXT.filter(bool),
    payload=st.binary(max_size=300),
    qos=st.sampled_from((0, 1)),
    retain=st.booleans(),
    user_properties=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    expires_s=st.none() | st.integers(0, 2**32 - 1),
)
FOREIGN = st.builds(
    lambda first, body: bytes([first]) + encode_length(len(body)) + body,
    st.sampled_from((0x20, 0x34, 0x36, 0x3C, 0x41, 0x50, 0x62, 0x90, 0xB0, 0xD0, 0xE0, 0xF0)),
    st.binary(max_size=150),
)


class Sifted:
    """A sieve, and what came through."""

    def __init__(self, *, is_5: bool) -> None:
        self.heard: list[object] = []
        self.rest = b""
        self.sieve = Sieve(is_5, self.heard.append, lambda packet_id, code: self.heard.append((packet_id, code)))

    def pour(self, stream: bytes, cuts: list[int]) -> None:
        places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
        for begin, end in itertools.pairwise(places):
            self.rest += self.sieve.sift(stream[begin:end])


def packet(message: Outbound, packet_id: int, *, is_5: bool) -> bytes:
    return encode_publish(message, encode_publish_properties(message) if is_5 else b"", packet_id)


def as_inbound(message: Outbound, packet_id: int, *, is_5: bool) -> Inbound:
    user, expires_s = (message.user_properties, message.expires_s) if is_5 else ((), None)
    number = packet_id if message.qos else 0
    return Inbound(message.topic, message.payload, message.qos, message.retain, False, number, user, expires_s)


@given(st.lists(MESSAGES | st.integers(1, 65_535) | FOREIGN, max_size=12), st.lists(st.integers(0, 5000), max_size=40), st.booleans())
def test_wherever_the_stream_is_cut_what_is_ours_is_heard_in_order_and_the_rest_is_left(
    sent: list[Outbound | int | bytes], cuts: list[int], is_5: bool
) -> None:
    heard: list[object] = []
    rest = stream = b""
    for packet_id, each in enumerate(sent, 1):
        if isinstance(each, Outbound):
            stream += packet(each, packet_id, is_5=is_5)
            heard.append(as_inbound(each, packet_id, is_5=is_5))
        elif isinstance(each, int):
            stream += b"\x40\x02" + each.to_bytes(2, "big")
            heard.append((each, 0))
        else:
            stream += each
            rest += each
    sifted = Sifted(is_5=is_5)
    sifted.pour(stream, cuts)

    assert (heard, rest) == (sifted.heard, sifted.rest)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=20), st.booleans())
def test_no_bytes_whatever_make_it_fail_and_the_cuts_make_no_difference(stream: bytes, cuts: list[int], is_5: bool) -> None:
    whole, cut = Sifted(is_5=is_5), Sifted(is_5=is_5)
    whole.pour(stream, [])
    cut.pour(stream, cuts)

    assert (whole.heard, whole.rest) == (cut.heard, cut.rest)


@given(MESSAGES, st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_no_damage_to_a_message_makes_it_fail(message: Outbound, place: int, damage: bytes) -> None:
    stream = bytearray(packet(message, 7, is_5=True))
    stream[2 + place % len(stream) :][: len(damage)] = damage
    sifted = Sifted(is_5=True)
    sifted.pour(bytes(stream), [])

    assert len(sifted.heard) + bool(sifted.rest) <= len(stream)


@pytest.mark.parametrize(
    ("is_5", "stream"),
    [
        pytest.param(False, b"\x34\x06\x00\x01a\x00\x07x", id="QoS 2"),
        pytest.param(False, b"\x30\x02\x00\x00", id="no topic"),
        pytest.param(False, b"\x30\x03\x00\x05a", id="a topic longer than the packet"),
        pytest.param(False, b"\x30\x01\x00", id="half a length"),
        pytest.param(False, b"\x32\x05\x00\x01a\x00\x00", id="QoS 1 without a packet id"),
        pytest.param(False, b"\x32\x04\x00\x01a\x01", id="half a packet id"),
        pytest.param(False, b"\x40\x01\x01", id="an acknowledgement of half a packet id"),
        pytest.param(False, b"\x40\x03\x00\x01\x80", id="an acknowledgement with a reason, under 3.1.1"),
        pytest.param(True, b"\x30\x08\x00\x01a\x03\x23\x00\x01x", id="a topic alias"),
        pytest.param(True, b"\x30\x06\x00\x01a\x02\x7f\x00", id="an unknown property"),
        pytest.param(True, b"\x30\x06\x00\x01a\x7f\x01\x00", id="properties longer than the packet"),
        pytest.param(True, b"\x30\x0a\x00\x01a\x03\x26\x00\x09ab\x00", id="a user property longer than the properties"),
        pytest.param(True, b"\x30\x0b\x00\x01a\x04\x26\x00\x01x\x00\x01y", id="a user property that ends in the payload"),
        pytest.param(True, b"\x30\x03\x00\x01a", id="no properties at all"),
    ],
)
def test_what_is_not_as_it_should_be_or_part_of_more_is_left_to_paho_and_what_follows_is_heard(is_5: bool, stream: bytes) -> None:
    sifted = Sifted(is_5=is_5)
    sifted.pour(stream + b"\x40\x02\x00\x09", [])

    assert ([(9, 0)], stream) == (sifted.heard, sifted.rest)


def test_a_reason_comes_with_its_acknowledgement() -> None:
    sifted = Sifted(is_5=True)
    sifted.pour(b"\x40\x03\x00\x09\x87\x40\x04\x01\x00\x00\x00", [])

    assert [(9, 0x87), (256, 0)] == sifted.heard


def test_every_property_a_publish_may_have_is_stepped_over() -> None:
    properties = b"\x01\x01\x02\x00\x00\x00\x2a\x03\x00\x01t\x08\x00\x02r/\x09\x00\x01\xff\x0b\x80\x01\x26\x00\x01k\x00\x01v"
    body = b"\x00\x01a" + encode_length(len(properties)) + properties + b"x"
    sifted = Sifted(is_5=True)
    sifted.pour(b"\x30" + encode_length(len(body)) + body, [])

    assert [Inbound("a", b"x", user_properties=(("k", "v"),), expires_s=42)] == sifted.heard


def test_where_no_packet_begins_any_more_all_that_follows_is_left_to_paho() -> None:
    sifted = Sifted(is_5=True)
    sifted.pour(b"\x40\x02\x00\x01" + b"\x30\xff\xff\xff\xff\x01" + b"\x40\x02\x00\x02", [6])

    assert ([(1, 0)], b"\x30\xff\xff\xff\xff\x01\x40\x02\x00\x02") == (sifted.heard, sifted.rest)


def test_text_that_is_no_utf_8_is_shown_as_what_it_is() -> None:
    sifted = Sifted(is_5=True)
    body = b"\x00\x02a\xff" + b"\x07\x26\x00\x01\xfe\x00\x01v" + b"x"
    sifted.pour(b"\x30" + encode_length(len(body)) + body, [])

    assert [Inbound("a\\xff", b"x", user_properties=(("\\xfe", "v"),))] == sifted.heard


def test_a_large_message_that_comes_in_many_pieces_is_put_together_once() -> None:
    message = Outbound("a", bytes(3_000_000))
    stream = packet(message, 1, is_5=True)
    sifted = Sifted(is_5=True)
    for begin in range(0, len(stream), 65_536):
        sifted.pour(stream[begin : begin + 65_536], [])

    assert [as_inbound(message, 1, is_5=True)] == sifted.heard
