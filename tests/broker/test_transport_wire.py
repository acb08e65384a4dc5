"""What the real transport makes of bytes that no broker here sends: every refusal, every oddity, byte for byte."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.transport import ConnectSettings, Inbound, LinkLost, LinkRefused, Outbound

SOON_S = 5.0
WELCOME_5 = b"\x20\x03\x00\x00\x00"
WELCOME_3 = b"\x20\x02\x00\x00"

Script = Callable[[trio.SocketStream], Awaitable[None]]


async def serve(nursery: trio.Nursery, script: Script) -> int:
    """The port of a server that reads one packet (the CONNECT) and then follows `script`; its end closes the connection."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await script(stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    port: int = listener.socket.getsockname()[1]
    return port


def saying(*packets: bytes, then_close: bool = False) -> Script:
    """Send these, all at once; then listen until the client has gone."""

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(b"".join(packets))
        if not then_close:
            async for _ in stream:
                pass

    return script


def settings(port: int, protocol: str = "5") -> ConnectSettings:
    return ConnectSettings("127.0.0.1", port, "robot7", protocol, "robot", "open-sesame", connect_timeout_s=SOON_S)


@pytest.fixture(params=[True, False], ids=["buffered", "plain"])
def transport(request: pytest.FixtureRequest) -> AiomqttTransport:
    return AiomqttTransport(buffered=request.param)


@pytest.mark.parametrize(
    ("protocol", "connack", "code"),
    [
        *((("5", bytes([0x20, 3, 0, code, 0]), code)) for code in (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x9A, 0x9B)),
        ("5", b"\x20\x02\x00\x01", 0x84),  # a broker of 3.1.1 only, in its own words
        ("3.1.1", b"\x20\x02\x00\x02", 0x85),
        ("3.1.1", b"\x20\x02\x00\x04", 0x86),
        ("3.1.1", b"\x20\x02\x00\x05", 0x87),
    ],
)
async def test_a_refusal_that_waiting_does_not_mend(
    nursery: trio.Nursery, transport: AiomqttTransport, protocol: str, connack: bytes, code: int
) -> None:
    port = await serve(nursery, saying(connack, then_close=True))
    with pytest.raises(LinkRefused) as caught:
        async with transport.connect(settings(port, protocol)):
            pass

    assert code == caught.value.code
    assert caught.value.hint
    assert f"127.0.0.1:{port}" in str(caught.value)


async def test_a_broker_that_knows_no_3_1_1_is_a_refusal(nursery: trio.Nursery) -> None:
    port = await serve(nursery, saying(b"\x20\x02\x00\x01", then_close=True))
    with pytest.raises(LinkRefused, match="protocol version") as caught:
        async with AiomqttTransport().connect(settings(port, "3.1.1")):
            pass

    assert 0x84 == caught.value.code


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_broker_that_answers_with_an_alert_of_tls_is_a_refusal(nursery: trio.Nursery, protocol: str) -> None:
    port = await serve(nursery, saying(b"\x15\x03\x01\x00\x02\x02\x46", then_close=True))
    with pytest.raises(LinkRefused, match="speaks TLS") as caught:
        async with AiomqttTransport().connect(settings(port, protocol)):
            pass

    assert "mqtts://" in caught.value.hint


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        *((("5", bytes([0x20, 3, 0, code, 0]))) for code in (0x80, 0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F)),
        ("3.1.1", b"\x20\x02\x00\x03"),
        ("5", b""),
        ("3.1.1", b""),
        ("5", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("3.1.1", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ],
)
async def test_an_answer_that_waiting_may_mend(nursery: trio.Nursery, transport: AiomqttTransport, protocol: str, answer: bytes) -> None:
    port = await serve(nursery, saying(answer, then_close=True))
    with pytest.raises(LinkLost, match=f"127.0.0.1:{port}"):
        async with transport.connect(settings(port, protocol)):
            pass


@pytest.mark.parametrize("code", [0x87, 0x8E])
async def test_a_goodbye_that_reconnecting_does_not_mend(nursery: trio.Nursery, transport: AiomqttTransport, code: int) -> None:
    port = await serve(nursery, saying(WELCOME_5, bytes([0xE0, 2, code, 0]), then_close=True))
    with pytest.raises(LinkRefused) as caught:
        async with transport.connect(settings(port)) as link:
            await link.receive()

    assert code == caught.value.code
    assert caught.value.hint


@pytest.mark.parametrize("code", [0x00, 0x81, 0x82, 0x89, 0x8B, 0x8D, 0x93, 0x95, 0x98, 0x9C, 0x9D])
async def test_a_goodbye_that_reconnecting_may_mend(nursery: trio.Nursery, transport: AiomqttTransport, code: int) -> None:
    port = await serve(nursery, saying(WELCOME_5, bytes([0xE0, 2, code, 0]), then_close=True))
    with pytest.raises(LinkLost, match=f"0x{code:02X}"):
        async with transport.connect(settings(port)) as link:
            await link.receive()


async def test_nothing_said_about_a_failure_tells_the_credentials(nursery: trio.Nursery, transport: AiomqttTransport) -> None:
    said = []
    for answer in (b"\x20\x03\x00\x86\x00", b"\x20\x03\x00\x88\x00", b"", b"nonsense"):
        port = await serve(nursery, saying(answer, then_close=True))
        with pytest.raises((LinkLost, LinkRefused)) as caught:
            async with transport.connect(settings(port)):
                pass
        said += [str(caught.value), repr(caught.value), getattr(caught.value, "hint", "")]

    assert "open-sesame" not in "".join(said)


@pytest.mark.parametrize(("protocol", "welcome", "properties"), [("5", WELCOME_5, b"\x00"), ("3.1.1", WELCOME_3, b"")])
async def test_a_message_in_the_same_segment_as_the_connack_is_not_lost(
    nursery: trio.Nursery, transport: AiomqttTransport, protocol: str, welcome: bytes, properties: bytes
) -> None:
    body = b"\x00\x01a\x00\x07" + properties + b"x"
    port = await serve(nursery, saying(welcome, bytes([0x3A, len(body)]) + body))
    async with transport.connect(settings(port, protocol)) as link:
        (message,) = await link.receive()

    assert Inbound("a", b"x", 1, duplicate=True, packet_id=7) == message


async def test_a_topic_that_is_no_utf_8_arrives_as_a_topic_nobody_subscribed(nursery: trio.Nursery, transport: AiomqttTransport) -> None:
    port = await serve(nursery, saying(WELCOME_3, b"\x30\x05\x00\x02a\xffx"))
    async with transport.connect(settings(port, "3.1.1")) as link:
        (message,) = await link.receive()

    assert Inbound("a\\xff", b"x") == message


async def test_a_qos_2_message_left_over_in_the_session_is_finished_by_the_transport(
    nursery: trio.Nursery, transport: AiomqttTransport
) -> None:
    heard: list[bytes] = []
    done = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_3 + b"\x34\x06\x00\x01a\x00\x07x")
        heard.append(bytes(await stream.receive_some()))
        await stream.send_all(b"\x62\x02\x00\x07")
        heard.append(bytes(await stream.receive_some()))
        done.set()
        async for _ in stream:  # closed now, it could overtake the client, which has not looked at its CONNACK yet
            pass

    port = await serve(nursery, script)
    async with transport.connect(settings(port, "3.1.1")) as link:
        with trio.fail_after(SOON_S):
            (message,) = await link.receive()
            await done.wait()

    assert Inbound("a", b"x") == message
    assert [b"\x50\x02\x00\x07", b"\x70\x02\x00\x07"] == heard  # PUBREC, PUBCOMP


async def test_an_error_in_a_confirmation_ends_the_link_and_comes_out_of_receive(
    nursery: trio.Nursery, transport: AiomqttTransport
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_3)
        await stream.receive_some()
        await stream.send_all(b"\x40\x02\x00\x01")
        async for _ in stream:
            pass

    def broken(_code: int) -> None:
        raise ZeroDivisionError

    port = await serve(nursery, script)
    async with transport.connect(settings(port, "3.1.1")) as link:
        link.publish(Outbound("a", b"x"), broken)
        with pytest.raises(ZeroDivisionError), trio.fail_after(SOON_S):
            await link.receive()


async def test_a_packet_id_that_is_still_unconfirmed_is_neither_confirmed_by_another_message_nor_used_again(
    nursery: trio.Nursery,
) -> None:
    heard = bytearray()
    finished = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_3)
        async for data in stream:
            heard.extend(data)
            if heard.endswith(b"last"):
                finished.set()

    codes: list[int] = []
    port = await serve(nursery, script)
    async with AiomqttTransport().connect(settings(port, "3.1.1")) as link:
        link.publish(Outbound("a", b"first"), codes.append)
        link.publish(Outbound("a", b"second"), codes.append)
        # paho counts these as well: the last one's number is the first message's again, and the next is the second's.
        for _ in range(65_534):
            link.publish(Outbound("b", b"", 0))
        await link.flush()
        link.publish(Outbound("a", b"last"), codes.append)
        with trio.fail_after(SOON_S):
            await finished.wait()

    assert [] == codes
    assert b"\x00\x01a\x00\x01first" in heard
    assert b"\x00\x01a\x00\x02second" in heard
    assert b"\x00\x01a\x00\x03last" in heard


async def test_a_broker_that_sends_messages_is_alive_though_its_answer_to_the_ping_is_stuck_behind_them(
    nursery: trio.Nursery, transport: AiomqttTransport
) -> None:
    pings = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_3)
        async for data in stream:
            if b"\xc0\x00" in data:
                pings.set()

    async def chatter(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as both:
            both.start_soon(script, stream)
            for _ in range(35):
                await trio.sleep(0.1)
                await stream.send_all(b"\x30\x04\x00\x01ax")

    port = await serve(nursery, chatter)
    heard = 0
    async with transport.connect(attrs.evolve(settings(port, "3.1.1"), keepalive_s=1)) as link:
        with trio.fail_after(2 * SOON_S):
            while heard < 35:  # a silent one would be given up after two seconds and a little
                heard += len(await link.receive())

    assert pings.is_set()


async def test_a_broker_in_the_middle_of_a_large_packet_is_not_silent(nursery: trio.Nursery, transport: AiomqttTransport) -> None:
    said = trio.Event()

    async def slowly(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_5 + b"\x32\x7f\x00\x02in\x00\x01\x00")
        for _ in range(20):
            await trio.sleep(0.02)
            await stream.send_all(b"x")
        said.set()  # and never the rest of it
        async for _ in stream:
            pass

    port = await serve(nursery, slowly)
    with trio.fail_after(SOON_S):
        async with transport.connect(settings(port)) as link:
            began_at = trio.current_time()
            await said.wait()

            assert link.silent_s < trio.current_time() - began_at - 0.2


async def test_a_broker_that_answers_pings_and_says_nothing_else_is_silent(nursery: trio.Nursery) -> None:
    pinged = trio.Event()

    async def answers_pings(stream: trio.SocketStream) -> None:
        await stream.send_all(WELCOME_5)
        async for packet in stream:
            if packet == b"\xc0\x00":
                await stream.send_all(b"\xd0\x00")
                pinged.set()

    port = await serve(nursery, answers_pings)
    with trio.fail_after(SOON_S):
        async with AiomqttTransport().connect(attrs.evolve(settings(port), keepalive_s=1)) as link:
            began_at = trio.current_time()
            await pinged.wait()
            with trio.move_on_after(0.1):  # the answer is on its way
                await link.receive()

            assert 0.9 < trio.current_time() - began_at <= link.silent_s
