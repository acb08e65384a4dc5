"""The command line as a user meets it: a child process, its exit code, and what it says where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from support.cases import case
from tars.supervisor import AutoShutdown, ChildSpec, Restart, SupervisorSpec
from tars.supervisor.process import run, verdict

PATIENCE_S = 30.0
RUN = ("-m", "tars.supervisor")
CHECK = ("-c", "from tars.supervisor.cli import main; main()", "check")

APPS = '''
"""Tiny applications, one per fate."""

import ctypes
import signal
import threading
import time

import structlog
import trio
from tars.supervisor import BRUTAL, ChildSpec, Escalate, Restart, Strategy, SupervisorSpec, AutoShutdown


def tree(start, **options):
    def application(config):
        config.finish()
        return SupervisorSpec("root", [SupervisorSpec("service", [ChildSpec("worker", start, **options)], max_restarts=0)], max_restarts=0)

    return application


async def _run(*, task_status):
    task_status.started()
    await trio.sleep_forever()


async def _escalate(*, task_status):
    task_status.started()
    raise Escalate("the broker refused mqtt://tars:hunter2@host")


async def _crash(*, task_status):
    task_status.started()
    raise ValueError("broken")


async def _no_start(*, task_status):
    raise OSError("port in use")


async def _start_for_ever(*, task_status):
    structlog.get_logger().info("starting")
    await trio.sleep_forever()


async def _shielded(*, task_status):
    task_status.started()
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def _blocking(*, task_status):
    task_status.started()
    await trio.sleep(0)  # its start is over
    structlog.get_logger().info("blocking")
    time.sleep(3600)


async def _deadlocked(*, task_status):
    """In a C call that no signal interrupts: a mutex locked twice."""
    task_status.started()
    await trio.sleep(0)
    mutex, libc = ctypes.create_string_buffer(256), ctypes.CDLL(None)
    structlog.get_logger().info("blocking")
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


async def _exit(*, task_status):
    task_status.started()
    raise SystemExit(5)


async def _return(*, task_status):
    task_status.started()


async def _leave_a_thread(*, task_status):
    threading.Thread(target=threading.Event().wait, name="forgotten").start()
    task_status.started()
    await trio.sleep_forever()


async def _hear_sighup(*, task_status):
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        structlog.get_logger().info("listening")
        async for _ in signals:
            structlog.get_logger().info("heard")


hears_sighup = tree(_hear_sighup)
runs, escalates, crashes, does_not_start = tree(_run), tree(_escalate), tree(_crash), tree(_no_start)
starts_for_ever, shielded, blocking, deadlocked = tree(_start_for_ever), tree(_shielded), tree(_blocking), tree(_deadlocked)
exits, leaves_a_thread = tree(_exit), tree(_leave_a_thread)


def ends(config):
    config.finish()
    child = ChildSpec("worker", _return, restart=Restart.TEMPORARY, significant=True)
    return SupervisorSpec("root", [child], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)


def is_varied(config):
    config.finish()
    children = [
        ChildSpec("store", _run, shutdown_s=BRUTAL),
        SupervisorSpec("link", [ChildSpec("connection", _run, restart=Restart.TRANSIENT)], strategy=Strategy.ONE_FOR_ALL, max_restarts=1),
    ]
    return SupervisorSpec("root", children, strategy=Strategy.REST_FOR_ONE)


def lacks_a_module(config):
    import no_such_module_at_all


def cannot_be(config):
    return SupervisorSpec("root", [ChildSpec("a", _run), ChildSpec("a", _run)])


def gives_nothing(config):
    return None


has_a_number = 3
'''


@attrs.frozen
class Running:
    """A child process; its log is read line by line."""

    process: trio.Process
    log: list[dict[str, Any]] = attrs.field(factory=list)
    rest: list[bytes] = attrs.field(factory=lambda: [b""])

    async def wait_for(self, event: str) -> None:
        """Read the log until a line of that name."""
        while event not in [line["event"] for line in self.log]:
            assert await self.read(), f"the log ended without {event}: {self.log}"

    async def read(self) -> bool:
        assert self.process.stdout is not None
        chunk = await self.process.stdout.receive_some()
        *whole, self.rest[0] = (self.rest[0] + chunk).split(b"\n")
        self.log.extend(json.loads(line) for line in whole)
        return chunk != b""

    async def end(self) -> tuple[int, str]:
        """The exit code and what went to standard error."""
        said = b""

        async def listen() -> None:
            nonlocal said
            assert self.process.stderr is not None
            async for chunk in self.process.stderr:
                said += chunk

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            while await self.read():
                pass
        return await self.process.wait(), said.decode()

    def events(self) -> list[str]:
        return [line["event"] for line in self.log]


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``async with start(application, toml, signals...) as running``: ``python -m tars.supervisor`` on a config of its own."""
    (tmp_path / "apps.py").write_text(APPS)
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "unfinished.py").write_text("def application(:\n")

    @asynccontextmanager
    async def start(
        application: str, toml: str = "", environ: dict[str, str] | None = None, command: Sequence[str] = RUN
    ) -> AsyncIterator[Running]:
        config = tmp_path / "service.toml"
        config.write_text(f'application = "{application}"\n{toml}')
        process = await trio.lowlevel.open_process(
            [sys.executable, *command, str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "LOG_LEVEL": "", **(environ or {})},
        )
        try:
            with trio.fail_after(PATIENCE_S):
                yield Running(process)
        finally:
            if process.poll() is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for pipe in (process.stdout, process.stderr):
                    assert pipe is not None
                    await pipe.aclose()

    return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_service_cleanly_and_silently(start: Start, number: signal.Signals) -> None:
    async with start("apps:runs") as running:
        await running.wait_for("service_started")
        running.process.send_signal(number)

        assert (0, "") == await running.end()
        assert {"event": "stop_requested", "signal": number.name, "deadline_s": 9.0}.items() <= running.log[-3].items()
        assert ["stop_requested", "supervisor_stopped", "service_stopped"] == running.events()[-3:]


async def test_a_reader_of_the_log_that_goes_away_changes_nothing(start: Start) -> None:
    async with start("apps:runs") as running:
        await running.wait_for("service_started")
        assert running.process.stdout is not None
        await running.process.stdout.aclose()
        running.process.send_signal(signal.SIGTERM)

        assert 0 == await running.process.wait()


async def test_an_actor_can_still_receive_other_signals(start: Start) -> None:
    async with start("apps:hears_sighup") as running:
        await running.wait_for("listening")
        running.process.send_signal(signal.SIGHUP)
        await running.wait_for("heard")
        running.process.send_signal(signal.SIGTERM)

        assert (0, "") == await running.end()


async def test_a_service_that_ends_by_itself_ends_cleanly(start: Start) -> None:
    async with start("apps:ends") as running:
        assert (0, "") == await running.end()


async def test_a_signal_during_the_start_stops_it_too(start: Start) -> None:
    async with start("apps:starts_for_ever") as running:
        await running.wait_for("starting")
        running.process.send_signal(signal.SIGTERM)

        assert (0, "") == await running.end()


@case("A7", "D7")
@pytest.mark.parametrize(
    ("application", "said"),
    [
        ("escalates", "tars: root: gave up: the broker refused mqtt://***@host\n"),
        ("crashes", "tars: root: gave up: child 'service' passed the limit of 0 restarts in 5"),
        (
            "does_not_start",
            "tars: root: child 'service' failed to start: StartFailed: child 'worker' failed to start: OSError: port in use\n",
        ),
    ],
)
async def test_giving_up_is_exit_code_1_and_one_sentence(start: Start, application: str, said: str) -> None:
    async with start(f"apps:{application}") as running:
        code, error = await running.end()

        assert 1 == code
        assert error.startswith(said)
        assert 1 == len(error.splitlines())
        assert "service_failed" == running.events()[-1]


async def test_an_actor_that_exits_the_process_gives_its_code(start: Start) -> None:
    async with start("apps:exits") as running:
        assert (5, "tars: root: an actor asked the process to exit (5)\n") == await running.end()


@case("D3")
async def test_a_child_that_does_not_stop_is_named_at_the_deadline(start: Start) -> None:
    async with start("apps:shielded", "service.stop_deadline_s = 0.2") as running:
        await running.wait_for("service_started")
        running.process.send_signal(signal.SIGTERM)
        code, error = await running.end()

        assert 1 == code
        assert error.startswith("tars: not stopped 0.2 s after SIGTERM, exiting; still there:\n  root/service/worker (incarnation 1)\n")
        assert "task root/service/worker" in error
        assert "in _shielded" in error


@case("D3")
@pytest.mark.parametrize("application", ["blocking", "deadlocked"])
async def test_the_deadline_holds_while_the_event_loop_is_blocked(start: Start, application: str) -> None:
    async with start(f"apps:{application}", "service.stop_deadline_s = 0.2") as running:
        await running.wait_for("blocking")
        running.process.send_signal(signal.SIGTERM)
        code, error = await running.end()

        assert 1 == code
        assert "  root/service/worker (incarnation 1)\n" in error
        assert "thread MainThread:\n" in error
        assert f"in _{application}" in error


async def test_the_deadline_holds_after_the_tree_has_stopped(start: Start) -> None:
    async with start("apps:leaves_a_thread", "service.stop_deadline_s = 0.5") as running:
        await running.wait_for("service_started")
        running.process.send_signal(signal.SIGTERM)
        code, error = await running.end()

        assert "service_stopped" == running.events()[-1]
        assert 1 == code
        assert "thread forgotten:\n" in error


async def test_a_second_signal_is_heard_after_the_tree_has_stopped(start: Start) -> None:
    async with start("apps:leaves_a_thread") as running:
        await running.wait_for("service_started")
        running.process.send_signal(signal.SIGTERM)
        await running.wait_for("service_stopped")
        running.process.send_signal(signal.SIGTERM)

        assert (143, "tars: second signal (SIGTERM), exiting at once\n") == await running.end()


async def test_a_second_signal_ends_the_process_at_once(start: Start) -> None:
    async with start("apps:shielded") as running:
        await running.wait_for("service_started")
        running.process.send_signal(signal.SIGINT)
        await running.wait_for("stop_requested")
        running.process.send_signal(signal.SIGINT)

        assert (130, "tars: second signal (SIGINT), exiting at once\n") == await running.end()


@pytest.mark.parametrize("application", ["blocking", "deadlocked"])
async def test_a_second_signal_ends_a_blocked_process_too(start: Start, application: str) -> None:
    async with start(f"apps:{application}") as running:
        await running.wait_for("blocking")
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGINT)
        code, error = await running.end()

        assert code in (130, 143)  # the kernel may deliver the two in either order
        assert error.startswith("tars: second signal (SIG")


# -- config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("application", "toml", "said"),
    [
        ("apps:nothing", "", "application: \"apps:nothing\" does not exist: module 'apps' has no attribute 'nothing'"),
        ("no_such_module:x", "", "application: \"no_such_module:x\" cannot be found: No module named 'no_such_module'; looked in "),
        ("apps.deeper:x", "", "application: \"apps.deeper:x\" cannot be found: No module named 'apps.deeper'; "),
        ("broken:x", "", "application: \"broken:x\" cannot be imported: No module named 'no_such_module_at_all' ("),
        ("unfinished:x", "", 'application: "unfinished:x" cannot be imported: invalid syntax (unfinished.py, line 1)'),
        ("apps:lacks_a_module", "", "application: \"apps:lacks_a_module\" cannot be imported: No module named 'no_such_module_at_all' ("),
        (
            "apps:cannot_be",
            "",
            "application: \"apps:cannot_be\" describes a tree that cannot be: supervisor 'root': children must be unique",
        ),
        ("apps:gives_nothing", "", 'application: "apps:gives_nothing" gave a value of type NoneType, not a SupervisorSpec'),
        ("apps:has_a_number", "", 'application: "apps:has_a_number" is of type int, not a function'),
        ("not a name", "", 'application: expected "package.module:function", found "not a name"'),
        ("", "", 'application: is missing; expected "package.module:function"'),
        ("apps:runs", "x = = 3", "not TOML: Invalid value (at line 2, column 5)"),
        ("apps:runs", "service.stop_deadline_s = 0", "service.stop_deadline_s: expected a number > 0 and <= 3600, found 0"),
        ("apps:runs", "[log]\nlevl = 'info'\n[mqt]", '2 mistakes\n  log.levl: unknown key; did you mean "level"?\n  mqt: unknown table'),
    ],
)
async def test_a_bad_config_is_exit_code_2_and_a_report(start: Start, tmp_path: Path, application: str, toml: str, said: str) -> None:
    async with start(application, toml) as running:
        code, error = await running.end()

        assert 2 == code
        assert error.startswith(f"{tmp_path}/service.toml: {said}")
        assert "Traceback" not in error


@pytest.mark.parametrize(("name", "said"), [("missing.toml", "no such file"), (".", "cannot be read: Is a directory")])
async def test_a_config_that_is_not_there_is_exit_code_2(tmp_path: Path, name: str, said: str) -> None:
    done = await trio.run_process(
        [sys.executable, "-m", "tars.supervisor", str(tmp_path / name)], capture_stdout=True, capture_stderr=True, check=False
    )

    assert (2, f"{tmp_path / name}: {said}\n") == (done.returncode, done.stderr.decode())


async def test_a_log_file_that_cannot_be_opened_is_exit_code_2(start: Start, tmp_path: Path) -> None:
    async with start("apps:runs", f"log.file = '{tmp_path}'") as running:
        code, error = await running.end()

        assert 2 == code
        assert error.startswith(f"{tmp_path}/service.toml: log.file: cannot be opened: ")


async def test_the_log_goes_to_the_file_too_and_the_environment_sets_its_level(start: Start, tmp_path: Path) -> None:
    async with start("apps:runs", "log.file = 'var/x.log'", {"LOG_LEVEL": "DEBUG"}) as running:
        await running.wait_for("service_started")
        running.process.send_signal(signal.SIGTERM)
        await running.end()
        written = [json.loads(line) for line in (tmp_path / "var/x.log").read_text().splitlines()]

        assert running.log == written
        assert "child_started" in running.events()


async def test_check_prints_the_tree_that_would_run(start: Start) -> None:
    async with start("apps:is_varied", command=CHECK) as running:
        assert running.process.stdout is not None
        said = b"".join([chunk async for chunk in running.process.stdout]).decode()

        assert 0 == await running.process.wait()
        assert [
            "root  supervisor  rest_for_one  permanent  max_restarts=3 in 5 s",
            "  store  worker  permanent  shutdown_s=0",
            "  link  supervisor  one_for_all  permanent  max_restarts=1 in 5 s",
            "    connection  worker  transient  shutdown_s=5",
            "",
        ] == said.splitlines()[:5]


async def test_check_reports_what_run_would(start: Start, tmp_path: Path) -> None:
    async with start("apps:runs", "[log]\nlevel = 'loud'", command=CHECK) as running:
        code, error = await running.end()

        assert 2 == code
        assert error.startswith(f"{tmp_path}/service.toml: log.level: expected one of ")


# -- what came out of the tree --------------------------------------------------------------------


def test_a_tree_that_ends_without_a_signal_gives_the_handlers_back() -> None:
    async def end(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    child = ChildSpec("worker", end, restart=Restart.TEMPORARY, significant=True)
    spec = SupervisorSpec("root", [child], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert 0 == run(spec, stop_deadline_s=1.0)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert -1 == signal.set_wakeup_fd(-1)


def test_an_interrupt_has_no_traceback_and_its_own_code() -> None:
    assert (130, "interrupted") == verdict(BaseExceptionGroup("x", [KeyboardInterrupt()]))


def test_a_fault_of_the_runtime_is_not_dressed_up() -> None:
    assert (1, None) == verdict(BaseExceptionGroup("x", [AssertionError()]))
