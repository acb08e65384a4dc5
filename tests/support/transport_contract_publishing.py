"""What goes out: publishes and their confirmations.

Law: nothing here knows an implementation.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from support.peer import Seen
from support.transport_contract_base import (
    SOON_S,
    ContractBroker,
    ContractFixtures,
    confirmed,
)
from tars.actors.mqtt.transport import ConnectSettings, LinkLost, Outbound, Transport


class PublishingContract(ContractFixtures):
    """See the module."""

    # -- publishing -------------------------------------------------------------------------------

    async def test_a_message_is_sent_as_it_was_given(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        pairs = (("message-id", "1"), ("kind", "é"))
        await broker.subscribe("out/#")
        async with transport.connect(settings) as link:
            link.publish(Outbound("out/a", b"zero", 0))
            link.publish(Outbound("out/b", b"\x00one", 1, user_properties=pairs, expires_s=600))
            seen = await broker.received(2)

        zero, one = seen
        assert Seen("out/a", b"zero", 0, retain=False) == zero
        if protocol == "5":
            assert one.expires_s in {599, 600}
            assert pairs == one.user_properties
        else:
            assert (None, ()) == (one.expires_s, one.user_properties)
        assert ("out/b", b"\x00one", 1) == (one.topic, one.payload, one.qos)

    async def test_a_retained_message_is_kept_by_the_broker(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await confirmed(link, Outbound("state/a", b"kept", retain=True))
        await broker.subscribe("state/#")

        assert [Seen("state/a", b"kept", 1, retain=True)] == await broker.received(1)

    async def test_what_was_handed_over_before_leaving_is_sent(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        await broker.subscribe("out")
        async with transport.connect(settings) as link:
            for index in range(20):
                link.publish(Outbound("out", b"%d" % index))

        assert [b"%d" % index for index in range(20)] == [seen.payload for seen in await broker.received(20)]

    async def test_what_was_handed_over_before_a_flush_is_written_when_it_returns(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        await broker.subscribe("out")
        async with transport.connect(settings) as link:
            link.publish(Outbound("out", b"x"))
            with trio.fail_after(SOON_S):
                await link.flush()
                await link.flush()
            seen = await broker.received(1)

        assert [b"x"] == [message.payload for message in seen]

    async def test_a_publish_is_confirmed_with_the_broker_s_code(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        async with transport.connect(settings) as link:
            good = await confirmed(link, Outbound("out", b"x"))
            refused = await confirmed(link, Outbound(broker.refused.removesuffix("/#"), b"x"))

        # Nobody was subscribed: 0x10 is how MQTT 5 may say so.
        assert good in {0x00, 0x10}
        # 3.1.1 has no word for a refusal.
        assert refused >= 0x80 if protocol == "5" else refused == 0

    async def test_a_confirmation_may_publish(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        await broker.subscribe("out")
        done = trio.Event()
        async with transport.connect(settings) as link:

            def again(_code: int) -> None:
                link.publish(Outbound("out", b"second"), lambda _code: done.set())

            link.publish(Outbound("out", b"first"), again)
            with trio.fail_after(SOON_S):
                await done.wait()

        assert [b"first", b"second"] == [seen.payload for seen in await broker.received(2)]

    async def test_no_confirmation_is_called_after_the_link_ended(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        codes: list[int] = []
        async with transport.connect(settings) as link:
            broker.freeze()
            link.publish(Outbound("out", b"x"), codes.append)
            broker.kill()
            with pytest.raises(LinkLost), trio.fail_after(SOON_S):
                await link.receive()

        assert [] == codes

    @pytest.mark.parametrize(
        "message",
        [Outbound("", b"x"), Outbound("a/+", b"x"), Outbound("a/#", b"x"), Outbound("a\0b", b"x"), Outbound("t" * 65_536, b"x")],
        ids=["empty", "plus", "hash", "nul", "long"],
    )
    async def test_a_topic_that_cannot_be_is_refused_at_once_and_harms_nothing(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, message: Outbound
    ) -> None:
        await broker.subscribe("out")
        async with transport.connect(settings) as link:
            with pytest.raises(ValueError, match="topic"):
                link.publish(message)
            await confirmed(link, Outbound("out", b"x"))

        assert 1 == len(await broker.received(1))

    @pytest.mark.parametrize("protocol", ["5"])
    async def test_a_packet_the_broker_does_not_take_is_refused_to_the_byte_and_harms_nothing(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        pairs = (("k", "v"),)
        # Fixed header 1 + 3, topic 2 + 3, packet id 2, properties 1 + 7.
        fits = broker.max_packet_bytes - 19
        await broker.subscribe("out")
        async with transport.connect(settings) as link:
            limit = link.limits.max_packet_bytes
            with pytest.raises(ValueError, match="bytes"):
                link.publish(Outbound("out", b"x" * (fits + 1), user_properties=pairs))
            code = await confirmed(link, Outbound("out", b"x" * fits, user_properties=pairs))

        assert broker.max_packet_bytes == limit
        assert 0 == code
        assert [fits] == [len(seen.payload) for seen in await broker.received(1)]
