"""The transport's parts that need no broker: what can be sent, and how the socket under paho reads."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from importlib.metadata import version

import aiomqtt
import pytest
import trio_asyncio

from tars.actors.mqtt import aiomqtt_privates as privates
from tars.actors.mqtt.aiomqtt_packets import check_publish, encode_length, encode_publish_properties
from tars.actors.mqtt.aiomqtt_socket import READ_BYTES, BufferedSocket, tls_context
from tars.actors.mqtt.transport import Outbound, ServerLimits, TlsSettings


@pytest.mark.parametrize(
    ("package", "bounds"), [("aiomqtt", privates.AIOMQTT_VERSIONS), ("paho-mqtt", privates.PAHO_VERSIONS)], ids=["aiomqtt", "paho"]
)
def test_the_client_libraries_are_of_a_version_whose_private_names_are_known(
    package: str, bounds: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    installed = tuple(int(part) for part in version(package).split(".")[:2])
    first, beyond = bounds

    assert first <= installed < beyond


async def test_every_private_name_the_transport_uses_still_exists() -> None:
    async with trio_asyncio.open_loop():
        client = aiomqtt.Client("127.0.0.1")

        assert [] == privates.missing(client)


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
def test_a_length_takes_as_few_bytes_as_it_can(length: int, encoded: bytes) -> None:
    # The examples of MQTT 1.5.5, table 1-1.
    assert encoded == encode_length(length)


def test_the_properties_of_a_publish_are_encoded_in_order() -> None:
    message = Outbound("a", b"", user_properties=(("k", "é"), ("k", "k")), expires_s=1)

    assert b"\x14\x02\x00\x00\x00\x01\x26\x00\x01k\x00\x02\xc3\xa9\x26\x00\x01k\x00\x01k" == encode_publish_properties(message)


@pytest.mark.parametrize(
    "message",
    [
        Outbound("a", b"", user_properties=(("k", "\0"),)),
        Outbound("a", b"", user_properties=(("k" * 65_536, ""),)),
        Outbound("a", b"", user_properties=(("\ud800", ""),)),
        Outbound("a", b"", expires_s=-1),
        Outbound("a", b"", expires_s=4_294_967_296),
    ],
    ids=["nul", "long", "surrogate", "past", "far"],
)
def test_a_property_that_cannot_be_is_refused(message: Outbound) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_publish_properties(message)


@pytest.mark.parametrize(
    ("message", "limits", "why"),
    [
        (Outbound("a", b"", 2), ServerLimits(session_present=False), "qos"),
        (Outbound("a", b"", 1), ServerLimits(session_present=False, max_qos=0), "QoS 0"),
        (Outbound("a", b"", retain=True), ServerLimits(session_present=False, retain_available=False), "retained"),
        (Outbound("a", b"x" * 6, 0), ServerLimits(session_present=False, max_packet_bytes=10), "11 bytes"),
        (Outbound("a", b"x" * 4, 1), ServerLimits(session_present=False, max_packet_bytes=10), "11 bytes"),
    ],
    ids=["qos-2", "max-qos", "retain", "size-0", "size-1"],
)
def test_what_this_broker_cannot_be_sent_is_refused(message: Outbound, limits: ServerLimits, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_publish(message, limits, b"")


@pytest.fixture
def ends() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    buffered = BufferedSocket(near)
    with far:
        yield buffered, far
    buffered.close()


def test_a_wake_up_reads_everything_once_and_the_next_one_may_read_again(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    far.sendall(b"abcdef")

    assert (b"a", b"bc", 3) == (near.recv(1), near.recv(2), near.pending())
    far.sendall(b"ghi")
    assert b"def" == near.recv(10)
    # There is more in the kernel; a flood of it must not keep this wake-up going.
    with pytest.raises(BlockingIOError):
        near.recv(10)
    assert 0 == near.pending()
    assert b"ghi" == near.recv(10)


def test_a_wake_up_never_ends_with_bytes_nobody_is_woken_for(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    far.sendall(b"x" * (READ_BYTES // 2))
    read = 0
    while near.recv(1000):
        read = READ_BYTES // 2 - near.pending()
        if not near.pending():
            break

    assert READ_BYTES // 2 == read


def test_the_end_of_the_stream_is_read_as_such_behind_the_last_bytes(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    far.sendall(b"x")
    far.close()

    assert b"x" == near.recv(10)
    assert 0 == near.pending()
    assert b"" == near.recv(10)


def test_a_write_that_fails_keeps_what_the_other_side_had_said(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    far.sendall(b"why")
    far.close()

    assert (4, 4) == (near.send(b"late"), near.send(b"last"))
    assert isinstance(near.failure, BrokenPipeError)
    assert b"why" == near.recv(10)
    assert 0 == near.pending()
    assert b"" == near.recv(10)


def test_what_is_queued_goes_between_the_packets_of_paho_and_never_into_one(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    packet = b"p" * 3_000_000  # more than the kernel takes at once
    sent = near.send(packet)
    near.queue(b"q" * 1_000_000)
    near.write_queued()

    assert (True, 1_000_000) == (0 < sent < len(packet), near.queued_bytes)
    heard = bytearray()
    while sent < len(packet):
        heard += far.recv(READ_BYTES)
        sent += near.send(packet[sent:])
    near.write_queued()

    assert 0 < near.queued_bytes < 1_000_000  # begun: now paho waits
    with pytest.raises(BlockingIOError):
        near.send(b"later")
    while near.queued_bytes:
        heard += far.recv(READ_BYTES)
        near.write_queued()

    assert 5 == near.send(b"later")
    near.close()
    while data := far.recv(READ_BYTES):
        heard += data
    assert packet + b"q" * 1_000_000 + b"later" == bytes(heard)


def test_a_part_of_what_is_read_is_kept_from_paho_and_an_empty_rest_is_no_end(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, far = ends
    kept: list[bytes] = []

    def keep_digits(data: bytes) -> bytes:
        kept.append(bytes(each for each in data if chr(each).isdigit()))
        return bytes(each for each in data if not chr(each).isdigit())

    near.sift = keep_digits
    far.sendall(b"12")
    with pytest.raises(BlockingIOError):
        near.recv(10)
    assert 0 == near.pending()
    far.sendall(b"a3b")

    assert (b"ab", [b"12", b"3"]) == (near.recv(10), kept)
    assert 0 == near.pending()
    far.close()
    assert b"" == near.recv(10)


def test_what_broke_the_socket_is_kept(ends: tuple[BufferedSocket, socket.socket]) -> None:
    near, _ = ends
    near.close()
    with pytest.raises(OSError, match="descriptor"):
        near.recv(1)

    assert near.failure is not None
    assert -1 == near.fileno()


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        (TlsSettings(ca_file="/nowhere/ca.pem"), "ca_file"),
        (TlsSettings(cert_file="/nowhere/cert.pem", key_file="/nowhere/key.pem"), "cert_file"),
        (TlsSettings(key_file="/nowhere/key.pem"), "key_file"),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(tls: TlsSettings, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        tls_context(tls)


def test_without_a_file_of_its_own_the_broker_is_checked_against_the_system_s_authorities() -> None:
    context = tls_context(TlsSettings())

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
