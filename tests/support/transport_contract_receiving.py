"""What comes in: sessions, deliveries, subscriptions.

Law: nothing here knows an implementation.
"""

from __future__ import annotations

import attrs
import trio
import trio.testing

from support.transport_contract_base import (
    ContractBroker,
    ContractFixtures,
    receive_all,
)
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Transport


class ReceivingContract(ContractFixtures):
    """See the module."""

    async def test_a_broker_is_silent_since_the_last_thing_it_said(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1)])
            with trio.move_on_after(0.05):
                await link.receive()
            silent_s = link.silent_s
            asked_at = trio.current_time()
            await broker.publish("a", b"x")
            await receive_all(link, 1)

            assert 0.04 <= silent_s
            assert link.silent_s <= trio.current_time() - asked_at

    # -- sessions ---------------------------------------------------------------------------------

    async def test_the_first_connect_finds_no_session_and_the_second_does(self, transport: Transport, settings: ConnectSettings) -> None:
        async with transport.connect(settings) as link:
            first = link.limits.session_present
        async with transport.connect(settings) as link:
            second = link.limits.session_present

        assert (False, True) == (first, second)

    async def test_a_session_of_no_seconds_ends_with_its_connection(self, transport: Transport, settings: ConnectSettings) -> None:
        found = []
        for _ in range(2):
            async with transport.connect(attrs.evolve(settings, session_expiry_s=0)) as link:
                found.append(link.limits.session_present)

        assert [False, False] == found

    async def test_what_was_published_meanwhile_arrives_on_the_next_connection_without_a_subscribe(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1)])
        await broker.publish("a", b"x", count=10)
        async with transport.connect(settings) as link:
            messages = await receive_all(link, 10)

        assert [b"x-%d" % index for index in range(10)] == [message.payload for message in messages]

    async def test_only_what_was_not_acknowledged_comes_again_and_says_so(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1)])
            await broker.publish("a", b"x", count=3)
            first = await receive_all(link, 3)
            # Not in the order of arrival: acks go out as deliveries settle.
            assert link.ack(first[2].packet_id)
            assert link.ack(first[0].packet_id)
            await link.flush()
        async with transport.connect(settings) as link:
            second = await receive_all(link, 1)
            await broker.publish("a", b"after")
            after = await receive_all(link, 1)

        assert [False, False, False] == [message.duplicate for message in first]
        assert 3 == len({message.packet_id for message in first} - {0})
        assert [(b"x-1", True, first[1].packet_id)] == [(message.payload, message.duplicate, message.packet_id) for message in second]
        assert [(b"after", False)] == [(message.payload, message.duplicate) for message in after]

    async def test_a_window_of_one_delivers_one_by_one_as_they_are_acknowledged(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        payloads: list[bytes] = []
        async with transport.connect(attrs.evolve(settings, receive_maximum=1)) as link:
            await link.subscribe([("a", 1)])
            await broker.publish("a", b"x", count=5)
            while len(payloads) < 5:
                for message in await receive_all(link, 1):
                    payloads.append(message.payload)
                    link.ack(message.packet_id)

        assert [b"x-%d" % index for index in range(5)] == payloads

    # -- receiving --------------------------------------------------------------------------------

    async def test_a_message_arrives_as_it_was_sent(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        pairs = (("message-id", "1"), ("kind", "é"), ("kind", "again"))
        async with transport.connect(settings) as link:
            await link.subscribe([("a/+", 1)])
            await broker.publish("a/b", b"\x00\xff", 0, user_properties=pairs, expires_s=600)
            (message,) = await receive_all(link, 1)

        expected = Inbound("a/b", b"\x00\xff", 0)
        if protocol == "5":
            expected = attrs.evolve(expected, user_properties=pairs, expires_s=message.expires_s)

            assert message.expires_s in {599, 600}
        assert expected == message

    async def test_only_what_the_broker_kept_is_marked_retained(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        await broker.publish("state/a", b"old", retain=True)
        async with transport.connect(settings) as link:
            await link.subscribe([("state/#", 1)])
            (kept,) = await receive_all(link, 1)
            await broker.publish("state/a", b"new", retain=True)
            (live,) = await receive_all(link, 1)

        assert [(b"old", True), (b"new", False)] == [(kept.payload, kept.retain), (live.payload, live.retain)]

    async def test_a_flood_of_qos_0_arrives_whole_and_in_order(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("flood", 0)])
            await broker.publish("flood", b"x", 0, count=5000)
            messages = await receive_all(link, 5000)

        assert [b"x-%d" % index for index in range(5000)] == [message.payload for message in messages]

    async def test_a_cancelled_receive_loses_nothing(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1)])
            with trio.CancelScope() as scope:
                scope.cancel()
                await link.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.receive)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await broker.publish("a", b"x")
            (message,) = await receive_all(link, 1)

        assert scope.cancelled_caught
        assert b"x" == message.payload

    # -- subscribing ------------------------------------------------------------------------------

    async def test_each_filter_has_its_own_answer(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        async with transport.connect(settings) as link:
            codes = await link.subscribe([("a", 0), (broker.refused, 1), ("b/#", 1)])

        assert (0, 1) == (codes[0], codes[2])
        assert codes[1] >= 0x80

    async def test_a_grant_below_what_was_asked_for_is_told_as_it_is(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        async with transport.connect(broker.weak(settings)) as link:
            codes = await link.subscribe([("a", 1), ("b", 0)])
            limits = link.limits

        assert [0, 0] == list(codes)
        assert (0 if protocol == "5" else 2) == limits.max_qos

    async def test_an_unsubscribed_filter_delivers_no_more(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1), ("b", 1)])
            await link.unsubscribe(["a"])
            await broker.publish("a", b"no")
            await broker.publish("b", b"yes")
            messages = await receive_all(link, 1)

        assert [b"yes"] == [message.payload for message in messages]
