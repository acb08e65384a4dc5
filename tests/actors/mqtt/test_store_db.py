"""Dead letters in a file: what comes back, what is refused, who may read it."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tars.actors.mqtt.dead_letter import DeadLetter, Why
from tars.actors.mqtt.store_db import APPLICATION_ID, DATABASE_NAME, append, open_database, read_dead_letters
from tars.actors.mqtt.store_files import StoreError, StoreHeld, hold, make_directory

FULL = 2


def letter(number: int = 0, payload: bytes = b"{}") -> DeadLetter:
    return DeadLetter(Why.CRASHED, "in", f"room/{number}", payload, 1, retain=False, at=1700000000.25)


WHOLE = DeadLetter(
    Why.REFUSED,
    "out",
    "räume/küche 🍳",
    bytes(range(256)),
    1,
    retain=True,
    at=1700000000.125,
    actor="service/handlers/router",
    subscription="stt/+",
    attempts=3,
    error="it said: \x00 and 🍳",
    traceback='Traceback\n  File "x"\n',
    message_id="m-1",
    correlation_id="c-1",
    user_properties=(("key", "one"), ("key", "two"), ("", "")),
)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_database(directory / DATABASE_NAME)) as database:
        yield database


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- what comes back ------------------------------------------------------------------------------


def test_a_letter_comes_back_whole(tmp_path: Path) -> None:
    bare = letter()
    with opened(tmp_path) as database:
        append(database, [WHOLE, bare], 10)

    assert [(1, WHOLE), (2, bare)] == read_dead_letters(tmp_path)


@pytest.mark.parametrize("why", Why)
def test_every_reason_comes_back(tmp_path: Path, why: Why) -> None:
    with opened(tmp_path) as database:
        append(database, [attrs.evolve(letter(), why=why)], 10)

    assert [why] == [found.why for _, found in read_dead_letters(tmp_path)]


def test_text_that_is_no_unicode_is_kept_escaped_and_holds_nothing_up(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [attrs.evolve(letter(), error="half \ud83c", user_properties=(("k", "\ud83c"),))], 10)

    ((_, found),) = read_dead_letters(tmp_path)

    assert ("half \\ud83c", (("k", "\ud83c"),)) == (found.error, found.user_properties)


def test_letters_can_be_read_while_the_writer_has_the_file_open(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter(1)], 10)

        assert [(1, letter(1))] == read_dead_letters(tmp_path)

        append(database, [letter(2)], 10)

        assert [(1, letter(1)), (2, letter(2))] == read_dead_letters(tmp_path)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter()], 10)
    before = (tmp_path / DATABASE_NAME).read_bytes()
    read_dead_letters(tmp_path)

    assert before == (tmp_path / DATABASE_NAME).read_bytes()


def test_reading_where_there_is_nothing_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no dead-letters\.sqlite3"):
        read_dead_letters(tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_an_odd_name_of_the_directory_does_no_harm(tmp_path: Path) -> None:
    odd = tmp_path / "a?b#c %20"
    odd.mkdir()
    with opened(odd) as database:
        append(database, [letter()], 10)

    assert [(1, letter())] == read_dead_letters(odd)


# -- how many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "new", "limit", "purged", "left"),
    [
        (0, 3, 3, 0, [1, 2, 3]),
        (2, 2, 3, 1, [2, 3, 4]),
        (3, 1, 1, 3, [4]),
        (3, 5, 2, 6, [7, 8]),
        (5, 1, 2, 4, [5, 6]),
        (0, 0, 1, 0, []),
    ],
)
def test_the_oldest_go_and_are_counted(tmp_path: Path, there: int, new: int, limit: int, purged: int, left: list[int]) -> None:
    letters = [letter(number) for number in range(1, there + new + 1)]
    with opened(tmp_path) as database:
        append(database, letters[:there], 1000)

        assert purged == append(database, letters[there:], limit)

    assert [letter(number) for number in left] == [found for _, found in read_dead_letters(tmp_path)]


def test_an_id_is_never_used_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter(), letter()], 10)
        database.execute("DELETE FROM dead_letter")
    with opened(tmp_path) as database:
        append(database, [letter()], 10)

    assert [3] == [number for number, _ in read_dead_letters(tmp_path)]


def test_what_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter(1)], 10)
        with pytest.raises(sqlite3.IntegrityError):
            append(database, [letter(2), attrs.evolve(letter(3), at=math.nan)], 1)
        append(database, [letter(4)], 10)

    assert [letter(1), letter(4)] == [found for _, found in read_dead_letters(tmp_path)]


def test_at_the_limit_a_full_disk_still_takes_letters_for_old_ones_go_first(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter(number, bytes(50_000)) for number in range(20)], 20)
        ((pages,),) = database.execute("PRAGMA page_count")
        database.execute(f"PRAGMA max_page_count = {pages + 2}")  # room for the tree's own pages, not for one letter

        assert 5 == append(database, [letter(number, bytes(50_000)) for number in range(20, 25)], 20)


# -- what a power cut takes -----------------------------------------------------------------------


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        assert [("wal",)] == database.execute("PRAGMA journal_mode").fetchall()
        assert [(FULL,)] == database.execute("PRAGMA synchronous").fetchall()


# -- what is refused ------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")


def foreign_with_an_id(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 7")


def newer(path: Path) -> None:
    with contextlib.closing(open_database(path)) as database:
        append(database, [letter()], 10)
        database.execute("PRAGMA user_version = 99")


def damaged_in_the_middle(path: Path) -> None:
    with contextlib.closing(open_database(path)) as database:
        append(database, [letter(number, bytes(3000)) for number in range(50)], 100)
    whole = path.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:middle] + b"\xa5" * 4096 + whole[middle + 4096 :])


def cut_short(path: Path) -> None:
    with contextlib.closing(open_database(path)) as database:
        append(database, [letter(number, bytes(3000)) for number in range(50)], 100)
    path.write_bytes(path.read_bytes()[: 4096 * 20])


def emptied_beside_its_log(path: Path) -> None:
    path.touch()
    path.with_name(f"{path.name}-wal").write_bytes(b"letters")


REFUSED = [
    (garbage, "is damaged, or no database"),
    (foreign, "is an SQLite database of another program"),
    (foreign_with_an_id, "is an SQLite database of another program"),
    (newer, r"newer version of this program \(schema 99, this one knows 2\)"),
    (damaged_in_the_middle, "is damaged"),
    (cut_short, "is damaged"),
    (emptied_beside_its_log, "is empty, but dead-letters.sqlite3-wal is not"),
]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def opening_error(path: Path) -> str:
    """The refusal's text; sqlite's own errors are put into words where a store meets them."""
    try:
        open_database(path).close()
    except (StoreError, sqlite3.DatabaseError) as error:
        return str(error)
    return "opened"


@pytest.mark.parametrize("make", [make for make, _ in REFUSED])
def test_a_file_that_is_not_ours_and_sound_is_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / DATABASE_NAME
    make(path)
    before = contents(tmp_path)

    assert "opened" != opening_error(path)
    assert before == contents(tmp_path)


@pytest.mark.parametrize(("make", "said"), REFUSED[:-1])
def test_the_reader_says_what_is_wrong_with_the_file_and_what_to_do(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / DATABASE_NAME)
    with pytest.raises(StoreError, match=said) as caught:
        read_dead_letters(tmp_path)

    assert str(tmp_path / DATABASE_NAME) in str(caught.value)
    assert "away" in str(caught.value)


def test_a_letter_with_an_unknown_reason_is_refused_with_the_files_name(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        append(database, [letter()], 10)
        database.execute("UPDATE dead_letter SET why = 'bored'")
    with pytest.raises(StoreError, match=r"dead-letters\.sqlite3 holds what this program cannot read .*bored"):
        read_dead_letters(tmp_path)


@pytest.mark.parametrize("made", [b"", None], ids=["empty", "missing"])
def test_an_empty_or_missing_file_becomes_a_database(tmp_path: Path, made: bytes | None) -> None:
    path = tmp_path / DATABASE_NAME
    if made is not None:
        path.write_bytes(made)
    with opened(tmp_path) as database:
        assert [(APPLICATION_ID,)] == database.execute("PRAGMA application_id").fetchall()

    assert [] == read_dead_letters(tmp_path)


# -- files ----------------------------------------------------------------------------------------


def test_only_the_owner_can_read_what_is_made(tmp_path: Path) -> None:
    state_dir = tmp_path / "var" / "router"
    make_directory(state_dir)
    lock = hold(state_dir)
    with opened(state_dir) as database:
        append(database, [letter()], 10)
        modes = {path.name: mode(path) for path in state_dir.iterdir()}
    os.close(lock)

    assert 0o700 == mode(state_dir)
    assert dict.fromkeys(["lock", DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"], 0o600) == modes


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    state_dir = tmp_path / "shared"
    state_dir.mkdir()
    state_dir.chmod(0o750)
    make_directory(state_dir)

    assert 0o750 == mode(state_dir)


def test_one_at_a_time_holds_a_directory(tmp_path: Path) -> None:
    first = hold(tmp_path)
    with pytest.raises(StoreHeld) as caught:
        hold(tmp_path)
    os.close(first)

    assert (tmp_path, os.getpid()) == (caught.value.state_dir, caught.value.pid)
    os.close(hold(tmp_path))


def test_a_holder_that_left_no_number_is_another_process(tmp_path: Path) -> None:
    first = hold(tmp_path)
    (tmp_path / "lock").write_bytes(b"")
    with pytest.raises(StoreHeld, match=f"{tmp_path} is in use by another process"):
        hold(tmp_path)
    os.close(first)
