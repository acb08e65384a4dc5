"""A service killed with SIGKILL: what it said is stored, is stored. Real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tars.actors.mqtt.store_db import DATABASE_NAME, open_database, read_dead_letters

PROGRAM = """
import functools, sys
from pathlib import Path
import trio
from tars.actors.mqtt.dead_letter import DeadLetter, ToStore, Why
from tars.actors.mqtt.store import store
from tars.supervisor import ChildSpec, Mailbox, SupervisorSpec, supervise

async def main():
    mailbox = Mailbox(50)
    start = functools.partial(store, Path(sys.argv[1]), mailbox, max_dead_letters=100_000, on_state=lambda problem: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, SupervisorSpec("root", [ChildSpec("store", start)]), lambda event: None)
        for number in range(1_000_000):
            letter = DeadLetter(Why.CRASHED, "in", str(number), b"x" * 500, 1, retain=False, at=1.0)
            await mailbox.send(ToStore(letter, functools.partial(print, number, flush=True)))

trio.run(main)
"""


def killed_after(state_dir: Path, lines: int) -> list[str]:
    """Run a service that stores without end, kill it when it has said `lines` times that a letter is stored; all it said."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(state_dir)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        said = [service.stdout.readline() for _ in range(lines)]
        service.kill()
        said += service.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("lines", [1, 60, 777])
def test_a_service_killed_right_after_on_stored_has_lost_nothing(tmp_path: Path, lines: int) -> None:
    said = killed_after(tmp_path, lines)
    on_disk = [letter.topic for _, letter in read_dead_letters(tmp_path)]

    assert len(said) >= lines
    assert said == on_disk[: len(said)]
    assert len(set(on_disk)) == len(on_disk)


def test_the_next_service_goes_on_where_the_killed_one_was(tmp_path: Path) -> None:
    first = killed_after(tmp_path, 10)
    left = len(read_dead_letters(tmp_path))
    second = killed_after(tmp_path, 10)  # the dead one's lock is in nobody's way
    on_disk = [letter.topic for _, letter in read_dead_letters(tmp_path)]
    open_database(tmp_path / DATABASE_NAME).close()

    assert first == on_disk[: len(first)]
    assert second == on_disk[left : left + len(second)]
