"""How a connection ends, from either side.

Law: nothing here knows an implementation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing

from support.transport_contract_base import (
    SOON_S,
    ContractBroker,
    ContractFixtures,
    receive_all,
)
from tars.actors.mqtt.transport import ConnectSettings, Link, LinkLost, LinkRefused, Outbound, Transport, Will


async def _publish(link: Link) -> None:
    link.publish(Outbound("a", b"x"))


OPERATIONS: dict[str, Callable[[Link], Awaitable[object]]] = {
    "receive": lambda link: link.receive(),
    "subscribe": lambda link: link.subscribe([("a", 1)]),
    "unsubscribe": lambda link: link.unsubscribe(["a"]),
    "publish": _publish,
    "flush": lambda link: link.flush(),
}
"""Everything that can tell that a link is over."""


class EndingContract(ContractFixtures):
    """See the module."""

    # -- the end of a connection ------------------------------------------------------------------

    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_everything_says_so_when_the_broker_has_died(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, operation: str
    ) -> None:
        async with transport.connect(settings) as link:
            broker.kill()
            with pytest.raises(LinkLost), trio.fail_after(SOON_S):
                await link.receive()
            with pytest.raises(LinkLost), trio.fail_after(SOON_S):
                await OPERATIONS[operation](link)
            assert not link.ack(1)

    async def test_who_waits_for_an_answer_is_told_that_the_broker_died(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        told: list[str] = []

        async def subscribe(link: Link) -> None:
            with pytest.raises(LinkLost):
                await link.subscribe([("a", 1)])
            told.append("subscribe")

        async def receive(link: Link) -> None:
            with pytest.raises(LinkLost):
                await link.receive()
            told.append("receive")

        async with transport.connect(settings) as link:
            broker.freeze()
            with trio.fail_after(SOON_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(subscribe, link)
                    nursery.start_soon(receive, link)
                    await trio.testing.wait_all_tasks_blocked()
                    broker.kill()

        assert ["receive", "subscribe"] == sorted(told)

    async def test_what_had_arrived_is_returned_before_the_loss_is_told(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as link:
            await link.subscribe([("a", 1)])
            await broker.publish("a", b"x", count=3)
            # Its answer comes behind the messages.
            await link.unsubscribe(["b"])
            broker.kill()
            with pytest.raises(LinkLost), trio.fail_after(SOON_S):
                await link.unsubscribe(["b"])
            messages = await receive_all(link, 3)
            with pytest.raises(LinkLost):
                await link.receive()

        assert [b"x-0", b"x-1", b"x-2"] == [message.payload for message in messages]

    async def test_after_its_block_a_link_is_over(self, transport: Transport, settings: ConnectSettings) -> None:
        async with transport.connect(settings) as link:
            pass
        with pytest.raises(LinkLost):
            link.publish(Outbound("a", b"x"))
        with pytest.raises(LinkLost):
            await link.receive()
        assert not link.ack(1)

    async def test_the_will_is_published_when_the_connection_breaks(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        await broker.subscribe("health/#")
        will = Will("health/robot7", b"lost", 1, retain=True)
        async with transport.connect(attrs.evolve(broker.cable(settings), will=will)) as link:
            broker.cut()
            with pytest.raises(LinkLost), trio.fail_after(SOON_S):
                await link.receive()

        assert [("health/robot7", b"lost", 1)] == [(seen.topic, seen.payload, seen.qos) for seen in await broker.received(1)]

    async def test_a_goodbye_leaves_no_will_behind(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        await broker.subscribe("health/#")
        async with transport.connect(attrs.evolve(settings, will=Will("health/robot7", b"lost"))):
            pass
        await broker.publish("health/other", b"fine")

        assert [b"fine"] == [seen.payload for seen in await broker.received(1)]

    async def test_a_session_that_is_taken_over_ends_the_link_and_is_a_refusal_where_the_broker_says_so(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        async with transport.connect(settings) as link:
            await broker.take_over(settings.client_id)
            with pytest.raises((LinkRefused, LinkLost)) as caught, trio.fail_after(SOON_S):
                await link.receive()

        # 3.1.1 has no word for it, and Mosquitto 2.0.11 closes without the word that MQTT 5 has.
        if isinstance(caught.value, LinkRefused):
            assert ("5", 0x8E) == (protocol, caught.value.code)
            assert "client_id" in caught.value.hint
