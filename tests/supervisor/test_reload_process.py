"""SIGHUP, through the command line: the file is read again, and one line of the log tells the whole outcome (B9)."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.cases import case
from support.process import Child, gated, service, toml
from tars.supervisor.reload import hangups_later

APP = '''
"""A tree whose children stand in the file: ``[children.NAME] version, fate``."""

import sys

import structlog
import trio
from tars.supervisor import ChildSpec, Strategy, SupervisorSpec, trap_exit


async def live(name, fate, port, *, task_status):
    request = trap_exit()
    log = structlog.get_logger()
    if fate == "starts slowly":
        log.info("starting_slowly")
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.receive_some(1)
    if fate == "fails":
        raise OSError("port in use")
    task_status.started()
    log.info("up", child=name)
    await request.wait()
    if fate == "stops slowly":
        log.info("stopping_slowly")
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.receive_some(1)


def application(config):
    port = config.value("port", int, default=0)
    fault = config.value("fault", str, default="")
    strategy = config.value("strategy", str, default="one_for_one")
    children = config.value("children", dict, default={})
    config.finish()
    if fault == "bug":
        raise KeyError("no such thing")
    if fault == "exit":
        sys.exit(3)

    def child(name, table):
        start = lambda *, task_status: live(name, table.get("fate", ""), port, task_status=task_status)
        return ChildSpec(name, start, made_from=table)

    return SupervisorSpec("root", [child(*each) for each in children.items()], strategy=Strategy(strategy))


other = application
'''
Table = dict[str, Any]


def tables(port: int = 0, *, application: str = "app:application", more: Mapping[str, Any] | None = None, **children: Any) -> Table:
    """``a=1`` is version 1 of a child ``a``; ``a="fails"`` one with that fate."""
    each = {name: {"fate": what} if isinstance(what, str) else {"version": what} for name, what in children.items()}
    return {"application": application, "port": port, "log": {"format": "json"}, **(more or {}), "children": each}


@asynccontextmanager
async def running(folder: Path, table: Table, until: str = "service_started") -> AsyncIterator[Child]:
    (folder / "app.py").write_text(APP)
    async with service(folder, table) as child:
        await child.event(until)
        yield child


def rewrite(folder: Path, table: Table | str) -> None:
    (folder / "service.toml").write_text(table if isinstance(table, str) else toml(table))


async def reload(child: Child, folder: Path, table: Table | str, outcome: str = "reloaded") -> dict[str, Any]:
    """The line that tells of it, without what every line has."""
    rewrite(folder, table)
    count = len(child.events(outcome)) + 1
    child.signal(signal.SIGHUP)
    line = await child.event(outcome, count=count)
    return {key: value for key, value in line.items() if key not in {"ts", "event"}}


async def stopped_cleanly(child: Child) -> bool:
    child.signal(signal.SIGTERM)
    return await child.exited() == 0 and child.stderr == ""


@case("B9")
async def test_what_was_removed_added_and_changed_is_told_in_one_line(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1, b=1, c=1)) as child:
        told = await reload(child, tmp_path, tables(a=1, b=2, d=1))

        assert {"level": "info", "stopped": ["root/c"], "started": ["root/d"], "restarted": ["root/b"]} == told
        assert 1 == len(child.events("reloaded"))
        assert {"level": "info"} == await reload(child, tmp_path, tables(a=1, b=2, d=1))
        assert await stopped_cleanly(child)
    assert ["a", "b", "c", "b", "d"] == [line["child"] for line in child.events("up")]


@case("B9")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('application = "app:application"\nchild = 1\nport = "x"\n', ["port", "child: unknown key"], id="mistakes"),
        pytest.param("application = \n", ["not TOML"], id="not TOML"),
        pytest.param(tables(application="app:nothing"), ['"app:nothing" does not exist'], id="no such application"),
        pytest.param(tables(more={"log": {"format": "xml"}}), ["log.format"], id="the runtime's own table"),
    ],
)
async def test_a_file_with_mistakes_changes_nothing_and_the_line_holds_them_all(tmp_path: Path, text: Table | str, said: list[str]) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        told = await reload(child, tmp_path, text, "reload_failed")

        assert ("error", "nothing has changed") == (told["level"], told["consequence"])
        assert len(said) == len(told["problems"])
        for each, problem in zip(said, told["problems"], strict=True):
            assert each in problem
        assert ["root/b"] == (await reload(child, tmp_path, tables(a=1, b=1)))["started"]
        assert await stopped_cleanly(child)
    assert ["a", "b"] == [line["child"] for line in child.events("up")]


@case("B9")
async def test_a_file_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        (tmp_path / "service.toml").unlink()
        child.signal(signal.SIGHUP)
        told = await child.event("reload_failed")

        assert (["no such file"], "nothing has changed") == (told["problems"], told["consequence"])
        assert await stopped_cleanly(child)


@case("B9")
@pytest.mark.parametrize(("fault", "error_type"), [("bug", "KeyError"), ("exit", "SystemExit")])
async def test_a_bug_in_what_the_file_names_does_not_end_the_service(tmp_path: Path, fault: str, error_type: str) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        told = await reload(child, tmp_path, tables(more={"fault": fault}, a=1), "reload_failed")

        assert (error_type, "nothing has changed") == (told["error_type"], told["consequence"])
        assert "in application" in told["traceback"]
        assert await stopped_cleanly(child)


@case("B9")
async def test_a_strategy_that_cannot_change_is_refused_whole(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        told = await reload(child, tmp_path, tables(more={"strategy": "one_for_all"}, a=2), "reload_failed")

        assert "strategy cannot change" in told["error"]
        assert 1 == len(child.events("up"))
        assert await stopped_cleanly(child)


@case("B9")
async def test_a_new_actor_that_fails_to_start_is_told_and_tried_again_the_next_time(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        told = await reload(child, tmp_path, tables(a=1, b="fails", c=1))

        assert ("error", ["root/c"], ["root/b"]) == (told["level"], told["started"], list(told["failed"]))
        assert "OSError: port in use" in told["failed"]["root/b"]
        assert ["root/b"] == list((await reload(child, tmp_path, tables(a=1, b="fails", c=1)))["failed"])
        assert {"level": "info", "started": ["root/b"]} == await reload(child, tmp_path, tables(a=1, b=1, c=1))
        assert await stopped_cleanly(child)


@case("B9")
async def test_what_cannot_change_in_a_running_process_is_named(tmp_path: Path) -> None:
    later = {"log": {"format": "json", "level": "debug", "file": "service.log"}}
    async with running(tmp_path, tables(a=1)) as child:
        told = await reload(child, tmp_path, tables(more=later, a=2))

        assert {"level": "warning", "restarted": ["root/a"], "next_start": ["log.level", "log.file"]} == told
        assert ["log.level", "log.file"] == (await reload(child, tmp_path, tables(more=later, a=2)))["next_start"]
        assert await stopped_cleanly(child)


@case("B9")
async def test_a_changed_stop_deadline_holds_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        await reload(child, tmp_path, tables(more={"service": {"stop_deadline_s": 5.5}}, a=1))
        child.signal(signal.SIGTERM)

        assert 5.5 == (await child.event("stop_requested"))["deadline_s"]
        assert 0 == await child.exited()


@case("B9")
async def test_an_application_of_another_name_is_built_anew(tmp_path: Path) -> None:
    async with running(tmp_path, tables(a=1)) as child:
        assert {"level": "info", "started": ["root/b"]} == await reload(child, tmp_path, tables(application="app:other", a=1, b=1))
        assert await stopped_cleanly(child)


@case("B9")
async def test_a_sighup_during_the_start_is_answered_when_everything_is_up(tmp_path: Path) -> None:
    async with gated() as gate, running(tmp_path, tables(gate.port, a="starts slowly"), "starting_slowly") as child:
        await gate.holds(1)
        rewrite(tmp_path, tables(gate.port, a="starts slowly", b=1))
        child.signal(signal.SIGHUP)
        gate.open()

        assert ["root/b"] == (await child.event("reloaded"))["started"]
        assert ["up", "service_started", "up", "reloaded"] == [
            line["event"] for line in child.lines if line["event"] in {"up", "service_started", "reloaded"}
        ]
        assert await stopped_cleanly(child)


@case("B9")
async def test_of_two_in_a_row_the_last_file_holds(tmp_path: Path) -> None:
    """The second comes while the first waits for a child to go; what came in between counts as one."""
    async with gated() as gate, running(tmp_path, tables(gate.port, a="stops slowly", b=1)) as child:
        rewrite(tmp_path, tables(gate.port, b=1))
        child.signal(signal.SIGHUP)
        await gate.holds(1)
        rewrite(tmp_path, tables(gate.port, b=2, c=1))
        child.signal(signal.SIGHUP)
        child.signal(signal.SIGHUP)
        gate.open()
        second = await child.event("reloaded", count=2)

        assert ["root/a"] == child.events("reloaded")[0]["stopped"]
        assert (["root/b"], ["root/c"]) == (second["restarted"], second["started"])
        assert await stopped_cleanly(child)
    assert 2 == len(child.events("reloaded"))


@case("B9")
async def test_a_sighup_during_the_stop_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with gated() as gate, running(tmp_path, tables(gate.port, a="stops slowly")) as child:
        child.signal(signal.SIGTERM)
        await gate.holds(1)
        rewrite(tmp_path, tables(gate.port, b=1))
        child.signal(signal.SIGHUP)
        told = await child.event("reload_failed")
        gate.open()

        assert ("error", "the service is stopping") == (told["level"], told["error"])
        assert 0 == await child.exited()
    assert ["a"] == [line["child"] for line in child.events("up")]


@case("B9")
async def test_a_stop_in_the_middle_of_a_reload_ends_both(tmp_path: Path) -> None:
    async with gated() as gate, running(tmp_path, tables(gate.port, a="stops slowly", b=1)) as child:
        rewrite(tmp_path, tables(gate.port, b=2, c=1))
        child.signal(signal.SIGHUP)
        await gate.holds(1)
        child.signal(signal.SIGTERM)
        await child.event("stop_requested")
        gate.open()

        assert 0 == await child.exited()
    assert ["the service is stopping"] == [line["error"] for line in child.events("reload_failed")]
    assert "" == child.stderr


# -- before anybody listens -----------------------------------------------------------------------

HUNG_UP = """

import os, pathlib, signal

pathlib.Path("service.toml").write_text(pathlib.Path("next.toml").read_text())
os.kill(os.getpid(), signal.SIGHUP)
"""
"""What stands at the end of a module while it is imported: the file changes, and somebody says so."""


@case("B9")
async def test_a_hangup_while_the_service_is_still_being_imported_waits_and_is_heard(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP + HUNG_UP)
    (tmp_path / "next.toml").write_text(toml(tables(a=1, b=1)))
    async with service(tmp_path, tables(a=1)) as child:
        told = await child.event("reloaded")

        assert ["root/b"] == told["started"]
        assert await stopped_cleanly(child)
    assert 1 == len(child.events("reloaded"))


@case("B9")
async def test_a_hangup_on_the_way_to_a_refusal_does_not_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP + HUNG_UP)
    (tmp_path / "next.toml").write_text("")
    async with service(tmp_path, tables(more={"no_such_table": {"x": 1}})) as child:
        assert 2 == await child.exited()
    assert "no_such_table: unknown table" in child.stderr


def test_a_hangup_that_nobody_listened_to_is_forgotten_and_the_next_means_what_it_did() -> None:
    with hangups_later():
        signal.raise_signal(signal.SIGHUP)

        assert {signal.SIGHUP} == signal.sigpending()
    assert (set(), set()) == (signal.sigpending(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
