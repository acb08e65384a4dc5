"""The faults the broker in memory plays, and what a test can see of it and wait for."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.memory_watch import Published
from tars.actors.mqtt.transport import ConnectSettings, Link, LinkLost, LinkRefused, Outbound, ServerLimits, Will

ROBOT = ConnectSettings("memory", 1883, "robot7")
OTHER = attrs.evolve(ROBOT, client_id="robot8")
WILL = Will("health", b"lost")


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def transport(broker: MemoryBroker) -> MemoryTransport:
    return MemoryTransport(broker)


async def expect_lost(link: Link) -> None:
    with pytest.raises(LinkLost):
        await link.receive()


# -- killed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False])
async def test_what_a_killed_broker_knew_is_there_again_if_it_was_persistent(
    broker: MemoryBroker, transport: MemoryTransport, persistent: bool
) -> None:
    broker.deliver("kept", b"k", retain=True)
    async with transport.connect(attrs.evolve(ROBOT, receive_maximum=1, will=WILL)) as link:
        await link.subscribe([("a", 1)])
        broker.deliver("a", b"1")
        broker.deliver("a", b"2")
        broker.kill(persistent=persistent)

        assert [b"1"] == [message.payload for message in await link.receive()]
        await expect_lost(link)
        with pytest.raises(LinkLost, match="nobody listens"):
            async with transport.connect(OTHER):
                pass
        with pytest.raises(LinkLost, match="killed"):
            broker.deliver("a")

    broker.restart()
    async with transport.connect(ROBOT) as link:
        await link.subscribe([("kept", 1), ("new", 1)])
        broker.deliver("new", b"n")
        seen = [(message.payload, message.duplicate) for message in await link.receive()]

        assert persistent == link.limits.session_present
    assert ([(b"1", True), (b"2", False), (b"k", False)] if persistent else []) == seen[:-1]
    assert [] == broker.published


async def test_a_broker_that_is_killed_answers_whoever_was_connecting(broker: MemoryBroker, transport: MemoryTransport) -> None:
    broker.freeze()

    async def connect() -> None:
        with pytest.raises(LinkLost, match="closed by the other side"):
            async with transport.connect(ROBOT):
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await trio.testing.wait_all_tasks_blocked()
        broker.kill()


async def test_a_restart_of_a_living_broker_is_a_kill_and_a_restart(broker: MemoryBroker, transport: MemoryTransport) -> None:
    async with transport.connect(ROBOT) as link:
        broker.restart()
        await expect_lost(link)
    async with transport.connect(ROBOT) as link:
        assert link.limits.session_present


# -- frozen -------------------------------------------------------------------------------------------


async def test_a_frozen_broker_does_nothing_until_it_thaws_and_then_everything_in_order(
    broker: MemoryBroker, transport: MemoryTransport
) -> None:
    codes: list[int] = []
    async with transport.connect(ROBOT) as link:
        await link.subscribe([("a", 1), ("b", 1)])
        broker.deliver("a", b"before")
        (before,) = await link.receive()
        broker.freeze()
        link.ack(before.packet_id)
        link.publish(Outbound("b", b"1"), codes.append)
        broker.deliver("b", b"2")
        link.publish(Outbound("b", b"3"), codes.append)
        await link.flush()
        await trio.testing.wait_all_tasks_blocked()

        assert ([], [], [1]) == (codes, broker.published, list(broker.unacked("robot7")))
        broker.thaw()
        assert [b"1", b"2", b"3"] == [message.payload for message in await link.receive()]
        await trio.testing.wait_all_tasks_blocked()
        assert ([0, 0], (1,)) == (codes, broker.acked("robot7"))


async def test_who_connects_to_a_frozen_broker_waits_for_its_timeout_and_is_not_connected_later(
    broker: MemoryBroker, transport: MemoryTransport, autojump_clock: trio.testing.MockClock
) -> None:
    broker.freeze()
    with pytest.raises(LinkLost, match="no answer"):
        async with transport.connect(attrs.evolve(ROBOT, connect_timeout_s=7)):
            pass
    broker.thaw()

    assert 7 == autojump_clock.current_time()
    assert ([], {}) == (broker.connects, broker.sessions)


async def test_who_waits_for_a_frozen_broker_is_connected_when_it_thaws(broker: MemoryBroker, transport: MemoryTransport) -> None:
    broker.freeze()
    async with trio.open_nursery() as nursery:

        async def connect() -> None:
            async with transport.connect(ROBOT):
                pass

        nursery.start_soon(connect)
        await trio.testing.wait_all_tasks_blocked()
        broker.thaw()
        await broker.wait_disconnected("robot7")

    assert ["robot7"] == broker.connects


async def test_a_goodbye_to_a_frozen_broker_takes_no_time_and_is_heard_when_it_thaws(
    broker: MemoryBroker, transport: MemoryTransport
) -> None:
    async with transport.connect(attrs.evolve(ROBOT, will=WILL)) as link:
        broker.freeze()
        link.publish(Outbound("a", b"last"))

    assert broker.sessions["robot7"].connected
    broker.thaw()
    assert not broker.sessions["robot7"].connected
    assert [b"last"] == [entry.payload for entry in broker.published]


async def test_what_a_broken_connection_sent_after_a_takeover_is_not_read(broker: MemoryBroker, transport: MemoryTransport) -> None:
    async with transport.connect(ROBOT) as old, trio.open_nursery() as nursery:
        broker.freeze()
        old.publish(Outbound("a", b"read"))

        async def rival() -> None:
            async with transport.connect(ROBOT):
                pass

        nursery.start_soon(rival)
        await trio.testing.wait_all_tasks_blocked()
        old.publish(Outbound("a", b"not read"))
        old.ack(1)
        broker.thaw()

    assert [b"read"] == [entry.payload for entry in broker.published]
    assert [] == broker.stray_acks


# -- other faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LinkRefused("no", code=0x87, hint="ask"), LinkLost("busy")], ids=["refused", "lost"])
async def test_refused_connections_get_that_error_until_they_are_allowed_again(
    broker: MemoryBroker, transport: MemoryTransport, error: LinkLost | LinkRefused
) -> None:
    async with transport.connect(OTHER) as standing:
        broker.refuse_connections(error)
        for _ in range(2):
            with pytest.raises(type(error), match=str(error)) as caught:
                async with transport.connect(ROBOT):
                    pass

            assert caught.value is not error
            assert getattr(error, "hint", None) == getattr(caught.value, "hint", None)
        await standing.flush()
        broker.refuse_connections(None)
        async with transport.connect(ROBOT):
            pass

    assert ["robot8", "robot7"] == broker.connects


async def test_a_dropped_link_publishes_its_will_keeps_its_session_and_leaves_the_others(
    broker: MemoryBroker, transport: MemoryTransport
) -> None:
    async with transport.connect(attrs.evolve(ROBOT, will=WILL)) as link, transport.connect(OTHER) as other:
        await link.subscribe([("a", 1)])
        await other.subscribe([("health", 1)])
        broker.deliver("a", b"x")
        broker.drop_link("robot7")

        assert [b"x"] == [message.payload for message in await link.receive()]
        await expect_lost(link)
        assert [b"lost"] == [message.payload for message in await other.receive()]
        with pytest.raises(KeyError):
            broker.drop_link("robot7")

    assert ([1], {"health": b"lost"}) == (list(broker.unacked("robot7")), broker.retained)


async def test_held_confirmations_come_when_they_are_released_and_none_for_a_link_that_ended(
    broker: MemoryBroker, transport: MemoryTransport
) -> None:
    codes: list[str] = []
    broker.hold_pubacks()
    async with transport.connect(OTHER) as gone:
        gone.publish(Outbound("b", b""), lambda _code: codes.append("gone"))
    async with transport.connect(ROBOT) as link:
        for name in "ab":
            link.publish(Outbound(name, b""), lambda _code, name=name: codes.append(name))  # type: ignore[misc]
        await trio.testing.wait_all_tasks_blocked()

        assert [] == codes
        assert ["b", "a", "b"] == [entry.topic for entry in broker.published]
        broker.release_pubacks()
        await trio.testing.wait_all_tasks_blocked()
        assert ["a", "b"] == codes
        link.publish(Outbound("c", b""), lambda _code: codes.append("c"))
        await trio.testing.wait_all_tasks_blocked()
        assert ["a", "b", "c"] == codes


async def test_more_unconfirmed_publishes_than_the_broker_granted_end_the_connection() -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, receive_maximum=2))
    broker.hold_pubacks()
    async with MemoryTransport(broker).connect(ROBOT) as link:
        for _ in range(3):
            link.publish(Outbound("a", b""))
        with pytest.raises(LinkLost, match="0x93"):
            await link.receive()


async def test_a_confirmation_never_runs_inside_the_publish_it_confirms_and_not_after_the_link_ended(
    broker: MemoryBroker, transport: MemoryTransport
) -> None:
    codes: list[int] = []
    async with transport.connect(ROBOT) as link:
        link.publish(Outbound("a", b""), codes.append)
        assert [] == codes
        await trio.testing.wait_all_tasks_blocked()
        assert [0x10] == codes

        def drop(code: int) -> None:
            codes.append(code)
            broker.drop_link("robot7")

        link.publish(Outbound("a", b""), drop)
        link.publish(Outbound("a", b""), drop)
        await expect_lost(link)
        await trio.testing.wait_all_tasks_blocked()

    assert [0x10, 0x10] == codes


# -- seen, and waited for -------------------------------------------------------------------------------


async def test_everything_clients_publish_is_on_record_in_order(broker: MemoryBroker, transport: MemoryTransport) -> None:
    pairs = (("k", "v"),)
    async with transport.connect(ROBOT) as one, transport.connect(OTHER) as two:
        one.publish(Outbound("a", b"1", 0))
        two.publish(Outbound("b", b"2", 1, retain=True, user_properties=pairs, expires_s=9))
        broker.deliver("c", b"from outside")

    assert [Published("robot7", "a", b"1", code=0x10), Published("robot8", "b", b"2", 1, True, pairs, 9, 0x10)] == broker.published


async def test_a_wait_for_publishes_returns_the_first_that_match(broker: MemoryBroker, transport: MemoryTransport) -> None:
    found: list[bytes] = []

    async def wait() -> None:
        entries = await broker.wait_published("a/#", count=2, where=lambda entry: entry.payload != b"no")
        found.extend(entry.payload for entry in entries)

    async with transport.connect(ROBOT) as link, trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for topic, payload in (("a", b"1"), ("b", b"x"), ("a/b", b"no")):
            link.publish(Outbound(topic, payload))
            await trio.testing.wait_all_tasks_blocked()

        assert [] == found
        link.publish(Outbound("a/b", b"2"))
        link.publish(Outbound("a/b", b"3"))

    assert [b"1", b"2"] == found
    with trio.fail_after(1):
        assert 4 == len(await broker.wait_published("a/#", count=4))


async def test_a_wait_for_what_does_not_come_is_ended_by_the_caller_s_timeout(
    broker: MemoryBroker, autojump_clock: trio.testing.MockClock
) -> None:
    for wait in (
        broker.wait_published,
        lambda: broker.wait_subscribed("a"),
        lambda: broker.wait_connected("robot7"),
        lambda: broker.wait_acked("robot7", 1),
    ):
        with pytest.raises(trio.TooSlowError), trio.fail_after(100):
            await wait()

    assert 400 == autojump_clock.current_time()


async def test_a_connection_a_subscription_an_ack_and_an_end_can_be_waited_for(broker: MemoryBroker, transport: MemoryTransport) -> None:
    told: list[str] = []

    async def watch() -> None:
        await broker.wait_connected("robot7")
        told.append("connected")
        await broker.wait_subscribed("a", "robot7")
        told.append("subscribed")
        assert (1,) == await broker.wait_acked("robot7", 1)
        told.append("acked")
        await broker.wait_disconnected("robot7")
        told.append("disconnected")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        async with transport.connect(ROBOT) as link:
            await trio.testing.wait_all_tasks_blocked()
            assert ["connected"] == told
            await link.subscribe([("a", 1)])
            broker.deliver("a")
            (message,) = await link.receive()
            await trio.testing.wait_all_tasks_blocked()
            assert ["connected", "subscribed"] == told
            link.ack(message.packet_id)
            await trio.testing.wait_all_tasks_blocked()
            assert ["connected", "subscribed", "acked"] == told

    assert "disconnected" == told[-1]


async def test_a_subscription_of_who_is_away_is_not_waited_past(broker: MemoryBroker, transport: MemoryTransport) -> None:
    async with transport.connect(ROBOT) as link:
        await link.subscribe([("a", 1)])
    told: list[str] = []

    async def wait() -> None:
        await broker.wait_subscribed("a")
        told.append("subscribed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()

        assert [] == told
        async with transport.connect(ROBOT):
            await trio.testing.wait_all_tasks_blocked()
    assert ["subscribed"] == told


async def test_a_burst_of_thousands_comes_whole_and_is_answered_whole(broker: MemoryBroker, transport: MemoryTransport) -> None:
    confirmed: list[int] = []
    answered = 0
    async with transport.connect(ROBOT) as link:
        await link.subscribe([("in", 1)])
        for index in range(5000):
            broker.deliver("in", b"%d" % index)
        while answered < 5000:
            for message in await link.receive():
                link.publish(Outbound("out", message.payload), confirmed.append)
                link.ack(message.packet_id)
                answered += 1
        await trio.testing.wait_all_tasks_blocked()

    assert [b"%d" % index for index in range(5000)] == [entry.payload for entry in await broker.wait_published("out", count=5000)]
    assert (5000, 5000, []) == (len(confirmed), len(broker.acked("robot7")), broker.stray_acks)
