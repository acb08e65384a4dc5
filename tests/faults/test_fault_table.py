"""Whatever breaks, at whatever moment: nothing is lost, the order holds, and the tree is whole again. See `support.fault_table`.

``FAULT_MESSAGES=200000 pytest -s tests/faults/test_fault_table.py`` goes round the moments of each fault until so many messages
have gone through, says what it measured, and with ``FAULT_RESULTS=FILE`` writes that down, too (see `support.fault_soak`);
without it each fault strikes once at each moment.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import attrs
import orjson
import pytest
import trio

from support.fault_moments import BACKOFF, BEFORE_CONNECT, MOMENTS, SUBSCRIBING, Moment
from support.fault_soak import Measured, table
from support.fault_stage import KEYS, MESSAGES, Stage, staged
from support.fault_table import ELSEWHERE, FAULTS, End, Fault
from support.fault_verdict import Permission, Seen, Tally, Twice, judgement
from support.verifier import judge
from tars.actors.mqtt.store_db import read_dead_letters

FLOW: Final = 10_000 if MESSAGES else 120
"""Messages that travel while a fault strikes in full flow."""
RESULTS: Final = os.environ.get("FAULT_RESULTS", "")
TESTS: Final = tuple(
    tuple(group) for _, group in itertools.groupby(FAULTS, key=lambda fault: (not MESSAGES and fault.beside) or fault.name)
)


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
        failure = await rounds(stage, fault) or wrong_letters(stage)
    failures += [failure] if failure else []
    tell(stage, fault, failure)


def wrong_letters(stage: Stage) -> Exception | None:
    """Each message that was rejected is a dead letter, and nothing else is; one that may be rejected again may be one twice."""
    letters = [orjson.loads(letter.payload)["data"] for _, letter in read_dead_letters(stage.folder / "state")]
    found = judge(stage.rejected, [(data["key"], data["seq"]) for data in letters])
    twice = set(found.duplicated) - stage.rejected_again
    return AssertionError(f"dead letters: {found}") if found.lost or found.invented or twice else None


def tell(stage: Stage, fault: Fault, failure: Exception | None = None) -> None:
    """What a soak has measured so far: that is its result, also if somebody ends it before its time."""
    if not MESSAGES:
        return
    words = "" if failure is None else "; ".join([f"{failure!r:.1000}", *getattr(failure, "__notes__", ())])
    measured = Measured(fault.name, stage.tally, stage.struck, trio.current_time() - stage.began_at, words)
    print(f"\n{measured.line()}", flush=True)  # noqa: T201
    if RESULTS:
        measured.append_to(Path(RESULTS))


async def rounds(stage: Stage, fault: Fault) -> Exception | None:
    """Every moment, again and again until enough messages went through; in the end the service stops with 0."""
    while not stage.numbers_in_all or stage.numbers_in_all < MESSAGES:
        for moment in fault.moments:
            try:
                await play(stage, fault, moment)
            except (AssertionError, trio.TooSlowError) as error:
                error.add_note(f"{fault.name}, {moment.name} ({moment.meaning}), after {stage.numbers_in_all} messages")
                return error
        tell(stage, fault)
    assert await stage.stop() == 0
    return None


async def play(stage: Stage, fault: Fault, moment: Moment) -> None:
    """One row."""
    if stage.child is None and moment not in {BEFORE_CONNECT, SUBSCRIBING}:
        await stage.up()
    await moment.enter(stage, FLOW)
    stage.strikes()
    stage.struck += 1
    stage.lasts_s = fault.length_s(moment, soaks=MESSAGES > 0)
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
    if fault.end is End.LINK_RETURNS and moment not in {BEFORE_CONNECT, SUBSCRIBING, BACKOFF}:
        return ("reconnected",)
    return ("ready", "reconnected")


def test_every_fault_meets_every_moment_or_says_why_it_cannot() -> None:
    for fault in FAULTS:
        assert set(MOMENTS) == {*fault.moments, *fault.no_sense}
        assert all(why.strip() for why in fault.no_sense.values())
        assert set(fault.twice) <= set(fault.moments)
    for other in ELSEWHERE:
        assert (Path(__file__).parents[2] / other.test.partition("::")[0]).exists()


def test_a_verdict_is_also_a_tally_of_what_was_lost_reordered_and_handled_twice() -> None:
    first, second, third, fourth = (("one0", seq) for seq in range(4))
    sent = (first, second, third, fourth)
    seen = Seen(sent, (), taken=(second, first, third, third), finished=(second, first, third, third), answered=(first, second, third))
    tried = attrs.evolve(seen, finished=(second, first, third))

    assert Tally(4, 3, lost=2, reordered=1, twice=1) == judgement(seen, Permission(Twice.ONE_EACH)).tally
    for twice in (Twice.NOTHING, Twice.ATTEMPT):
        assert Tally(4, 3, lost=2, reordered=1, twice=1, not_permitted=1) == judgement(seen, Permission(twice)).tally
    assert Tally(4, 3, lost=2, reordered=1) == judgement(tried, Permission(Twice.ATTEMPT)).tally
    assert Tally(4, 3, lost=2, reordered=1, twice=1, not_permitted=1) == judgement(tried, Permission(Twice.NOTHING)).tally
    assert judgement(seen, Permission(Twice.ATTEMPT)).wrong != judgement(tried, Permission(Twice.ATTEMPT)).wrong
    assert Tally(6, 5, lost=3) == Tally(2, 2, lost=1) + Tally(4, 3, lost=2)


def test_the_table_of_a_soak_has_one_row_for_each_fault_the_newest(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for measured in (
        Measured("RST", Tally(10, 9, lost=1), 3, 60.0, "it lost one"),
        Measured("kill -9", Tally(20, 20, twice=2, not_permitted=1), 3, 30.0, "it repeated one"),
        Measured("RST", Tally(30, 30), 4, 90.0),
    ):
        measured.append_to(file)
    *_, reset, kill, _, _where = (line.split(" | ")[:-1] for line in table(file.read_bytes().splitlines()).splitlines())

    assert ["| RST", "4", "30", "30", "0", "0", "0", "0", "0"] == reset
    assert ["| kill -9 (FAILED)", "3", "20", "20", "0", "0", "2", "1", "0"] == kill


def test_what_was_measured_has_a_row_for_every_fault_and_no_row_breaks_the_promise() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text(encoding="utf-8")
    section = page.partition("\n## What was measured\n")[2].partition("\n## ")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    by_name = [dict(zip(head, row, strict=True)) for row in rows]

    assert [fault.name for fault in FAULTS] == [row["fault"] for row in by_name]
    assert [] == [row for row in by_name if (row["lost"], row["out of order"], row["answered twice"]) != ("0", "0", "0")]
    assert [] == [row for row in by_name if row["handled twice"] != row["of these permitted"]]
