"""What every `Transport` must do, as tests: one suite for the real one and for the scripted one.

Inherit `TransportContract` in a test module and give it two fixtures: `transport`, the implementation, and `broker`,
a `ContractBroker`: the other end of its wire. Every test runs once per MQTT version, unless it says which.

Law: nothing here knows an implementation. A sentence of the port that is not tested here is not promised.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import pytest
import trio

from support.peer import Seen
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Link, LinkLost, LinkRefused, Outbound, Transport, Will

SOON_S = 5.0
"""A limit for what should take milliseconds; only a failing test waits for it."""
CYCLES = 50


class ContractBroker(Protocol):
    """A broker, and another client of it, as the contract needs them."""

    refused: str
    """A filter whose subscription is refused; publishing to the topic of that name is as well."""
    max_packet_bytes: int
    """The largest packet it takes; it says so in its CONNACK (MQTT 5)."""

    def settings(self, client_id: str, protocol: str) -> ConnectSettings:
        """How to connect to it."""
        ...

    def cable(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, over a cable that `cut` cuts."""
        ...

    def wrong_password(self, settings: ConnectSettings) -> ConnectSettings:
        """The same with credentials it refuses."""
        ...

    def nobody(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, to a place where nobody listens."""
        ...

    def silent(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, to somebody who takes the connection and never says a word."""
        ...

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 1,
        *,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
        expires_s: int | None = None,
        count: int = 1,
    ) -> None:
        """The other client publishes; returns when the broker has it. `count` > 1: that many, with b"-0", b"-1"… appended."""
        ...

    async def subscribe(self, topic_filter: str) -> None:
        """The other client subscribes at QoS 1."""
        ...

    async def received(self, count: int) -> list[Seen]:
        """The first `count` messages the other client got, as soon as there are as many."""
        ...

    async def take_over(self, client_id: str) -> None:
        """A second client connects with that id."""
        ...

    def cut(self) -> None:
        """End the connections over `cable` without a goodbye, as a pulled plug would."""
        ...

    def freeze(self) -> None:
        """It hears nothing and says nothing, until it is killed."""
        ...

    def kill(self) -> None:
        """It is gone at once; nothing is said to anybody."""
        ...


async def receive_all(link: Link, count: int) -> list[Inbound]:
    """At least `count` messages, in order."""
    messages: list[Inbound] = []
    with trio.fail_after(SOON_S):
        while len(messages) < count:
            messages += await link.receive()
    return messages


async def confirmed(link: Link, message: Outbound) -> int:
    """Publish at QoS 1 and wait for the code of its confirmation."""
    codes: list[int] = []
    done = trio.Event()

    def on_confirmed(code: int) -> None:
        codes.append(code)
        done.set()

    link.publish(message, on_confirmed)
    with trio.fail_after(SOON_S):
        await done.wait()

    (code,) = codes
    return code


def open_files() -> int:
    """How many file descriptors this process has; what only waits to be collected does not count."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def live_asyncio_tasks() -> list[object]:
    """Tasks of any asyncio loop that are not done, wherever they are."""
    gc.collect()
    return [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]


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


class TransportContract:
    """See the module."""

    @pytest.fixture(params=["5", "3.1.1"])
    def protocol(self, request: pytest.FixtureRequest) -> str:
        version: str = request.param
        return version

    @pytest.fixture
    def settings(self, broker: ContractBroker, protocol: str) -> ConnectSettings:
        return broker.settings("robot7", protocol)

    # -- sessions ---------------------------------------------------------------------------------

    async def test_the_first_connect_finds_no_session_and_the_second_does(self, transport: Transport, settings: ConnectSettings) -> None:
        async with transport.connect(settings) as link:
            first = link.limits.session_present
        async with transport.connect(settings) as link:
            second = link.limits.session_present

        assert (False, True) == (first, second)

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
            link.ack(first[2].packet_id)
            link.ack(first[0].packet_id)
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
        payloads = []
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
            link.ack(1)

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
        link.ack(1)

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

    # -- attempts that fail -----------------------------------------------------------------------

    async def test_bad_credentials_are_a_refusal_that_does_not_tell_them(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        bad = broker.wrong_password(settings)
        with pytest.raises(LinkRefused) as caught, trio.fail_after(SOON_S):
            async with transport.connect(bad):
                pass

        assert caught.value.code in {0x86, 0x87}
        assert caught.value.hint
        assert bad.password is not None
        assert bad.password not in f"{caught.value!s} {caught.value!r} {caught.value.hint}"

    async def test_where_nobody_listens_the_link_is_lost_at_once(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        with pytest.raises(LinkLost), trio.fail_after(SOON_S):
            async with transport.connect(attrs.evolve(broker.nobody(settings), connect_timeout_s=SOON_S * 10)):
                pass

    async def test_a_broker_that_never_answers_is_given_connect_timeout_s(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        with pytest.raises(LinkLost), trio.fail_after(SOON_S):
            async with transport.connect(attrs.evolve(broker.silent(settings), connect_timeout_s=0.05)):
                pass

    async def test_a_connect_can_be_cancelled(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_connect_and_leave, transport, attrs.evolve(broker.silent(settings), connect_timeout_s=SOON_S * 10))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    @pytest.mark.parametrize(
        "change",
        [{"protocol": "4"}, {"client_id": ""}, {"receive_maximum": 0}, {"receive_maximum": 65_536}, {"keepalive_s": 65_536}, {"port": 0}],
        ids=str,
    )
    async def test_settings_that_mean_nothing_are_refused(
        self, transport: Transport, settings: ConnectSettings, change: dict[str, int | str]
    ) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            async with transport.connect(attrs.evolve(settings, **change)):
                pass

    # -- leaving the block ------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "error",
        [KeyError("mine"), LinkLost("mine"), ExceptionGroup("mine", [KeyError("a"), LinkLost("b")]), KeyboardInterrupt()],
        ids=lambda error: type(error).__name__,
    )
    async def test_an_error_inside_the_block_leaves_it_as_it_is(
        self, transport: Transport, settings: ConnectSettings, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as caught:
            async with transport.connect(settings):
                raise error

        assert error is caught.value

    async def test_a_block_that_is_cancelled_ends_at_once_and_is_cancelled(self, transport: Transport, settings: ConnectSettings) -> None:
        with trio.fail_after(SOON_S), trio.CancelScope() as scope:
            async with transport.connect(settings) as link:
                scope.cancel()
                await link.receive()

        assert scope.cancelled_caught

    async def test_two_links_at_once_do_not_know_each_other(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as one:
            await one.subscribe([("a", 1)])
            async with transport.connect(attrs.evolve(settings, client_id="robot8")) as two:
                await two.subscribe([("b", 1)])
                await broker.publish("b", b"for two")
                (for_two,) = await receive_all(two, 1)
            await broker.publish("a", b"for one")
            (for_one,) = await receive_all(one, 1)

        assert (b"for one", b"for two") == (for_one.payload, for_two.payload)

    async def test_no_file_thread_or_task_is_left_after_many_attempts(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        silent = attrs.evolve(broker.silent(settings), connect_timeout_s=SOON_S * 10)
        await _connect_and_leave(transport, settings)
        files_before = open_files()
        for _ in range(CYCLES):
            await _connect_and_leave(transport, settings)
            for hopeless in (broker.nobody(settings), broker.wrong_password(settings)):
                with pytest.raises((LinkLost, LinkRefused)):
                    await _connect_and_leave(transport, hopeless)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_connect_and_leave, transport, silent)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with trio.CancelScope() as scope:
                async with transport.connect(settings):
                    scope.cancel()

        assert [] == live_asyncio_tasks()
        assert files_before == open_files()
        assert 0 == trio.to_thread.current_default_thread_limiter().borrowed_tokens


async def _connect_and_leave(transport: Transport, settings: ConnectSettings) -> None:
    async with transport.connect(settings):
        pass
