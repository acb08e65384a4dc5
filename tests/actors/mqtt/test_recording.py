"""The durable dedup window in a whole service: written before the acknowledgement, known to the next process, on a bad disk too.

A process that is killed leaves what its files say at that moment: a test copies them, and starts the next service on the copy.
"""

from __future__ import annotations

import functools
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from support.service import CLIENT, MemoryStore, Seen, World, running
from tars.actors import Actor, Context, Reject, subscribe
from tars.actors.mqtt.events import LinkUp, Overflowed
from tars.actors.mqtt.recorder import Recorder
from tars.actors.mqtt.window import DoneWindow
from tars.actors.mqtt.window_file import DATABASE_NAME, Done, WindowFile, open_database, open_window
from tars.supervisor import ChildExited, ExitKind

RECORDING = "root/recording"


def durable(state_dir: Path, **more: Any) -> dict[str, dict[str, Any]]:
    return {"service": {"state_dir": state_dir}, "dedup": {"durable": True, **more}}


def listener(
    seen: Seen, name: str = "Listener", *, topic: str = "in", gate: trio.Event | None = None, rejects: Sequence[int] = ()
) -> type[Actor]:
    async def on_in(_self: Actor, event: dict[str, Any]) -> None:
        seen.add(event["n"])
        if gate is not None:
            await gate.wait()
        if event["n"] in rejects:
            raise Reject("not this one")

    return type(name, (Actor,), {"on_in": subscribe(topic)(on_in)})


async def send(world: World, *numbers: int, qos: int = 1) -> None:
    for n in numbers:
        await world.deliver("in", {"n": n}, envelope_id=f"e{n}", qos=qos)


@attrs.define(eq=False)
class Disk:
    """Opens the window's file. `broken`: it cannot be written. `written`: (what, how many were acknowledged by then)."""

    broken: bool = False
    world: World | None = None
    written: list[tuple[str, int]] = attrs.field(factory=list)

    def open(self, state_dir: Path) -> WindowFile:
        return open_window(state_dir, self.open_database)

    def open_database(self, path: Path) -> sqlite3.Connection:
        database = open_database(path)
        if self.broken:
            database.execute("PRAGMA query_only = ON")
        database.set_trace_callback(self.trace)
        return database

    def trace(self, statement: str) -> None:
        if statement.startswith("COMMIT") and self.world is not None:
            self.written.append((statement, len(self.world.broker.acked(CLIENT))))


def on_disk(state_dir: Path) -> list[Done]:
    """What the next process would find now."""
    copy = state_dir.with_name(f"{state_dir.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(state_dir, copy)
    file = open_window(copy)
    file.close()
    return list(file.found)


# -- the next process -----------------------------------------------------------------------------


async def test_what_was_done_before_a_kill_is_acknowledged_by_the_next_process_and_not_handled(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    async with running(listener(seen), config=durable(tmp_path / "first")) as world:
        await send(world, 1, 2, 3)
        await world.settled()
        shutil.copytree(tmp_path / "first", tmp_path / "second")
    async with running(listener(seen), config=durable(tmp_path / "second")) as world:
        await send(world, 1, 2, 3, 4)
        await world.settled()

        assert ([1, 2, 3, 4], 4) == (seen.items, len(world.broker.acked(CLIENT)))


async def test_without_it_the_next_process_handles_them_again(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    for _ in range(2):
        async with running(listener(seen), config={"service": {"state_dir": tmp_path}}) as world:
            await send(world, 1)
            await world.settled()

    assert [1, 1] == seen.items
    assert not (tmp_path / DATABASE_NAME).exists()


async def test_only_the_subscription_that_was_not_done_gets_it_from_the_next_process(_virtual: MockClock, tmp_path: Path) -> None:
    good, bad = Seen(), Seen()
    for life in range(2):
        async with running(
            listener(good, "Good"), listener(bad, "Bad", rejects=[1] if life == 0 else []), config=durable(tmp_path)
        ) as world:
            await send(world, 1)
            await world.settled()

    assert ([1], [1, 1]) == (good.items, bad.items)


async def test_who_is_done_is_recorded_while_others_still_have_it(_virtual: MockClock, tmp_path: Path) -> None:
    quick, slow = Seen(), Seen()
    state_dir = tmp_path / "first"
    for life in range(2):
        gate = trio.Event()
        actors = listener(quick, "Quick"), listener(slow, "Slow", gate=gate)
        async with running(*actors, config=durable(state_dir), actors={"slow": {"handler_timeout_s": 500.0, "overflow": "block"}}) as world:
            await send(world, 1, 2, 3)
            await slow.until(life * 3 + 1)
            await world.quiet()
            if not life:
                shutil.copytree(state_dir, state_dir := tmp_path / "second")
            gate.set()
            await world.settled()

    assert ([1, 2, 3], [1, 2, 3] * 2) == (quick.items, slow.items)


async def test_time_in_which_no_process_runs_does_not_count_and_time_in_which_one_runs_does(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    config = durable(tmp_path, ttl_s=30.0)
    async with running(listener(seen), config=config) as world:
        await send(world, 1)
        await world.settled()
    await trio.sleep(3600.0)
    async with running(listener(seen), config=config) as world:
        began = trio.current_time()
        await send(world, 1)
        await world.settled()

        assert [1] == seen.items

        await trio.sleep_until(began + 31.0)
        await send(world, 1)
        await world.settled()

    assert [1, 1] == seen.items


async def test_the_window_on_disk_is_bounded_as_the_one_in_memory(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    async with running(listener(seen), config=durable(tmp_path, max_entries=10)) as world:
        for n in range(50):
            await send(world, n)
            await world.settled()

        assert [f"e{n}" for n in range(40, 50)] == [done.key.split("|")[2] for done in on_disk(tmp_path)]


async def test_what_could_not_be_recognised_is_not_written(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()

    class Raw(Actor):
        @subscribe("raw")
        async def on_raw(self, event: bytes) -> None:
            seen.add(event)

    async with running(listener(seen, rejects=[3]), Raw, config=durable(tmp_path)) as world:
        await world.deliver("raw", b"raw")  # has no identity
        await send(world, 1, qos=0)  # is never sent again
        await send(world, 2, 3)  # 3 was not done
        await world.deliver("raw", b"retained", retain=True)
        await world.settled()

        assert ["in|test.event|e2"] == ["|".join(done.key.split("|")[:3]) for done in on_disk(tmp_path)]
        assert 4 == len(world.broker.acked(CLIENT))


# -- written, then acknowledged -------------------------------------------------------------------


async def test_nothing_is_acknowledged_before_its_record_is_written(_virtual: MockClock, tmp_path: Path) -> None:
    seen, disk = Seen(), Disk()
    async with running(listener(seen), config=durable(tmp_path), store=MemoryStore(open_window=disk.open)) as world:
        disk.world = world
        await send(world, 1)
        await world.settled()
        await send(world, 2, 3)
        await world.settled()

        assert [0] == [acked for _, acked in disk.written[:1]]
        assert len(disk.written) <= 3
        assert 3 == len(world.broker.acked(CLIENT))


async def test_many_actors_take_few_transactions(_virtual: MockClock, tmp_path: Path) -> None:
    seen, disk = Seen(), Disk()
    actors = [listener(seen, f"A{number}", topic=f"in/{number}") for number in range(20)]
    async with running(*actors, config=durable(tmp_path), store=MemoryStore(open_window=disk.open)) as world:
        disk.world = world
        for n in range(10):
            for number in range(20):
                await world.deliver(f"in/{number}", {"n": n})
        await world.settled()

        assert (200, 200) == (len(seen.items), len(on_disk(tmp_path)))
        assert len(disk.written) < 100


async def test_a_repetition_that_comes_while_the_record_is_written_joins(_virtual: MockClock, tmp_path: Path) -> None:
    seen, disk = Seen(), Disk(broken=True)
    async with running(listener(seen), config=durable(tmp_path), store=MemoryStore(open_window=disk.open)) as world:
        await send(world, 1)
        await seen.until(1)
        await world.event(ChildExited, lambda event: event.path == RECORDING)
        await send(world, 1)
        await world.quiet()

        assert () == world.broker.acked(CLIENT)
        disk.broken = False
        await world.settled()

        assert ([1], 2) == (seen.items, len(world.broker.acked(CLIENT)))


# -- a disk that fails ----------------------------------------------------------------------------


async def test_on_a_disk_that_cannot_be_written_the_service_stays_up_acknowledges_nothing_takes_nothing_new_and_recovers(
    _virtual: MockClock, tmp_path: Path
) -> None:
    seen, disk = Seen(), Disk()
    async with running(listener(seen), config=durable(tmp_path), store=MemoryStore(open_window=disk.open)) as world:
        await send(world, 0)
        await world.settled()
        disk.broken = True
        await world.supervisor.terminate_child("recording")
        await world.supervisor.restart_child("recording")
        await world.quiet()
        await send(world, 1)
        exits = [await world.event(ChildExited, lambda event: event.path == RECORDING, count=count) for count in (2, 6)]
        await send(world, 2, 3)
        await world.quiet()

        assert [ExitKind.UNAVAILABLE] * 2 == [event.kind for event in exits]
        assert ([0, 1], 1) == (seen.items, len(world.broker.acked(CLIENT)))  # 2 and 3 wait: they could be handled and forgotten
        assert "attempt to write a readonly database" in str(world.estate.health.summary())

        disk.broken = False
        await world.settled()

        assert ([0, 1, 2, 3], 4) == (seen.items, len(world.broker.acked(CLIENT)))
        assert [0, 1, 2, 3] == [int(done.key.split("|e")[1].split("|")[0]) for done in on_disk(tmp_path)]
        assert not world.estate.health.summary()
        assert 1 == len(world.events_of(LinkUp))


async def test_nothing_is_handled_before_the_last_processs_records_are_known(_virtual: MockClock, tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    seen = Seen()
    async with running(listener(seen), config=durable(tmp_path)) as world:
        await send(world, 1)
        await world.event(ChildExited, lambda event: event.path == RECORDING, count=3)

        assert ([], ()) == (seen.items, world.broker.acked(CLIENT))
        assert "is an SQLite database of another program" in str(world.estate.health.summary())

        path.rename(tmp_path / "away")
        await world.settled()

        assert [1] == seen.items


async def test_a_damaged_file_is_one_line_and_the_service_goes_on_without_it(_virtual: MockClock, tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"precious" * 1000)
    seen = Seen()
    with structlog.testing.capture_logs() as lines:
        async with running(listener(seen), config=durable(tmp_path)) as world:
            await send(world, 1)
            await world.settled()

    kept = tmp_path / f"{DATABASE_NAME}.damaged-1"

    assert [{"event": "dedup_window_damaged", "log_level": "error", "file": str(tmp_path / DATABASE_NAME), "kept_as": str(kept)}] == [
        line for line in lines if line["log_level"] == "error"
    ]
    assert ([1], b"precious" * 1000) == (seen.items, kept.read_bytes())


# -- one message at most --------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
async def test_an_actor_begins_nothing_new_before_its_last_answer_is_confirmed_and_recorded(
    _virtual: MockClock, tmp_path: Path, guarded: bool
) -> None:
    seen = Seen()

    class Answering(Actor):
        @subscribe("in")
        async def on_in(self, event: dict[str, Any], ctx: Context) -> None:
            seen.add(event["n"])
            await ctx.publish_raw("out", b"%d" % event["n"])

    tables = {**durable(tmp_path), "dedup": {"durable": guarded}}
    async with running(Answering, config=tables, actors={"answering": {"mailbox": 2, "overflow_after_s": 0.5}}) as world:
        world.broker.hold_pubacks()
        await send(world, *range(10))
        await trio.sleep(60.0)

        assert [*range(1 if guarded else 10)] == seen.items
        assert [] == world.events_of(Overflowed)  # it waits for the broker: that is no slowness of its own

        world.broker.release_pubacks()
        await world.settled()

        assert ([*range(10)], 10) == (seen.items, len(world.broker.acked(CLIENT)))


# -- switched on and off --------------------------------------------------------------------------


async def test_switched_off_while_the_disk_cannot_be_written_what_waits_is_acknowledged(_virtual: MockClock, tmp_path: Path) -> None:
    seen, disk = Seen(), Disk(broken=True)
    actor = listener(seen)
    async with running(actor, config=durable(tmp_path), store=MemoryStore(open_window=disk.open)) as world:
        await send(world, 1)
        await seen.until(1)
        await world.event(ChildExited, lambda event: event.path == RECORDING)
        await world.reload(actor, config={"service": {"state_dir": tmp_path}})
        await send(world, 2)
        await world.settled()

        assert ([1, 2], 2) == (seen.items, len(world.broker.acked(CLIENT)))


async def test_switched_on_it_writes_what_comes_from_then_on(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    actor = listener(seen)
    async with running(actor, config={"service": {"state_dir": tmp_path}}) as world:
        await send(world, 1)
        await world.settled()
        await world.reload(actor, config=durable(tmp_path))
        await send(world, 2)
        await world.settled()

        assert ["e2"] == [done.key.split("|")[2] for done in on_disk(tmp_path)]


async def test_what_is_in_hand_at_an_orderly_stop_is_written_before_the_end(_virtual: MockClock, tmp_path: Path) -> None:
    seen, gate = Seen(), trio.Event()
    async with running(listener(seen, gate=gate), config=durable(tmp_path)) as world, trio.open_nursery() as nursery:
        await send(world, 1)
        await seen.until(1)
        nursery.start_soon(world.stop)
        await world.quiet()
        gate.set()
        await world.ended.wait()

        assert (1, 1) == (len(on_disk(tmp_path)), len(world.broker.acked(CLIENT)))


# -- the recorder alone ---------------------------------------------------------------------------


def test_records_of_the_last_process_keep_their_age() -> None:
    window = DoneWindow(30.0, 100)
    recorder = Recorder(window, lambda: 1000.0)
    recorder.opened([Done("old", ("a",), 70.0), Done("new", ("a",), 100.0)])

    assert [{"a"}, {"a"}] == [window.finished(key, 1000.0) for key in ("old", "new")]
    assert [set(), {"a"}] == [window.finished(key, 1000.5) for key in ("old", "new")]


@pytest.mark.parametrize("count", [2, 3])
def test_they_are_taken_over_once_however_often_the_file_is_opened(count: int) -> None:
    window = DoneWindow(30.0, 100)
    clock = iter(range(1000, 2000, 10))
    recorder = Recorder(window, functools.partial(next, clock))
    for _ in range(count):
        recorder.opened([Done("one", ("a",), 5.0)])

    assert [{"a"}, set()] == [window.finished("one", now) for now in (1030.0, 1030.5)]
