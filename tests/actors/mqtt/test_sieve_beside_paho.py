"""The sieve beside paho alone, on the same bytes: what paho hears, the sieve hears just so, and in that order.

Left out is what the sieve leaves to paho and paho takes: an empty topic and its alias (we allow none), QoS 1 with a packet id of 0, QoS 2.
The sieve may hear more: paho gives up the connection for what it can do without, such as text that is no UTF-8.
"""

from __future__ import annotations

import functools
import itertools
import operator
import socket

import paho.mqtt.client as paho
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
PROPERTY = st.one_of(
    st.sampled_from((b"\x01\x00", b"\x01\x01", b"\x02\x00\x00\x00\x2a", b"\x0b\x01", b"\x0b\xff\x7f", b"\x7f")),
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


def heard_by_the_sieve(stream: bytes, cuts: list[int], *, is_5: bool) -> list[Inbound]:
    heard: list[Inbound] = []
    sieve = Sieve(is_5, heard.append, lambda _packet_id, _code: None)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        sieve.sift(stream[begin:end])
    return heard


CONNECTIONS = st.booleans().flatmap(lambda is_5: st.tuples(st.just(is_5), streams(is_5=is_5)))


@given(CONNECTIONS, st.lists(st.integers(0, 2000), max_size=8))
@example((False, b"\x30\x03\x00\x01a\x20\x02\x00\x01"), [])  # a second CONNACK, which refuses the protocol
def test_what_paho_hears_the_sieve_hears(connection: tuple[bool, bytes], cuts: list[int]) -> None:
    is_5, stream = connection
    expected = [each for each in heard_by_paho(stream, is_5=is_5) if each.topic and (each.qos == 0 or each.packet_id)]

    assert expected == heard_by_the_sieve(stream, cuts, is_5=is_5)[: len(expected)]
