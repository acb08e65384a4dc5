"""The dedup actor in a whole service: what is handled once, what again; and a pipeline that fails loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, running
from tars.actors import Actor, Context, Reject, subscribe
from tars.actors.mqtt.box import ActorBox
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import LinkDown, LinkUp
from tars.actors.mqtt.window import DoneWindow
from tars.supervisor import ChildExited, ExitKind, IntensityExceeded


def recorder(seen: Seen, *, gate: trio.Event | None = None) -> type[Actor]:
    """Notes the payload of what comes on ``in``; with a gate, waits for it first."""

    class Recorder(Actor):
        @subscribe("in")
        async def on_in(self, event: bytes) -> None:
            seen.add(event)
            if gate is not None:
                await gate.wait()

    return Recorder


# -- once, or again -------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_repetition_within_the_window_is_acknowledged_and_not_handled(_virtual: MockClock, qos: int) -> None:
    seen = Seen()
    async with running(recorder(seen)) as world:
        for _ in range(3):
            await world.deliver("in", {"n": 1}, envelope_id="same", qos=qos)
            await world.settled()

        assert 1 == len(seen.items)
        assert (1, 2, 3) * qos == world.broker.acked(CLIENT)


async def test_a_repetition_of_what_is_in_flight_joins_it_and_both_are_acknowledged_when_it_settles(_virtual: MockClock) -> None:
    seen, gate = Seen(), trio.Event()
    async with running(recorder(seen, gate=gate)) as world:
        for _ in range(3):
            await world.deliver("in", {"n": 1}, envelope_id="same")
        await world.quiet()

        assert (1, 1, ()) == (len(seen.items), len(world.estate.table), world.broker.acked(CLIENT))
        gate.set()
        await world.settled()

        assert (1, (1, 2, 3)) == (len(seen.items), world.broker.acked(CLIENT))


async def test_the_message_id_decides_when_there_is_one(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(recorder(seen)) as world:
        for payload, message_id in [(b"1", "a"), (b"2", "a"), (b"1", "b")]:
            await world.deliver("in", payload, message_id=message_id)
            await world.settled()

        assert [b"1", b"1"] == seen.items


async def test_two_raw_messages_that_look_alike_are_two(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(recorder(seen)) as world:
        await world.deliver("in", {"n": 1}, envelope=False)
        await world.deliver("in", {"n": 1}, envelope=False)
        await world.settled()

        assert 2 == len(seen.items)


async def test_what_can_never_be_recognised_is_not_remembered(_virtual: MockClock) -> None:
    @subscribe("in/#")
    async def sink(_event: bytes) -> None: ...

    async with running(sink) as world:
        for number in range(10):
            await world.deliver(f"in/{number}", b"raw")
        await world.settled()
        raw = len(world.estate.window)
        await world.deliver("in/x", {"n": 1})
        await world.settled()

        assert (0, 1) == (raw, len(world.estate.window))


async def test_the_window_does_not_slide(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(recorder(seen), config={"dedup": {"ttl_s": 30.0}}) as world:
        times = []
        for at in (0.0, 20.0, 29.0, 31.0, 60.0, 62.0):
            await trio.sleep_until(at + world.events_of(LinkUp)[0].took_s)
            before = len(seen.items)
            await world.deliver("in", {"n": 1}, envelope_id="same")
            await world.settled()
            times += [at] * (len(seen.items) - before)

        assert [0.0, 31.0, 62.0] == times


async def test_switched_off_it_still_joins_what_is_in_flight_and_handles_the_rest_again(_virtual: MockClock) -> None:
    seen = Seen()
    async with running(recorder(seen), config={"dedup": {"ttl_s": 0.0}}) as world:
        for _ in range(2):
            await world.deliver("in", {"n": 1}, envelope_id="same")
            await world.settled()

        assert 2 == len(seen.items)


async def test_only_the_subscription_that_failed_gets_it_when_it_comes_again(_virtual: MockClock) -> None:
    good, bad = Seen(), Seen()

    class Good(Actor):
        @subscribe("in")
        async def on_in(self, event: dict[str, Any]) -> None:
            good.add(event["n"])

    class Bad(Actor):
        @subscribe("in")
        async def on_in(self, event: dict[str, Any]) -> None:
            bad.add(event["n"])
            if bad.count(event["n"]) == 1:
                raise Reject("not yet")

    async with running(Good, Bad) as world:
        for _ in range(3):
            await world.deliver("in", {"n": 1}, envelope_id="same")
            await world.settled()

        assert ([1], [1, 1]) == (good.items, bad.items)
        assert [Why.REJECTED] == [letter.why for letter in world.store.letters]


async def test_retained_messages_pass_however_often_they_were_seen(_virtual: MockClock) -> None:
    seen = Seen()

    class State(Actor):
        @subscribe("state")
        async def on_state(self, _event: dict[str, Any], ctx: Context) -> None:
            seen.add(ctx.retain)

    async with running(State) as world:
        await world.deliver("state", {"on": True}, retain=True)
        await world.settled()
        for count in (2, 3):
            world.broker.drop_link(CLIENT)
            await world.event(LinkUp, count=count)
            await world.settled()

        assert [False, True, True] == seen.items


# -- a link that breaks ---------------------------------------------------------------------------


async def test_a_raw_message_in_hand_at_a_link_loss_joins_its_redelivery(_virtual: MockClock) -> None:
    seen, gate = Seen(), trio.Event()
    async with running(recorder(seen, gate=gate)) as world:
        await world.deliver("in", b"raw")
        await seen.until(1)
        world.broker.drop_link(CLIENT)
        await world.event(LinkUp, count=2)
        await world.quiet()
        gate.set()
        await world.settled()

        assert [b"raw"] == seen.items


@pytest.mark.parametrize("payload", [b"raw", {"n": 1}])
async def test_what_settled_during_an_outage_longer_than_the_window_is_not_handled_again(
    _virtual: MockClock, payload: bytes | dict[str, Any]
) -> None:
    seen, gate = Seen(), trio.Event()
    async with running(recorder(seen, gate=gate), config={"dedup": {"ttl_s": 30.0}}) as world:
        await world.deliver("in", payload)
        await seen.until(1)
        world.broker.kill()
        await world.event(LinkDown)
        gate.set()
        await trio.sleep(600)
        world.broker.restart()
        await world.event(LinkUp, count=2)
        await world.settled()

        assert 1 == len(seen.items)


# -- a pipeline that fails ------------------------------------------------------------------------


@attrs.define(eq=False)
class FaultyWindow:
    """A dedup window that fails, `times` times, when asked about a key with "poison" in it."""

    inner: DoneWindow
    times: int

    def finished(self, key: str, now: float) -> frozenset[str]:
        if "poison" in key and self.times:
            self.times -= 1
            raise RuntimeError("the window is broken")
        return self.inner.finished(key, now)


@attrs.define(eq=False)
class FaultyBoxes(Mapping[str, ActorBox]):
    """The boxes of the actors; looking for `actor` fails, `times` times."""

    inner: Mapping[str, ActorBox]
    actor: str
    times: int

    def __getitem__(self, actor: str) -> ActorBox:
        if actor == self.actor and self.times:
            self.times -= 1
            raise RuntimeError("the box is broken")
        return self.inner[actor]

    def __iter__(self) -> Iterator[str]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)

    def values(self) -> ValuesView[ActorBox]:
        return self.inner.values()  # who looks at all of them finds nothing wrong


def listener(name: str, seen: Seen) -> type[Actor]:
    async def on_in(_self: Actor, event: dict[str, Any]) -> None:
        seen.add((name, event["n"]))

    return type(name, (Actor,), {"on_in": subscribe("in")(on_in)})


PIPELINE = {"root/service/pipeline/dedup", "root/service/pipeline/dispatcher"}


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_dedup_that_fails_loses_nothing_and_doubles_nothing(_virtual: MockClock, failures: int) -> None:
    seen = Seen()
    ports = {"dedup": lambda ports: attrs.evolve(ports, window=FaultyWindow(ports.window, failures))}
    async with running(listener("A", seen), ports=ports) as world:
        for n in range(100):
            await world.deliver("in", {"n": n}, envelope_id="poison" if n == 50 else f"e{n}")
        await world.settled()

        crashes = [each for each in world.events_of(ChildExited) if each.kind is ExitKind.CRASH]

        assert failures == len(crashes)
        assert PIPELINE >= {each.path for each in world.events_of(ChildExited)}
        assert [("A", n) for n in range(100) if n != 50 or failures < 3] == seen.items
        assert 100 == len(set(world.broker.acked(CLIENT)))
        assert [(Why.POISON, 3)] * (failures == 3) == [(letter.why, letter.attempts) for letter in world.store.letters]
        assert [] == world.events_of(IntensityExceeded)


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_dispatcher_that_fails_halfway_loses_nothing_and_doubles_nothing(_virtual: MockClock, failures: int) -> None:
    seen = Seen()
    ports = {"dispatcher": lambda ports: attrs.evolve(ports, boxes=FaultyBoxes(ports.boxes, "b", failures))}
    async with running(listener("A", seen), listener("B", seen), listener("C", seen), ports=ports) as world:
        for n in range(20):
            await world.deliver("in", {"n": n})
        await world.settled()

        poisoned = failures == 3

        assert {"root/service/pipeline/dispatcher"} == {each.path for each in world.events_of(ChildExited)}
        for name in "ABC":
            handled = [n for actor, n in seen.items if actor == name]
            assert len(handled) == len(set(handled))
            assert set(range(1, 20)) <= set(handled)
        assert (0 in {n for actor, n in seen.items if actor == "B"}) != poisoned
        assert [Why.POISON] * poisoned == [letter.why for letter in world.store.letters]
        assert 20 == len(set(world.broker.acked(CLIENT)))


async def test_a_poison_that_keeps_failing_costs_three_attempts_and_its_neighbours_nothing(_virtual: MockClock) -> None:
    seen = Seen()
    ports = {"dedup": lambda ports: attrs.evolve(ports, window=FaultyWindow(ports.window, 1000))}
    async with running(listener("A", seen), ports=ports) as world:
        await world.deliver("in", {"n": 1})
        await world.deliver("in", {"n": 2}, envelope_id="poison")
        await world.deliver("in", {"n": 3})
        await world.settled()
        (letter,) = world.store.letters

        assert [("A", 1), ("A", 3)] == seen.items
        assert (Why.POISON, "in", "in", "", 3) == (letter.why, letter.direction, letter.topic, letter.subscription, letter.attempts)
        assert (1, 2, 3) == tuple(sorted(world.broker.acked(CLIENT)))
        assert world.estate.link.is_up
        assert 1 == world.estate.link.epoch
