"""The crash journal: what a process that died had in hand, and what its successors make of it.

A process that dies leaves what its file says at that moment: a test copies it, and starts the next one on the copy.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from support.service import MemoryStore, Seen, World, running
from tars.actors import Actor, Reject, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.mqtt.events import Overflowed
from tars.actors.mqtt.journal import TURN_S, Journal
from tars.actors.mqtt.journal_file import FILE_NAME, MAX_SUSPECTS, SLOT_BYTES, InHand, JournalFile, open_journal
from tars.actors.mqtt.journaling import journaling
from tars.actors.mqtt.store_files import StoreError, StoreHeld
from tars.supervisor import ChildSpec, Escalate, SupervisorSpec, leaves, supervise

ONE, TWO = ("a.on", "in|1"), ("b.on", "in|2")


@contextmanager
def opened(state_dir: Path) -> Iterator[JournalFile]:
    """An orderly life."""
    with contextlib.closing(open_journal(state_dir)) as file:
        yield file


def dead_with(state_dir: Path, *in_hand: tuple[str, str], attempt: int = 1) -> JournalFile:
    """A life that dies with these in hand: what it leaves is in `state_dir` again. Returns what it had found."""
    beside = state_dir.with_name("alive")
    with opened(state_dir) as file:
        for place, suspect in enumerate(in_hand):
            file.note(place, file.suspects.get(suspect, 0), attempt, suspect)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(state_dir, beside)
    shutil.rmtree(state_dir)
    beside.rename(state_dir)
    return file


@contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """This process may map so much more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# -- the file -------------------------------------------------------------------------------------


def test_what_was_in_hand_at_a_death_is_found_and_after_an_orderly_end_nothing(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    dead_with(state_dir, ONE, TWO, attempt=2)
    with opened(state_dir) as file:
        assert [InHand(1, 2, *ONE), InHand(1, 2, *TWO)] == file.found
        file.note(0, 1, 1, ONE)
    with opened(state_dir) as file:
        assert ([], {ONE: 1, TWO: 1}) == (file.found, file.suspects)


def test_what_was_cleared_was_not_in_hand(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as file:
        file.note(0, 0, 1, ONE)
        file.note(1, 0, 1, TWO)
        file.clear(0)
        shutil.copytree(tmp_path / "state", tmp_path / "next")
    with opened(tmp_path / "next") as file:
        assert [InHand(1, 1, *TWO)] == file.found


def test_deaths_add_up_and_are_forgotten_on_demand(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    for _ in range(3):
        dead_with(state_dir, ONE)
    with opened(state_dir) as file:
        assert {ONE: 3} == file.suspects
        file.forget(ONE)
        file.forget(TWO)
    with opened(state_dir) as file:
        assert {} == file.suspects


def test_a_death_while_the_journal_is_read_counts_once(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    dead_with(state_dir, ONE)
    before = (state_dir / FILE_NAME).read_bytes()
    with opened(state_dir):
        pass
    suspects = (state_dir / FILE_NAME).read_bytes()
    (state_dir / FILE_NAME).write_bytes(suspects[: (1 + MAX_SUSPECTS) * SLOT_BYTES] + before[(1 + MAX_SUSPECTS) * SLOT_BYTES :])
    with opened(state_dir) as file:
        assert {ONE: 1} == file.suspects


def test_the_oldest_suspects_go_when_there_are_too_many(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    suspects = [("a.on", f"in|{number}") for number in range(MAX_SUSPECTS + 5)]
    for first in range(0, len(suspects), 100):
        dead_with(state_dir, *suspects[first : first + 100])
    with opened(state_dir) as file:
        assert suspects[5:] == list(file.suspects)


@pytest.mark.parametrize("key", ["in|\ud800", 'in|"\n\0', "ü" * 512, "\ud800" * 512])
def test_any_message_can_be_noted(tmp_path: Path, key: str) -> None:
    dead_with(tmp_path / "state", ("a.on", key))
    with opened(tmp_path / "state") as file:
        assert {("a.on", key): 1} == file.suspects


def test_a_longer_note_leaves_nothing_behind_in_a_shorter_one(tmp_path: Path) -> None:
    dead_with(tmp_path / "state", ("a.on", "x" * 500))
    dead_with(tmp_path / "state", ONE)
    with opened(tmp_path / "state") as file:
        assert [InHand(1, 1, *ONE)] == file.found


def test_a_slot_that_cannot_be_read_is_nobodys_message(tmp_path: Path) -> None:
    dead_with(tmp_path / "state", ONE, TWO)
    with (tmp_path / "state" / FILE_NAME).open("r+b") as file:
        file.seek((1 + MAX_SUSPECTS) * SLOT_BYTES)
        file.write(b"[0,1,\n")
    with opened(tmp_path / "state") as journal:
        assert [InHand(1, 1, *TWO)] == journal.found


def test_a_journal_that_cannot_be_mapped_for_more_actors_goes_on_for_those_it_has(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.note(0, 0, 1, ONE)
        with memory_limit(more_bytes=1_000_000), pytest.raises(OSError, match="Cannot allocate memory"):
            journal.note(16, 0, 1, TWO)
        journal.clear(0)
        journal.note(0, 0, 2, ONE)
        journal.note(16, 0, 1, TWO)
        beside = tmp_path / "beside"
        beside.mkdir()
        shutil.copy(tmp_path / FILE_NAME, beside)
    with opened(beside) as journal:
        assert [InHand(1, 2, *ONE), InHand(1, 1, *TWO)] == journal.found


@pytest.mark.parametrize("content", [b"precious" * 1000, b"x"])
def test_a_file_that_is_no_journal_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    for number in (1, 2):
        (tmp_path / FILE_NAME).write_bytes(content)
        with opened(tmp_path) as file:
            aside = tmp_path / f"{FILE_NAME}.damaged-{number}"

            assert (aside, [], content) == (file.aside, file.found, aside.read_bytes())


def test_one_process_at_a_time_has_it_and_the_other_counts_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.note(0, 0, 1, ONE)
        with pytest.raises(StoreHeld, match=f"{tmp_path} is in use by another process"):
            open_journal(tmp_path)
        file.clear(0)
    with opened(tmp_path) as file:
        assert {} == file.suspects


async def test_a_second_service_is_refused_also_where_the_store_holds_nothing(tmp_path: Path) -> None:
    said: list[str | None] = []
    spec = SupervisorSpec("root", [ChildSpec("journal", functools.partial(journaling, tmp_path, Journal(said.append)))])
    with opened(tmp_path), pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervise, spec, lambda _event: None)

    (refused,) = leaves(caught.value)
    assert isinstance(refused, Escalate)
    assert f"{tmp_path} is in use by another process" in str(refused)
    assert [f"the state directory {tmp_path} is in use by another process"] == [str(each).partition(":")[0] for each in said]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state"):
        assert 0o600 == stat.S_IMODE((tmp_path / "state" / FILE_NAME).stat().st_mode)


# -- in a service ---------------------------------------------------------------------------------


def handler_of(seen: Seen, name: str = "A", *, topic: str = "in", gate: trio.Event | None = None) -> type[Actor]:
    async def on_message(_self: Actor, event: dict[str, Any]) -> None:
        seen.add((name, event["n"]))
        if gate is not None and event.get("hold"):
            await gate.wait()
        if event.get("reject"):
            raise Reject("no")

    return type(name, (Actor,), {"on_message": subscribe(topic)(on_message)})


def config(state_dir: Path) -> dict[str, Any]:
    return {"service": {"state_dir": state_dir}, "dedup": {"ttl_s": 0.0}}


async def die(world: World, seen: Seen, state_dir: Path, *, count: int) -> Path:
    """Wait until `count` messages are in hand; returns the state directory as a death at this moment would leave it."""
    await seen.until(count)
    shutil.copytree(state_dir, left := state_dir.with_name(f"{state_dir.name}+"))
    assert world.estate.link.is_up
    return left


async def test_what_two_processes_died_of_is_a_dead_letter_of_the_third_and_never_run_again(_virtual: MockClock, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    for _ in range(2):
        seen, gate = Seen(), trio.Event()
        async with running(handler_of(seen, gate=gate), config=config(state_dir), store=MemoryStore(journal=True)) as world:
            await world.deliver("in", {"n": 1, "hold": True}, message_id="poison")
            state_dir = await die(world, seen, state_dir, count=1)
            gate.set()

        assert [("A", 1)] == seen.items
    seen = Seen()
    with structlog.testing.capture_logs() as lines:
        async with running(handler_of(seen), config=config(state_dir), store=MemoryStore(journal=True)) as world:
            await world.deliver("in", {"n": 1, "hold": True}, message_id="poison")
            await world.deliver("in", {"n": 2})
            await world.settled()
            (letter,) = world.store.letters

            assert [("A", 2)] == seen.items
            assert (Why.QUARANTINED, 2, "2 processes died with it in hand") == (letter.why, letter.attempts, letter.error)

            await world.deliver("in", {"n": 1}, message_id="poison")  # mended, and sent again
            await world.settled()

            assert [("A", 2), ("A", 1)] == seen.items

    assert [("in|poison", 2)] == [(line["key"], line["deaths"]) for line in lines if line["event"] == "process_died"]


@pytest.mark.parametrize("case", ["handled", "rejected"])
async def test_a_suspect_that_is_settled_is_no_suspect_any_more(_virtual: MockClock, tmp_path: Path, case: str) -> None:
    state_dir = tmp_path / "state"
    seen, gate = Seen(), trio.Event()
    async with running(handler_of(seen, gate=gate), config=config(state_dir), store=MemoryStore(journal=True)) as world:
        await world.deliver("in", {"n": 1, "hold": True}, message_id="m")
        state_dir = await die(world, seen, state_dir, count=1)
        gate.set()
    async with running(handler_of(Seen()), config=config(state_dir), store=MemoryStore(journal=True)) as world:
        assert 1 == len(world.estate.journal.suspects)

        await world.deliver("in", {"n": 1, "reject": case == "rejected"}, message_id="m")
        await world.settled()
    with opened(state_dir) as file:
        assert {} == file.suspects


@pytest.mark.parametrize(("qos", "retain"), [(0, False), (1, True)])
async def test_a_message_without_an_identity_is_known_by_its_payload(_virtual: MockClock, tmp_path: Path, qos: int, retain: bool) -> None:
    state_dir = tmp_path / "state"
    for _ in range(2):
        seen, gate = Seen(), trio.Event()
        async with running(handler_of(seen, gate=gate), config=config(state_dir), store=MemoryStore(journal=True)) as world:
            await world.deliver("in", {"n": 1, "hold": True}, envelope=False, qos=qos, retain=retain)
            state_dir = await die(world, seen, state_dir, count=1)
            gate.set()
    seen = Seen()
    async with running(handler_of(seen), config=config(state_dir), store=MemoryStore(journal=True)) as world:
        await world.deliver("in", {"n": 1, "hold": True}, envelope=False, qos=qos, retain=retain)
        await world.deliver("in", {"n": 2}, envelope=False)
        await world.settled()

        assert ([("A", 2)], [Why.QUARANTINED]) == (seen.items, [letter.why for letter in world.store.letters])


async def test_of_two_suspects_one_is_run_at_a_time_so_that_the_innocent_one_is_acquitted(_virtual: MockClock, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    for life in range(2):
        seen, gate = Seen(), trio.Event()
        actors = [handler_of(seen, name, topic=f"in/{name}", gate=gate) for name in "AB"]
        async with running(*actors, config=config(state_dir), store=MemoryStore(journal=True)) as world:
            for name in "AB":
                await world.deliver(f"in/{name}", {"n": 1, "hold": True}, message_id="poison" if name == "A" else "innocent")
                await seen.until(1)
            await world.quiet()

            assert [("A", 1), ("B", 1)][: 2 - life] == seen.items

            state_dir = await die(world, seen, state_dir, count=2 - life)
            gate.set()
            await world.settled()

            assert [("A", 1), ("B", 1)] == seen.items  # each got its turn
    seen = Seen()
    actors = [handler_of(seen, name, topic=f"in/{name}") for name in "AB"]
    async with running(*actors, config=config(state_dir), store=MemoryStore(journal=True)) as world:
        for name in "AB":
            await world.deliver(f"in/{name}", {"n": 1}, message_id="poison" if name == "A" else "innocent")
        await world.settled()

        assert [("B", 1)] == seen.items


async def test_who_waits_for_the_turn_is_not_slow_and_does_not_wait_long(_virtual: MockClock, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    seen, gate = Seen(), trio.Event()
    actors = [handler_of(seen, name, topic=f"in/{name}", gate=gate) for name in "AB"]
    limits = {"b": {"mailbox": 1, "overflow_after_s": 0.5}}
    async with running(*actors, config=config(state_dir), actors=limits, store=MemoryStore(journal=True)) as world:
        for name in "AB":
            await world.deliver(f"in/{name}", {"n": 1, "hold": True}, message_id=name)
        state_dir = await die(world, seen, state_dir, count=2)
        gate.set()
    seen, gate = Seen(), trio.Event()
    actors = [handler_of(seen, name, topic=f"in/{name}", gate=gate) for name in "AB"]
    async with running(*actors, config=config(state_dir), actors=limits, store=MemoryStore(journal=True)) as world:
        await world.deliver("in/A", {"n": 1, "hold": True}, message_id="A")
        await seen.until(1)
        began = trio.current_time()
        await world.deliver("in/B", {"n": 1}, message_id="B")
        for n in range(2, 6):
            await world.deliver("in/B", {"n": n})
        await seen.until(6)

        assert TURN_S == trio.current_time() - began
        assert [] == world.events_of(Overflowed)
        gate.set()


async def test_where_nothing_can_be_noted_messages_are_handled_and_health_says_so(_virtual: MockClock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen = Seen()
    async with running(handler_of(seen), config=config(tmp_path / "file" / "state"), store=MemoryStore(journal=True)) as world:
        await world.deliver("in", {"n": 1})
        await world.settled()

        assert "the crash journal" in str(world.estate.health.summary())
        assert [("A", 1)] == seen.items


def test_a_slot_has_its_room_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as file:
        file.note(0, 0, 1, ONE)
        found = (tmp_path / "state" / FILE_NAME).stat()

        assert found.st_blocks * 512 >= found.st_size - MAX_SUSPECTS * SLOT_BYTES  # suspects there are none


def test_suspects_that_the_disk_has_no_room_for_stay_in_hand_until_it_has(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    dead_with(state_dir, ONE, TWO)
    with file_size_limit(SLOT_BYTES * 2), pytest.raises(StoreError, match="cannot be used: File too large"):
        open_journal(state_dir)
    with opened(state_dir) as file:
        assert {ONE: 1, TWO: 1} == file.suspects


async def test_a_disk_that_is_full_for_a_note_is_told_and_so_is_its_end(_virtual: MockClock, tmp_path: Path) -> None:
    seen = Seen()
    async with running(handler_of(seen), config=config(tmp_path), store=MemoryStore(journal=True)) as world:
        with file_size_limit((1 + MAX_SUSPECTS) * SLOT_BYTES):
            await world.deliver("in", {"n": 1})
            await world.settled()
            said = str(world.estate.health.summary())
        await world.deliver("in", {"n": 2})
        await world.settled()

        assert ([("A", 1), ("A", 2)], None) == (seen.items, world.estate.health.summary() or None)
        assert "the crash journal cannot be written: File too large" in said


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond it. Python has SIGXFSZ ignored: a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
