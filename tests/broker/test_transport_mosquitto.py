"""The real transport against a Mosquitto that restarts, freezes, is slow, or speaks TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import attrs
import pytest
import trio

from support.broker import Mosquitto
from support.certificates import Certificates
from support.peer import Peer
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.transport import ConnectSettings, Inbound, LinkLost, LinkRefused, Outbound, TlsSettings

SOON_S = 5.0
ANYBODY = "allow_anonymous true"


@pytest.fixture(params=[True, False], ids=["buffered", "plain"])
def transport(request: pytest.FixtureRequest) -> AiomqttTransport:
    return AiomqttTransport(buffered=request.param, goodbye_s=0.1)


@pytest.fixture(params=["5", "3.1.1"])
def settings(request: pytest.FixtureRequest) -> ConnectSettings:
    return ConnectSettings("127.0.0.1", 1, "robot7", request.param, connect_timeout_s=SOON_S)


async def test_a_broker_that_was_killed_and_keeps_its_sessions_delivers_again_what_was_not_acknowledged(
    transport: AiomqttTransport, settings: ConnectSettings
) -> None:
    async with Mosquitto(persistent=True) as broker:
        here = attrs.evolve(settings, port=broker.port)
        async with transport.connect(here) as link:
            await link.subscribe([("a", 1)])
            async with Peer(broker.port) as peer:
                await peer.publish("a", b"x")
            (first,) = await link.receive()
            await broker.save()
            broker.kill()
            with pytest.raises(LinkLost):
                await link.receive()
        await broker.restart()
        async with transport.connect(here) as link:
            session_present = link.limits.session_present
            with trio.fail_after(SOON_S):
                (again,) = await link.receive()

    assert session_present
    assert (b"x", b"x", True) == (first.payload, again.payload, again.duplicate)


async def test_a_flush_lasts_until_a_slow_broker_has_taken_everything(transport: AiomqttTransport, settings: ConnectSettings) -> None:
    payload = b"x" * 8_000_000
    returned = trio.Event()
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("big")
        async with transport.connect(attrs.evolve(settings, port=broker.port)) as link:

            async def flush() -> None:
                await link.flush()
                returned.set()

            broker.freeze()
            link.publish(Outbound("big", payload))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flush)
                # The kernel takes what it has room for, and then nobody is to run but us.
                await trio.testing.wait_all_tasks_blocked(0.05)
                before = returned.is_set()
                broker.thaw()
            (seen,) = await peer.received(1)

    assert not before
    assert payload == seen.payload


async def test_a_large_message_arrives_whole(transport: AiomqttTransport, settings: ConnectSettings) -> None:
    payload = bytes(range(256)) * 20_000
    async with Mosquitto() as broker, Peer(broker.port) as peer, transport.connect(attrs.evolve(settings, port=broker.port)) as link:
        await link.subscribe([("big", 1)])
        await peer.publish("big", payload)
        with trio.fail_after(SOON_S):
            (message,) = await link.receive()

    assert payload == message.payload


async def test_leaving_a_frozen_broker_takes_the_goodbye_and_no_longer(transport: AiomqttTransport, settings: ConnectSettings) -> None:
    async with Mosquitto() as broker:
        async with transport.connect(attrs.evolve(settings, port=broker.port)) as link:
            broker.freeze()
            link.publish(Outbound("big", b"x" * 20_000_000))
            left_at_s = trio.current_time()
        took_s = trio.current_time() - left_at_s

    assert transport.goodbye_s <= took_s < transport.goodbye_s + 1.0


async def test_a_frozen_broker_is_found_by_the_keepalive(settings: ConnectSettings) -> None:
    async with Mosquitto() as broker, AiomqttTransport().connect(attrs.evolve(settings, port=broker.port, keepalive_s=1)) as link:
        broker.freeze()
        with pytest.raises(LinkLost, match="Keep alive"), trio.fail_after(SOON_S):
            await link.receive()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port whose connects neither succeed nor fail: its queue is full, so the kernel drops what asks."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = []
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        yield server.getsockname()[1]
        for client in waiting:
            client.close()


async def test_a_connect_that_hangs_in_tcp_can_be_cancelled_at_once(
    black_hole: int, transport: AiomqttTransport, settings: ConnectSettings
) -> None:
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_connect, transport, attrs.evolve(settings, port=black_hole, connect_timeout_s=600))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_connect_that_hangs_in_tcp_ends_after_connect_timeout_s(
    black_hole: int, transport: AiomqttTransport, settings: ConnectSettings
) -> None:
    with pytest.raises(LinkLost), trio.fail_after(SOON_S):
        await _connect(transport, attrs.evolve(settings, port=black_hole, connect_timeout_s=0.2))


@pytest.mark.parametrize("host", ["name.invalid", "127.0.0.1"])
async def test_what_cannot_be_reached_is_lost_and_named(transport: AiomqttTransport, settings: ConnectSettings, host: str) -> None:
    with pytest.raises(LinkLost, match=host):
        await _connect(transport, attrs.evolve(settings, host=host))


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.make()
    return made


async def test_messages_pass_over_tls(transport: AiomqttTransport, settings: ConnectSettings, certificates: Certificates) -> None:
    payload = b"x" * 300_000
    tls = TlsSettings(ca_file=certificates.path("ca.pem"))
    async with Mosquitto(config=certificates.listener()) as broker:
        here = attrs.evolve(settings, host="localhost", port=broker.port, tls=tls)
        async with transport.connect(here) as link, transport.connect(attrs.evolve(here, client_id="sender")) as sender:
            await link.subscribe([("a", 1)])
            for _ in range(5):
                sender.publish(Outbound("a", payload))
            messages: list[Inbound] = []
            with trio.fail_after(SOON_S):
                while len(messages) < 5:
                    messages += await link.receive()

    assert [payload] * 5 == [message.payload for message in messages]


@pytest.mark.parametrize(
    ("host", "authority", "what_to_do"),
    [("localhost", "stranger.pem", "ca_file"), ("localhost", None, "ca_file"), ("127.0.0.1", "ca.pem", "host name in the url")],
)
async def test_a_broker_we_have_no_reason_to_trust_is_a_refusal(
    transport: AiomqttTransport, settings: ConnectSettings, certificates: Certificates, host: str, authority: str | None, what_to_do: str
) -> None:
    tls = TlsSettings(ca_file=None if authority is None else certificates.path(authority))
    async with Mosquitto(config=certificates.listener()) as broker:
        with pytest.raises(LinkRefused, match="certificate") as caught:
            await _connect(transport, attrs.evolve(settings, host=host, port=broker.port, tls=tls))

    assert what_to_do in caught.value.hint


async def test_a_broker_that_asks_for_a_certificate_gets_it(
    transport: AiomqttTransport, settings: ConnectSettings, certificates: Certificates
) -> None:
    tls = TlsSettings(certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"))
    async with Mosquitto(config=certificates.listener("require_certificate true")) as broker:
        await _connect(transport, attrs.evolve(settings, host="localhost", port=broker.port, tls=tls))


async def test_a_broker_that_asks_in_vain_for_a_certificate_is_a_refusal(settings: ConnectSettings, certificates: Certificates) -> None:
    tls = TlsSettings(certificates.path("ca.pem"))
    async with Mosquitto(config=certificates.listener("require_certificate true")) as broker:
        with pytest.raises(LinkRefused, match="certificate"):
            await _connect(AiomqttTransport(), attrs.evolve(settings, host="localhost", port=broker.port, tls=tls))


async def test_tls_where_there_is_none_is_lost(transport: AiomqttTransport, settings: ConnectSettings) -> None:
    async with Mosquitto() as broker:
        with pytest.raises(LinkLost):
            await _connect(transport, attrs.evolve(settings, port=broker.port, tls=TlsSettings(), connect_timeout_s=1.0))


async def _connect(transport: AiomqttTransport, settings: ConnectSettings) -> None:
    async with transport.connect(settings):
        pass
