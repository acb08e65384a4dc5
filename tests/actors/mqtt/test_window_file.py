"""The dedup window on disk: what comes back, how much is kept, and files that are damaged, foreign, held, or on a full disk."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tars.actors.mqtt.store_files import StoreError
from tars.actors.mqtt.window_file import APPLICATION_ID, DATABASE_NAME, Done, OpenDatabase, WindowFile, open_database, open_window


def done(number: int, *subscriptions: str, at: float | None = None) -> Done:
    return Done(f"t|{number}", subscriptions or ("a.on",), float(number) if at is None else at)


@contextmanager
def opened(state_dir: Path, open_database: OpenDatabase = open_database) -> Iterator[WindowFile]:
    with contextlib.closing(open_window(state_dir, open_database)) as file:
        yield file


def write(state_dir: Path, *batches: list[Done], ttl_s: float = 1000.0, max_entries: int = 1000) -> None:
    with opened(state_dir) as file:
        for batch in batches:
            file.write(batch, ttl_s=ttl_s, max_entries=max_entries)


def found(state_dir: Path) -> list[Done]:
    with opened(state_dir) as file:
        return list(file.found)


def rows(state_dir: Path) -> int:
    with contextlib.closing(sqlite3.connect(state_dir / DATABASE_NAME)) as database:
        ((count,),) = database.execute("SELECT count(*) FROM batch")
        return int(count)


# -- what comes back ------------------------------------------------------------------------------


def test_what_was_written_comes_back_in_order(tmp_path: Path) -> None:
    batches = [[done(1), done(2, "a.on", "b.on")], [done(3)]]
    write(tmp_path / "new" / "state", *batches)

    assert [each for batch in batches for each in batch] == found(tmp_path / "new" / "state")


@pytest.mark.parametrize("key", ["t|\ud800 no unicode", 'quotes " and \n lines', "ü|\0|" + "x" * 500])
def test_any_key_comes_back(tmp_path: Path, key: str) -> None:
    write(tmp_path, [Done(key, ("a.on",), 1.0)])

    assert [Done(key, ("a.on",), 1.0)] == found(tmp_path)


def test_what_is_older_than_the_window_goes(tmp_path: Path) -> None:
    write(tmp_path, *([done(number)] for number in range(100)), ttl_s=9.0)

    assert [done(number) for number in range(90, 100)] == found(tmp_path)


def test_the_oldest_go_when_there_are_too_many_and_never_more_than_those(tmp_path: Path) -> None:
    write(tmp_path, *([done(2 * number), done(2 * number + 1)] for number in range(20)), max_entries=9)

    assert [done(number) for number in range(30, 40)] == found(tmp_path)  # nine, in whole batches


def test_the_next_process_keeps_the_bounds_too(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, [done(number)], max_entries=5)

    assert [done(number) for number in range(15, 20)] == found(tmp_path)
    assert 5 == rows(tmp_path)


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as file:
        file.write([done(1)], ttl_s=9.0, max_entries=9)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}

    assert {DATABASE_NAME: 0o600, f"{DATABASE_NAME}-wal": 0o600} == modes


# -- files that cannot be used --------------------------------------------------------------------


def damaged_header(path: Path) -> None:
    path.write_bytes(b"precious" * 1000)


def damaged_page(path: Path) -> None:
    write(path.parent, *([done(number, "s" * 100)] for number in range(500)))
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    path.write_bytes(content)


def damaged_record(path: Path) -> None:
    write(path.parent, [done(1)])
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE batch SET done = '[[1'")


def strange_record(path: Path) -> None:
    write(path.parent, [done(1)])
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE batch SET done = '[7]'")


def lost_but_for_its_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"a log without its database")


@pytest.mark.parametrize("make", [damaged_header, damaged_page, damaged_record, strange_record, lost_but_for_its_log])
def test_a_damaged_file_is_kept_aside_whole_and_a_new_one_made(tmp_path: Path, make: object) -> None:
    path = tmp_path / DATABASE_NAME
    assert callable(make)
    for number in (1, 2):
        make(path)
        before = sorted(each.read_bytes() for each in tmp_path.glob(f"{DATABASE_NAME}*") if ".damaged" not in each.name)
        with opened(tmp_path) as file:
            file.write([done(1)], ttl_s=9.0, max_entries=9)

            assert ([], path.with_name(f"{DATABASE_NAME}.damaged-{number}")) == (list(file.found), file.aside)

        kept = sorted(each.read_bytes() for each in tmp_path.glob(f"{DATABASE_NAME}.damaged-{number}*"))

        assert before == kept
        assert [done(1)] == found(tmp_path)
        path.unlink()


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE theirs (x)")


def newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "said"), [(foreign, "is an SQLite database of another program"), (newer, "was written by a newer version of this program")]
)
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / DATABASE_NAME
    assert callable(make)
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=said) as caught, opened(tmp_path):
        pass

    assert str(path) in str(caught.value)
    assert (before, [DATABASE_NAME]) == (path.read_bytes(), [each.name for each in tmp_path.iterdir()])


def test_one_process_at_a_time_has_it(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.write([done(1)], ttl_s=9.0, max_entries=9)
        with pytest.raises(StoreError, match=r"database is locked.*Another program has it open"), opened(tmp_path):
            pass

    assert [done(1)] == found(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"{tmp_path}/file/state.*Not a directory"), opened(tmp_path / "file" / "state"):
        pass


# -- a full disk ----------------------------------------------------------------------------------


def test_a_batch_that_finds_no_room_is_not_written_at_all_and_the_next_one_may_be(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.write([done(1)], ttl_s=900.0, max_entries=900)
    pages = 8

    def small(path: Path) -> sqlite3.Connection:
        database = open_database(path)
        database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    with opened(tmp_path, small) as file:
        with pytest.raises(StoreError, match=r"database or disk is full.*wait, unacknowledged; make room"):
            file.write([done(2, "s" * 100_000)], ttl_s=900.0, max_entries=900)
        file.write([done(3)], ttl_s=900.0, max_entries=900)

    assert [done(1), done(3)] == found(tmp_path)


def test_on_a_full_disk_what_is_forgotten_makes_room(tmp_path: Path) -> None:
    def small(path: Path) -> sqlite3.Connection:
        database = open_database(path)
        database.execute("PRAGMA max_page_count = 48")
        return database

    with opened(tmp_path, small) as file:
        for number in range(200):
            file.write([done(number, "s" * 10_000)], ttl_s=1.5, max_entries=1000)

    assert [198, 199] == [int(each.at) for each in found(tmp_path)]
