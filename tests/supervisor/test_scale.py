"""Starting, stopping and restarting stays about linear in the number of children, and an idle child costs little memory.

OTP's own suite guards the same (`scale_start_stop_many_children`). Each law is a ratio: what one child costs among many,
against what it costs among a tenth as many, in processor time, so that a busy machine does not matter. Something
quadratic would show as 10; the bound leaves room for caches and the garbage collector.
"""

from __future__ import annotations

import functools
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest
import trio
import trio.testing

from support.cases import case
from tars.supervisor import (
    NO_BACKOFF,
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildState,
    Event,
    Restart,
    Strategy,
    Supervisor,
    SupervisorSpec,
    Unavailable,
    supervise,
)
from tars.supervisor.intensity import RestartWindow

MOST_GROWTH = 3.0
"""Times that a child may cost more among ten times as many."""
MOST_BYTES_PER_CHILD = 6 * 1024
"""Measured, Python 3.11: 4.0 KiB for a static child that waits, 4.4 KiB for an instance of a pool; most of it is trio's."""
MOST_BYTES_LEFT = 256 * 1024
"""When everything has stopped, however much there was: trio forgets deadlines a thousand at a time."""


def forget(_: Event) -> None:
    """An `Emit` that keeps nothing."""


async def idle(*_: object, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


@attrs.define
class Stopwatch:
    """Processor seconds of each phase, by its name; those of the garbage collector are not counted."""

    seconds: dict[str, float] = attrs.field(factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        gc.collect()
        gc.disable()
        try:
            began = time.process_time()
            yield
            self.seconds[name] = time.process_time() - began
        finally:
            gc.enable()


Deed = Callable[[int, Stopwatch], Awaitable[None]]


def seconds_per_child(deed: Deed, count: int, *, times: int = 1) -> dict[str, float]:
    """The best of so many `times`, for each phase."""
    watches = [Stopwatch() for _ in range(times)]
    for watch in watches:
        trio.run(deed, count, watch, clock=trio.testing.MockClock(autojump_threshold=0))
    return {name: min(watch.seconds[name] for watch in watches) / count for name in watches[0].seconds}


def growth(deed: Deed, few: int, many: int) -> dict[str, float]:
    """What a child costs among `many` in terms of what it costs among `few`, for each phase."""
    small, large = seconds_per_child(deed, few, times=3), seconds_per_child(deed, many)
    return {name: large[name] / small[name] for name in small}


def pool(start: Callable[..., Awaitable[object]], **spec: object) -> SupervisorSpec:
    return SupervisorSpec("pool", [ChildSpec("w", start)], strategy=Strategy.SIMPLE_ONE_FOR_ONE, **spec)  # type: ignore[arg-type]


async def fill(nursery: trio.Nursery, spec: SupervisorSpec, count: int) -> Supervisor:
    supervisor: Supervisor = await nursery.start(supervise, spec, forget)
    for number in range(count):
        await supervisor.start_child(number)
    return supervisor


async def one_for_one(count: int, watch: Stopwatch) -> None:
    spec = SupervisorSpec("root", [ChildSpec(str(number), idle) for number in range(count)])
    async with trio.open_nursery() as nursery:
        with watch.phase("start"):
            supervisor = await nursery.start(supervise, spec, forget)
        with watch.phase("stop"):
            await supervisor.stop()


async def a_pool(count: int, watch: Stopwatch) -> None:
    async with trio.open_nursery() as nursery:
        with watch.phase("start"):
            supervisor = await fill(nursery, pool(idle), count)
        with watch.phase("stop"):
            await supervisor.stop()


async def a_pool_that_goes_one_by_one(count: int, watch: Stopwatch) -> None:
    """Each instance needs a little longer than the one before: as many events as there are children."""

    async def tidy(number: int, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(number / count)

    async with trio.open_nursery() as nursery:
        supervisor = await fill(nursery, pool(tidy), count)
        with watch.phase("stop"):
            await supervisor.stop()


async def a_pool_in_backoff(count: int, watch: Stopwatch) -> None:
    """A backend goes away: every instance fails, and each comes back at a moment of its own."""
    gone: set[int] = set()

    async def needs_it(number: int, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if number in gone:
            await trio.sleep_forever()
        gone.add(number)
        await trio.sleep(1)
        raise Unavailable

    async with trio.open_nursery() as nursery:
        supervisor = await fill(nursery, pool(needs_it, backoff=Backoff(initial_s=30, max_s=30)), count)
        with watch.phase("crash, wait, restart"):
            await trio.sleep(60)

        assert count == supervisor.count_children().active

        await supervisor.stop()


async def one_for_all(count: int, watch: Stopwatch) -> None:
    """The first of `count` fails, and all go down and come up again."""
    crashed: list[bool] = []

    async def crash_once(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if not crashed:
            crashed.append(True)
            await trio.sleep(1)
            raise ValueError
        await trio.sleep_forever()

    children = [ChildSpec("first", crash_once), *(ChildSpec(str(number), idle) for number in range(count - 1))]
    spec = SupervisorSpec("root", children, strategy=Strategy.ONE_FOR_ALL, backoff=NO_BACKOFF)
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(supervise, spec, forget)
        with watch.phase("stop all, start all"):
            await trio.sleep(2)

        assert {(ChildState.RUNNING, 2)} == {(child.state, child.incarnation) for child in supervisor.which_children()}

        await supervisor.stop()


async def all_significant(count: int, watch: Stopwatch) -> None:
    """One after another ends, and the last one ends the supervisor."""

    async def done(moment: float, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(moment)

    children = [
        ChildSpec(str(number), functools.partial(done, 1 + number / count), restart=Restart.TRANSIENT, significant=True)
        for number in range(count)
    ]
    with watch.phase("all end"):
        await supervise(SupervisorSpec("root", children, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT), forget)


@case("O6")
@pytest.mark.parametrize(
    ("deed", "few", "many"),
    [
        (one_for_one, 1_000, 10_000),
        (a_pool, 1_000, 10_000),
        (a_pool_that_goes_one_by_one, 300, 3_000),
        (a_pool_in_backoff, 300, 3_000),
        (one_for_all, 200, 2_000),
        (all_significant, 500, 5_000),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_a_child_costs_about_the_same_among_ten_times_as_many(deed: Deed, few: int, many: int) -> None:
    found = growth(deed, few, many)

    assert found == {name: times for name, times in found.items() if times < MOST_GROWTH}


async def crashes_among(siblings: int, count: int, watch: Stopwatch) -> None:
    """One child crashes `count` times."""

    async def crash(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(1)
        raise ValueError

    children = [ChildSpec("crashes", crash), *(ChildSpec(str(number), idle) for number in range(siblings))]
    async with trio.open_nursery() as nursery:
        spec = SupervisorSpec("root", children, max_restarts=count, period_s=1e6, backoff=NO_BACKOFF)
        supervisor = await nursery.start(supervise, spec, forget)
        with watch.phase("restarts"):
            await trio.sleep(count + 0.5)
        await supervisor.stop()


@case("O6")
def test_a_restart_costs_the_same_however_many_siblings_there_are() -> None:
    alone = seconds_per_child(functools.partial(crashes_among, 0), 500, times=3)
    crowded = seconds_per_child(functools.partial(crashes_among, 5_000), 500)

    assert crowded["restarts"] < MOST_GROWTH * alone["restarts"]


@case("O6")
def test_the_intensity_check_costs_the_same_however_many_restarts_the_window_holds() -> None:
    """Each attempt is added once and dropped once (erlang/otp#8261)."""

    def seconds_per_record(held: int) -> float:
        window = RestartWindow(held, float(held))
        for now in range(held):
            window.record(float(now))
        began = time.process_time()
        for now in range(held, held + 20_000):
            window.record(float(now))
        return time.process_time() - began

    few = min(seconds_per_record(10) for _ in range(3))

    assert seconds_per_record(100_000) < MOST_GROWTH * few


async def bytes_held_and_left(spec: SupervisorSpec, instances: int) -> tuple[int, int]:
    """While the children of `spec`, or so many instances of it, idle; and when they are gone."""

    async def held() -> int:
        async with trio.open_nursery() as nursery:
            supervisor = await fill(nursery, spec, instances)
            gc.collect()
            held_bytes, _ = tracemalloc.get_traced_memory()
            await supervisor.stop()
            return held_bytes

    await held()  # what is made once, and stays, is no child's
    gc.collect()
    tracemalloc.start()
    try:
        held_bytes = await held()
        gc.collect()
        return held_bytes, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@case("O6")
@pytest.mark.parametrize("kind", ["static", "pool"])
async def test_an_idle_child_holds_no_more_memory_than_stated_and_leaves_none(kind: str) -> None:
    count = 1_000
    static = SupervisorSpec("root", [ChildSpec(str(number), idle) for number in range(count)])
    held_bytes, left_bytes = await (bytes_held_and_left(static, 0) if kind == "static" else bytes_held_and_left(pool(idle), count))

    assert held_bytes / count < MOST_BYTES_PER_CHILD
    assert left_bytes < MOST_BYTES_LEFT


@case("O6")
async def test_ended_and_crashed_instances_leave_no_memory() -> None:
    """OTP-16804: the arguments of temporary children's restarts were kept for ever."""

    async def take_and_go(ballast: bytes, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if len(ballast) % 2:
            raise ValueError

    spec = attrs.evolve(pool(take_and_go), children=[ChildSpec("w", take_and_go, restart=Restart.TEMPORARY)])

    async def come_and_go(supervisor: Supervisor, count: int) -> None:
        for number in range(count):
            await supervisor.start_child(bytes(10_000 + number % 2))
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        supervisor = await fill(nursery, spec, 0)
        await come_and_go(supervisor, 100)
        gc.collect()
        tracemalloc.start()
        try:
            await come_and_go(supervisor, 500)
            gc.collect()
            left_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert supervisor.which_children() == ()

        await supervisor.stop()

    assert left_bytes < MOST_BYTES_LEFT  # of 5 MB that went through
