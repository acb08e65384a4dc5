"""``tars logs``: filters, views and stories, on logs small enough to read here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cli import call
from tars.supervisor.log_query import Query, is_of, moment, plain_id
from tars.supervisor.log_reading import LONGEST_LINE_BYTES, Entry, Tally, entries, lines_of, with_rotated
from tars.supervisor.log_view import line
from tars.supervisor.terminal import Terminal

DAY = "2026-01-02T"
LINES: tuple[dict[str, Any], ...] = (
    {"ts": f"{DAY}10:00:00.000001Z", "level": "debug", "event": "child_started", "actor": "root/service/link/connection", "incarnation": 1},
    {"ts": f"{DAY}10:00:01Z", "level": "info", "event": "heard", "actor": "root/service/handlers/router", "message_id": "m1"},
    {"ts": f"{DAY}10:00:02Z", "level": "error", "event": "handler_failed", "actor": "root/service/handlers/router", "message_id": "m1"},
    {"ts": f"{DAY}10:00:03Z", "level": "warning", "event": "link_down", "actor": "root/service/link/connection", "correlation_id": "c1"},
)


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: dict[str, Any] | str, name: str = "a.log") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines))
        return path

    return write


def entry(**values: Any) -> Entry:
    (found,) = entries("a", [json.dumps(values).encode()], Tally())
    return found


# -- which lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ((), [0, 1, 2, 3]),
        (("--actor", "router"), [1, 2]),
        (("--actor", "root/service/link"), [0, 3]),
        (("--actor", "router", "--actor", "connection"), [0, 1, 2, 3]),
        (("--actor", "rout"), []),
        (("--event", "link_down"), [3]),
        (("--event", "link_*", "--event", "heard"), [1, 3]),
        (("--level", "warning"), [2, 3]),
        (("--message-id", "m1"), [1, 2]),
        (("--correlation-id", "c1"), [3]),
        (("--since", f"{DAY}10:00:02"), [2, 3]),
        (("--until", f"{DAY}11:00:01+01:00"), [0, 1]),
        (("--since", "1m"), []),
        (("--actor", "router", "--level", "error"), [2]),
    ],
)
def test_filters_say_which_lines_are_meant(
    log: Callable[..., Path], capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], numbers: list[int]
) -> None:
    said = call(capsys, "logs", log(*LINES), "--json", *asked)

    assert (0, "" if numbers else "tars logs: nothing matches\n") == (said.code, said.err)
    assert [LINES[number] for number in numbers] == [json.loads(each) for each in said.lines]


def test_of_an_empty_log_nothing_matches(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "logs", log())

    assert (0, "", "tars logs: nothing matches\n") == (said.code, said.out, said.err)


@pytest.mark.parametrize(
    ("path", "actor", "expected"),
    [
        ("root/service/handlers/router", "router", True),
        ("root/service/handlers/router", "handlers/router", True),
        ("root/service/handlers/router", "root/service/", True),
        ("root/service/handlers/router2", "root/service/handlers/router", False),
        ("root/service/handlers/router", "outer", False),
        ("root/service/handlers/arm/3", "arm", True),
        ("root/service/handlers/arm/3", "arm/3", True),
        ("root/service/handlers/arm/31", "arm/3", False),
        ("", "root", False),
    ],
)
def test_an_actor_is_a_path_or_a_part_of_one_and_all_below_it(path: str, actor: str, expected: bool) -> None:
    assert expected == is_of(path, actor)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 400.0), ("1h", -2600.0), ("1m30s", 910.0), ("0s", 1000.0), ("1970-01-01T00:00:07", 7.0), ("1970-01-01T01:00:07+01:00", 7.0)],
)
def test_a_time_is_so_long_ago_or_an_iso_time(text: str, expected: float) -> None:
    assert expected == moment(text, 1000.0)


@pytest.mark.parametrize("text", ["yesterday", "10x", "-5m", " "])
def test_any_other_time_is_refused_in_one_line(log: Callable[..., Path], capsys: pytest.CaptureFixture[str], text: str) -> None:
    said = call(capsys, "logs", log(*LINES), f"--since={text}")

    assert 2 == said.code
    assert said.err.startswith("tars logs: --since: expected ")
    assert 1 == len(said.err.splitlines())


def test_a_message_without_an_id_of_its_own_is_found_by_that_of_its_envelope() -> None:
    line_of_it = entry(message_id="stt/final|stt.final|45c0|9a9a")

    assert Query(message_id="45c0").takes(line_of_it)
    assert not Query(message_id="45c").takes(line_of_it)


def test_a_uuid_is_the_same_with_and_without_hyphens() -> None:
    assert plain_id("6b1f7a52-6d4e-5c0a-9a3e-7e1f0c2b8d11") == plain_id("6b1f7a526d4e5c0a9a3e7e1f0c2b8d11")
    assert "a-b" == plain_id("a-b")


# -- reading --------------------------------------------------------------------------------------


def test_broken_lines_are_counted_and_passed_over(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "logs", log('{"half', LINES[1], "", "[1]", "\udcff".encode("utf-8", "replace").decode()), "--json")

    assert 0 == said.code
    assert [LINES[1]] == [json.loads(each) for each in said.lines]
    assert "tars logs: passed over 3 of 4 lines: no JSON objects\n" == said.err


def test_bytes_that_are_no_text_break_their_line_only() -> None:
    tally = Tally()

    assert ["ok"] == [each.text("event") for each in entries("a", [b"\xff\xfe\n", b'{"event":"ok"}\n'], tally)]
    assert Tally(2, 1) == tally


def test_a_lone_surrogate_as_our_own_log_writes_it_is_read_and_shown_escaped() -> None:
    (found,) = entries("a", [rb'{"event":"\ud800"}'], Tally())

    assert line(found, Terminal(io.StringIO())).endswith(r"- \ud800".replace("- ", f"{'-':20} "))


def test_of_an_endless_line_only_the_beginning_is_kept() -> None:
    stream = io.BytesIO(b"x" * (2 * LONGEST_LINE_BYTES + 5) + b"\nnext\n")

    assert [LONGEST_LINE_BYTES, 5] == [len(each) for each in lines_of(stream)]


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    found = list(entries("a", [b'{"ts":"1970-01-01T00:00:07Z"}', b"{}", b'{"ts":"late"}'], Tally()))

    assert [7.0, 7.0, 7.0] == [each.at for each in found]


def test_rotated_files_are_read_oldest_first_when_asked(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(["a.log.10", "a.log.2", "a.log.1", "a.log"]):
        path = log({"event": str(number)}, name=name)
    log({"event": "no"}, name="a.log.bak")

    assert ["a.log.10", "a.log.2", "a.log.1", "a.log"] == [each.name for each in with_rotated(path)]
    assert ["0", "1", "2", "3"] == [json.loads(each)["event"] for each in call(capsys, "logs", path, "--all", "--json").lines]
    assert ["3"] == [json.loads(each)["event"] for each in call(capsys, "logs", path, "--json").lines]


def test_several_logs_are_one_by_time_and_each_line_names_its_own(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    stt, router = log(LINES[0], LINES[2], name="stt.log"), log(LINES[1], LINES[3], name="router.log")
    said = call(capsys, "logs", stt, router)

    assert ["stt", "router", "stt", "router"] == [each.split()[2] for each in said.lines]


@pytest.mark.parametrize(("name", "why"), [("none.log", "no such file or directory"), (".", "is a directory")])
def test_a_log_that_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    said = call(capsys, "logs", tmp_path / name)

    assert (2, "", f"tars logs: {tmp_path / name}: {why}\n") == (said.code, said.out, said.err)


# -- views ----------------------------------------------------------------------------------------


def test_a_line_is_time_level_actor_event_and_the_values_that_say_something() -> None:
    shown = entry(
        ts=f"{DAY}10:00:00.123456Z",
        level="error",
        event="child_exited",
        actor="root/service/handlers/router",
        incarnation=3,
        error="no good",
        error_type="builtins.ValueError",
        delay_s=0.0,
        asked=False,
        topic="",
        traceback="Traceback\n  here\x1b[2J",
    )
    expected = '2026-01-02 10:00:00.123 ERROR handlers/router#3    child_exited         error="ValueError: no good" delay_s=0'

    assert expected == line(shown, Terminal(io.StringIO()))
    assert f"{expected}\n    Traceback\n      here\\x1b[2J" == line(shown, Terminal(io.StringIO()), with_traceback=True)


def test_on_a_terminal_it_is_coloured() -> None:
    shown = entry(level="error", event="x", actor="root")

    assert "\x1b[31mERROR\x1b[0m" in line(shown, Terminal(io.StringIO(), colours=True, width=80))


def test_a_table_is_cut_at_the_edge_of_a_terminal_and_whole_in_a_pipe() -> None:
    narrow, pipe = Terminal(io.StringIO(), width=10), Terminal(io.StringIO())
    for each in (narrow, pipe):
        each.table(("a", "b"), [("1", "x" * 20)])

    assert "a  b\n1  xxxxxx…\n" == narrow.stream.getvalue()  # type: ignore[attr-defined]
    assert f"a  b\n1  {'x' * 20}\n" == pipe.stream.getvalue()  # type: ignore[attr-defined]


def test_crashes_tells_what_crashed_and_came_back_and_sums_up_by_actor(
    log: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    crash = {"event": "child_exited", "kind": "crash", "error": "no", "error_type": "OSError"}
    path = log(
        {"ts": f"{DAY}10:00:00Z", "actor": "root/service/link/connection", "incarnation": 1, **crash},
        {"ts": f"{DAY}10:00:01Z", "actor": "root/service/link/connection", "event": "restart_scheduled", "attempt": 1, "delay_s": 0.5},
        {"ts": f"{DAY}10:00:02Z", "actor": "root/service/link/connection", "incarnation": 2, **crash},
        {
            "ts": f"{DAY}10:00:03Z",
            "actor": "root/service/link",
            "event": "intensity_exceeded",
            "child_id": "connection",
            "limit": "3 in 5 s",
        },
        {"ts": f"{DAY}10:00:04Z", "actor": "root/service/link", "event": "child_exited", "kind": "shutdown"},
        {"ts": f"{DAY}10:00:05Z", "actor": "root/service/link", "event": "actor_parked"},
    )

    assert [
        "2026-01-02 10:00:00.000 link/connection      crash: OSError: no",
        "2026-01-02 10:00:01.000 link/connection      restarts in 0.5 s, attempt 1",
        "2026-01-02 10:00:02.000 link/connection#2    crash: OSError: no",
        "2026-01-02 10:00:03.000 link                 gives up because of connection: 3 in 5 s",
        "2026-01-02 10:00:05.000 link                 parked for ? s after ? failures in a row",
        "",
        "actor                         crashes  restarts  gave up  last crash               last error",
        "root/service/link/connection  2        1         0        2026-01-02 10:00:02.000  OSError: no",
        "root/service/link             0        0         1",
    ] == call(capsys, "logs", path, "--crashes").lines


def test_crashes_of_a_log_without_any_says_so(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert ["nothing crashed"] == call(capsys, "logs", log(*LINES), "--crashes").lines


# -- stories --------------------------------------------------------------------------------------


def test_a_story_follows_a_message_through_services_by_correlation_and_causation(
    log: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stt = log(
        {"ts": f"{DAY}10:00:00Z", "event": "said", "message_id": "m1", "correlation_id": "c1"},
        {"ts": f"{DAY}10:00:09Z", "event": "something else", "message_id": "m9", "correlation_id": "c9"},
        name="stt.log",
    )
    router = log(
        {"ts": f"{DAY}10:00:03Z", "event": "answered", "message_id": "m3", "causation_id": "m2"},
        {"ts": f"{DAY}10:00:01Z", "event": "asked", "message_id": "m2", "correlation_id": "c1"},
        {"ts": f"{DAY}10:00:04Z", "event": "failed", "message_id": "topic|type|m3|9a"},
        name="router.log",
    )
    story = ["said", "answered", "asked", "failed"]

    assert story == [json.loads(each)["event"] for each in call(capsys, "logs", stt, router, "--story", "m1", "--json").lines]
    assert story == [json.loads(each)["event"] for each in call(capsys, "logs", router, stt, "--story", "m1", "--json").lines]


def test_a_story_nobody_knows_is_exit_code_1(log: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "logs", log(*LINES), "--story", "m7")

    assert (1, "", "tars logs: nothing is known of m7\n") == (said.code, said.out, said.err)


def test_a_story_nobody_knows_in_a_log_without_debug_lines_says_what_to_set(
    log: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "logs", log({"ts": f"{DAY}10:00:00Z", "level": "info", "event": "link_up"}), "--story", "m7")

    assert (1, "") == (said.code, said.out)
    assert said.err.startswith("tars logs: nothing is known of m7: ")
    assert 'level = "debug" under [log] in the config, or LOG_LEVEL=debug' in said.err
