"""What Mosquitto keeps for a service that is away or slow, and what it does not: from a full queue it drops what it has confirmed.

These are facts about the broker and no promises of ours. They are tested because `docs/guarantees.md` states them: a Mosquitto
that did otherwise would make that page wrong.
"""

from __future__ import annotations

import signal
from pathlib import Path

import attrs
import pytest

from support.broker import Mosquitto
from support.peer import Peer
from support.process import HEALTH, config, echo_actor, gated, service
from support.transport_contract import confirmed, receive_all
from support.verifier import journal
from support.verifier_client import outside
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.transport import ConnectSettings, Link, Outbound

QUEUE = 5
WINDOW = 3
SENT = 40
DROPS = "Outgoing messages are being dropped for client robot7"


def small() -> Mosquitto:
    return Mosquitto(config=["allow_anonymous true", f"max_queued_messages {QUEUE}"])


def narrow() -> Mosquitto:
    return Mosquitto(config=["allow_anonymous true", f"max_inflight_messages {WINDOW}"])


def here(broker: Mosquitto, client_id: str, protocol: str = "5") -> ConnectSettings:
    return ConnectSettings("127.0.0.1", broker.port, client_id, protocol, receive_maximum=WINDOW)


async def fill(broker: Mosquitto, topic: str) -> set[int]:
    """Another client publishes b"0", b"1"… one by one; what its confirmations said."""
    async with AiomqttTransport().connect(attrs.evolve(here(broker, "publisher"), receive_maximum=100)) as publisher:
        return {await confirmed(publisher, Outbound(topic, b"%d" % number)) for number in range(SENT)}


async def take(link: Link, last: bytes) -> list[bytes]:
    """Receive and acknowledge until `last` has come."""
    taken: list[bytes] = []
    while last not in taken:
        for message in await receive_all(link, 1):
            taken.append(message.payload)
            link.ack(message.packet_id)
    return taken


async def take_next(link: Link, count: int) -> list[bytes]:
    """Receive and acknowledge the next `count`."""
    taken: list[bytes] = []
    while len(taken) < count:
        for message in await receive_all(link, 1):
            taken.append(message.payload)
            link.ack(message.packet_id)
    return taken


async def expired(broker: Mosquitto) -> None:
    """Return when what was published with `expires_s` = 1 until now has expired. A retained message tells, which expires a second later:
    Mosquitto counts in whole seconds, and for what waits it counts one more."""
    async with Peer(broker.port, "clock") as clock:
        await clock.publish("expiring", b"not yet", retain=True, expires_s=2)
        asked = 0
        while True:
            await clock.subscribe("expiring")
            await clock.subscribe(f"asked/{asked}")
            await clock.publish(f"asked/{asked}", b"")
            await clock.heard(f"asked/{asked}")
            if [each.payload for each in clock.seen].count(b"not yet") == asked:
                return
            asked += 1


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_of_what_comes_for_a_client_that_is_away_the_oldest_are_kept_and_the_rest_was_confirmed_all_the_same(protocol: str) -> None:
    async with small() as broker, Peer(broker.port) as peer:
        settings = here(broker, "robot7", protocol)
        async with AiomqttTransport().connect(settings) as link:
            await link.subscribe([("a", 1)])
        codes = await fill(broker, "a")
        async with AiomqttTransport().connect(settings) as link:
            first = await take(link, b"%d" % (QUEUE - 1))
            await peer.publish("a", b"the end")
            rest = await take(link, b"the end")
        log = broker.log()

    assert {0} == codes
    assert (numbers(QUEUE), [b"the end"]) == (first, rest)
    assert DROPS in log


async def test_for_a_client_that_is_there_and_slow_it_is_the_same_behind_its_window() -> None:
    async with small() as broker, Peer(broker.port) as peer, AiomqttTransport().connect(here(broker, "robot7")) as link:
        await link.subscribe([("a", 1)])
        codes = await fill(broker, "a")
        first = await take(link, b"%d" % (WINDOW + QUEUE - 1))
        await peer.publish("a", b"the end")
        rest = await take(link, b"the end")
        log = broker.log()

    assert {0} == codes
    assert (numbers(WINDOW + QUEUE), [b"the end"]) == (first, rest)
    assert DROPS in log


async def test_a_service_handles_what_is_left_and_only_the_numbers_tell_that_something_is_missing(tmp_path: Path) -> None:
    async with small() as broker, gated() as gate, outside(broker.port, HEALTH) as client, Peer(broker.port) as peer:
        actors = {"echo": echo_actor(tmp_path / "journal", gate, reply="", overflow_after_s=60.0)}
        async with service(tmp_path, config(broker.port, {"mqtt": {"receive_maximum": WINDOW}}, actors)) as child:
            await child.event("link_up")
            await peer.publish("in/k", b'{"key": "k", "seq": 0, "hold": true}')
            await gate.holds(1)
            for number in range(1, SENT):
                await peer.publish("in/k", b'{"key": "k", "seq": %d}' % number)
            gate.open()
            await child.event("message_settled", count=WINDOW + QUEUE)
            await peer.publish("in/k", b'{"key": "k", "seq": %d}' % SENT)
            await child.event("message_settled", count=WINDOW + QUEUE + 1)
            health = [each.data["event"] for each in client.on(HEALTH)]
            child.signal(signal.SIGTERM)
            code = await child.exited()

    assert (0, "") == (code, child.stderr)
    assert [("k", number) for number in (*range(WINDOW + QUEUE), SENT)] == journal(tmp_path / "journal", "done")
    assert {"ready"} == set(health)
    told = [line for line in child.lines if line["level"] in {"warning", "error"}]
    assert [("sequence_gap", SENT - WINDOW - QUEUE)] == [(line["event"], line["missing"]) for line in told]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(("acknowledged", "overtakes"), [(WINDOW + 1, True), (1, False)], ids=["out of order", "in order"])
async def test_after_an_acknowledgement_from_behind_the_window_one_that_comes_overtakes_those_that_wait(
    protocol: str, acknowledged: int, overtakes: bool
) -> None:
    async with narrow() as broker, Peer(broker.port) as peer, AiomqttTransport().connect(here(broker, "robot7", protocol)) as link:
        await link.subscribe([("a", 1)])
        await fill(broker, "a")
        came = await receive_all(link, WINDOW)
        link.ack(came[0].packet_id)
        came += await receive_all(link, WINDOW)  # not one but a whole window more
        link.ack(came[acknowledged].packet_id)
        await confirmed(link, Outbound("b", b"what was acknowledged before has arrived"))
        await peer.publish("a", b"%d" % SENT)
        for index, message in enumerate(came):
            if index not in {0, acknowledged}:
                link.ack(message.packet_id)
        taken = [message.payload for message in came] + await take_next(link, SENT + 1 - len(came))

    assert overtakes == (taken != numbers(SENT + 1))
    assert overtakes == (taken.index(b"%d" % SENT) < taken.index(b"%d" % (SENT - 1)))
    assert sorted(numbers(SENT + 1)) == sorted(taken)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_when_some_that_wait_have_expired_one_that_comes_overtakes_the_others_also_after_an_acknowledgement_in_order(
    protocol: str,
) -> None:
    async with narrow() as broker, Peer(broker.port) as peer, AiomqttTransport().connect(here(broker, "robot7", protocol)) as link:
        await link.subscribe([("a", 1)])
        await peer.publish("a", b"first", count=WINDOW)
        await peer.publish("a", b"short", count=WINDOW, expires_s=1)
        await peer.publish("a", b"long", count=2 * WINDOW)
        await expired(broker)
        came = await receive_all(link, WINDOW)
        link.ack(came[0].packet_id)
        await confirmed(link, Outbound("b", b"what was acknowledged before has arrived"))
        await peer.publish("a", b"late")
        for message in came[1:]:
            link.ack(message.packet_id)
        taken = await take_next(link, 2 * WINDOW + 1)

    assert {b"late", *(b"long-%d" % number for number in range(2 * WINDOW))} == set(taken)
    assert b"late" != taken[-1]


@pytest.mark.parametrize(("protocol", "receive_maximum", "of_the_broker"), [("5", 65_535, 20), ("3.1.1", WINDOW, 0)])
async def test_in_a_window_that_is_large_enough_nothing_waits(protocol: str, receive_maximum: int, of_the_broker: int) -> None:
    async with Mosquitto(["allow_anonymous true", f"max_inflight_messages {of_the_broker}"]) as broker, Peer(broker.port) as peer:
        async with AiomqttTransport().connect(attrs.evolve(here(broker, "robot7", protocol), receive_maximum=receive_maximum)) as link:
            await link.subscribe([("a", 1)])
            await fill(broker, "a")
            came = await receive_all(link, SENT)
            link.ack(came[-1].packet_id)
            await peer.publish("a", b"%d" % SENT)
            came += await receive_all(link, 1)

    assert numbers(SENT + 1) == [message.payload for message in came]


async def test_qos_0_is_not_kept_for_a_client_that_is_away() -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        async with AiomqttTransport().connect(here(broker, "robot7")) as link:
            await link.subscribe([("a", 1)])
        await peer.publish("a", b"lost", qos=0)
        await peer.publish("a", b"kept")
        async with AiomqttTransport().connect(here(broker, "robot7")) as link:
            seen = await take(link, b"kept")

    assert [b"kept"] == seen


async def test_after_its_expiry_a_session_is_gone_with_its_messages_and_subscriptions() -> None:
    settings = ConnectSettings("127.0.0.1", 1, "robot7", session_expiry_s=1)
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        settings = attrs.evolve(settings, port=broker.port)
        async with AiomqttTransport().connect(settings) as link:
            await link.subscribe([("a", 1)])
        await peer.publish("a", b"lost")
        await broker.logged("Expiring client robot7")
        async with AiomqttTransport().connect(settings) as link:
            present = link.limits.session_present
            await peer.publish("a", b"to nobody")
            await link.subscribe([("b", 1)])
            await peer.publish("b", b"the end")
            seen = await take(link, b"the end")

    assert not present
    assert [b"the end"] == seen
