"""The sieve before paho, beside paho alone, on the same bytes: what paho hears alone, the sieve hears, just so, or else paho
hears of what the sieve leaves to it: an empty topic and its alias (we allow none), QoS 1 with a packet id of 0, properties that end
beyond their packet.

The sieve may hear more: paho gives up the connection for what it can do without, such as text that is no UTF-8.
"""

from __future__ import annotations

import functools
import itertools
import operator
import socket

import paho.mqtt.client as paho
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from tars.actors.mqtt import aiomqtt_privates as privates
from tars.actors.mqtt.aiomqtt_packets import encode_length
from tars.actors.mqtt.aiomqtt_sieve import Sieve
from tars.actors.mqtt.aiomqtt_socket import BufferedSocket
from tars.actors.mqtt.aiomqtt_traffic import Traffic
from tars.actors.mqtt.transport import Inbound

WELCOME = {True: b"\x20\x03\x00\x00\x00", False: b"\x20\x02\x00\x00"}
PROTOCOL = {True: MQTTProtocolVersion.MQTTv5, False: MQTTProtocolVersion.MQTTv311}


def framed(first: int, body: bytes) -> bytes:
    return bytes([first]) + encode_length(len(body)) + body


def string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def publish(first: int, topic: bytes, number: int, properties: list[bytes], payload: bytes, *, is_5: bool) -> bytes:
    section = b"".join(properties)
    packet_id = number.to_bytes(2, "big") if first & 2 else b""
    return framed(first, string(topic) + packet_id + (encode_length(len(section)) + section if is_5 else b"") + payload)


TEXT = st.text(max_size=8).map(lambda text: string(text.encode("utf-8", "replace"))) | st.binary(max_size=4).map(string)
UNKNOWN = b"\x7f"
EXPIRES_IN_42_S = b"\x02\x00\x00\x00\x2a"
PROPERTY = st.one_of(
    st.sampled_from((b"\x01\x00", b"\x01\x01", EXPIRES_IN_42_S, b"\x0b\x01", b"\x0b\xff\x7f", UNKNOWN)),
    st.builds(operator.add, st.sampled_from((b"\x03", b"\x08", b"\x09")), TEXT),
    st.builds(lambda key, value: b"\x26" + key + value, TEXT, TEXT),
)
FIRST = st.sampled_from((0x30, 0x31, 0x32, 0x33, 0x38, 0x3A, 0x3B))
TOPIC = st.sampled_from((b"a", b"a/b", b"a" * 200, "ü".encode(), b"a\xff", b"+", b"a\x00", b"", b"$SYS/x"))


def streams(*, is_5: bool) -> st.SearchStrategy[bytes]:
    whole = st.builds(
        functools.partial(publish, is_5=is_5), FIRST, TOPIC, st.integers(0, 65_535), st.lists(PROPERTY, max_size=4), st.binary(max_size=200)
    )
    damaged = st.builds(lambda packet, cut: framed(packet[0], packet[2 : 2 + cut]), whole, st.integers(0, 40))
    other = st.sampled_from((b"\xd0\x00", b"\x40\x02\x00\x07")) | st.binary(max_size=4)
    return st.lists(whole | whole | damaged | other, max_size=8).map(b"".join)


def heard_by_paho(stream: bytes, *, is_5: bool) -> list[Inbound]:
    heard: list[Inbound] = []
    # Made as aiomqtt makes it: at a second CONNACK that refuses the protocol, paho would otherwise connect again by itself.
    client = paho.Client(CallbackAPIVersion.VERSION2, "robot7", protocol=PROTOCOL[is_5], reconnect_on_failure=False)
    Traffic(client, heard.append)
    broker, ours = socket.socketpair()
    with broker, ours:
        wire = BufferedSocket(ours)
        privates.use_socket(client, wire)
        client.connect("nowhere")
        broker.sendall(WELCOME[is_5] + stream)
        broker.shutdown(socket.SHUT_WR)
        while client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            wire.pending()
    return heard


def sifted(stream: bytes, cuts: list[int], *, is_5: bool) -> tuple[list[Inbound], bytes]:
    """What the sieve hears, and what it leaves."""
    heard: list[Inbound] = []
    sieve = Sieve(is_5, heard.append, lambda _packet_id, _code: None)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return heard, b"".join(sieve.sift(stream[begin:end]) for begin, end in itertools.pairwise(places))


def is_dealt_out(messages: list[Inbound], first: list[Inbound], second: list[Inbound]) -> bool:
    """Is each of `messages` the next of `first` or the next of `second`?"""
    taken = {0}  # of `first`, by all the ways there are
    for number, message in enumerate(messages):
        taken = {at + 1 for at in taken if first[at : at + 1] == [message]} | {
            at for at in taken if second[number - at : number - at + 1] == [message]
        }
    return bool(taken)


CONNECTIONS = st.booleans().flatmap(lambda is_5: st.tuples(st.just(is_5), streams(is_5=is_5)))
A_IS_1 = b"\x30\x04\x00\x01a1"


@given(CONNECTIONS, st.lists(st.integers(0, 2000), max_size=8))
@example((False, A_IS_1 + b"\x20\x02\x00\x01"), [])  # a second CONNACK, which refuses the protocol
@example((True, b"\x30\x04\x00\x01a\x00\x30\x09\x00\x01a\x06\x26\x00\x00\x00\x01"), [])  # properties that end beyond their packet
@example((True, publish(0x33, b"a", 7, [EXPIRES_IN_42_S, b"\x26\x00\x01x\x00\x01y"], b"1", is_5=True)), [3])
def test_what_paho_hears_alone_the_sieve_hears_or_leaves_to_it_and_in_order(connection: tuple[bool, bytes], cuts: list[int]) -> None:
    is_5, stream = connection
    heard, left = sifted(stream, cuts, is_5=is_5)

    assert is_dealt_out(heard_by_paho(stream, is_5=is_5), heard, heard_by_paho(left, is_5=is_5))


@given(
    st.booleans(), st.lists(st.tuples(FIRST, st.integers(1, 65_535), st.lists(PROPERTY.filter(lambda each: each != UNKNOWN), max_size=4)))
)
def test_of_what_is_as_it_should_be_nothing_is_left(is_5: bool, packets: list[tuple[int, int, list[bytes]]]) -> None:
    stream = b"".join(publish(first, b"a", number, properties, b"1", is_5=is_5) for first, number, properties in packets)
    heard, left = sifted(stream, [7], is_5=is_5)

    assert ([("a", b"1", first & 2) for first, *_ in packets], b"") == ([(each.topic, each.payload, each.qos * 2) for each in heard], left)


@pytest.mark.parametrize(
    ("messages", "first", "second", "dealt_out"),
    [
        ("", "", "", True),
        ("ab", "abc", "", True),
        ("abc", "ac", "b", True),
        ("aab", "ab", "a", True),
        ("ab", "a", "", False),
        ("ba", "ab", "", False),
        ("aa", "a", "", False),
        ("acb", "ab", "bc", False),
    ],
)
def test_dealt_out_is_each_once_and_in_order(messages: str, first: str, second: str, dealt_out: bool) -> None:
    of = {name: Inbound(name, b"", 0, retain=False, duplicate=False) for name in "abc"}

    assert dealt_out == is_dealt_out(*([of[name] for name in names] for names in (messages, first, second)))
