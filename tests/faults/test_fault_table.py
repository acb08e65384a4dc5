"""Whatever breaks, at whatever moment: nothing is lost, the order holds, and the tree is whole again. See `support.fault_table`.

``FAULT_MESSAGES=200000 pytest tests/faults/test_fault_table.py`` goes round the moments of each fault until so many messages
have gone through; without it each fault strikes once at each moment.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import orjson
import pytest
import trio

from support.fault_moments import BACKOFF, BEFORE_CONNECT, MOMENTS, Moment
from support.fault_stage import KEYS, MESSAGES, Stage, staged
from support.fault_table import ELSEWHERE, FAULTS, End, Fault
from support.fault_verdict import Permission, Twice
from support.verifier import judge
from tars.actors.mqtt.store_db import read_dead_letters

FLOW: Final = 10_000 if MESSAGES else 120
"""Messages that travel while a fault strikes in full flow."""
TESTS: Final = tuple(tuple(group) for _, group in itertools.groupby(FAULTS, key=lambda fault: fault.beside or fault.name))


@pytest.mark.parametrize("faults", TESTS, ids=[", ".join(fault.name for fault in faults) for faults in TESTS])
async def test_it_may_break_at_any_moment_and_nothing_is_lost_and_the_tree_is_whole_again(tmp_path: Path, faults: Sequence[Fault]) -> None:
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        for number, fault in enumerate(faults):
            nursery.start_soon(play_all, tmp_path / str(number), fault, failures)
    if failures:
        raise failures[0]  # out here, where no nursery wraps it


async def play_all(folder: Path, fault: Fault, failures: list[Exception]) -> None:
    """A fault's rows, and in the end its dead letters."""
    async with staged(folder, persistent=fault.persistent, heartbeat=fault.heartbeat) as stage:
        failures += [failure] if (failure := await rounds(stage, fault)) else []
    if failure is None:
        letters = [orjson.loads(letter.payload)["data"] for _, letter in read_dead_letters(folder / "state")]
        found = judge(stage.rejected, [(data["key"], data["seq"]) for data in letters])

        assert ((), ()) == (found.lost, found.invented)
        assert stage.rejected_again >= set(found.duplicated)


async def rounds(stage: Stage, fault: Fault) -> Exception | None:
    """Every moment, again and again until enough messages went through; in the end the service stops with 0."""
    while not stage.numbers_in_all or stage.numbers_in_all < MESSAGES:
        for moment in fault.moments:
            try:
                await play(stage, fault, moment)
            except (AssertionError, trio.TooSlowError) as error:
                error.add_note(f"{fault.name}, {moment.name} ({moment.meaning}), after {stage.numbers_in_all} messages")
                return error
    assert await stage.stop() == 0
    return None


async def play(stage: Stage, fault: Fault, moment: Moment) -> None:
    """One row."""
    if stage.child is None and moment is not BEFORE_CONNECT:
        await stage.up()
    await moment.enter(stage, FLOW)
    stage.strikes()
    await fault.strike(stage)
    await moment.leave(stage, FLOW)
    await fault.mend(stage)
    for key in KEYS:
        stage.send(key)
    await stage.all_is_done()
    await stage.is_whole()
    await stage.says(health_after(fault, moment))
    if fault.end is End.LINK_STAYS:
        assert stage.link_stayed()
    else:
        stage.may_be_rejected_again()
    unsettled = stage.unsettled if fault.end is End.NEW_PROCESS else None
    stage.check(Permission(fault.twice.get(moment, Twice.NOTHING), unsettled))


def health_after(fault: Fault, moment: Moment) -> Collection[str]:
    """What the last health message may say."""
    if fault.health is not None:
        return (fault.health,)
    if fault.end is End.NEW_PROCESS:
        return ("ready",)
    if fault.end is End.LINK_RETURNS and moment not in {BEFORE_CONNECT, BACKOFF}:
        return ("reconnected",)
    return ("ready", "reconnected")


def test_every_fault_meets_every_moment_or_says_why_it_cannot() -> None:
    for fault in FAULTS:
        assert set(MOMENTS) == {*fault.moments, *fault.no_sense}
        assert all(why.strip() for why in fault.no_sense.values())
        assert set(fault.twice) <= set(fault.moments)
    for other in ELSEWHERE:
        assert (Path(__file__).parents[2] / other.test.partition("::")[0]).exists()
