"""The broker in memory keeps MQTT's rules where the transport contract does not look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.memory_session import Loss
from tars.actors.mqtt.memory_watch import Lost
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Link, LinkLost, LinkRefused, Outbound, ServerLimits, Will


def settings(client_id: str = "robot7", protocol: str = "5", *, receive_maximum: int = 256, expiry_s: int = 3600) -> ConnectSettings:
    return ConnectSettings("memory", 1883, client_id, protocol, receive_maximum=receive_maximum, session_expiry_s=expiry_s)


@asynccontextmanager
async def connected(broker: MemoryBroker, connect: ConnectSettings | None = None, *filters: tuple[str, int]) -> AsyncIterator[Link]:
    async with MemoryTransport(broker).connect(connect or settings()) as link:
        if filters:
            await link.subscribe(filters)
        yield link


async def nothing_more(link: Link) -> bool:
    """Nothing has come: what is to come has come before everybody waits."""
    received: list[Inbound] = []

    async def receive() -> None:
        received.extend(await link.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return [] == received


def payloads(messages: list[Inbound] | tuple[Inbound, ...]) -> list[bytes]:
    return [message.payload for message in messages]


# -- sessions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "expiry_s", "away_s", "present"),
    [
        ("5", 10, 9.9, True),
        ("5", 10, 10, False),
        ("5", 0, 0, False),
        ("5", 0xFFFF_FFFF, 1e9, True),
        ("3.1.1", 1, 1e9, True),
        ("3.1.1", 0, 0, False),
    ],
)
async def test_a_session_is_kept_for_its_expiry(
    autojump_clock: trio.testing.MockClock, protocol: str, expiry_s: int, away_s: float, present: bool
) -> None:
    broker = MemoryBroker()
    async with connected(broker, settings(protocol=protocol, expiry_s=expiry_s), ("a", 1)):
        pass
    autojump_clock.jump(away_s)

    assert present == ("robot7" in broker.sessions)
    broker.deliver("a", b"x")
    async with connected(broker, settings(protocol=protocol, expiry_s=expiry_s)) as link:
        assert present == link.limits.session_present
        assert present != await nothing_more(link)


async def test_an_expired_session_takes_its_subscriptions_with_it(autojump_clock: trio.testing.MockClock) -> None:
    broker = MemoryBroker()
    async with connected(broker, settings(expiry_s=5), ("a/#", 1), ("$share/g/b", 1)):
        pass
    autojump_clock.jump(6)
    async with connected(broker, settings("other")) as link:
        link.publish(Outbound("a/1", b""))
        link.publish(Outbound("b", b""))

    assert [0x10, 0x10] == [entry.code for entry in broker.published]


async def test_a_session_that_lives_on_does_not_keep_another_from_expiring(autojump_clock: trio.testing.MockClock) -> None:
    broker = MemoryBroker()
    for client_id, expiry_s in (("short", 5), ("long", 50)):
        async with connected(broker, settings(client_id, expiry_s=expiry_s)):
            pass
    autojump_clock.jump(6)

    assert ["long"] == list(broker.sessions)
    autojump_clock.jump(50)
    assert [] == list(broker.sessions)


async def test_unacknowledged_messages_never_come_again_on_a_live_connection() -> None:
    broker = MemoryBroker()
    async with connected(broker, None, ("a", 1)) as link:
        broker.deliver("a", b"x")
        await link.receive()

        assert await nothing_more(link)
        assert [1] == list(broker.unacked("robot7"))


@pytest.mark.parametrize("window", [1, 2, 5])
async def test_a_smaller_window_holds_for_what_comes_again_too(window: int) -> None:
    broker = MemoryBroker()
    async with connected(broker, None, ("a", 1)) as link:
        for index in range(5):
            broker.deliver("a", b"%d" % index)
        await link.receive()
    broker.deliver("a", b"new")
    seen: list[tuple[bytes, bool]] = []
    async with connected(broker, settings(receive_maximum=window)) as link:
        while len(seen) < 6:
            batch = await link.receive()
            assert window >= len(batch)
            for message in batch:
                seen.append((message.payload, message.duplicate))
                link.ack(message.packet_id)

    assert [*((b"%d" % index, True) for index in range(5)), (b"new", False)] == seen
    assert (1, 2, 3, 4, 5, 6) == broker.acked("robot7")


async def test_a_broker_that_overshoots_sends_past_the_window_up_to_its_own() -> None:
    broker = MemoryBroker(max_inflight=4, overshoots=True)
    async with connected(broker, settings(receive_maximum=1), ("a", 1)) as link:
        for index in range(6):
            broker.deliver("a", b"%d" % index)

        assert 4 == len(await link.receive())
        assert 2 == broker.sessions["robot7"].queued


async def test_packet_ids_go_round_and_step_over_what_is_unacknowledged() -> None:
    broker = MemoryBroker()
    async with connected(broker, settings(receive_maximum=65_535), ("a", 1)) as link:
        broker.deliver("a", b"stays")
        await link.receive()
        for _ in range(65_534):
            broker.deliver("a", b"goes")
        for message in await link.receive():
            link.ack(message.packet_id)
        broker.deliver("a", b"next")
        (message,) = await link.receive()

    assert 2 == message.packet_id


async def test_an_ack_of_nothing_changes_nothing_and_is_on_record() -> None:
    broker = MemoryBroker()
    async with connected(broker, settings(receive_maximum=1), ("a", 1)) as link:
        broker.deliver("a", b"1")
        broker.deliver("a", b"2")
        (message,) = await link.receive()
        link.ack(77)
        link.ack(message.packet_id)
        link.ack(message.packet_id)

    assert [("robot7", 77), ("robot7", 1)] == broker.stray_acks
    assert (1,) == broker.acked("robot7")
    assert [2] == list(broker.unacked("robot7"))


# -- what is lost, and where it says so ---------------------------------------------------------------


async def test_beyond_the_queue_limit_the_newest_is_lost_and_on_record() -> None:
    broker = MemoryBroker(max_queued=2)
    async with connected(broker, settings(receive_maximum=1), ("a", 1)) as link:
        for index in range(5):
            broker.deliver("a", b"%d" % index)
        seen = []
        for _ in range(3):
            (message,) = await link.receive()
            link.ack(message.packet_id)
            seen.append(message.payload)

        assert [b"0", b"1", b"2"] == seen
    assert [Lost("robot7", "a", b"3", Loss.QUEUE_FULL), Lost("robot7", "a", b"4", Loss.QUEUE_FULL)] == broker.lost


async def test_qos_0_is_not_kept_for_who_is_away() -> None:
    broker = MemoryBroker()
    async with connected(broker, None, ("a", 0), ("b", 1)):
        pass
    broker.deliver("a", b"granted 0", 1)
    broker.deliver("b", b"sent 0", 0)
    async with connected(broker) as link:
        assert await nothing_more(link)

    assert [b"granted 0", b"sent 0"] == [entry.payload for entry in broker.lost]


async def test_a_message_that_waits_past_its_time_is_not_sent_and_one_in_time_says_what_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    broker = MemoryBroker()
    async with connected(broker, None, ("#", 1)):
        pass
    broker.deliver("a", b"short", expires_s=5, retain=True)
    broker.deliver("a/b", b"long", expires_s=60, retain=True)
    autojump_clock.jump(10.5)
    async with connected(broker) as link:
        (waited,) = await link.receive()
        await link.subscribe([("#", 1)])
        (kept,) = await link.receive()

    assert [(b"long", 50, False), (b"long", 50, True)] == [(m.payload, m.expires_s, m.retain) for m in (waited, kept)]
    assert [Lost("robot7", "a", b"short", Loss.EXPIRED)] == broker.lost
    assert {"a/b": b"long"} == broker.retained


# -- who gets what --------------------------------------------------------------------------------


async def test_filters_that_overlap_give_one_copy_at_the_highest_qos() -> None:
    broker = MemoryBroker()
    async with connected(broker, None, ("a/+", 0), ("a/#", 1)) as link:
        broker.deliver("a/b", b"x")
        (message,) = await link.receive()

    assert 1 == message.qos


async def test_a_share_goes_round_robin_over_who_is_connected() -> None:
    broker = MemoryBroker()
    share = ("$share/g/a", 1)
    async with connected(broker, settings("one"), share, ("a", 1)) as one, connected(broker, settings("two"), share) as two:
        async with connected(broker, settings("gone"), share):
            pass
        for index in range(4):
            broker.deliver("a", b"%d" % index)

        assert [b"0", b"0", b"1", b"2", b"2", b"3"] == sorted(payloads([*await one.receive()]))
        assert [b"1", b"3"] == payloads([*await two.receive()])
        await two.unsubscribe([share[0]])
        await one.unsubscribe([share[0]])
        broker.deliver("a", b"plain")
        assert [b"plain"] == payloads([*await one.receive()])
        assert await nothing_more(two)


async def test_a_share_with_nobody_connected_waits_for_its_members_in_turn() -> None:
    broker = MemoryBroker()
    for client_id in ("one", "two"):
        async with connected(broker, settings(client_id), ("$share/g/a", 1)):
            pass
    for index in range(4):
        broker.deliver("a", b"%d" % index)

    assert {"one": 2, "two": 2} == {client_id: session.queued for client_id, session in broker.sessions.items()}


async def test_a_share_is_sent_nothing_retained_and_an_empty_payload_ends_retaining() -> None:
    broker = MemoryBroker()
    broker.deliver("a", b"kept", retain=True)
    async with connected(broker, None, ("$share/g/a", 1)) as link:
        assert await nothing_more(link)
        broker.deliver("a", b"", retain=True)
        await link.receive()
        await link.subscribe([("a", 1)])
        assert await nothing_more(link)

    assert {} == broker.retained


async def test_subscribing_again_changes_the_qos_and_sends_what_is_retained_again() -> None:
    broker = MemoryBroker()
    broker.deliver("a", b"kept", retain=True)
    async with connected(broker, None, ("a", 0)) as link:
        (first,) = await link.receive()
        codes = await link.subscribe([("a", 1)])
        (second,) = await link.receive()

    assert (1,) == codes
    assert [(0, True), (1, True)] == [(message.qos, message.retain) for message in (first, second)]
    assert {"a": 1} == broker.sessions["robot7"].subscriptions


async def test_what_only_mqtt_5_can_carry_stays_behind_at_a_3_1_1_connection_on_either_side() -> None:
    broker = MemoryBroker()
    pairs = (("k", "v"),)
    message = Outbound("a", b"x", user_properties=pairs, expires_s=60)
    async with connected(broker, settings("new"), ("a", 1)) as new, connected(broker, settings("old", "3.1.1"), ("a", 1)) as old:
        new.publish(message)
        old.publish(message)

        assert [(pairs, 60), ((), None)] == [(seen.user_properties, seen.expires_s) for seen in await new.receive()]
        assert [((), None), ((), None)] == [(seen.user_properties, seen.expires_s) for seen in await old.receive()]


# -- limits and refusals ----------------------------------------------------------------------------


async def test_the_broker_s_limits_hold_for_publishes_and_grants() -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, max_qos=0, retain_available=False))
    async with connected(broker) as link:
        assert (0,) == await link.subscribe([("a", 1)])
        with pytest.raises(ValueError, match="QoS"):
            link.publish(Outbound("a", b""))
        with pytest.raises(ValueError, match="retained"):
            link.publish(Outbound("a", b"", qos=0, retain=True))

    assert [] == broker.published


async def test_a_packet_too_large_ends_a_3_1_1_connection_and_who_was_told_the_limit_is_stopped_before() -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=100))
    async with connected(broker) as link:
        with pytest.raises(ValueError, match="bytes"):
            link.publish(Outbound("a", b"x" * 100))
    async with connected(broker, settings(protocol="3.1.1")) as link:
        link.publish(Outbound("a", b"x" * 90))
        link.publish(Outbound("a", b"x" * 100))
        with pytest.raises(LinkLost):
            await link.receive()

    assert [90] == [len(entry.payload) for entry in broker.published]


@pytest.mark.parametrize(("protocol", "code"), [("5", 0x97), ("3.1.1", 0)])
async def test_a_refused_publish_goes_nowhere_and_is_on_record(protocol: str, code: int) -> None:
    broker = MemoryBroker()
    broker.refuse_publish("secret/#", 0x97)
    codes: list[int] = []
    async with connected(broker, settings(protocol=protocol), ("#", 1)) as link:
        link.publish(Outbound("secret/a", b"x", retain=True), codes.append)
        broker.refuse_publish("secret/#", 0)
        link.publish(Outbound("secret/a", b"y"), codes.append)
        seen = await link.receive()
        await trio.testing.wait_all_tasks_blocked()

    assert [code, 0] == codes
    assert [0x97, 0] == [entry.code for entry in broker.published]
    assert [b"y"] == payloads([*seen])
    assert {} == broker.retained


@pytest.mark.parametrize(("protocol", "code"), [("5", 0x87), ("3.1.1", 0x80)])
async def test_a_refused_subscription_can_be_allowed_again(protocol: str, code: int) -> None:
    broker = MemoryBroker()
    broker.refuse_subscribe("a/#")
    async with connected(broker, settings(protocol=protocol)) as link:
        first = await link.subscribe([("a/#", 1)])
        broker.refuse_subscribe("a/#", 0)

        assert ((code,), (1,)) == (first, await link.subscribe([("a/#", 1)]))


@pytest.mark.parametrize(("username", "password"), [(None, None), ("robot", "wrong"), ("robot", None), ("nobody", None)])
async def test_only_a_known_user_gets_in(username: str | None, password: str | None) -> None:
    broker = MemoryBroker(users={"robot": "right"})
    with pytest.raises(LinkRefused):
        async with connected(broker, attrs.evolve(settings(), username=username, password=password)):
            pass

    assert [] == broker.connects


@pytest.mark.parametrize("filters", [[], [("a", 2)], [("a/#/b", 1)], [("", 1)]])
async def test_a_subscription_that_cannot_be_is_refused_before_it_is_sent(filters: list[tuple[str, int]]) -> None:
    broker = MemoryBroker()
    async with connected(broker) as link:
        with pytest.raises(ValueError, match=r"filter|qos"):
            await link.subscribe(filters)

    assert {} == broker.sessions["robot7"].subscriptions


# -- takeover -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "error"), [("5", LinkRefused), ("3.1.1", LinkLost)])
async def test_a_takeover_ends_the_old_link_publishes_its_will_and_keeps_the_session(protocol: str, error: type[Exception]) -> None:
    broker = MemoryBroker()
    will = Will("health", b"lost")
    async with connected(broker, attrs.evolve(settings(protocol=protocol), will=will), ("a", 1)) as old:
        broker.deliver("a", b"x")
        (first,) = await old.receive()
        async with connected(broker, settings(protocol=protocol)) as new:
            with pytest.raises(error) as caught:
                await old.receive()
            (again,) = await new.receive()
            old.ack(first.packet_id)

            assert [1] == list(broker.unacked("robot7"))
        assert (b"x", True) == (again.payload, again.duplicate)
        assert (0x8E if error is LinkRefused else None) == getattr(caught.value, "code", None)

    assert [("health", b"lost", True)] == [(entry.topic, entry.payload, entry.will) for entry in broker.published]
    assert not broker.sessions["robot7"].connected
