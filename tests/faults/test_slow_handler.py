"""A handler a thousand times slower than its input, for a while: what it costs memory, its neighbours, and its own messages.

In virtual time, on a broker that keeps to the Receive Maximum: a neighbour waits for its credit or not at all, so one figure
is as good as many. `test_load.py` has a hung actor on a real broker.
"""

from __future__ import annotations

import statistics
from typing import Any, Final

import attrs
import orjson
import trio
from trio.testing import MockClock

from support.service import CLIENT, Tables, World, running
from support.verifier import CLEAN, Number, judge
from tars.actors import Actor, Context, subscribe
from tars.actors.mqtt.events import Overflowed

SLOW_S: Final = 2.0
PERIOD_S: Final = SLOW_S / 1000
"""Between two messages to the slow one."""
MINUTE_S: Final = 15.0
WORK_S: Final = 0.01
"""What a message takes a neighbour."""
EVERY: Final = 25
"""With every 25th message to the slow one there is one to each neighbour."""
NEIGHBOURS: Final = ("w0", "w1", "w2")
WINDOW: Final = 256
OVERFLOW_AFTER_S: Final = 1.0


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


async def a_minute(clock: MockClock, minute: Minute, *, slow: bool, overflow: str = "dead_letter") -> None:
    """Play it; its end is judged: each message handled, a dead letter, or unacknowledged at the broker, and in one place only."""
    actors = {"slow": {"overflow": overflow, "overflow_after_s": OVERFLOW_AFTER_S}}
    uses = [actor("slow", minute, SLOW_S), *(actor(name, minute, WORK_S) for name in NEIGHBOURS)]
    config: Tables = {"mqtt": {"receive_maximum": WINDOW}, "service": {"drain_s": 0.1}}
    async with running(*uses, config=config, actors=actors) as world:
        began = clock.current_time()
        for seq in range(int(MINUTE_S / PERIOD_S)):
            await trio.sleep_until(began + seq * PERIOD_S)
            if slow:
                await send(world, minute, "slow", seq)
            if seq % EVERY == 0:
                for name in NEIGHBOURS:
                    await send(world, minute, name, seq)
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


def number_of(payload: bytes) -> Number:
    data = orjson.loads(payload)["data"]
    return data["key"], data["seq"]


async def test_memory_is_bounded_neighbours_keep_their_pace_and_nothing_is_lost(autojump_clock: MockClock) -> None:
    undisturbed, disturbed = Minute(), Minute()
    await a_minute(autojump_clock, undisturbed, slow=False)
    await a_minute(autojump_clock, disturbed, slow=True)

    assert sorted(undisturbed.sent) == sorted(number for number in disturbed.handled if number[0] != "slow")
    assert 2 * undisturbed.p99_s() >= disturbed.p99_s(after_s=OVERFLOW_AFTER_S)
    assert disturbed.in_flight <= WINDOW
    assert disturbed.in_mailbox <= WINDOW
    assert disturbed.to_store <= WINDOW


async def test_the_measure_sees_neighbours_that_starve(autojump_clock: MockClock) -> None:
    undisturbed, blocked = Minute(), Minute()
    await a_minute(autojump_clock, undisturbed, slow=False)
    await a_minute(autojump_clock, blocked, slow=True, overflow="block")  # keeps all it gets, and with it the credit of all

    assert len([number for number in blocked.handled if number[0] != "slow"]) < len(undisturbed.handled) / 10
