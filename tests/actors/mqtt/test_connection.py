"""The connection actor in a whole service: epochs, acknowledgements, subscriptions, refusals, coming back, going away."""

from __future__ import annotations

import functools

import pytest
import trio
from trio.testing import MockClock

from support.links import Around, links, silent_at
from support.service import CLIENT, HEALTH, Seen, World, running
from tars.actors import Actor, Context, Escalate, subscribe
from tars.actors.mqtt.events import DrainEnded, LinkDown, LinkUp, Qos0Shed, SubscriptionRefused
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.transport import LinkLost, LinkRefused
from tars.actors.testing import connect_settings
from tars.supervisor import ChildExited, ExitKind, IntensityExceeded, RestartScheduled


class Gates:
    """Two topics, ``one`` and ``two``, whose handlers each wait until the test opens their gate."""

    def __init__(self) -> None:
        self.gates = {"one": trio.Event(), "two": trio.Event()}
        self.seen = Seen()

    def actors(self) -> tuple[type[Actor], type[Actor]]:
        gates, seen = self.gates, self.seen

        class One(Actor):
            @subscribe("one")
            async def on_one(self, _event: bytes, ctx: Context) -> None:
                seen.add(ctx.topic)
                await gates["one"].wait()

        class Two(Actor):
            @subscribe("two")
            async def on_two(self, _event: bytes, ctx: Context) -> None:
                seen.add(ctx.topic)
                await gates["two"].wait()

        return One, Two


@subscribe("sink")
async def sink(_event: bytes) -> None:
    """Takes what comes."""


# -- acknowledgements -----------------------------------------------------------------------------


async def test_acknowledgements_go_out_as_deliveries_settle(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors()) as world:
        await world.deliver("one", b"1")
        await world.deliver("two", b"2")
        await it.seen.until(2)
        it.gates["two"].set()

        assert (2,) == await world.acked(1)
        it.gates["one"].set()

        assert (2, 1) == await world.acked(2)


async def test_acknowledgements_keep_the_order_of_arrival_for_a_broker_that_insists(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors(), config={"mqtt": {"ack_order": "arrival"}}) as world:
        await world.deliver("one", b"1")
        await world.deliver("two", b"2")
        await it.seen.until(2)
        it.gates["two"].set()
        await world.quiet()

        assert () == world.broker.acked(CLIENT)
        it.gates["one"].set()

        assert (1, 2) == await world.acked(2)


@pytest.mark.parametrize("ack_order", ["settled", "arrival"])
async def test_an_acknowledgement_of_an_older_connection_is_dropped(_virtual: MockClock, ack_order: str) -> None:
    it = Gates()
    async with running(*it.actors(), config={"mqtt": {"ack_order": ack_order}}) as world:
        await world.deliver("one", b"old")
        await it.seen.until(1)
        world.broker.kill(persistent=False)
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.deliver("two", b"new, under the packet id of the old one")
        await it.seen.until(2)

        assert (1,) == world.broker.sessions[CLIENT].unacked
        it.gates["one"].set()
        await world.quiet()

        assert ["two"] == world.unacked
        it.gates["two"].set()

        assert (1,) == await world.acked(1)
        assert [] == world.broker.stray_acks


async def test_what_was_in_hand_when_the_link_broke_is_acknowledged_once_it_came_again(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors()) as world:
        await world.deliver("one", {"n": 1})
        await it.seen.until(1)
        world.broker.drop_link(CLIENT)
        await world.event(LinkUp, count=2)
        await world.quiet()
        it.gates["one"].set()
        await world.settled()

        assert ["one"] == it.seen.items
        assert ([], []) == (world.unacked, world.broker.stray_acks)


# -- subscriptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False])
async def test_every_connect_subscribes_everything_at_its_own_qos(_virtual: MockClock, persistent: bool) -> None:
    class Several(Actor):
        @subscribe("a", qos=1)
        @subscribe("b", qos=0)
        @subscribe("both/+", qos=0)
        async def on_any(self, _event: bytes) -> None: ...

        @subscribe("both/{name}", qos=1)
        async def on_both(self, _event: bytes) -> None: ...

    wanted = {"a": 1, "b": 0, "both/+": 1}
    async with running(Several) as world:
        assert wanted == world.broker.sessions[CLIENT].subscriptions
        world.broker.kill(persistent=persistent)
        world.broker.restart()
        up = await world.event(LinkUp, count=2)

        assert (wanted, 3, persistent) == (world.broker.sessions[CLIENT].subscriptions, up.filters, up.session_present)


async def test_a_refused_subscription_is_reported_and_makes_the_service_unwell_until_it_is_granted(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.refuse_subscribe("one")
    async with running(*Gates().actors(), broker=broker) as world:
        assert [SubscriptionRefused("one", 0x87, "one")] == world.events_of(SubscriptionRefused)
        ping = await world.health("degraded")

        assert (False, "subscription one: refused by the broker (code 0x87), which parks one") == (ping["ok"], ping["err"])
        assert [] == [entry for entry in world.said(HEALTH) if b'"ready"' in entry.payload]
        broker.refuse_subscribe("one", 0)
        broker.drop_link(CLIENT)

        assert (await world.health("reconnected"))["ok"]
        assert {} == world.estate.health.problems


# -- being refused, and not being there -----------------------------------------------------------


async def test_a_refused_client_ends_the_tree_with_one_clear_message(_virtual: MockClock) -> None:
    broker = MemoryBroker(users={"somebody": "else"})
    async with running(sink, broker=broker, up=False) as world:
        failure = await world.over()

        assert isinstance(failure, Escalate)
        assert str(failure).startswith(f"broker memory:1883 refused client id '{CLIENT}': ")
        assert 1 == len([each for each in world.events_of(ChildExited) if each.path.endswith("/connection")])
        assert [] == world.events_of(RestartScheduled)


async def test_a_session_that_is_taken_over_ends_the_tree(_virtual: MockClock) -> None:
    async with running(sink) as world, MemoryTransport(world.broker).connect(connect_settings(CLIENT)):
        failure = await world.over()

        assert isinstance(failure, Escalate)
        assert "taken over" in str(failure)


async def test_a_broker_that_is_down_at_boot_is_no_failure_of_the_tree(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.kill()
    async with running(sink, broker=broker, up=False) as world:
        retries = [await world.event(RestartScheduled, lambda each: each.path.endswith("/connection"), count=n + 1) for n in range(30)]

        assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == [each.delay_s for each in retries[:8]]
        assert {0} == {each.used for each in retries}
        assert [] == world.events_of(IntensityExceeded)
        assert {ExitKind.UNAVAILABLE} == {each.kind for each in world.events_of(ChildExited)}
        broker.restart()
        await world.up()
        await world.deliver("sink", b"x")
        await world.settled()

        assert (1,) == broker.acked(CLIENT)


async def test_a_link_that_breaks_again_and_again_costs_no_intensity_and_only_the_link(_virtual: MockClock) -> None:
    async with running(sink) as world:
        for count in range(2, 12):
            world.broker.drop_link(CLIENT)
            await world.event(LinkUp, count=count)

        assert {"root/service/link/connection"} == {each.path for each in world.events_of(ChildExited)}
        assert [] == world.events_of(IntensityExceeded)
        assert list(range(1, 12)) == [each.epoch for each in world.events_of(LinkUp)]


async def test_the_service_stops_at_once_while_there_is_no_broker(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.kill()
    async with running(sink, broker=broker, up=False) as world:
        await world.event(RestartScheduled)
        began = trio.current_time()
        await world.stop()

        assert began == trio.current_time()


async def test_the_service_stops_while_an_attempt_to_connect_hangs(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.freeze()
    async with running(sink, broker=broker, up=False) as world:
        await world.quiet()
        began = trio.current_time()
        await world.stop()

        assert began == trio.current_time()


class Ended(Around):
    """A link that ends just before something is acknowledged on it, which nobody has noticed yet."""

    def ack(self, _packet_id: int) -> bool:
        return False


async def test_what_could_not_be_acknowledged_any_more_is_known_when_it_comes_again(_virtual: MockClock) -> None:
    it = Gates()
    it.gates["one"].set()
    async with running(*it.actors(), transport=links(lambda number, link: Ended(link) if number == 1 else link)) as world:
        world.broker.deliver("one", b"raw: nothing in it tells it from another")
        await it.seen.until(1)
        await world.quiet()
        world.broker.drop_link(CLIENT)
        await world.event(LinkUp, count=2)
        await world.acked(1)

        assert ["one"] == it.seen.items


# -- ready only when subscribed -------------------------------------------------------------------


async def test_the_link_is_not_up_before_every_subscription_is_answered(_virtual: MockClock) -> None:
    async with running(sink, transport=silent_at(1), up=False) as world:
        await world.broker.wait_connected(CLIENT)
        await world.quiet()

        assert ([], False, 0) == (world.events_of(LinkUp), world.estate.link.is_up, len(world.estate.urgent))
        await trio.sleep(2)
        world.broker.thaw()
        await world.up()

        assert 2 == pytest.approx(world.events_of(LinkUp)[0].took_s)

        assert (await world.health("ready"))["ok"]


# -- QoS 0 ----------------------------------------------------------------------------------------


async def test_qos_0_beyond_its_limit_is_shed_and_counted(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors(), config={"mqtt": {"inbound_qos0": 3}}) as world:
        for _ in range(10):
            world.broker.deliver("one", b"x", 0)
        shed = await world.event(Qos0Shed)

        assert (7, 3, 3) == (shed.count, shed.limit, world.estate.table.qos0)
        await world.deliver("two", b"QoS 1 has a credit of its own", qos=1)
        it.gates["two"].set()
        await world.acked(1)
        it.gates["one"].set()
        await world.settled()

        assert (3, 0) == (it.seen.count("one"), world.estate.table.qos0)


# -- going away -----------------------------------------------------------------------------------


async def test_shutdown_waits_for_what_is_in_hand_and_acknowledges_it_before_the_goodbye(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors()) as world:
        await world.deliver("one", b"x")
        await it.seen.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.quiet()
            world.broker.deliver("two", b"too late: it is the next process's")
            await world.quiet()

            assert world.estate.link.is_up
            it.gates["one"].set()

        assert ((1,), ["two"], ["one"]) == (world.broker.acked(CLIENT), world.unacked, it.seen.items)
        assert (0, 0) == _left(world)
        assert [b'"shutdown"' in world.said(HEALTH)[-1].payload, False] == [True, world.said(HEALTH)[-1].will]


async def test_shutdown_waits_no_longer_than_drain_s_and_what_is_left_stays_with_the_broker(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors(), config={"service": {"drain_s": 5.0}}) as world:
        await world.deliver("one", b"x")
        await it.seen.until(1)
        began = trio.current_time()
        await world.stop()

        assert (1, 0) == _left(world)
        assert began + 5.0 <= trio.current_time() <= began + 5.0 + 3.0
        assert (["one"], ()) == (world.unacked, world.broker.acked(CLIENT))


def _left(world: World) -> tuple[int, int]:
    (drained,) = world.events_of(DrainEnded)
    return drained.unsettled, drained.unsent


async def test_what_is_in_the_outbox_is_sent_before_the_goodbye(_virtual: MockClock) -> None:
    @subscribe("in")
    async def replies(_event: bytes, ctx: Context) -> None:
        for number in range(50):
            await ctx.publish_raw("out", b"%d" % number)

    async with running(replies) as world:
        world.broker.hold_pubacks()
        await world.deliver("in", b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.stop)
            await world.published("out", 50)
            world.broker.release_pubacks()

        assert (0, 0) == _left(world)
        assert (1,) == world.broker.acked(CLIENT)


async def test_restart_leaves_at_once_and_what_was_in_hand_comes_again(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors(), config={"heartbeat": {"enabled": True, "interval_s": 5.0, "deadline_s": 2.0}}) as world:
        await world.deliver("one", {"n": 1})
        await it.seen.until(1)
        world.broker.freeze()
        down = await world.event(ChildExited, lambda each: each.path.endswith("/heartbeat"))
        at = trio.current_time()
        asked = await world.event(ChildExited, lambda each: each.path.endswith("/connection"))

        assert at == trio.current_time()
        assert (ExitKind.UNAVAILABLE, ExitKind.SHUTDOWN, True) == (down.kind, asked.kind, asked.asked)
        assert [] == world.events_of(DrainEnded)
        world.broker.kill()
        world.broker.restart()
        await world.event(LinkUp, count=2)
        it.gates["one"].set()
        await world.settled()

        assert ["one"] == it.seen.items


async def test_link_events_say_why_and_how_much_was_in_flight(_virtual: MockClock) -> None:
    it = Gates()
    async with running(*it.actors()) as world:
        await world.deliver("one", b"x")
        await it.seen.until(1)
        world.broker.drop_link(CLIENT)
        lost = await world.event(LinkDown)
        it.gates["one"].set()
        await world.up()
        await world.settled()
        await world.stop()

        assert ("lost", 1, 1) == (lost.reason, lost.in_flight, lost.epoch)
        assert [("lost", "warning"), ("closed", "info")] == [(each.reason, each.level) for each in world.events_of(LinkDown)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(LinkLost("nobody there"), ExitKind.UNAVAILABLE), (LinkRefused("no", code=0x87, hint="ask for access"), ExitKind.ESCALATE)],
)
async def test_what_the_broker_says_at_connect_decides_between_again_and_never(
    _virtual: MockClock, error: LinkLost | LinkRefused, kind: ExitKind
) -> None:
    broker = MemoryBroker()
    broker.refuse_connections(error)
    async with running(sink, broker=broker, up=False) as world:
        ended = await world.event(ChildExited, functools.partial(_is_connection))

        assert kind == ended.kind
        if kind is ExitKind.ESCALATE:
            assert str(await world.over()).endswith("; ask for access")


def _is_connection(ended: ChildExited) -> bool:
    return ended.path.endswith("/connection")
