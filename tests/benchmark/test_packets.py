"""The feeder's MQTT: what it writes others read, and a stream is cut the same wherever the socket cuts it."""

from __future__ import annotations

import pytest

from bench import packets
from bench.packets import Connect, Cutter, Malformed, Packet, Protocol


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ],
)
def test_a_length_is_written_as_the_specification_says_and_read_again(length: int, encoded: bytes) -> None:
    assert encoded == packets.encode_length(length)
    assert (length, len(encoded)) == packets.decode_length(encoded, 0)


def test_a_length_that_is_not_all_there_is_none_and_one_of_five_bytes_is_no_mqtt() -> None:
    assert packets.decode_length(b"\x80\x80", 0) is None

    with pytest.raises(Malformed):
        packets.decode_length(b"\x80\x80\x80\x80\x01", 0)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_publish_is_read_as_it_was_written(protocol: Protocol, qos: int) -> None:
    sent = packets.publish("a/b", b"payload", qos=qos, packet_id=513, protocol=protocol)
    (read,) = Cutter().feed(sent)

    assert ("a/b", b"\x02\x01" if qos else b"", b"payload") == packets.read_publish(read, protocol)


def test_the_bytes_of_a_publish_are_those_of_the_specification() -> None:
    assert b"\x32\x08\x00\x03a/b\x00\x07!" == packets.publish("a/b", b"!", qos=1, packet_id=7, protocol="3.1.1")
    assert b"\x30\x07\x00\x03a/b\x00!" == packets.publish("a/b", b"!", qos=0, packet_id=7, protocol="5")


STREAM = b"".join(
    (
        b"\x40\x02\x00\x01",
        packets.acknowledge(packets.PUBACK, b"\x00\x02", "5"),
        b"\x40\x03\x00\x03\x10",  # "no matching subscribers": it is a success
        packets.packet(packets.PINGREQ, b""),
        b"\x40\x04\x00\x04\x00\x00",
        packets.publish("t", b"x" * 200, qos=1, packet_id=9, protocol="5"),
        b"\x40\x02\x00\x05",
    )
)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64, len(STREAM)])
def test_a_stream_is_cut_the_same_wherever_the_socket_cuts_it(size: int) -> None:
    cutter = Cutter()
    kinds = [each.kind for start in range(0, len(STREAM), size) for each in cutter.feed(STREAM[start : start + size])]

    assert [packets.PINGREQ, packets.PUBLISH] == kinds
    assert 5 == cutter.take_pubacks()
    assert 0 == cutter.take_pubacks()


def test_a_run_of_short_pubacks_is_counted_without_looking_at_each() -> None:
    cutter = Cutter()

    assert [] == list(cutter.feed(b"\x40\x02\x12\x34" * 1000))
    assert 1000 == cutter.take_pubacks()


def test_a_puback_that_says_no_ends_the_measurement() -> None:
    with pytest.raises(Malformed, match="0x87"):
        list(Cutter().feed(b"\x40\x03\x00\x01\x87"))


CONNECT_5 = b"\x00\x04MQTT\x05\x02\x00\x3c"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c", Connect("3.1.1", 65_535)),
        (CONNECT_5 + b"\x00\x00\x01c", Connect("5", 65_535)),
        (CONNECT_5 + b"\x03\x21\x01\x00\x00\x01c", Connect("5", 256)),
        (CONNECT_5 + b"\x08\x11\x00\x00\x0e\x10\x21\x00\x14\x00\x01c", Connect("5", 20)),
        (CONNECT_5 + b"\x0a\x26\x00\x01k\x00\x01v\x21\x00\x05\x00\x01c", Connect("5", 5)),
    ],
)
def test_the_receive_maximum_is_found_among_the_properties_of_connect(body: bytes, expected: Connect) -> None:
    assert expected == packets.read_connect(body)


@pytest.mark.parametrize("body", [b"", b"\x00\x06MQIsdp\x03", b"\x00\x04MQTT\x06\x02\x00\x00", CONNECT_5, CONNECT_5 + b"\x01\xff"])
def test_what_is_no_connect_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        packets.read_connect(body)


def test_the_feeder_s_own_connect_and_subscribe_can_be_read() -> None:
    sent = packets.connect("me", "3.1.1") + packets.connect("me", "5") + packets.subscribe("a/+", 7, qos=1)
    first, second, third = Cutter().feed(sent)

    assert Connect("3.1.1", 65_535) == packets.read_connect(first.body)
    assert Connect("5", 65_535) == packets.read_connect(second.body)
    assert Packet(packets.SUBSCRIBE, 2, b"\x00\x07\x00\x03a/+\x01") == third
    assert ["a/+"] == packets.read_filters(third.body, "3.1.1", with_options=True)


def test_the_filters_of_an_unsubscribe_come_without_options() -> None:
    assert ["a", "b/#"] == packets.read_filters(b"\x00\x01\x00\x00\x01a\x00\x03b/#", "5", with_options=False)


@pytest.mark.parametrize(
    ("kind", "protocol", "codes", "expected"),
    [
        (packets.PUBACK, "5", (), b"\x40\x02\x00\x07"),
        (packets.SUBACK, "3.1.1", (1, 1), b"\x90\x04\x00\x07\x01\x01"),
        (packets.SUBACK, "5", (1,), b"\x90\x04\x00\x07\x00\x01"),
        (packets.UNSUBACK, "3.1.1", (), b"\xb0\x02\x00\x07"),
    ],
)
def test_an_answer_has_properties_where_the_protocol_wants_them(
    kind: int, protocol: Protocol, codes: tuple[int, ...], expected: bytes
) -> None:
    assert expected == packets.acknowledge(kind, b"\x00\x07", protocol, codes)
