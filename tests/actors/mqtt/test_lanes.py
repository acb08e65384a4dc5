"""An actor with lanes: messages of a key in order and one at a time, those of different keys beside each other, failures alone."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from support.lanes import PATH, Step, Work, keys_in, max_at_once, send
from support.service import CLIENT, MemoryStore, Seen, World, running
from tars.actors import Actor, Context, ThreadContext, every, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import ActorParked, ActorRecovered
from tars.actors.mqtt.lanes import lane_of
from tars.actors.mqtt.memory import MemoryBroker
from tars.supervisor import Changes, ChildExited, ChildStarted


def lanes(concurrency: int, key: str = "{key}", **limits: Any) -> dict[str, dict[str, Any]]:
    """The config of the actor ``work``."""
    return {"work": {"concurrency": concurrency, "key": key, "mailbox": 256, **limits}}


ROOMY = {"mqtt": {"receive_maximum": 1024}}


@pytest.fixture
def _patient() -> MockClock:
    """Virtual time that jumps only after nothing has happened for a while: a worker thread gets its chance."""
    return MockClock(autojump_threshold=0.3)


# -- order ----------------------------------------------------------------------------------------


@attrs.frozen
class Message:
    """What one message of a plan does."""

    key: int
    seconds: float
    fails: int


@attrs.frozen
class Reload:
    """Another number of lanes from here on."""

    concurrency: int


@attrs.frozen
class Cut:
    """The link breaks here."""


MESSAGES = st.builds(Message, st.integers(0, 4), st.sampled_from([0.0, 0.1, 0.7, 2.0]), st.sampled_from([0, 0, 0, 1, 2, 5]))
RELOADS = st.builds(Reload, st.sampled_from([1, 2, 3, 5, 8]))
PLANS = st.lists(MESSAGES | MESSAGES | MESSAGES | RELOADS | st.just(Cut()), min_size=1, max_size=40)


@given(st.sampled_from([1, 2, 3, 8]), PLANS, st.sampled_from([0.0, 0.05, 0.5]))
@settings(max_examples=60, deadline=None)
def test_messages_of_a_key_keep_their_order_over_crashes_reloads_and_lost_links(
    concurrency: int, plan: list[Message | Reload | Cut], pause_s: float
) -> None:
    """Each is begun after the one before it of its key has ended for good, and all are handled or dead letters."""
    work, sent, world = trio.run(play, concurrency, plan, pause_s, clock=MockClock(autojump_threshold=0))

    dead = {orjson.loads(letter.payload)["data"]["n"] for letter in world.store.letters}
    for key in {message.key for message in sent.values()}:
        mine = [n for n, message in sent.items() if message.key == key]
        steps = [step for step in work.steps if step.key == str(key)]
        assert 1 == max_at_once(steps)
        assert sorted(step.n for step in steps) == [step.n for step in steps]
        assert mine == sorted({*work.handled(str(key))} | (dead & {*mine}))
        assert [n for n in mine if n not in dead] == work.handled(str(key))
    assert {n for n, message in sent.items() if message.fails >= 3} >= dead


async def play(concurrency: int, plan: list[Message | Reload | Cut], pause_s: float) -> tuple[Work, dict[int, Message], World]:
    work, sent = Work(), dict[int, Message]()
    actor = work.actor()
    async with running(actor, config=ROOMY, actors=lanes(concurrency, max_failures_in_a_row=1000)) as world, trio.open_nursery() as nursery:
        for n, event in enumerate(plan):
            match event:
                case Message(key, seconds, fails):
                    sent[n] = event
                    await send(world, (str(key), n), s=seconds, fails=fails)
                case Reload(number):
                    await world.reload(actor, config=ROOMY, actors=lanes(number, max_failures_in_a_row=1000))
                case Cut():
                    await world.quiet()
                    if world.estate.link.is_up:
                        world.broker.drop_link(CLIENT)
            await trio.sleep(pause_s)
        await world.up()
        await world.settled()
        nursery.cancel_scope.cancel()
    return work, sent, world


# -- beside each other ----------------------------------------------------------------------------


@pytest.mark.parametrize(("concurrency", "took_s"), [(1, 16.0), (2, 8.0), (4, 4.0), (16, 1.0)])
async def test_messages_of_different_keys_take_the_time_of_one_where_there_are_lanes_for_all(
    _virtual: MockClock, concurrency: int, took_s: float
) -> None:
    work, keys = Work(), keys_in(16, lane_of)
    async with running(work.actor(), config=ROOMY, actors=lanes(concurrency)) as world:
        began = trio.current_time()
        await send(world, *((key, n) for n, key in enumerate(keys)), s=1.0)
        await world.settled()

        assert (took_s, concurrency) == (trio.current_time() - began, work.most_at_once)
        assert {*range(16)} == {*work.handled()}


async def test_messages_of_one_key_have_one_lane_and_take_the_sum_of_their_times(_virtual: MockClock) -> None:
    work = Work()
    async with running(work.actor(), config=ROOMY, actors=lanes(16)) as world:
        began = trio.current_time()
        await send(world, *(("one", n) for n in range(10)), s=1.0)
        await world.settled()

        assert (10.0, 1, {f"/{lane_of('one', 16)}"}) == (trio.current_time() - began, work.most_at_once, work.lanes("one"))
        assert [*range(10)] == work.handled()


async def test_the_tree_shows_each_lane_and_an_actor_without_them_is_as_it_was(_virtual: MockClock) -> None:
    async with running(Work().actor(), actors=lanes(3)) as world:
        assert [f"{PATH}/0", f"{PATH}/1", f"{PATH}/2", PATH] == [
            each.path for each in world.events_of(ChildStarted, lambda event: event.path.startswith(PATH))
        ]
    async with running(Work().actor(), actors={"work": {"key": "{key}"}}) as world:
        assert [PATH] == [each.path for each in world.events_of(ChildStarted, lambda event: event.path.startswith(PATH))]


async def test_each_lane_has_an_instance_of_its_own_that_starts_ticks_and_stops(_virtual: MockClock) -> None:
    seen = Seen()

    class Work(Actor):
        def __init__(self) -> None:
            self.count = 0

        async def started(self, _ctx: Context) -> None:
            seen.add("started")

        async def stopping(self, _ctx: Context) -> None:
            seen.add("stopping")

        @subscribe("work/{key}")
        async def on_work(self, _event: bytes, ctx: Context) -> None:
            self.count += 1
            seen.add((ctx.params["key"], self.count))

        @every(10.0)
        async def tick(self, _ctx: Context) -> None:
            seen.add("tick")

    one, other = keys_in(2, lane_of)
    async with running(Work, actors=lanes(2)) as world:
        for key in (one, other, one):
            await world.deliver(f"work/{key}", b"x")
        await trio.sleep(11.0)
        await world.stop()

    assert (2, 2, 2) == (seen.count("started"), seen.count("tick"), seen.count("stopping"))
    assert {(one, 1), (one, 2), (other, 1)} == {each for each in seen.items if isinstance(each, tuple)}


async def test_def_handlers_of_different_lanes_run_in_threads_beside_each_other() -> None:
    meeting, keys, seen = threading.Barrier(4), keys_in(4, lane_of), Seen()

    @subscribe("work/{key}", qos=1)
    def work(_event: bytes, ctx: Context) -> None:
        meeting.wait(20)  # returns when four are here
        trio.from_thread.run_sync(seen.add, ctx.params["key"])

    async with running(work, actors=lanes(4)) as world:
        for key in keys:
            await world.deliver(f"work/{key}", b"x")
        await seen.until(4)

    assert {*keys} == {*seen.items}


# -- one actor to the outside ---------------------------------------------------------------------


async def test_what_is_said_has_the_same_ids_whatever_the_number_of_lanes(_virtual: MockClock) -> None:
    said = []
    for concurrency in (1, 2, 7):
        work = Work(answers=True)
        async with running(work.actor(), actors=lanes(concurrency)) as world:
            await world.deliver("work/a", {"n": 1}, message_id="m1")
            await world.settled()
            (answer,) = world.said("done")
            said.append(answer.user_properties)

    assert [said[0]] * 3 == said


async def test_a_dead_letter_names_the_actor_and_the_log_the_lane(_virtual: MockClock) -> None:
    work = Work()
    async with running(work.actor(), actors=lanes(4, max_attempts=1)) as world:
        await send(world, ("a", 1), fails=9)
        (letter,) = await world.store.until(1)
        crash = await world.event(ChildExited, lambda event: event.path.startswith(f"{PATH}/"))

        assert (PATH, "work:work/{key}", Why.CRASHED) == (letter.actor, letter.subscription, letter.why)
        assert f"{PATH}/{lane_of('a', 4)}" == crash.path


async def test_what_was_handled_is_recognised_after_a_change_of_the_number_of_lanes(_virtual: MockClock) -> None:
    work = Work()
    actor = work.actor()
    async with running(actor, actors=lanes(2)) as world:
        await world.deliver("work/a", {"n": 1}, message_id="m1")
        await world.settled()
        await world.reload(actor, actors=lanes(5))
        await world.deliver("work/a", {"n": 1}, message_id="m1")
        await world.settled()

        assert [1] == work.handled()


async def test_a_new_incarnation_is_shown_what_is_retained_of_its_own_keys(_virtual: MockClock) -> None:
    work, (one, other) = Work(), keys_in(2, lane_of)
    async with running(work.actor(), broker=retaining(one, other), actors=lanes(2)) as world:
        await world.settled()
        await send(world, (one, 7), fails=1)
        await world.settled()

        assert ([0, 0, 7], [1]) == (work.handled(one), work.handled(other))


def retaining(*keys: str) -> MemoryBroker:
    """A broker that has a retained message for each key, numbered from 0."""
    broker = MemoryBroker()
    for n, key in enumerate(keys):
        broker.deliver(f"work/{key}", orjson.dumps({"n": n}), 1, retain=True)
    return broker


# -- failures -------------------------------------------------------------------------------------


async def test_a_failing_lane_is_parked_alone_and_health_names_it(_virtual: MockClock) -> None:
    work, (bad, good) = Work(), keys_in(2, lane_of)
    async with running(work.actor(), actors=lanes(2, max_attempts=1, max_failures_in_a_row=2, park_s=30.0)) as world:
        await send(world, (bad, 1), (bad, 2), fails=9)
        parked = await world.event(ActorParked)
        ping = await world.health("degraded")
        await send(world, (bad, 3), (good, 4))
        await world.settled()
        meanwhile = work.handled()
        await trio.sleep(31.0)
        await send(world, (bad, 5))
        recovered = await world.event(ActorRecovered)
        await world.settled()

        assert (f"{PATH}/0", f"{PATH}/0") == (parked.actor, recovered.actor)
        assert "actor work/0: parked after 2 failures in a row" == ping["err"]
        assert ([4], [4, 5]) == (meanwhile, work.handled())
        assert [Why.CRASHED, Why.CRASHED, Why.PARKED] == [letter.why for letter in world.store.letters]
        assert 1 == sum(event.path == f"{PATH}/1" for event in world.events_of(ChildStarted))
        assert {} == world.estate.health.problems


async def test_poison_in_every_lane_at_once_restarts_no_neighbour(_virtual: MockClock) -> None:
    work, keys, seen = Work(), keys_in(8, lane_of), Seen()

    @subscribe("other")
    async def other(event: bytes) -> None:
        seen.add(event)

    async with running(work.actor(), other, actors=lanes(8)) as world:
        await send(world, *((key, n) for n, key in enumerate(keys)), fails=2)
        await world.deliver("other", b"x")
        await world.settled()

        assert ({*range(8)}, [b"x"], []) == ({*work.handled()}, seen.items, world.store.letters)
        assert {f"{PATH}/{number}" for number in range(8)} == {event.path for event in world.events_of(ChildExited)}


async def test_a_filter_that_the_broker_refuses_parks_all_lanes_and_they_come_back_together(_virtual: MockClock) -> None:
    work, broker = Work(), MemoryBroker()
    broker.refuse_subscribe("work/+")
    async with running(work.actor(), broker=broker, actors=lanes(3)) as world:
        await world.event(ActorParked, count=3)
        parked = [box.parked for box in world.estate.actors["work"].boxes]
        broker.refuse_subscribe("work/+", 0)
        await world.event(ActorRecovered, count=3)
        await send(world, ("a", 1), ("b", 2))
        await world.settled()

        assert ([True] * 3, {1, 2}) == (parked, {*work.handled()})


async def test_hung_lanes_are_stopped_together_and_take_no_longer_than_one(_virtual: MockClock) -> None:
    took_s = []
    for concurrency in (1, 8):
        work = Work()
        async with running(work.actor(), actors=lanes(concurrency)) as world:
            await send(world, *((key, n) for n, key in enumerate(keys_in(8, lane_of))), hold=True)
            await work.held(concurrency)
            began = trio.current_time()
            await world.stop()
            took_s.append(trio.current_time() - began)

    assert took_s[0] == took_s[1] < 9.0


async def test_each_lane_has_its_own_note_in_the_crash_journal(_virtual: MockClock, tmp_path: Any) -> None:
    work, keys, store = Work(), keys_in(4, lane_of), MemoryStore(journal=True)
    config = {"service": {"state_dir": tmp_path}}
    async with running(work.actor(), config=config, actors=lanes(4), store=store) as world:
        await send(world, *((key, n) for n, key in enumerate(keys)), hold=True)
        await work.held(4)
        noted = (tmp_path / "in-hand").read_bytes()

        assert [1] * 4 == [noted.count(f"work/{key}|".encode()) for key in keys]
        work.gate.set()
        await world.settled()


# -- another number of lanes ----------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 8), (8, 3)])
async def test_a_reload_gives_an_actor_other_lanes_and_deals_out_to_them_what_waits(_virtual: MockClock, before: int, after: int) -> None:
    work = Work()
    actor, keys = work.actor(), keys_in(8, lane_of)
    async with running(actor, actors=lanes(before)) as world:
        await send(world, *((key, n) for n, key in enumerate(keys * 3)), hold=True)
        await work.held(before)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened_after, work, 0.5)
            changes = await world.reload(actor, actors=lanes(after))
        await send(world, *((key, 24 + n) for n, key in enumerate(keys)))
        await world.settled()

        assert Changes(restarted=(PATH,)) == changes
        assert [[n, 8 + n, 16 + n, 24 + n] for n in range(8)] == [work.handled(key) for key in keys]
        assert [1] * 8 == [max_at_once([step for step in work.steps if step.key == key]) for key in keys]
        assert {*range(after)} == {int(each[1:] or 0) for key in keys for each in {last_lane(work.steps, key)}}
        assert ([], []) == (world.store.letters, world.unacked)


async def opened_after(work: Work, seconds: float) -> None:
    await trio.sleep(seconds)
    work.gate.set()


def last_lane(steps: list[Step], key: str) -> str:
    return [step.lane for step in steps if step.key == key][-1]


async def test_another_key_gives_other_lanes_too_and_the_same_settings_change_nothing(_virtual: MockClock) -> None:
    work = Work()
    actor = work.actor()
    async with running(actor, actors=lanes(2)) as world:
        same = await world.reload(actor, actors=lanes(2))
        other = await world.reload(actor, actors=lanes(2, "{data.n}"))
        await send(world, *(("a", n) for n in range(8)), s=1.0)
        await world.settled()

        assert (Changes(), Changes(restarted=(PATH,))) == (same, other)
        assert {"/0", "/1"} == work.lanes("a")


async def test_what_only_now_belongs_together_is_handled_in_the_order_in_which_it_came(_virtual: MockClock) -> None:
    work = Work()
    actor, keys = work.actor(), keys_in(4, lane_of)
    async with running(actor, actors=lanes(4)) as world:
        await send(world, *((keys[n % 4], n) for n in range(20)), hold=True, group="all")
        await work.held(4)
        await world.quiet()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened_after, work, 0.5)
            await world.reload(actor, actors=lanes(4, "{data.group}"))
        await world.settled()

        assert [*range(4, 20)] == work.handled()[4:]


@pytest.mark.parametrize("reloads", [[4], [4, 2], [4, 8, 4], [1]])
async def test_a_lane_whose_thread_hangs_holds_the_new_ones_up_and_nothing_is_lost_or_overtakes(
    _patient: MockClock, reloads: list[int]
) -> None:
    gate, seen, (one, other) = threading.Event(), Seen(), keys_in(2, lane_of)

    @subscribe("work/{key}", qos=1)
    def work(event: dict[str, Any], ctx: ThreadContext) -> None:
        trio.from_thread.run_sync(seen.add, (ctx.params["key"], event["n"]))
        if event.get("hold"):
            gate.wait(20)

    async with running(work, actors=lanes(2, overflow="block")) as world:
        await send(world, (one, 0), hold=True)
        await seen.until(1)
        await send(world, (one, 1), (other, 2))
        await seen.until(2)
        changes = [await world.reload(work, actors=lanes(number, overflow="block")) for number in reloads]
        await send(world, (one, 3), (other, 4))
        meanwhile = list(seen.items)
        gate.set()
        await world.settled()

        assert Changes(stuck=(PATH,)) == changes[0]
        assert [(one, 0), (other, 2)] == meanwhile
        assert [[0, 1, 3], [2, 4]] == [[n for key, n in seen.items if key == which] for which in (one, other)]
        assert reloads[-1] == len(world.estate.actors["work"].boxes)
        assert ([], []) == (world.store.letters, world.unacked)


async def test_a_lane_that_restarts_while_the_new_ones_are_not_there_yet_changes_nothing(_virtual: MockClock) -> None:
    """A reload first stops the actors that were removed; meanwhile the old lanes work, and fail."""
    work, seen = Work(), Seen()

    @subscribe("removed")
    async def removed(_event: bytes) -> None:
        seen.add("begun")
        await trio.sleep_forever()

    actor = work.actor()
    async with running(actor, removed, actors=lanes(2)) as world:
        await world.deliver("removed", b"x")
        await seen.until(1)
        await send(world, ("a", 1), s=0.5, fails=1)
        await send(world, *(("a", n) for n in range(2, 6)), s=0.1)
        await work.held(1)
        began = trio.current_time()
        changes = await world.reload(actor, actors=lanes(4))
        await send(world, ("a", 6), ("b", 7))
        await world.settled()

        assert Changes(stopped=("root/service/handlers/removed",), restarted=(PATH,)) == changes
        assert [began + 0.5] == [step.at for step in work.steps if step.what == "failed" and step.n == 1]
        assert ([1, 2, 3, 4, 5, 6], [7]) == (work.handled("a"), work.handled("b"))
        assert f"/{lane_of('a', 4)}" == last_lane(work.steps, "a")


async def test_the_new_lanes_are_shown_what_is_retained(_virtual: MockClock) -> None:
    work, keys = Work(), keys_in(4, lane_of)
    actor = work.actor()
    async with running(actor, broker=retaining(*keys), actors=lanes(1)) as world:
        await world.settled()
        await world.reload(actor, actors=lanes(4))
        await world.settled()

        assert [[n, n] for n in range(4)] == [work.handled(key) for key in keys]
        assert [f"/{n}" for n in range(4)] == [last_lane(work.steps, key) for key in keys]


async def test_a_lane_that_was_parked_leaves_health_well_when_it_is_no_more(_virtual: MockClock) -> None:
    work = Work()
    actor = work.actor()
    async with running(actor, actors=lanes(4, max_attempts=1, max_failures_in_a_row=1)) as world:
        await send(world, ("a", 1), fails=9)
        await world.health("degraded")
        await world.reload(actor, actors=lanes(2))
        await world.health("ready", 2)
        await send(world, ("a", 2))
        await world.settled()

        assert ([2], {}) == (work.handled(), world.estate.health.problems)


async def test_an_actor_with_lanes_that_is_removed_leaves_nothing_behind(_virtual: MockClock) -> None:
    work = Work()

    @subscribe("other")
    async def other(_event: bytes) -> None: ...

    async with running(work.actor(), other, actors=lanes(2)) as world:
        await send(world, *((key, n) for n, key in enumerate(keys_in(2, lane_of) * 2)), hold=True)
        await work.held(2)
        await world.quiet()
        changes = await world.reload(other)
        await world.settled()

        assert Changes(stopped=(PATH,)) == changes
        assert {(Why.REMOVED, PATH)} == {(letter.why, letter.actor) for letter in world.store.letters}
        assert {0, 1, 2, 3} == {orjson.loads(letter.payload)["data"]["n"] for letter in world.store.letters}
        assert (["other"], []) == ([*world.estate.actors], world.unacked)


# -- what they may hold ---------------------------------------------------------------------------


async def test_a_flood_of_one_key_to_a_hung_lane_holds_the_others_up_for_overflow_after_s_and_no_longer(_virtual: MockClock) -> None:
    """The busy key may use all of its actor's share of 20 but what others have of it, here 1; the rest becomes dead letters."""
    work, (hung, fine) = Work(), keys_in(2, lane_of)
    async with running(work.actor(), config={"mqtt": {"receive_maximum": 64}}, actors=lanes(2, mailbox=20)) as world:
        await send(world, *((hung, n) for n in range(200)), hold=True)
        await send(world, (fine, 200))
        began = trio.current_time()
        while not work.handled(fine):
            await work.seen.until(len(work.seen.items) + 1)
        waited_s = trio.current_time() - began
        await trio.sleep(5.0)

        assert waited_s <= 3.0
        assert 200 - 19 - 1 == len(world.store.letters)
        assert {Why.OVERFLOW} == {letter.why for letter in world.store.letters}
        work.gate.set()
        await world.settled()
        assert 20 == len(work.handled(hung))


async def test_a_lane_below_the_water_level_loses_nothing_to_a_busy_one(_virtual: MockClock) -> None:
    work, (busy, slow) = Work(), keys_in(2, lane_of)
    async with running(work.actor(), config={"mqtt": {"receive_maximum": 1000}}, actors=lanes(2, mailbox=20)) as world:
        await send(world, *((slow, n) for n in range(9)), s=20.0)
        await send(world, *((busy, n) for n in range(100, 200)), hold=True)
        letters = await world.store.until(87)
        await trio.sleep(5.0)

        assert {busy} == {letter.topic.rpartition("/")[2] for letter in letters}
        assert 100 - 1 - (20 - 8) == len(world.store.letters)
        work.gate.set()
        await world.settled()
        assert [*range(9)] == work.handled(slow)


async def test_a_burst_to_lanes_that_keep_up_is_no_event(_virtual: MockClock) -> None:
    work = Work()
    async with running(work.actor(), config={"mqtt": {"receive_maximum": 1000}}, actors=lanes(10, mailbox=100)) as world:
        await send(world, *((f"k{n % 50}", n) for n in range(900)), s=0.05)
        await world.settled()

        assert (900, []) == (len(work.handled()), world.store.letters)
