"""The failure ladder of a handler, rung by rung, and that no rung reaches a neighbour."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from support.service import CLIENT, Seen, World, running
from tars.actors import Actor, Context, Escalate, Reject, Stop, Unavailable, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import ActorParked, ActorRecovered, HandlerFailed, HandlerUnavailable
from tars.supervisor import ChildExited, IntensityExceeded, RestartScheduled

HANDLERS = "root/service/handlers/"


class Broken(Exception):
    """What the actors of these tests fail with."""


@attrs.frozen
class Call:
    """One call of a handler: the number of the incarnation, of the message, of the attempt."""

    life: int
    n: int
    attempt: int


@attrs.define(eq=False)
class Life:
    """Counts an actor's incarnations and keeps its calls."""

    lives: int = 0
    calls: Seen = attrs.field(factory=Seen)

    def actor(self, behave: Callable[[int, int, int], Any], name: str = "Subject", topic: str = "in") -> type[Actor]:
        """An actor whose handler does what ``await behave(life, n, attempt)`` does."""
        mine = self

        def begin(this: Any) -> None:
            mine.lives += 1
            this.life = mine.lives

        async def on_message(this: Any, event: dict[str, Any], ctx: Context) -> None:
            mine.calls.add(Call(this.life, event["n"], ctx.attempt))
            await behave(this.life, event["n"], ctx.attempt)

        return type(name, (Actor,), {"__init__": begin, "on_message": subscribe(topic)(on_message)})

    def called(self) -> list[tuple[int, int, int]]:
        return [attrs.astuple(call) for call in self.calls.items]


async def fails(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise Broken("on 0")


async def hangs(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        await trio.sleep_forever()


async def rejects(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise Reject("not this one")


async def rejects_in_a_group(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise ExceptionGroup("all", [Reject("not this one"), ExceptionGroup("", [Reject("nor that")])])


async def half_rejects(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise ExceptionGroup("both", [Reject("not this one"), Broken("on 0")])


async def fails_half_unavailable(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise ExceptionGroup("both", [Unavailable("down"), Broken("on 0")])


async def stops(_life: int, n: int, _attempt: int) -> None:
    if n == 0:
        raise Stop("enough")


THREE_TIMES = [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 1), (4, 2, 1)]
ONCE = [(1, 0, 1), (1, 1, 1), (1, 2, 1)]
ROWS = [
    # behave, calls, letter, error of the letter, failures told
    pytest.param(fails, THREE_TIMES, Why.CRASHED, "Broken: on 0", 3, id="it raises"),
    pytest.param(hangs, THREE_TIMES, Why.CRASHED, "TimeoutError: took longer than handler_timeout_s = 30 s", 3, id="it takes too long"),
    pytest.param(rejects, ONCE, Why.REJECTED, "Reject: not this one", 0, id="Reject"),
    pytest.param(rejects_in_a_group, ONCE, Why.REJECTED, "Reject: not this one", 0, id="nothing but Reject in a group"),
    pytest.param(
        half_rejects, THREE_TIMES, Why.CRASHED, "ExceptionGroup: both (2 sub-exceptions)", 3, id="Reject and a failure in a group"
    ),
    pytest.param(
        fails_half_unavailable,
        THREE_TIMES,
        Why.CRASHED,
        "ExceptionGroup: both (2 sub-exceptions)",
        3,
        id="Unavailable and a failure in a group",
    ),
    pytest.param(stops, [(1, 0, 1), (2, 1, 1), (2, 2, 1)], None, "", 0, id="Stop: handled, and a fresh start"),
]


async def deliver(world: World, *numbers: int, topic: str = "in") -> None:
    for n in numbers:
        await world.deliver(topic, {"n": n})


@pytest.mark.parametrize(("behave", "calls", "why", "error", "failures"), ROWS)
async def test_what_a_handler_does_with_one_message(
    _virtual: MockClock, behave: Any, calls: list[tuple[int, int, int]], why: Why | None, error: str, failures: int
) -> None:
    life = Life()
    async with running(life.actor(behave)) as world:
        await deliver(world, 0, 1, 2)
        await world.settled()

        assert calls == life.called()
        attempts = 3 if why is Why.CRASHED else 1
        assert [(why, attempts, error)] * (why is not None) == [(each.why, each.attempts, each.error) for each in world.store.letters]
        assert failures == len(world.events_of(HandlerFailed))
        assert (1, 2, 3) == tuple(sorted(world.broker.acked(CLIENT)))
        assert {f"{HANDLERS}subject"} >= {each.path for each in world.events_of(ChildExited)}
        assert {0} >= {each.used for each in world.events_of(RestartScheduled)}


async def test_a_failure_is_told_once_with_everything_and_its_letter_has_the_traceback(_virtual: MockClock) -> None:
    life = Life()
    async with running(life.actor(fails)) as world:
        await world.deliver("in", {"n": 0}, message_id="m1", envelope_id="e1")
        await world.settled()
        told = world.events_of(HandlerFailed)
        (letter,) = world.store.letters

        assert [(1, 3, False), (2, 3, False), (3, 3, True)] == [(each.attempt, each.max_attempts, each.final) for each in told]
        assert {(f"{HANDLERS}subject", "subject:in", "in", "m1", "e1")} == {
            (each.actor, each.subscription, each.topic, each.message_id, each.correlation_id) for each in told
        }
        assert (f"{HANDLERS}subject", "subject:in", "m1", "in") == (letter.actor, letter.subscription, letter.message_id, letter.direction)
        assert "raise Broken" in letter.traceback


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
async def test_a_message_is_tried_max_attempts_times_and_no_more(_virtual: MockClock, max_attempts: int) -> None:
    life = Life()
    actors = {"subject": {"max_attempts": max_attempts, "max_failures_in_a_row": 100}}
    async with running(life.actor(fails), actors=actors) as world:
        await deliver(world, 0)
        await world.settled()

        assert [(n, 0, n) for n in range(1, max_attempts + 1)] == life.called()
        assert max_attempts == world.store.letters[0].attempts


async def test_a_later_attempt_may_succeed(_virtual: MockClock) -> None:
    async def at_the_third(_life: int, _n: int, attempt: int) -> None:
        if attempt < 3:
            raise Broken

    life = Life()
    async with running(life.actor(at_the_third)) as world:
        await deliver(world, 0)
        await world.settled()

        assert ([(1, 0, 1), (2, 0, 2), (3, 0, 3)], []) == (life.called(), world.store.letters)


async def test_a_retry_is_at_once(_virtual: MockClock) -> None:
    life = Life()
    async with running(life.actor(fails)) as world:
        began = trio.current_time()
        await deliver(world, 0)
        await world.settled()

        assert began == trio.current_time()


async def test_every_incarnation_begins_afresh(_virtual: MockClock) -> None:
    seen = Seen()

    class Counter(Actor):
        def __init__(self) -> None:
            self.count = 0

        @subscribe("in")
        async def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            self.count += 1
            seen.add(self.count)
            if event["n"] == 0 and ctx.attempt == 1:
                raise Broken

    async with running(Counter) as world:
        await deliver(world, 1, 1, 0, 1)
        await world.settled()

        assert [1, 2, 3, 1, 2] == seen.items


# -- Unavailable ----------------------------------------------------------------------------------


async def test_unavailable_keeps_the_message_costs_no_attempt_and_backs_off(_virtual: MockClock) -> None:
    async def down_for_8(life: int, _n: int, _attempt: int) -> None:
        if life <= 8:
            raise Unavailable("the backend is down")

    life = Life()
    async with running(life.actor(down_for_8), actors={"subject": {"max_attempts": 2, "max_failures_in_a_row": 2}}) as world:
        await deliver(world, 0, 1)
        await world.settled()

        assert [(n, 0, 1) for n in range(1, 10)] + [(9, 1, 1)] == life.called()
        assert ([], [], []) == (world.store.letters, world.events_of(HandlerFailed), world.events_of(ActorParked))
        assert 8 == len(world.events_of(HandlerUnavailable))
        delays_s = [each.delay_s for each in world.events_of(RestartScheduled)]
        assert sorted(delays_s) == delays_s
        assert 0 < delays_s[0] < delays_s[-1]


async def test_unavailable_in_a_group_is_unavailable(_virtual: MockClock) -> None:
    async def down_once(life: int, _n: int, _attempt: int) -> None:
        if life == 1:
            raise ExceptionGroup("", [Unavailable("down"), Stop("and out")])

    life = Life()
    async with running(life.actor(down_once)) as world:
        await deliver(world, 0)
        await world.settled()

        assert ([(1, 0, 1), (2, 0, 1)], []) == (life.called(), world.store.letters)


# -- Escalate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True])
async def test_escalate_ends_the_tree_and_the_message_stays_with_the_broker(_virtual: MockClock, grouped: bool) -> None:
    async def escalates(_life: int, _n: int, _attempt: int) -> None:
        raise ExceptionGroup("", [Escalate("no such key")]) if grouped else Escalate("no such key")

    life = Life()
    async with running(life.actor(escalates)) as world:
        await deliver(world, 0)
        await world.over()

        assert [(1, 0, 1)] == life.called()
        assert (["in"], []) == (world.unacked, world.store.letters)


# -- the budget, the park -------------------------------------------------------------------------

ALL_FAIL = {"max_attempts": 1, "max_failures_in_a_row": 3, "park_s": 30.0}


async def always(_life: int, _n: int, _attempt: int) -> None:
    raise Broken


async def test_a_spent_budget_parks_the_actor_and_its_messages_are_dead_letters(_virtual: MockClock) -> None:
    life = Life()
    async with running(life.actor(always), actors={"subject": ALL_FAIL}) as world:
        await deliver(world, *range(6))
        parked = await world.event(ActorParked)
        await world.settled()
        ping = await world.health("degraded")

        assert ActorParked(f"{HANDLERS}subject", 3, 30.0) == parked
        assert (False, "actor subject: parked after 3 failures in a row") == (ping["ok"], ping["err"])
        assert [Why.CRASHED] * 3 + [Why.PARKED] * 3 == [letter.why for letter in world.store.letters]
        await deliver(world, 6)
        await world.settled()

        assert (Why.PARKED, 0) == (world.store.letters[-1].why, world.store.letters[-1].attempts)
        assert 3 == len(life.called())
        assert 7 == len(world.broker.acked(CLIENT))


async def test_the_message_that_spends_the_budget_is_set_aside_even_with_attempts_left(_virtual: MockClock) -> None:
    life = Life()
    async with running(life.actor(always), actors={"subject": {"max_attempts": 10, "max_failures_in_a_row": 2}}) as world:
        await deliver(world, 0)
        await world.settled()

        assert [(Why.PARKED, 2)] == [(letter.why, letter.attempts) for letter in world.store.letters]


async def test_each_failed_trial_doubles_the_time_in_the_park(_virtual: MockClock) -> None:
    life = Life()
    async with running(life.actor(always), actors={"subject": ALL_FAIL}) as world:
        for n in range(3):
            await deliver(world, n)
        parks_s, times = [], []
        for count in range(1, 6):
            parks_s.append((await world.event(ActorParked, count=count)).park_s)
            times.append(trio.current_time())
            lives = life.lives
            while life.lives == lives:  # the trial begins
                await world.event(RestartScheduled, count=len(world.events_of(RestartScheduled)))
                await trio.sleep(1)
            await deliver(world, 100 + count)

        assert [30.0, 60.0, 120.0, 240.0, 480.0] == parks_s
        assert [30.0, 60.0, 120.0, 240.0] == pytest.approx([b - a for a, b in itertools.pairwise(times)], abs=1.1)
        assert 3 + 4 == len(life.called())


async def test_a_trial_that_handles_a_message_ends_the_park(_virtual: MockClock) -> None:
    async def mended_later(_life: int, n: int, _attempt: int) -> None:
        if n < 10:
            raise Broken

    life = Life()
    async with running(life.actor(mended_later), actors={"subject": ALL_FAIL}) as world:
        await deliver(world, 0, 1, 2)
        await world.event(ActorParked)
        await trio.sleep(31)

        assert "actor subject" in world.estate.health.problems
        assert [] == world.events_of(ActorRecovered)
        await deliver(world, 10)
        await world.event(ActorRecovered)
        await world.health("ready", 2)

        assert {} == world.estate.health.problems
        await deliver(world, 3, 4)
        await world.settled()

        assert 1 == len(world.events_of(ActorParked))


async def test_a_handled_message_gives_the_budget_back(_virtual: MockClock) -> None:
    async def odd_ones_fail(_life: int, n: int, _attempt: int) -> None:
        if n % 2:
            raise Broken

    life = Life()
    actors = {"subject": {"max_attempts": 1, "max_failures_in_a_row": 2}}
    async with running(life.actor(odd_ones_fail), actors=actors) as world:
        await deliver(world, *range(20))
        await world.settled()

        assert ([], 10) == (world.events_of(ActorParked), len(world.store.letters))


@pytest.mark.parametrize("hook", ["started", "tick"])
async def test_only_a_handled_message_gives_the_budget_back_and_ends_a_trial(_virtual: MockClock, hook: str) -> None:
    """Neither a `started` that works nor an `@every` that works proves that messages are handled."""
    ran = Seen()

    async def works(_self: Any, _ctx: Context) -> None:
        ran.add(1)

    async def on_in(_self: Any, _event: bytes) -> None:
        raise Broken

    more = {"started": works} if hook == "started" else {"beat": every(0.5)(works)}
    subject = type("Subject", (Actor,), {"on_in": subscribe("in")(on_in), **more})
    async with running(subject, actors={"subject": ALL_FAIL}) as world:
        for n in range(3):
            before = len(ran.items)
            await world.deliver("in", b"%d" % n)
            await world.settled()
            if n < 2:
                await ran.until(before + 1)

        assert 1 == len(world.events_of(ActorParked))
        before = len(ran.items)
        await ran.until(before + 1)
        await world.quiet()

        assert [] == world.events_of(ActorRecovered)


async def test_poison_in_two_actors_restarts_no_neighbour(_virtual: MockClock) -> None:
    one, two, good = Life(), Life(), Life()

    async def well(_life: int, _n: int, _attempt: int) -> None: ...

    actors = {"one": {"max_failures_in_a_row": 100}, "two": {"max_failures_in_a_row": 100}}
    async with running(
        one.actor(always, "One", "one"), two.actor(always, "Two", "two"), good.actor(well, "Good", "good"), actors=actors
    ) as world:
        for n in range(10):
            await deliver(world, n, topic="one")
            await deliver(world, n, topic="two")
            await deliver(world, n, topic="good")
        await world.settled()

        assert [(1, n, 1) for n in range(10)] == good.called()
        assert (31, 31, 1) == (one.lives, two.lives, good.lives)
        assert {f"{HANDLERS}one", f"{HANDLERS}two"} == {each.path for each in world.events_of(ChildExited)}
        assert ([], 1) == (world.events_of(IntensityExceeded), world.estate.link.epoch)


# -- what is not a message ------------------------------------------------------------------------


async def test_a_started_that_fails_is_tried_again_and_then_parked(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        async def started(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            seen.add(1)
            raise Broken("cannot start")

        @subscribe("in")
        async def on_in(self, _event: bytes) -> None: ...

    async with running(Subject, actors={"subject": ALL_FAIL}) as world:
        parked = await world.event(ActorParked)

        assert (3, 3) == (parked.failures, len(seen.items))
        assert {"started"} == {each.subscription for each in world.events_of(HandlerFailed)}
        assert [] == world.events_of(IntensityExceeded)
        assert world.estate.link.is_up


async def test_a_started_that_waits_for_something_outside_costs_no_budget(_virtual: MockClock) -> None:
    seen = Seen()

    class Subject(Actor):
        async def started(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            seen.add("started")
            if len(seen.items) < 20:
                raise Unavailable("not yet")

        @subscribe("in")
        async def on_in(self, _event: bytes) -> None:
            seen.add("handled")

    async with running(Subject, actors={"subject": ALL_FAIL}) as world:
        await world.deliver("in", b"x")
        await world.settled()

        assert ["started"] * 20 + ["handled"] == seen.items
        assert [] == world.events_of(ActorParked)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_an_init_that_fails_ends_the_incarnation_parks_and_harms_no_neighbour(_virtual: MockClock, concurrency: int) -> None:
    broken = True

    class Subject(Actor):
        def __init__(self) -> None:
            if broken:
                raise Broken

        @subscribe("in/{key}")
        async def on_in(self, _event: bytes) -> None:
            seen.add("subject")

    @subscribe("in/#")
    async def neighbour(_event: bytes) -> None:
        seen.add("neighbour")

    seen, lanes = Seen(), {"concurrency": concurrency, "key": "{key}"}
    async with running(Subject, neighbour, actors={"subject": {**ALL_FAIL, **lanes}}) as world:
        await world.event(ActorParked, count=concurrency)
        await world.deliver("in/a", b"x")
        await world.settled()
        broken = False
        await trio.sleep(40.0)
        await world.deliver("in/a", b"x")
        await world.settled()

        assert ["neighbour", "neighbour", "subject"] == sorted(seen.items)
        assert [Why.PARKED] == [letter.why for letter in world.store.letters]
        assert {"subject"} == {event.path.split("/")[3] for event in world.events_of(ChildExited)}


async def test_a_tick_that_fails_ends_the_incarnation_and_then_parks(_virtual: MockClock) -> None:
    lives = Seen()

    class Subject(Actor):
        def __init__(self) -> None:
            lives.add(1)

        @every(5.0)
        async def tick(self) -> None:
            raise Broken

    async with running(Subject, actors={"subject": ALL_FAIL}) as world:
        began = trio.current_time()
        parked = await world.event(ActorParked)

        assert (3, 30.0, 3) == (parked.failures, parked.park_s, len(lives.items))
        assert 15.0 == pytest.approx(trio.current_time() - began)


async def test_an_actor_of_ticks_alone_recovers_by_a_tick_that_works(_virtual: MockClock) -> None:
    ran = Seen()

    class Subject(Actor):
        async def started(self, ctx: Context) -> None: ...

        @every(5.0)
        async def tick(self) -> None:
            ran.add(1)
            if len(ran.items) <= 3:
                raise Broken

    async with running(Subject, actors={"subject": ALL_FAIL}) as world:
        await world.event(ActorRecovered)

        assert (4, {}) == (len(ran.items), world.estate.health.problems)


async def test_a_hook_that_takes_too_long_has_failed(_virtual: MockClock) -> None:
    class Subject(Actor):
        async def started(self, ctx: Context) -> None:  # noqa: ARG002 - the signature
            await trio.sleep_forever()

        @subscribe("in")
        async def on_in(self, _event: bytes) -> None: ...

    async with running(Subject, actors={"subject": {"handler_timeout_s": 2.0, "max_failures_in_a_row": 1}}) as world:
        failed = await world.event(HandlerFailed)

        assert isinstance(failed.error, TimeoutError)
        assert 2.0 == pytest.approx(trio.current_time() - world.events[0].took_s, abs=0.1)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


async def test_an_exception_that_cannot_say_what_it_is_is_a_failure_like_any_other(_virtual: MockClock) -> None:
    @subscribe("in")
    async def subject(_event: bytes) -> None:
        raise Mute

    async with running(subject) as world:
        await world.deliver("in", b"1")
        (letter,) = await world.store.until(1)

        assert (Why.CRASHED, 3, "Mute: <exception str() failed>") == (letter.why, letter.attempts, letter.error)
        assert 3 == len(world.events_of(HandlerFailed))
        assert [] == world.events_of(IntensityExceeded)
