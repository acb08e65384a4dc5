"""The log: how events read, where lines go, what no line shows, and that no line ever hurts its caller."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import structlog

from tars.supervisor import (
    ChildExited,
    ChildStarted,
    ChildStuck,
    Escalate,
    ExitKind,
    GroupRestart,
    IntensityExceeded,
    RestartScheduled,
    Stop,
    SupervisorStopped,
    Unavailable,
)
from tars.supervisor.log import Log, LogSettings, configure, event_logger, render

Configure = Callable[..., Log]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


class Unspeakable(Exception):
    """A value that cannot be printed."""

    def __str__(self) -> str:
        message = "no"
        raise RuntimeError(message)

    __repr__ = __str__


@pytest.fixture
def start() -> Iterator[Configure]:
    """`configure`, undone after the test."""
    started: list[Log] = []

    def start(stream: io.StringIO, **settings: Any) -> Log:
        started.append(configure(LogSettings(**settings), stream))
        return started[-1]

    yield start
    for log in started:
        log.close()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, without the time."""
    parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{key: value for key, value in line.items() if key != "ts"} for line in parsed]


def fail(error: BaseException) -> None:
    local_password = "hunter" + "2"
    raise error if local_password else AssertionError


def raised(error: BaseException) -> BaseException:
    """The same exception, with a traceback through a frame that has a secret in a local variable."""
    with pytest.raises(type(error)) as caught:
        fail(error)
    return caught.value


# -- where lines go -------------------------------------------------------------------------------


def test_a_line_is_json_when_the_stream_is_no_terminal(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().info("message_settled", topic="a/b", took_s=0.25, tags=("x", 1))

    assert [{"level": "info", "event": "message_settled", "topic": "a/b", "took_s": 0.25, "tags": ["x", 1]}] == lines(stream)


def test_a_line_begins_with_utc_time_level_and_event(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().warning("x", a=1)

    assert re.fullmatch(r'\{"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","level":"warning","event":"x","a":1\}\n', stream.getvalue())


def test_a_terminal_gets_readable_lines_and_the_file_json(start: Configure, tmp_path: Path) -> None:
    stream, path = Terminal(), tmp_path / "var" / "log" / "x.log"
    start(stream, file=path)
    structlog.get_logger().info("link_up", broker="b")
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]

    assert "link_up" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    assert ("link_up", "b") == (line["event"], line["broker"])


@pytest.mark.parametrize(("kind", "stream", "is_json"), [("json", Terminal(), True), ("console", io.StringIO(), False)])
def test_the_format_can_be_forced(start: Configure, kind: str, stream: io.StringIO, is_json: bool) -> None:
    start(stream, format=kind)
    structlog.get_logger().info("x")

    assert is_json == stream.getvalue().startswith("{")


def test_a_terminal_sees_no_control_characters_of_others(start: Configure) -> None:
    stream = io.StringIO()
    start(stream, format="console")
    structlog.get_logger().info("x", topic="\x1b[2J", exc_info=raised(ValueError("\x1b[2J")))

    assert "\x1b" not in stream.getvalue()
    assert "Traceback (most recent call last)" in stream.getvalue()


def test_lines_below_the_level_are_not_written(start: Configure) -> None:
    stream = io.StringIO()
    start(stream, level="warning")
    log = structlog.get_logger()
    log.info("quiet")
    log.warning("loud")

    assert ["loud"] == [line["event"] for line in lines(stream)]


def test_every_line_carries_what_is_bound_to_the_context(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    with structlog.contextvars.bound_contextvars(actor="root/router", incarnation=2):
        structlog.get_logger().info("x")
        logging.getLogger("aiomqtt").warning("y")

    assert [("root/router", 2)] * 2 == [(line["actor"], line["incarnation"]) for line in lines(stream)]


def test_only_the_owner_may_read_the_file(start: Configure, tmp_path: Path) -> None:
    start(io.StringIO(), file=tmp_path / "x.log")

    assert 0o600 == stat.S_IMODE((tmp_path / "x.log").stat().st_mode)


def test_the_file_rotates_before_it_passes_its_limit_and_keeps_five(start: Configure, tmp_path: Path) -> None:
    start(io.StringIO(), file=tmp_path / "x.log")
    log = structlog.get_logger()
    for number in range(19):
        log.info("x", number=number, text="x" * 4_000_000)

    assert ["x.log", *(f"x.log.{n}" for n in range(1, 6))] == sorted(path.name for path in tmp_path.iterdir())
    assert all(path.stat().st_size <= 10 * 1024 * 1024 for path in tmp_path.iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        configure(LogSettings(file=tmp_path), io.StringIO())


def test_a_full_disk_is_said_once_on_the_stream_and_hurts_nobody(start: Configure) -> None:
    stream = io.StringIO()
    start(stream, file=Path("/dev/full"))
    log = structlog.get_logger()
    log.info("a")
    log.info("b")

    assert ["a", "log_file_failed", "b"] == [line["event"] for line in lines(stream)]
    assert "[Errno 28] No space left on device" == lines(stream)[1]["error"]


@pytest.mark.parametrize("stream", [Gone(), io.StringIO()], ids=["its reader has gone", "closed"])
def test_a_stream_that_fails_hurts_nobody_and_the_file_gets_every_line(start: Configure, tmp_path: Path, stream: io.StringIO) -> None:
    path = tmp_path / "x.log"
    start(stream, file=path)
    if type(stream) is io.StringIO:
        stream.close()
    log = structlog.get_logger()
    log.error("x")
    log.error("y")

    assert ["x", "y"] == [json.loads(line)["event"] for line in path.read_text().splitlines()]


# -- what a line may hold -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 << 70, 1 << 70),
        ("\udc80", "\udc80"),
        (float("nan"), None),
        ({"a": {1}, 3: b"x"}, {"a": [1], "3": "b'x'"}),
        (ExitKind.CRASH, "crash"),
        (Path("a/b"), "a/b"),
        (ValueError("x"), "ValueError: x"),
    ],
)
def test_any_value_can_be_logged(start: Configure, value: object, expected: object) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().info("x", value=value)

    assert expected == lines(stream)[0]["value"]


def test_values_that_cannot_be_printed_hurt_nobody(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    endless: list[Any] = []
    endless.append(endless)
    structlog.get_logger().error("x", value=object(), broken=Unspeakable(), endless=endless, exc_info=raised(Unspeakable()))
    (line,) = lines(stream)

    assert line["error_type"].endswith("Unspeakable")
    assert "str() failed" in line["error"]


def test_a_value_cannot_take_the_place_of_the_lines_own_words(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().info("x", level="none", ts=3)

    assert [{"level": "info", "event": "x", "level_": "none", "ts_": 3}] == lines(stream)


@attrs.frozen
class HasUrl:
    url: str = "mqtt://tars:hunter2@host"


@pytest.mark.parametrize(
    "values",
    [
        {"url": "mqtt://tars:hunter2@host:1883/x"},
        {"text": "connecting to mqtt://tars:hun/ter2@host:1883 failed, and to mqtts://:hunter2@other"},
        {"password": "hunter2"},
        {"mqtt_password": "hunter2"},
        {"settings": {"token": "hunter2", "inner": [{"client_secret": "hunter2"}]}},
        {"settings": HasUrl()},
        {"exc_info": ValueError("mqtt://tars:hunter2@host")},
    ],
)
def test_no_line_shows_a_credential(start: Configure, values: dict[str, Any]) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().info("x", **values)

    assert "hunter2" not in stream.getvalue()


def test_a_credential_in_the_name_of_the_event_or_a_library_line_is_hidden_too(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    structlog.get_logger().info("up at mqtt://tars:hunter2@host")
    logging.getLogger("paho").error("cannot reach %s", "mqtt://tars:hunter2@host")

    assert ["up at mqtt://***@host", "cannot reach mqtt://***@host"] == [line["event"] for line in lines(stream)]


def test_an_exception_is_a_type_a_message_and_a_traceback_without_locals(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    try:
        fail(KeyError("gone"))
    except KeyError:
        structlog.get_logger().exception("x")
    (line,) = lines(stream)

    assert ("error", "KeyError", "'gone'") == (line["level"], line["error_type"], line["error"])
    assert line["traceback"].startswith("Traceback (most recent call last)")
    assert "hunter2" not in line["traceback"]


# -- the standard library -------------------------------------------------------------------------


def test_libraries_are_heard_from_warning_upwards(start: Configure) -> None:
    stream = io.StringIO()
    start(stream, level="debug")
    log = logging.getLogger("amqtt.broker")
    log.info("quiet")
    log.warning("%s is %d", "x", 3)
    log.log(35, "between")
    log.warning("%d arguments are missing")

    assert [
        {"level": "warning", "event": "x is 3", "logger": "amqtt.broker"},
        {"level": "warning", "event": "between", "logger": "amqtt.broker"},
        {"level": "warning", "event": "%d arguments are missing", "logger": "amqtt.broker"},
    ] == lines(stream)


def test_a_library_line_that_does_not_fit_its_arguments_hurts_nobody(start: Configure) -> None:
    stream, before = io.StringIO(), set(logging.getLogger().handlers)
    start(stream)
    (ours,) = set(logging.getLogger().handlers) - before  # pytest's own handlers would raise
    ours.handle(logging.LogRecord("x", logging.ERROR, "x.py", 1, "%d", ("three",), None))

    assert ["%d"] == [line["event"] for line in lines(stream)]


def test_a_library_exception_is_rendered_like_ours(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    logging.getLogger("x").error("failed", exc_info=raised(OSError("gone")))
    (line,) = lines(stream)

    assert ("OSError", "gone", "x") == (line["error_type"], line["error"], line["logger"])


def test_closing_gives_the_standard_loggers_back(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    log = configure(LogSettings(file=tmp_path / "x.log"), io.StringIO())
    log.close()

    assert before == logging.getLogger().handlers
    assert not structlog.is_configured()


# -- how events read ------------------------------------------------------------------------------


@attrs.frozen
class LinkUp:
    level: ClassVar[str] = "warning"

    broker: str
    handshake_s: float
    event: str = "x"


@attrs.frozen
class MessageSettled:
    level: str  # a field, not a word about the line
    topic: str
    payload: bytes = attrs.field(default=b"secret", repr=False)


GROUP = ExceptionGroup("a", [ExceptionGroup("b", [OSError("gone")])])


def exited(kind: ExitKind, error: BaseException | None) -> ChildExited:
    return ChildExited("root/a", 3, kind, error, ran_s=1.23456, in_start=False, asked=False)


EXITED = {"actor": "root/a", "incarnation": 3, "ran_s": 1.235, "in_start": False, "asked": False}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ChildStarted("root/a", 1, 0.00049), ("debug", "child_started", {"actor": "root/a", "incarnation": 1, "took_s": 0.0})),
        (exited(ExitKind.NORMAL, None), ("info", "child_exited", {**EXITED, "kind": "normal"})),
        (exited(ExitKind.SHUTDOWN, None), ("debug", "child_exited", {**EXITED, "kind": "shutdown"})),
        (
            exited(ExitKind.STOP, Stop("done")),
            ("info", "child_exited", {**EXITED, "kind": "stop", "error": "done", "error_type": "tars.supervisor.errors.Stop"}),
        ),
        (
            exited(ExitKind.UNAVAILABLE, Unavailable("no broker")),
            (
                "warning",
                "child_exited",
                {**EXITED, "kind": "unavailable", "error": "no broker", "error_type": "tars.supervisor.errors.Unavailable"},
            ),
        ),
        (
            exited(ExitKind.ESCALATE, Escalate("refused")),
            ("error", "child_exited", {**EXITED, "kind": "escalate", "error": "refused", "error_type": "tars.supervisor.errors.Escalate"}),
        ),
        (
            RestartScheduled("root/a", 1, 0.12345, 1, 3, 5.0),
            (
                "info",
                "restart_scheduled",
                {"actor": "root/a", "attempt": 1, "delay_s": 0.123, "used": 1, "limit": 3, "period_s": 5.0},
            ),
        ),
        (
            GroupRestart("root", "a", ("a", "b")),
            ("warning", "group_restart", {"actor": "root", "failed": "a", "members": ("a", "b")}),
        ),
        (
            IntensityExceeded("root", "a", "3 restarts in 5 s"),
            ("critical", "intensity_exceeded", {"actor": "root", "child_id": "a", "limit": "3 restarts in 5 s"}),
        ),
        (
            ChildStuck("root/a", 1, 2.0, "task a"),
            ("error", "child_stuck", {"actor": "root/a", "incarnation": 1, "since_cancel_s": 2.0, "stack": "task a"}),
        ),
        (
            SupervisorStopped("root", "shutdown", 0.1),
            ("info", "supervisor_stopped", {"actor": "root", "reason": "shutdown", "took_s": 0.1}),
        ),
        (
            SupervisorStopped("root/a", "shutdown", 0.1),
            ("debug", "supervisor_stopped", {"actor": "root/a", "reason": "shutdown", "took_s": 0.1}),
        ),
        (LinkUp("b", 0.12345), ("warning", "link_up", {"broker": "b", "handshake_s": 0.123, "event_": "x"})),
        (MessageSettled("high", "a/b"), ("info", "message_settled", {"level_": "high", "topic": "a/b"})),
        (object(), ("info", "object", {})),
    ],
)
def test_an_event_reads_as_level_name_and_values(event: object, expected: tuple[str, str, dict[str, object]]) -> None:
    assert expected == render(event)


def test_a_crash_is_an_error_with_the_traceback_of_what_is_in_the_group() -> None:
    level, _, values = render(exited(ExitKind.CRASH, raised(GROUP)))

    assert ("error", "OSError", "gone") == (level, values["error_type"], values["error"])
    assert "OSError: gone" in str(values["traceback"])


def test_a_group_of_several_names_each() -> None:
    _, _, values = render(exited(ExitKind.CRASH, ExceptionGroup("two", [ValueError("a"), KeyError("b")])))

    assert ("ExceptionGroup", "ValueError: a; KeyError: 'b'") == (values["error_type"], values["error"])


def test_a_huge_traceback_and_a_huge_message_are_cut() -> None:
    _, _, values = render(exited(ExitKind.CRASH, ValueError("x" * 1_000_000)))

    assert len(str(values["error"])) < 3_000
    assert len(str(values["traceback"])) < 20_000


def test_the_event_logger_writes_what_render_says(start: Configure) -> None:
    stream = io.StringIO()
    start(stream)
    emit = event_logger(structlog.get_logger())
    emit(ChildStarted("root/a", 1, 0.1))
    emit(LinkUp("b", 0.1))

    assert [{"level": "warning", "event": "link_up", "broker": "b", "handshake_s": 0.1, "event_": "x"}] == lines(stream)
