"""A handler a thousand times slower than its input, for a minute: what it costs memory, its neighbours, and its own messages.

In virtual time, on a broker that keeps to the Receive Maximum: a neighbour waits for its credit or not at all, so one figure
is as good as many. `test_load.py` has a hung actor on a real broker. What becomes of the messages is played with the store on disk.
"""

from __future__ import annotations

import heapq
import io
import statistics
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from support.process import PATIENCE_S
from support.service import CLIENT, Seen, Tables, World, running
from support.verifier import CLEAN, Number, judge
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.events import DeadLettered, DeadLetterReplayed, Overflowed
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.replay import ReplayPorts
from tars.actors.mqtt.store_letters import Sought
from tars.actors.mqtt.store_replays import Answer, ask
from tars.actors.mqtt.store_view import changing
from tars.supervisor.log import Log, LogSettings, configure

SLOWER: Final = 1000
MINUTE_S: Final = 60.0
WORK_S: Final = 0.01
"""What a message takes a neighbour."""
THEIRS_S: Final = 0.05
"""Between two messages to a neighbour."""
NEIGHBOURS: Final = ("w0", "w1", "w2")
WINDOW: Final = 128
"""Of this, an excess of less than a second fills what the shares leave."""
OVERFLOW_AFTER_S: Final = 1.0


@attrs.frozen
class Input:
    """What the slow one gets for `lasts_s`: a message in `slow_s` / `SLOWER`, but `at_once` of them together, none when that is 0."""

    slow_s: float = 5.0
    at_once: int = 1
    lasts_s: float = MINUTE_S

    def schedule(self) -> Iterator[tuple[float, str, int]]:
        """When, for whom, which, in order."""
        period_s = self.slow_s / SLOWER
        slow = [
            (seq // self.at_once * self.at_once * period_s, "slow", seq)
            for seq in range(int(self.lasts_s / period_s) if self.at_once else 0)
        ]
        theirs = [(seq * THEIRS_S, name, seq) for seq in range(int(self.lasts_s / THEIRS_S)) for name in NEIGHBOURS]
        return heapq.merge(slow, theirs, key=itemgetter(0))


@attrs.define(eq=False)
class Minute:
    """What a minute brought. `waits_s`: of each neighbour's message, by when it was sent; sizes are the largest seen."""

    sent: list[Number] = attrs.field(factory=list)
    sent_at: dict[Number, float] = attrs.field(factory=dict)
    handled: list[Number] = attrs.field(factory=list)
    waits_s: list[tuple[float, float]] = attrs.field(factory=list)
    in_flight: int = 0
    in_mailbox: int = 0
    to_store: int = 0

    def p99_s(self, after_s: float = 0.0) -> float:
        return statistics.quantiles([wait_s for at_s, wait_s in self.waits_s if at_s > after_s], n=100)[98]

    def finish(self, number: Number) -> None:
        self.handled.append(number)
        if number[0] in NEIGHBOURS:
            self.waits_s.append((self.sent_at[number], trio.current_time() - self.sent_at[number]))

    def look(self, world: World) -> None:
        self.in_flight = max(self.in_flight, len(world.estate.table))
        self.in_mailbox = max(self.in_mailbox, len(world.estate.boxes["slow"].mailbox))
        self.to_store = max(self.to_store, len(world.estate.to_store))


def actor(name: str, minute: Minute, work_s: float) -> type[Actor]:
    class Worker(Actor):
        @subscribe(f"in/{name}", qos=1)
        async def on_message(self, event: dict[str, Any], _ctx: Context) -> None:
            await trio.sleep(work_s)
            minute.finish((event["key"], event["seq"]))

    Worker.__name__ = name  # what the config calls it
    return Worker


async def send(world: World, minute: Minute, key: str, seq: int) -> None:
    minute.sent.append((key, seq))
    minute.sent_at[key, seq] = trio.current_time()
    await world.deliver(f"in/{key}", {"key": key, "seq": seq})


async def play(clock: MockClock, given: Input, overflow: str = "dead_letter", *, overshoots: bool = False) -> Minute:
    """What it brought. Judged here: each message is handled, a dead letter, or unacknowledged at the broker, and in one place only."""
    minute = Minute()
    actors = {"slow": {"overflow": overflow, "overflow_after_s": OVERFLOW_AFTER_S}}
    uses = [actor("slow", minute, given.slow_s), *(actor(name, minute, WORK_S) for name in NEIGHBOURS)]
    config: Tables = {"mqtt": {"receive_maximum": WINDOW}, "service": {"drain_s": 0.1}}
    async with running(*uses, config=config, actors=actors, broker=MemoryBroker(overshoots=overshoots)) as world:
        began = clock.current_time()
        for at_s, key, seq in given.schedule():
            await trio.sleep_until(began + at_s)
            await send(world, minute, key, seq)
            minute.look(world)
        await trio.sleep(WORK_S * 2)
        await world.quiet()
        minute.sent_at = {number: at - began for number, at in minute.sent_at.items()}
        minute.waits_s = [(at - began, wait_s) for at, wait_s in minute.waits_s]
        letters = [number_of(letter.payload) for letter in world.store.letters]
        held = [number_of(entry.payload) for entry in world.broker.unacked(CLIENT).values()]
        not_delivered = minute.sent[len(minute.sent) - world.broker.sessions[CLIENT].queued :]

        assert CLEAN == attrs.evolve(judge(minute.sent, [*minute.handled, *letters, *held, *not_delivered]), reordered=())
        assert sorted(letters) == letters
        assert {letter.why.value for letter in world.store.letters} == ({"overflow"} if letters else set())
        assert bool(letters) == bool(world.events_of(Overflowed))
    return minute


def number_of(payload: bytes) -> Number:
    data = orjson.loads(payload)["data"]
    return data["key"], data["seq"]


UNDISTURBED: Final = Input(at_once=0)


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """As a process has it: what is filtered out costs nothing."""
    made = configure(LogSettings(level="error"), io.StringIO())
    yield made
    made.close()


async def test_memory_is_bounded_neighbours_keep_their_pace_and_nothing_is_lost(autojump_clock: MockClock) -> None:
    undisturbed, disturbed = await play(autojump_clock, UNDISTURBED), await play(autojump_clock, Input())

    assert int(MINUTE_S * SLOWER / Input().slow_s) == len([number for number in disturbed.sent if number[0] == "slow"])
    assert sorted(undisturbed.sent) == sorted(number for number in disturbed.handled if number[0] != "slow")
    assert 2 * undisturbed.p99_s() >= disturbed.p99_s(after_s=OVERFLOW_AFTER_S)
    assert disturbed.in_flight <= WINDOW
    assert disturbed.in_mailbox <= WINDOW
    assert disturbed.to_store <= WINDOW


@pytest.mark.parametrize(("at_once", "overshoots", "most"), [(1, False, WINDOW), (600, True, 3000)])
async def test_the_same_for_a_handler_that_takes_less_than_overflow_after_s_for_each_message_however_they_come(
    autojump_clock: MockClock, at_once: int, overshoots: bool, most: int
) -> None:
    given = Input(slow_s=OVERFLOW_AFTER_S / 2, at_once=at_once, lasts_s=3.6)
    undisturbed = await play(autojump_clock, attrs.evolve(given, at_once=0))
    disturbed = await play(autojump_clock, given, overshoots=overshoots)
    caught_up_s = OVERFLOW_AFTER_S * 1.5  # what the neighbours were sent in the first second is behind them

    assert sorted(undisturbed.sent) == sorted(number for number in disturbed.handled if number[0] != "slow")
    assert 2 * undisturbed.p99_s() >= disturbed.p99_s(after_s=caught_up_s)
    assert disturbed.in_mailbox <= most


async def test_the_measure_sees_neighbours_that_starve(autojump_clock: MockClock) -> None:
    undisturbed = await play(autojump_clock, attrs.evolve(UNDISTURBED, lasts_s=10.0))
    blocked = await play(autojump_clock, Input(lasts_s=10.0), "block")  # keeps all it gets, and with it the credit of all

    assert len([number for number in blocked.handled if number[0] != "slow"]) < len(undisturbed.handled) / 10


async def test_what_overflowed_is_replayed_to_the_actor_that_was_too_slow_and_then_all_is_handled_once(tmp_path: Path) -> None:
    sent = [("k", seq) for seq in range(200)]
    handled, other = Seen(), Seen()
    quick = trio.Event()

    @subscribe("in/slow", qos=1)
    async def slow(event: dict[str, Any]) -> None:
        await quick.wait()
        handled.add((event["key"], event["seq"]))

    @subscribe("in/+", qos=1)
    async def quickly(event: dict[str, Any]) -> None:
        other.add((event["key"], event["seq"]))

    actors: Tables = {"slow": {"overflow_after_s": 0.2}, "quickly": {"overflow_after_s": PATIENCE_S}}
    ports = {"replay": lambda port: attrs.evolve(port, poll_s=0.005) if isinstance(port, ReplayPorts) else port}
    with trio.fail_after(PATIENCE_S):
        async with running(slow, quickly, state_dir=tmp_path, actors=actors, ports=ports) as world:
            for key, seq in sent:
                await world.deliver("in/slow", {"key": key, "seq": seq})
            await world.event(Overflowed)
            quick.set()
            await world.settled()
            count = len(world.events_of(DeadLettered))
            with changing(tmp_path) as database:
                asked = [each.answer for each in ask(database, Sought(), 5.0)]
            await world.event(DeadLetterReplayed, count=count)
            await world.settled()

    assert [Answer.ASKED] * count == asked
    assert CLEAN == attrs.evolve(judge(sent, handled.items), reordered=())
    assert sent == other.items
