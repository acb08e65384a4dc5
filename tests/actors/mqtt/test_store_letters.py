"""Dead letters in a file, for people: which are found, what looking leaves behind, what replays wait, what is thrown away."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tars.actors.mqtt.dead_letter import DeadLetter, Outcome, ReplayEnded, Why
from tars.actors.mqtt.store_db import DATABASE_NAME, SCHEMA_VERSION, append, open_database
from tars.actors.mqtt.store_files import StoreError, hold
from tars.actors.mqtt.store_letters import Found, Sought, bytes_on_disk, compact, find, forget
from tars.actors.mqtt.store_replays import Answer, ask, end, fetch, states, waiting
from tars.actors.mqtt.store_view import changing, holder, look

ROUTER = "root/service/handlers/router"


def letter(number: int, *, why: Why = Why.CRASHED, topic: str = "", actor: str = ROUTER, payload: bytes = b"{}") -> DeadLetter:
    return DeadLetter(why, "in", topic or f"room/{number}", payload, 1, retain=False, at=1000.0 + number, actor=actor, subscription="s")


LETTERS = (
    letter(1),
    letter(2, why=Why.PARKED, topic="room/kitchen/temp"),
    letter(3, actor="root/service/handlers/climate", payload=bytes(5000)),
    letter(4, why=Why.REJECTED),
    letter(5, actor=""),
)


@contextlib.contextmanager
def store(directory: Path, *letters: DeadLetter) -> Iterator[sqlite3.Connection]:
    """The service's own side of the file."""
    with contextlib.closing(open_database(directory / DATABASE_NAME)) as database:
        append(database, letters or LETTERS, 1000)
        yield database


def filled(directory: Path, *letters: DeadLetter) -> None:
    with store(directory, *letters):
        pass


def found(directory: Path, sought: Sought | None = None, *, payloads: bool = False) -> list[Found]:
    return look(directory, lambda database, version: find(database, version, sought or Sought(), payloads=payloads)) or []


def ids(directory: Path, sought: Sought | None = None) -> list[int]:
    return [each.id for each in found(directory, sought)]


def ended(request: int | None, letter_id: int, outcome: Outcome, at: float = 9.0) -> ReplayEnded:
    assert request is not None
    return ReplayEnded(request, letter_id, at, outcome, lambda: None)


# -- which are found ------------------------------------------------------------------------------

FILTERS = [
    (Sought(), [1, 2, 3, 4, 5]),
    (Sought(ids=((2, 2), (4, 9))), [2, 4, 5]),
    (Sought(ids=((7, 3),)), []),
    (Sought(actors=("router",)), [1, 2, 4]),
    (Sought(actors=("root/service/handlers",)), [1, 2, 3, 4]),
    (Sought(actors=("router", "climate")), [1, 2, 3, 4]),
    (Sought(actors=("oute",)), []),
    (Sought(topics=("room/+",)), [1, 3, 4, 5]),
    (Sought(topics=("room/#",)), [1, 2, 3, 4, 5]),
    (Sought(topics=("room/4", "+/kitchen/+")), [2, 4]),
    (Sought(reasons=(Why.PARKED, Why.REJECTED)), [2, 4]),
    (Sought(since=1002.0, until=1004.0), [2, 3, 4]),
    (Sought(limit=2), [1, 2]),
    (Sought(actors=("router",), since=1002.0, limit=1), [2]),
]


@pytest.mark.parametrize(("sought", "expected"), FILTERS)
def test_what_is_meant_is_found_oldest_first(tmp_path: Path, sought: Sought, expected: list[int]) -> None:
    filled(tmp_path)

    assert expected == ids(tmp_path, sought)


@pytest.mark.parametrize(("sought", "expected"), FILTERS)
def test_what_is_thrown_away_is_what_would_be_found(tmp_path: Path, sought: Sought, expected: list[int]) -> None:
    filled(tmp_path)
    with changing(tmp_path) as database:
        count = forget(database, sought)

    assert len(expected) == count
    assert [each for each in range(1, 6) if each not in expected] == ids(tmp_path)


def test_a_list_leaves_the_payloads_in_the_file_and_knows_how_long_they_are(tmp_path: Path) -> None:
    filled(tmp_path)
    listed = found(tmp_path)
    whole = found(tmp_path, payloads=True)

    assert [2, 2, 5000, 2, 2] == [each.payload_bytes for each in listed]
    assert [attrs.evolve(each, payload=b"") for each in LETTERS] == [each.letter for each in listed]
    assert list(LETTERS) == [each.letter for each in whole]


# -- looking --------------------------------------------------------------------------------------


def killed_in_the_middle(directory: Path) -> None:
    """As a service leaves it that was killed: letters in the log, and its index beside it."""
    program = f"""
import os, signal
from pathlib import Path
from tars.actors.mqtt.dead_letter import DeadLetter, Why
from tars.actors.mqtt.store_db import append, open_database
database = open_database(Path({str(directory / DATABASE_NAME)!r}))
append(database, [DeadLetter(Why.CRASHED, "in", "t", b"", 1, retain=False, at=float(n)) for n in range(3)], 10)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended_with = subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False).returncode
    assert -signal.SIGKILL == ended_with


def killed_without_its_index(directory: Path) -> None:
    killed_in_the_middle(directory)
    (directory / f"{DATABASE_NAME}-shm").unlink()


def stopped(directory: Path) -> None:
    filled(directory, *LETTERS[:3])


def of_an_older_program(directory: Path) -> None:
    with store(directory, *LETTERS[:3]) as database:
        database.execute("DROP TRIGGER letter_gone")
        database.execute("DROP TABLE replay")
        database.execute("PRAGMA user_version = 1")


def kept(directory: Path) -> dict[str, bytes | None]:
    """What is in the directory. Of the index of a log only that it is there: it is SQLite's scratch paper."""
    return {path.name: None if path.name.endswith("-shm") else path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("make", [stopped, killed_in_the_middle, killed_without_its_index, of_an_older_program])
def test_looking_finds_everything_and_makes_and_changes_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    before = kept(tmp_path)

    assert [1, 2, 3] == ids(tmp_path)
    assert before == kept(tmp_path)


def test_looking_sees_what_a_running_service_has_just_written(tmp_path: Path) -> None:
    with store(tmp_path) as database:
        assert [1, 2, 3, 4, 5] == ids(tmp_path)

        append(database, [letter(6)], 1000)

        assert [1, 2, 3, 4, 5, 6] == ids(tmp_path)


def restarting_service(directory: Path, *, times: int, letters: int) -> subprocess.Popen[bytes]:
    """A program that opens the store, writes letters one by one, and closes it, so many times."""
    program = f"""
import contextlib
from pathlib import Path
from tars.actors.mqtt.dead_letter import DeadLetter, Why
from tars.actors.mqtt.store_db import append, open_database
for _ in range({times}):
    with contextlib.closing(open_database(Path({str(directory / DATABASE_NAME)!r}))) as database:
        for _ in range({letters}):
            append(database, [DeadLetter(Why.CRASHED, "in", "t", bytes(3000), 1, retain=False, at=1.0)], 10_000)
"""
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", program])


def test_whoever_looks_while_a_service_starts_and_stops_sees_one_moment_and_never_an_earlier_one(tmp_path: Path) -> None:
    filled(tmp_path, letter(1))
    seen = [ids(tmp_path)]
    with restarting_service(tmp_path, times=40, letters=2) as service:
        while service.poll() is None:
            seen.append(ids(tmp_path))

    assert [] == [each for each in seen if each != list(range(1, len(each) + 1))]
    assert sorted(map(len, seen)) == list(map(len, seen))
    assert (0, 81) == (service.returncode, len(ids(tmp_path)))


def test_nothing_that_a_service_writes_is_lost_while_somebody_purges(tmp_path: Path) -> None:
    filled(tmp_path, letter(1))
    gone = 0
    with restarting_service(tmp_path, times=3, letters=60) as service:
        while service.poll() is None:
            if there := ids(tmp_path):
                with changing(tmp_path) as database:
                    gone += forget(database, Sought(newest=there[-1]))
                    compact(database)

    assert 0 == service.returncode
    assert gone > 0
    assert 181 == gone + len(ids(tmp_path))


def test_an_empty_file_holds_nothing_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).touch()

    assert [] == ids(tmp_path)
    assert {DATABASE_NAME: b""} == kept(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"this is no database" * 500, "is damaged, or no database"), (None, "holds no dead-letters.sqlite3")],
)
def test_what_cannot_be_looked_at_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / DATABASE_NAME).write_bytes(content)
    before = kept(tmp_path)
    with pytest.raises(StoreError, match=said):
        ids(tmp_path)
    with pytest.raises(StoreError, match=said), changing(tmp_path):
        pass

    assert before == kept(tmp_path)


def test_a_file_of_an_older_program_is_looked_at_but_not_changed(tmp_path: Path) -> None:
    of_an_older_program(tmp_path)
    before = kept(tmp_path)
    with pytest.raises(StoreError, match="run the service once"), changing(tmp_path):
        pass

    assert before == kept(tmp_path)


def test_a_service_brings_an_older_file_up_to_date_and_keeps_its_letters(tmp_path: Path) -> None:
    of_an_older_program(tmp_path)
    with store(tmp_path, letter(4)) as database:
        assert [(SCHEMA_VERSION,)] == database.execute("PRAGMA user_version").fetchall()
    with changing(tmp_path) as database:
        ask(database, Sought(), 5.0)

    assert [1, 2, 3, 4] == [each.letter for each in waiting(tmp_path, 0, 10)]


# -- replays --------------------------------------------------------------------------------------


def test_replays_that_were_asked_for_wait_in_the_order_of_their_letters(tmp_path: Path) -> None:
    with store(tmp_path), changing(tmp_path) as database:
        later = ask(database, Sought(ids=((4, 5),)), 7.0)
        earlier = ask(database, Sought(ids=((1, 2),)), 8.0)

    assert [(4, 1), (5, 2)] == [(each.found.id, each.request) for each in later]
    assert [(1, 3), (2, 4)] == [(each.found.id, each.request) for each in earlier]
    assert [(1, 4, ROUTER), (2, 5, ""), (3, 1, ROUTER), (4, 2, ROUTER)] == [
        (each.request, each.letter, each.actor) for each in waiting(tmp_path, 0, 10)
    ]
    assert [3] == [each.request for each in waiting(tmp_path, 2, 1)]


def test_a_letter_waits_for_one_replay_however_often_it_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path)
    one = Sought(ids=((2, 2),))
    with changing(tmp_path) as database:
        answers = [ask(database, one, 7.0)[0].answer, ask(database, one, 8.0)[0].answer, ask(database, one, 9.0, again=True)[0].answer]

    assert [Answer.ASKED, Answer.WAITS, Answer.WAITS] == answers
    assert [2] == [each.letter for each in waiting(tmp_path, 0, 10)]


@pytest.mark.parametrize(
    ("outcome", "again", "answer"),
    [
        (Outcome.HANDLED, False, Answer.DONE),
        (Outcome.HANDLED, True, Answer.ASKED),
        (Outcome.SENT, False, Answer.DONE),
        (Outcome.FAILED, False, Answer.ASKED),
        (Outcome.REFUSED, False, Answer.ASKED),
        (Outcome.DROPPED, False, Answer.ASKED),
    ],
)
def test_what_went_well_is_not_asked_for_twice_by_accident(tmp_path: Path, outcome: Outcome, again: bool, answer: Answer) -> None:
    one = Sought(ids=((2, 2),))
    with store(tmp_path) as database, changing(tmp_path) as command:
        (first,) = ask(command, one, 7.0)
        end(database, [ended(first.request, 2, outcome)])
        (second,) = ask(command, one, 11.0, again=again)

    assert answer is second.answer
    assert (7.0, 9.0, outcome) == (second.found.replay, second.found.ended_at, second.found.outcome)


def test_the_end_of_a_replay_stands_beside_its_letter_and_is_told_once(tmp_path: Path) -> None:
    with store(tmp_path) as database, changing(tmp_path) as command:
        first, second = ask(command, Sought(ids=((1, 2),)), 7.0)
        end(database, [ended(first.request, 1, Outcome.HANDLED)])
        end(database, [ended(first.request, 1, Outcome.FAILED, at=99.0)])

        assert {1: Outcome.HANDLED, 2: None} == states(command, 1, 2)

    assert [2] == [each.request for each in waiting(tmp_path, 0, 10)]
    assert [(7.0, 9.0, Outcome.HANDLED), (7.0, None, None)] == [(each.replay, each.ended_at, each.outcome) for each in found(tmp_path)[:2]]
    assert second.request == 2


def test_a_letter_takes_its_replays_along(tmp_path: Path) -> None:
    with store(tmp_path) as database, changing(tmp_path) as command:
        ask(command, Sought(), 7.0)
        forget(command, Sought(ids=((1, 2),)))
        append(database, [letter(6)], 2)  # and so do those that make room

        assert {4 + 1: None} == states(command, 1, 99)
    assert [5] == [each.letter for each in waiting(tmp_path, 0, 10)]


def test_the_service_finds_nothing_where_there_is_no_file_or_not_ours(tmp_path: Path) -> None:
    nothing = waiting(tmp_path, 0, 10)
    of_an_older_program(tmp_path)
    older = waiting(tmp_path, 0, 10)
    (tmp_path / DATABASE_NAME).unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")

    assert ([], [], []) == (nothing, older, waiting(tmp_path, 0, 10))


def test_the_service_fetches_a_letter_whole_or_hears_that_it_has_gone(tmp_path: Path) -> None:
    filled(tmp_path)

    assert (LETTERS[2], None) == (fetch(tmp_path, 3), fetch(tmp_path, 99))


# -- throwing away --------------------------------------------------------------------------------


def test_the_room_of_what_was_thrown_away_goes_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    with store(tmp_path, *(letter(number, payload=b"secret" * 20_000) for number in range(20))) as service, changing(tmp_path) as database:
        forget(database, Sought(ids=((1, 19),)))
        before = bytes_on_disk(path)
        compact(database)
        after = bytes_on_disk(path)
        append(service, [letter(99)], 1000)

    assert before > 20 * 120_000
    assert after < 2 * 120_000
    assert [20, 21] == ids(tmp_path)
    assert 20_000 == path.read_bytes().count(b"secret")


# -- who works there ------------------------------------------------------------------------------


def test_who_works_in_the_directory_is_known_by_its_lock_file_while_it_lives(tmp_path: Path) -> None:
    nobody = holder(tmp_path)
    lock = hold(tmp_path)
    somebody = holder(tmp_path)
    os.close(lock)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (tmp_path / "lock").write_bytes(b"%d\n" % gone.pid)
    dead = holder(tmp_path)
    (tmp_path / "lock").write_bytes(b"me")

    assert (None, os.getpid(), None, None) == (nobody, somebody, dead, holder(tmp_path))
