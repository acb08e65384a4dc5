"""The simulation itself: seeded, deterministic, and loud when trio takes its hooks away (B8)."""

from __future__ import annotations

import ast
import random
import types
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio._core._run as trio_run

from support.sim import (
    CLOCK_HOOK,
    SCHEDULER_HOOKS,
    Schedule,
    SchedulerHooksMissing,
    Stalled,
    TasksLeft,
    deterministic_scheduler,
    require_hooks,
    scheduler_state,
    seeds,
    sim,
    sims,
)
from support.sim_channels import ChannelsLeft
from support.sim_children import Life, after
from support.sim_world import Sim, root
from tars.supervisor import Mailbox


def test_trio_still_has_the_names_that_the_simulation_leans_on() -> None:
    flag, shuffles_by = SCHEDULER_HOOKS
    require_hooks()

    assert (bool, random.Random) == (type(getattr(trio_run, flag)), type(getattr(trio_run, shuffles_by)))


@pytest.mark.parametrize("missing", SCHEDULER_HOOKS)
def test_a_renamed_hook_of_the_scheduler_is_named_in_the_failure(missing: str) -> None:
    later_trio = types.ModuleType("later_trio")
    vars(later_trio).update(dict(zip(SCHEDULER_HOOKS, (False, random.Random()), strict=True)))
    require_hooks(later_trio)
    del vars(later_trio)[missing]

    with pytest.raises(SchedulerHooksMissing, match=rf"{missing}: find its new name, change it in sim\.py"):
        require_hooks(later_trio)


def test_a_renamed_hook_of_the_clock_is_named_in_the_failure() -> None:
    with pytest.raises(SchedulerHooksMissing, match=rf"{CLOCK_HOOK}: find its new name, change it in sim\.py"):
        require_hooks(clock=object())


def test_the_scheduler_is_put_back_after_a_run() -> None:
    before = scheduler_state()
    with deterministic_scheduler():
        inside = scheduler_state()

    assert before != inside
    assert before == scheduler_state()


async def five_racers(world: Sim) -> None:
    async def race(name: str) -> None:
        for lap in ("1", "2", "3"):
            world.note(name, lap)
            await trio.sleep(world.random.choice((0.0, 1.0)))

    async with trio.open_nursery() as nursery:
        for name in "abcde":
            nursery.start_soon(race, name)


def test_the_same_seed_gives_the_same_trace_a_hundred_times() -> None:
    traces = {tuple(sim(7, five_racers).render()) for _ in range(100)}

    assert len(traces) == 1


def test_different_seeds_give_different_interleavings() -> None:
    traces = {tuple(sim(seed, five_racers).render()) for seed in range(200)}

    assert len(traces) > 190


def test_a_run_that_comes_after_others_is_the_one_that_its_seed_gives_alone() -> None:
    traces: list[tuple[str, ...]] = []

    async def keep(world: Sim) -> None:
        await five_racers(world)
        traces.append(tuple(world.render()))

    sims(20, keep)

    assert [tuple(sim(seed, five_racers).render()) for seed in range(20)] == traces


async def two_laps(world: Sim) -> None:
    """Two who race twice: four schedules there are."""

    async def race(name: str) -> None:
        for _ in range(2):
            await trio.lowlevel.checkpoint()
            world.note(name)

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(race, name)


def test_a_seed_that_schedules_as_an_earlier_one_did_is_that_run_and_is_not_run_again() -> None:
    runs: list[tuple[str, ...]] = []

    async def keep(world: Sim) -> None:
        await two_laps(world)
        runs.append(tuple(world.render()))

    different = sims(200, keep)

    assert len(runs) == different == 2**3  # the order of their starts, and of two laps
    assert {tuple(sim(seed, two_laps).render()) for seed in range(200)} == set(runs)


def test_a_run_that_draws_numbers_of_its_own_is_never_taken_for_another() -> None:
    async def draw(world: Sim) -> None:
        world.note(str(world.random.random()))

    assert sims(50, draw) == 50


def test_a_schedule_repeats_itself_choice_by_choice() -> None:
    def choices(seed: int) -> list[tuple[int, ...]]:
        schedule = Schedule(seed)
        for count in (1, 4, 1, 3):
            schedule.shuffle(list(range(count)))
        return schedule.chosen

    assert [4, 3] == [len(order) for order in choices(5)]
    assert choices(5) == choices(5)
    assert choices(5) != choices(6)


def test_time_is_virtual() -> None:
    async def sleep_a_week(world: Sim) -> None:
        await trio.sleep(7 * 24 * 3600)
        world.note("woke")

    assert sim(0, sleep_a_week).times("woke") == [7 * 24 * 3600]


def test_a_deadlock_fails_instead_of_hanging() -> None:
    async def wait_for_nobody(_: Sim) -> None:
        await trio.sleep_forever()

    with pytest.raises(Stalled, match="deadlock"):
        sim(0, wait_for_nobody)


def test_a_loop_without_end_fails_instead_of_hanging() -> None:
    async def spin(_: Sim) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Stalled, match="task steps"):
        sim(0, spin)


def test_a_task_left_behind_fails_the_run() -> None:
    async def leak(_: Sim) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)

    with pytest.raises(TasksLeft, match="1 tasks left"):
        sim(0, leak)


# -- nothing that a run talked through is left ---------------------------------------------------------


def leaking(leak: Callable[[Life, Mailbox[int], list[object]], Awaitable[None]]) -> Callable[[Sim], Awaitable[None]]:
    """A run that ends as it should, but for what its one child does with its mailbox; `kept` outlives the run."""
    kept: list[object] = []

    async def run(world: Sim) -> None:
        mailbox: Mailbox[int] = world.mailbox(3)
        mailbox.send_nowait(1)

        async def child(life: Life) -> None:
            life.ready()
            await leak(life, mailbox, kept)

        async with world.running(root(world.child("a", child))):
            await world.settle()

    return run


async def read_and_obey(life: Life, mailbox: Mailbox[int], _: list[object]) -> None:
    async with mailbox.receive_batch(1):
        await life.obey()


async def leave_a_channel_open(_: Life, __: Mailbox[int], kept: list[object]) -> None:
    send, receive = trio.open_memory_channel[int](0)
    kept.append(send)
    await receive.receive()


async def keep_the_right_to_read(life: Life, mailbox: Mailbox[int], kept: list[object]) -> None:
    custody = mailbox.custody()
    kept.append(custody)
    await custody.__aenter__()
    await life.obey()


async def watch_for_ever(life: Life, mailbox: Mailbox[int], _: list[object]) -> None:
    mailbox.watch_reader(trio.Event())
    await life.obey()


async def lose_a_message(life: Life, mailbox: Mailbox[int], _: list[object]) -> None:
    async with mailbox.custody() as custody:
        custody.receive_nowait(1)
        custody.in_hand.clear()
        await life.obey()


def test_a_run_that_leaves_no_channel_behind_passes() -> None:
    sim(0, leaking(read_and_obey))


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        (leave_a_channel_open, "a memory channel is open: .*open_send_channels=1, open_receive_channels=1"),
        (keep_the_right_to_read, "mailbox 1 is still being read"),
        (watch_for_ever, "mailbox 1 is watched by 1 questions that are over"),
        (lose_a_message, "mailbox 1 does not balance"),
    ],
)
def test_a_channel_left_behind_fails_the_run(leak: Callable[[Life, Mailbox[int], list[object]], Awaitable[None]], said: str) -> None:
    with pytest.raises(ChannelsLeft, match=said):
        sim(0, leaking(leak))


def test_a_wait_that_goes_on_is_seen_with_its_place() -> None:
    """At an event and at a parking lot; while the tasks live, it is what they are."""
    seen: list[str] = []

    async def look(world: Sim) -> None:
        event, lot = trio.Event(), trio.lowlevel.ParkingLot()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            nursery.start_soon(lot.park)
            await world.settle()
            seen.extend(sorted(left.partition(" at ")[0] for left in world.channels.left()))
            nursery.cancel_scope.cancel()

        assert list(world.channels.left()) == []

    sim(0, look)

    assert ["1 tasks wait", "1 tasks wait"] == seen


def test_every_seeded_test_makes_its_mailboxes_through_its_world() -> None:
    """Or nobody would look what became of them."""
    elsewhere: list[str] = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef) and any(ast.unparse(each).startswith("seeds(") for each in node.decorator_list):
                made = [each for each in ast.walk(node) if isinstance(each, ast.Call) and ast.unparse(each.func) == "Mailbox"]
                elsewhere += [f"{path.name}:{each.lineno}" for each in made]

    assert [] == elsewhere


def test_a_second_incarnation_beside_the_first_fails_the_run() -> None:
    async def double(world: Sim) -> None:
        child = world.child("a", after(1))
        async with trio.open_nursery() as nursery:
            await nursery.start(child.start)
            await nursery.start(child.start)

    with pytest.raises(AssertionError, match="a second incarnation of a at 0"):
        sim(0, double)


def test_a_failure_names_its_seed_and_shows_the_trace() -> None:
    @seeds(10)
    async def fails_on_seed_four(world: Sim) -> None:
        await trio.sleep(1.5)
        world.note("sighs", "a")

        assert world.seed != 4

    with pytest.raises(AssertionError) as failure:
        fails_on_seed_four()

    (note,) = failure.value.__notes__

    assert ["seed 4; what happened:", "     1.500    a                         sighs"] == note.splitlines()


def test_the_scenario_can_be_cancelled_at_any_step() -> None:
    total = sim(0, five_racers).steps
    laps = {len(sim(0, five_racers, cancel_at_step=step).trace) for step in range(1, total)}

    assert {5, 15} <= laps | {5}
    assert len(laps) > 3
