"""The store actor in a tree of its own: custody, failures of the disk, stopping, and never blocking the event loop."""

from __future__ import annotations

import functools
import math
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import structlog
import trio
import trio.testing

from tars.actors.mqtt.dead_letter import DeadLetter, StoreItem, ToStore, Why
from tars.actors.mqtt.store import MAX_BATCH, store
from tars.actors.mqtt.store_db import DAMAGED_RETRY_S, DATABASE_NAME, open_database, read_dead_letters
from tars.actors.mqtt.store_files import StoreError, hold
from tars.supervisor import (
    BRUTAL,
    Backoff,
    ChildExited,
    ChildSpec,
    Escalate,
    Event,
    ExitKind,
    Mailbox,
    RestartScheduled,
    Strategy,
    Supervisor,
    SupervisorSpec,
    supervise,
)

PATIENCE_S = 20.0
"""How long a thread of the tests waits for what must come, before it gives up: a test that fails must end."""
AT_ONCE = Backoff(initial_s=0.001, max_s=0.001)


def letter(number: int, payload: bytes = b"{}") -> DeadLetter:
    return DeadLetter(Why.CRASHED, "in", f"n/{number}", payload, 1, retain=False, at=1700000000.0)


def number_of(found: DeadLetter) -> int:
    return int(found.topic.removeprefix("n/"))


@attrs.define(eq=False)
class World:
    """One store under a supervisor, and what a test sees of it."""

    state_dir: Path
    open: Callable[[Path], sqlite3.Connection] = open_database
    max_dead_letters: int = 100_000
    last_call: Callable[[], None] = lambda: None
    mailbox: Mailbox[StoreItem] = attrs.field(factory=lambda: Mailbox[StoreItem](math.inf))
    events: list[Event] = attrs.field(factory=list)
    stored: list[int] = attrs.field(factory=list)
    states: list[str | None] = attrs.field(factory=list)
    stored_at_exits: list[int] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def _happened(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._changed.wait()

    async def until_stored(self, count: int) -> None:
        await self.until(lambda: len(self.stored) >= count)

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ChildExited):
            self.stored_at_exits.append(len(self.stored))
        self._happened()

    def on_state(self, problem: str | None) -> None:
        self.states.append(problem)
        self._happened()

    def send(self, *numbers: int, payload: bytes = b"{}") -> None:
        for number in numbers:
            self.mailbox.send_nowait(ToStore(letter(number, payload), functools.partial(self._on_stored, number)))

    def _on_stored(self, number: int) -> None:
        self.stored.append(number)
        self._happened()

    def on_disk(self) -> list[int]:
        return [number_of(found) for _, found in read_dead_letters(self.state_dir)]

    def spec(self, *siblings: ChildSpec, shutdown_s: float = 5.0, strategy: Strategy = Strategy.ONE_FOR_ONE) -> SupervisorSpec:
        start = functools.partial(
            store,
            self.state_dir,
            self.mailbox,
            max_dead_letters=self.max_dead_letters,
            on_state=self.on_state,
            last_call=self.last_call,
            open_database=self.open,
        )
        return SupervisorSpec("root", [ChildSpec("store", start, shutdown_s=shutdown_s), *siblings], strategy=strategy, backoff=AT_ONCE)

    @asynccontextmanager
    async def running(self, spec: SupervisorSpec | None = None) -> AsyncIterator[Supervisor]:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                supervisor: Supervisor = await nursery.start(supervise, spec or self.spec(), self.emit)
                yield supervisor
                await supervisor.stop()

    def exits(self) -> list[ExitKind]:
        return [event.kind for event in self.events if isinstance(event, ChildExited) and event.path == "root/store"]


@attrs.define(eq=False)
class Gate:
    """Holds every write at its first letter, in the worker thread, until it is opened."""

    entered: trio.Event = attrs.field(factory=trio.Event)
    _open: threading.Event = attrs.field(factory=threading.Event)

    def pass_through(self) -> int:
        if not self._open.is_set():
            trio.from_thread.run_sync(self.entered.set)
        return int(self._open.wait(PATIENCE_S))

    def open(self) -> None:
        self._open.set()

    def open_database(self, path: Path) -> sqlite3.Connection:
        database = open_database(path)
        database.create_function("pass_through", 0, self.pass_through)
        database.execute("CREATE TEMP TRIGGER gate AFTER INSERT ON main.dead_letter BEGIN SELECT pass_through(); END")
        return database


# -- storing --------------------------------------------------------------------------------------


async def test_a_letter_is_on_disk_when_on_stored_is_called(tmp_path: Path) -> None:
    world = World(tmp_path / "state")
    seen: list[list[int]] = []
    async with world.running():
        world.mailbox.send_nowait(ToStore(letter(7), lambda: seen.append(world.on_disk())))
        world.send(8)
        await world.until_stored(1)

    assert [[7]] == [found[:1] for found in seen]
    assert [None] == world.states


async def test_what_came_while_nobody_read_is_stored_in_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.send(*range(5))
    async with world.running():
        await world.until_stored(5)

    assert list(range(5)) == world.stored == world.on_disk()
    assert 5 == world.mailbox.statistics().done


async def test_thousands_of_letters_take_few_transactions(tmp_path: Path) -> None:
    statements: list[str] = []

    def traced(path: Path) -> sqlite3.Connection:
        database = open_database(path)
        database.set_trace_callback(statements.append)
        return database

    world = World(tmp_path, traced)
    world.send(*range(4 * MAX_BATCH + 1))
    async with world.running():
        await world.until_stored(4 * MAX_BATCH + 1)

    assert 5 == statements.count("COMMIT")
    assert list(range(4 * MAX_BATCH + 1)) == world.on_disk()


async def test_the_oldest_go_at_the_limit_and_the_log_counts_them(tmp_path: Path) -> None:
    world = World(tmp_path, max_dead_letters=10)
    world.send(*range(25))
    with structlog.testing.capture_logs() as lines:
        async with world.running():
            await world.until_stored(25)

    assert [{"event": "dead_letters_purged", "count": 15, "max_dead_letters": 10, "log_level": "warning"}] == lines
    assert list(range(15, 25)) == world.on_disk()


async def test_a_slow_disk_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    gate = Gate()
    world = World(tmp_path, gate.open_database)
    async with world.running():
        world.send(1)
        await gate.entered.wait()
        for _ in range(100):  # had the loop stood still, nobody would be here to open the gate
            await trio.lowlevel.checkpoint()

        assert [] == world.stored

        gate.open()
        await world.until_stored(1)


async def test_a_slow_opening_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    entered, opens = trio.Event(), threading.Event()

    def slowly(path: Path) -> sqlite3.Connection:
        trio.from_thread.run_sync(entered.set)
        opens.wait(PATIENCE_S)
        return open_database(path)

    world = World(tmp_path, slowly)
    async with world.running():  # entered while the database is not open yet
        world.send(1)
        await entered.wait()

        assert ([], []) == (world.states, world.stored)

        opens.set()
        await world.until_stored(1)


# -- stopping -------------------------------------------------------------------------------------


async def test_on_shutdown_everything_queued_is_written(tmp_path: Path) -> None:
    gate = Gate()
    world = World(tmp_path, gate.open_database)
    async with world.running() as supervisor, trio.open_nursery() as nursery:
        world.send(0)
        await gate.entered.wait()
        world.send(*range(1, 3 * MAX_BATCH))
        nursery.start_soon(supervisor.stop)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()

    assert list(range(3 * MAX_BATCH)) == world.stored == world.on_disk()
    assert [ExitKind.SHUTDOWN] == world.exits()


async def test_what_the_last_call_queues_is_written_too_and_it_comes_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    calls: list[int] = []

    def last_call() -> None:
        calls.append(len(world.stored))
        world.send(*range(1, 2 * MAX_BATCH))

    world.last_call = last_call
    async with world.running():
        world.send(0)
        await world.until_stored(1)

        assert [] == calls

    assert [1] == calls
    assert list(range(2 * MAX_BATCH)) == world.stored == world.on_disk()


async def test_on_shutdown_with_nothing_queued_it_returns(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running():
        await world.until(lambda: world.states == [None])

    assert [ExitKind.SHUTDOWN] == world.exits()


async def test_on_restart_it_returns_at_once_and_the_next_incarnation_writes_the_rest(tmp_path: Path) -> None:
    gate, fail = Gate(), trio.Event()

    async def sibling(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if fail.is_set():
            await trio.sleep_forever()
        await fail.wait()
        raise RuntimeError

    world = World(tmp_path, gate.open_database)
    spec = world.spec(ChildSpec("sibling", sibling), strategy=Strategy.ONE_FOR_ALL)
    async with world.running(spec):
        world.send(0)
        await gate.entered.wait()
        world.send(1, 2, 3)
        fail.set()
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
        await world.until_stored(4)

    assert [0, 1] == world.stored_at_exits[:2]  # the sibling's exit, then the store's: only what was in hand was finished
    assert [0, 1, 2, 3] == world.stored == world.on_disk()


async def test_cancelled_in_the_middle_of_a_write_it_neither_loses_nor_doubles(tmp_path: Path) -> None:
    gate = Gate()
    world = World(tmp_path, gate.open_database)
    async with world.running(world.spec(shutdown_s=BRUTAL)) as supervisor, trio.open_nursery() as nursery:
        world.send(1)
        await gate.entered.wait()
        world.send(2)
        nursery.start_soon(supervisor.stop)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    statistics = world.mailbox.statistics()

    assert [1] == world.stored == world.on_disk()
    assert (1, 1, 0) == (statistics.done, statistics.queued, statistics.in_hand)

    async with world.running():
        await world.until_stored(2)

    assert [1, 2] == world.on_disk()


async def test_a_closed_mailbox_is_no_failure(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.send(1)
    async with world.running():
        await world.until_stored(1)
        world.mailbox.close("the service has stopped")
        await trio.testing.wait_all_tasks_blocked()

        assert [] == world.exits()

    assert [ExitKind.SHUTDOWN] == world.exits()


# -- a disk that fails ----------------------------------------------------------------------------


@attrs.define(eq=False)
class Disk:
    """A disk that refuses in the way of `statement` (a PRAGMA) until it is mended."""

    statement: str
    broken: bool = True

    def open_database(self, path: Path) -> sqlite3.Connection:
        database = open_database(path)
        if self.broken:
            database.execute(self.statement)
        return database


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA max_page_count = 1", "database or disk is full"),  # 1: no more than there are now
        ("PRAGMA query_only = ON", "attempt to write a readonly database"),
    ],
)
async def test_letters_wait_for_a_disk_that_cannot_be_written_and_none_is_lost(tmp_path: Path, statement: str, said: str) -> None:
    disk = Disk(statement)
    world = World(tmp_path, disk.open_database)
    world.send(1, 2, 3, payload=bytes(100_000))
    async with world.running():
        await world.until(lambda: world.exits().count(ExitKind.UNAVAILABLE) >= 5)  # more than the restarts a crash would be given

        assert [] == world.stored == world.on_disk()

        disk.broken = False
        world.send(4)
        await world.until_stored(4)

    problems = set(world.states[:-1])
    (problem,) = problems

    assert [1, 2, 3, 4] == world.stored == world.on_disk()
    assert (1, None) == (len(problems), world.states[-1])  # while it failed it never said that it works
    assert problem is not None
    assert f"{tmp_path / DATABASE_NAME} cannot be used now: {said}" in problem


async def test_a_disk_that_fills_up_while_running_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    disk = Disk("PRAGMA max_page_count = 1")
    world = World(tmp_path, disk.open_database)
    async with world.running():
        await world.until(lambda: world.states == [None])
        world.send(1, payload=bytes(100_000))
        await world.until(lambda: len(world.states) >= 3)
        disk.broken = False
        await world.until_stored(1)

    assert (None, None) == (world.states[0], world.states[-1])
    assert None not in world.states[1:-1]


async def test_a_damaged_file_leaves_the_tree_running_and_a_person_time(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    path.write_bytes(b"precious" * 1000)
    world = World(tmp_path)
    world.send(1)
    async with world.running() as supervisor:
        await world.until(lambda: any(isinstance(event, RestartScheduled) for event in world.events))
        (scheduled,) = (event for event in world.events if isinstance(event, RestartScheduled))
        (problem,) = world.states

        assert DAMAGED_RETRY_S == scheduled.delay_s
        assert f"{path} is damaged, or no database" in str(problem)
        assert "move it away" in str(problem)
        assert b"precious" * 1000 == path.read_bytes()

        path.rename(tmp_path / "damaged")
        await supervisor.terminate_child("store")
        await supervisor.restart_child("store")
        await world.until_stored(1)

    assert [1] == world.on_disk()
    assert None is world.states[-1]


async def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world = World(tmp_path / "file" / "state")
    async with world.running():
        await world.until(lambda: world.exits() != [])

    assert ExitKind.UNAVAILABLE is world.exits()[0]
    assert f"{tmp_path / 'file' / 'state'}: Not a directory" in str(world.states[0])


# -- two services ---------------------------------------------------------------------------------


async def test_a_second_service_on_one_directory_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    first, second = World(tmp_path), World(tmp_path)
    async with first.running():
        await first.until(lambda: first.states == [None])
        with pytest.RaisesGroup(pytest.RaisesExc(Escalate, match=f"{tmp_path} is in use by process {os.getpid()}"), flatten_subgroups=True):
            async with second.running():
                await trio.sleep_forever()
        first.send(1)
        await first.until_stored(1)

    assert f"is in use by process {os.getpid()}" in str(second.states[0])


async def test_the_directory_is_free_again_when_the_service_has_stopped(tmp_path: Path) -> None:
    for number in (1, 2):
        world = World(tmp_path)
        world.send(number)
        async with world.running():
            await world.until_stored(1)

    assert [1, 2] == world.on_disk()


async def test_a_running_service_does_not_die_when_another_took_the_directory_while_its_store_was_down(tmp_path: Path) -> None:
    held: list[int] = []

    def taken_meanwhile(path: Path) -> sqlite3.Connection:
        if held:
            return open_database(path)
        raise StoreError("down", retry_after_s=60)

    world = World(tmp_path, taken_meanwhile)
    world.send(1)
    async with world.running() as supervisor:
        await world.until(lambda: world.states == ["down"] and len(world.exits()) == 1)
        held.append(hold(tmp_path))
        await supervisor.terminate_child("store")
        await supervisor.restart_child("store")
        await world.until(lambda: len(world.exits()) == 2)

        assert "in use by process" in str(world.states[-1])
        assert [ExitKind.UNAVAILABLE] * 2 == world.exits()

        os.close(held[0])
        await supervisor.terminate_child("store")
        await supervisor.restart_child("store")
        await world.until_stored(1)
