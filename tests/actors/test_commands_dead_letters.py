"""``tars dead-letters`` on the files of a service that does not run, and of one that seems to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cli import Said, call
from tars.actors.commands.dead_letter_view import HEAD, masked, row, text, whole
from tars.actors.mqtt.dead_letter import DeadLetter, Outcome, ReplayEnded, Why
from tars.actors.mqtt.store_db import DATABASE_NAME, append, open_database
from tars.actors.mqtt.store_files import hold
from tars.actors.mqtt.store_letters import Found
from tars.actors.mqtt.store_replays import end, waiting
from tars.actors.testing import event
from tars.supervisor.terminal import Terminal

ROUTER = "root/service/handlers/router"
TARS = (sys.executable, "-c", "from tars.supervisor.cli import main; main()")
CONFIG = """
application = "tars.actors.service:application"
service = {{ name = "test", state_dir = {state_dir} }}
mqtt.url = "mqtt://user:hidden@127.0.0.1"
actors.echo.use = "nowhere:Echo"
"""


def letter(number: int, *, why: Why = Why.CRASHED, topic: str = "", actor: str = ROUTER, payload: bytes = b"{}") -> DeadLetter:
    return DeadLetter(
        why,
        "in",
        topic or f"room/{number}",
        payload,
        1,
        retain=False,
        at=1_700_000_000.0 + number,
        actor=actor,
        subscription="router:room/+",
        attempts=3,
        error="ValueError: no",
        message_id=f"m{number}",
    )


WHOLE = Found(
    17,
    DeadLetter(
        Why.CRASHED,
        "in",
        "stt/final",
        event("stt.final", {"text": "hi", "api_key": "hidden"}, message_id="e1"),
        1,
        retain=True,
        at=1_700_000_000.5,
        actor=ROUTER,
        subscription="router:stt/final",
        attempts=3,
        error="ValueError: mqtt://user:hidden@host is down",
        traceback='Traceback\n  File "x"\nValueError: mqtt://user:hidden@host is down\x1b[2J\n',
        message_id="m1",
        correlation_id="c1",
        user_properties=(("message-id", "m1"), ("password", "hidden"), ("from", "http://user:hidden@x")),
    ),
    payload_bytes=99,
    replay=1_700_000_100.0,
    ended_at=1_700_000_101.0,
    outcome=Outcome.FAILED,
)


def filled(state_dir: Path, *letters: DeadLetter) -> Path:
    with contextlib.closing(open_database(state_dir / DATABASE_NAME)) as database:
        append(database, letters or [letter(1), letter(2, why=Why.PARKED), letter(3, topic="wake/event")], 1000)
    return state_dir


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    return call(capsys, "dead-letters", *arguments)


def ids(said: Said) -> list[int]:
    return [json.loads(line)["id"] for line in said.lines]


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# -- where, and which -----------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["directory", "file", "config"])
def test_the_place_is_a_config_its_state_directory_or_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    filled(state_dir)
    config = tmp_path / "test.toml"
    config.write_text(CONFIG.format(state_dir=json.dumps(str(state_dir))))
    place = {"directory": state_dir, "file": state_dir / DATABASE_NAME, "config": config}[named]

    assert [1, 2, 3] == ids(asked(capsys, "list", place, "--json"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [1, 2, 3]),
        (("2", "3-9"), [2, 3]),
        (("--actor", "router", "--reason", "parked", "--reason", "rejected"), [2]),
        (("--actor", "climate"), []),
        (("--topic", "room/+"), [1, 2]),
        (("--since", "2023-11-14T22:13:22", "--until", "2023-11-14T22:13:22Z"), [2]),
        (("--until", "1d", "--limit", "2"), [1, 2]),
        (("--since", "1d"), []),
    ],
)
def test_filters_say_which_are_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: list[int]
) -> None:
    said = asked(capsys, "list", filled(tmp_path), *arguments, "--json")

    assert (0, "", expected) == (said.code, said.err, ids(said))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--topic", "a/#/b"), "list: --topic: "),
        (("list", "--since", "soon"), 'list: --since: expected "10m"'),
        (("show", "first"), 'show: an id is a number, or two such as 17-20; found "first"'),
        (("list", "20-17"), 'list: ids go up: 17-20, not "20-17"'),
        (("list", "--since", "1m", "--until", "10m"), "list: --until 10m is before --since 1m"),
        (("replay",), "replay: say which: ids, a filter such as --actor, or --all"),
        (("replay", "--all", "17"), "replay: --all goes without ids and filters"),
        (("purge",), "purge: say which: ids, a filter such as --actor, or --all"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    got = asked(capsys, arguments[0], filled(tmp_path), *arguments[1:])

    assert (2, "", 1) == (got.code, got.out, len(got.err.splitlines()))
    assert got.err.startswith(f"tars dead-letters {said}")


def test_a_config_with_mistakes_is_told_as_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "test.toml"
    config.write_text(CONFIG.format(state_dir="1"))
    said = asked(capsys, "list", config)

    assert 2 == said.code
    assert "service.state_dir" in said.err


@pytest.mark.parametrize("command", ["list", "show", "replay", "purge"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it holds no dead-letters.sqlite3"),
        (b"this is no database" * 500, "is damaged, or no database"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_and_exit_code_1_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / DATABASE_NAME).write_bytes(content)
    before = files(tmp_path)
    got = asked(capsys, command, tmp_path, "1")

    assert (1, "", 1) == (got.code, got.out, len(got.err.splitlines()))
    assert said in got.err
    assert before == files(tmp_path)


# -- list and show --------------------------------------------------------------------------------


def test_a_list_in_a_pipe_is_a_plain_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "list", filled(tmp_path))

    assert list(HEAD) == said.lines[0].split()
    assert ["1", "2023-11-14", "22:13:21", "crashed", "router", "room/1", "2", "-", "ValueError:", "no"] == said.lines[1].split()
    assert 4 == len(said.lines)


def test_a_list_says_that_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / DATABASE_NAME).touch()
    said = asked(capsys, "list", tmp_path)

    assert (0, "no dead letters\n", "") == (said.code, said.out, said.err)


def test_looking_leaves_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(filled(tmp_path))
    asked(capsys, "list", tmp_path)
    asked(capsys, "show", tmp_path, "1")

    assert before == files(tmp_path)


def test_what_is_not_there_cannot_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "show", filled(tmp_path), "99")

    assert (1, "tars dead-letters show: there is no such dead letter\n") == (said.code, said.err)


def test_show_tells_programs_everything_but_secrets() -> None:
    told = whole(WHOLE)

    assert "hidden" not in json.dumps(told)
    assert {
        "id": 17,
        "reason": "crashed",
        "direction": "in",
        "topic": "stt/final",
        "qos": 1,
        "retain": True,
        "at": "2023-11-14T22:13:20.500+00:00",
        "actor": ROUTER,
        "subscription": "router:stt/final",
        "attempts": 3,
        "error": "ValueError: mqtt://***@host is down",
        "message_id": "m1",
        "correlation_id": "c1",
        "payload_bytes": 99,
        "replay": {"at": "2023-11-14T22:15:00.000+00:00", "ended_at": "2023-11-14T22:15:01.000+00:00", "outcome": "failed"},
        "user_properties": [["message-id", "m1"], ["password", "***"], ["from", "http://***@x"]],
    } == {key: value for key, value in told.items() if key not in {"envelope", "traceback"}}
    assert {"text": "hi", "api_key": "***"} == told["envelope"]["data"]  # type: ignore[index]


def test_show_tells_people_the_same_and_nothing_can_steer_their_terminal() -> None:
    lines = list(text(WHOLE, Terminal(io.StringIO())))
    shown = "\n".join(lines)

    assert "dead letter 17  2023-11-14 22:13:20 UTC  crashed" == lines[0]
    for part in ("stt/final  qos 1, retained", f"{ROUTER}  router:stt/final", "stt.final  from=", '"text": "hi"', "replay  failed"):
        assert part in shown
    assert "hidden" not in shown
    assert "\x1b" not in shown
    assert "hidden" not in "".join(row(WHOLE))


@pytest.mark.parametrize(
    ("payload", "told", "shown"),
    [
        (b"plain", {"payload": "plain"}, "plain"),
        (b'{"token": "hidden"}', {"payload": '{"token":"***"}'}, '{"token":"***"}'),
        (b"\xff\x00", {"payload_base64": "/wA="}, "ff 00"),
        (b"\xff" * 201, {"payload_base64": "/" * 268}, "/" * 268),
        (b"", {"payload": ""}, "0 bytes"),
    ],
)
def test_a_payload_is_shown_as_what_it_is(payload: bytes, told: dict[str, Any], shown: str) -> None:
    found = Found(1, letter(1, payload=payload), len(payload))

    assert told == {key: value for key, value in whole(found).items() if key in {"payload", "payload_base64", "envelope"}}
    assert shown in "\n".join(text(found, Terminal(io.StringIO())))


def test_secrets_are_masked_however_deep_they_lie() -> None:
    assert {"a": [{"password": "***", "n": 1}], "url": "mqtt://***@x"} == masked({"a": [{"password": "p", "n": 1}], "url": "mqtt://u:p@x"})


# -- replay ---------------------------------------------------------------------------------------


def test_a_replay_for_a_service_that_does_not_run_waits_for_its_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "replay", filled(tmp_path), "2-3")
    again = asked(capsys, "replay", tmp_path, "--all", "--json")

    assert (0, [f"2  room/2  {ROUTER}  waits", f"3  wake/event  {ROUTER}  waits"]) == (said.code, said.lines)
    assert "tars dead-letters replay: 2 of 2 wait; the service does not run: they begin at its next start\n" == said.err
    assert (0, [1, 2, 3]) == (again.code, ids(again))
    assert [2, 3, 1] == [each.letter for each in waiting(tmp_path, 0, 10)]


def test_what_went_well_is_left_alone_until_it_is_wanted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, "replay", filled(tmp_path), "1")
    with contextlib.closing(open_database(tmp_path / DATABASE_NAME)) as database:
        end(database, [ReplayEnded(1, 1, 5.0, Outcome.HANDLED, lambda: None)])
    left = asked(capsys, "replay", tmp_path, "1")
    waits = len(waiting(tmp_path, 0, 10))
    wanted = asked(capsys, "replay", tmp_path, "1", "--again")

    assert (0, f"1  room/1  {ROUTER}  done before\n") == (left.code, left.out)
    assert "--again" in left.err
    assert (0, 0, f"1  room/1  {ROUTER}  waits\n") == (waits, wanted.code, wanted.out)


@pytest.mark.parametrize(("wait_s", "code"), [("0", 0), ("0.01", 1)])
def test_a_service_that_is_not_through_in_time_goes_on_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait_s: str, code: int
) -> None:
    lock = hold(filled(tmp_path))  # as a service does
    said = asked(capsys, "replay", tmp_path, "1", "--wait", wait_s)
    os.close(lock)

    assert (code, f"1  room/1  {ROUTER}  waits\n") == (said.code, said.out)
    assert "1 of 1 wait; they begin, or go on, without this command" in said.err


def test_nothing_to_replay_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "replay", filled(tmp_path), "99")

    assert (1, "", "tars dead-letters replay: there are no such dead letters\n") == (said.code, said.out, said.err)


# -- purge ----------------------------------------------------------------------------------------


def test_purge_throws_away_what_list_shows_and_gives_the_room_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, *(letter(number, payload=bytes(100_000), why=Why.CRASHED if number < 9 else Why.PARKED) for number in range(1, 11)))
    before = (tmp_path / DATABASE_NAME).stat().st_size
    said = asked(capsys, "purge", tmp_path, "--reason", "crashed", "--yes", "--json")
    told = json.loads(said.out)

    assert (0, 8) == (said.code, told["purged"])
    assert before - told["freed_bytes"] == (tmp_path / DATABASE_NAME).stat().st_size
    assert told["freed_bytes"] > 800_000
    assert [9, 10] == ids(asked(capsys, "list", tmp_path, "--json"))


def test_purge_does_nothing_where_nobody_can_be_asked(tmp_path: Path) -> None:
    filled(tmp_path)
    ended = subprocess.run(
        [*TARS, "dead-letters", "purge", str(tmp_path), "--all"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert (2, "", "tars dead-letters purge: nobody is there to be asked: --yes says so beforehand\n") == (
        ended.returncode,
        ended.stdout,
        ended.stderr,
    )


def test_purging_nothing_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "purge", filled(tmp_path), "--reason", "poison")

    assert (0, "0 dead letters thrown away, 0 bytes given back to the disk\n", "") == (said.code, said.out, said.err)


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, []), ("n", 2, [1, 2, 3])])
def test_on_a_terminal_purge_asks_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str, code: int, left: list[int]
) -> None:
    filled(tmp_path)
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal, os.fdopen(ours, "w") as person:
        person.write(f"{answer}\n")
        person.flush()
        ended = subprocess.run(
            [*TARS, "dead-letters", "purge", str(tmp_path), "--all"], stdin=terminal, capture_output=True, text=True, check=False
        )

    assert code == ended.returncode
    assert "Throw away 3 dead letters of" in ended.stdout + ended.stderr
    assert left == ids(asked(capsys, "list", tmp_path, "--json"))
