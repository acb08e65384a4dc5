"""Children that will not go, on a real clock (D3).

One that swallows every cancellation is never idle, so that virtual time would not pass with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from support.cases import case
from support.process import service
from tars.actors.mqtt.pulse import Pulse
from tars.supervisor import ChildSpec, ChildStarted, ChildState, ChildStuck, Running, Strategy, SupervisorSpec, supervise

PATIENCE_S = 30

APP = """
import trio
from tars.supervisor import ChildSpec, SupervisorSpec


async def swallow_for_ever(*, task_status):
    task_status.started()
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:  # what a careless retry does
            continue


async def hold_the_door(*, task_status):
    task_status.started()
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def behave(*, task_status):
    task_status.started()
    await trio.sleep_forever()


def application(config):
    config.finish()
    children = [("polite", behave), ("deaf", swallow_for_ever), ("door", hold_the_door), ("last", behave)]
    inner = SupervisorSpec("inner", [ChildSpec(name, start, shutdown_s=0.1) for name, start in children])
    return SupervisorSpec("root", [ChildSpec("first", behave), inner])
"""


@attrs.define(eq=False)
class Events:
    """What the tree says, and a wait for it."""

    seen: list[Any] = attrs.field(factory=list)
    _happened: Pulse = attrs.field(factory=Pulse, init=False)

    def __call__(self, event: Any) -> None:
        self.seen.append(event)
        self._happened.beat()

    def of(self, cls: type[Any], path: str) -> list[Any]:
        return [event for event in self.seen if isinstance(event, cls) and event.path == path]

    async def until(self, cls: type[Any], path: str, count: int = 1) -> Any:
        with trio.fail_after(PATIENCE_S):
            while len(self.of(cls, path)) < count:
                await self._happened.wait()
        return self.of(cls, path)[count - 1]


@attrs.define(eq=False)
class Deaf:
    """Swallows every cancellation until it is `heard`."""

    heard: bool = False
    swallowed: int = 0

    async def retry_for_ever(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        while True:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                if self.heard:
                    raise
                self.swallowed += 1


async def behave(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


@case("D3")
async def test_a_child_that_swallows_every_cancellation_is_reported_once_and_its_supervisor_goes_on_answering() -> None:
    events, deaf = Events(), Deaf()
    spec = SupervisorSpec("root", [ChildSpec("deaf", deaf.retry_for_ever, shutdown_s=0.1), ChildSpec("b", behave)])
    async with trio.open_nursery() as nursery:
        sup = await nursery.start(supervise, spec, events)
        with trio.fail_after(PATIENCE_S), pytest.raises(Running):
            await sup.terminate_child("deaf")
        stuck = await events.until(ChildStuck, "root/deaf")
        with trio.fail_after(PATIENCE_S):
            await sup.start_child(ChildSpec("c", behave))
            await sup.terminate_child("b")
            await sup.restart_child("b")
            with pytest.raises(Running):
                await sup.restart_child("deaf")

        assert {"c": ChildState.RUNNING, "b": ChildState.RUNNING, "deaf": ChildState.STUCK} == {
            child.id: child.state for child in sup.which_children()
        }
        assert "in retry_for_ever" in stuck.stack
        assert deaf.swallowed > 1
        assert (1, 1) == (len(events.of(ChildStuck, "root/deaf")), len(events.of(ChildStarted, "root/deaf")))

        deaf.heard = True
        with trio.fail_after(PATIENCE_S):
            await sup.stop()


@case("D3")
async def test_a_group_restart_waits_for_a_child_that_swallows_cancellations_and_never_doubles_it() -> None:
    events, deaf, crash = Events(), Deaf(), trio.Event()

    async def fail(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await crash.wait()
        raise OSError("broken")

    children = [ChildSpec("deaf", deaf.retry_for_ever, shutdown_s=0.1), ChildSpec("b", fail)]
    async with trio.open_nursery() as nursery:
        sup = await nursery.start(supervise, SupervisorSpec("root", children, strategy=Strategy.ONE_FOR_ALL), events)
        crash.set()
        await events.until(ChildStuck, "root/deaf")
        before = [len(events.of(ChildStarted, path)) for path in ("root/deaf", "root/b")]
        crash = trio.Event()
        deaf.heard = True
        await events.until(ChildStarted, "root/b", 2)

        assert [1, 1] == before
        assert 2 == len(events.of(ChildStarted, "root/deaf"))
        with trio.fail_after(PATIENCE_S):
            await sup.stop()


@case("D3")
async def test_a_process_with_stuck_children_ends_at_its_deadline_with_their_list_and_stacks(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    table = {"application": "app:application", "service": {"stop_deadline_s": 3.0}, "log": {"format": "json", "level": "debug"}}
    async with service(tmp_path, table) as child:
        await child.event("service_started")
        began = trio.current_time()
        child.process.terminate()

        assert 1 == await child.exited()
        assert 3.0 <= trio.current_time() - began < 10

    stuck = child.events("child_stuck")
    assert ["root/inner/door", "root/inner/deaf"] == [line["actor"] for line in stuck]
    assert "in hold_the_door" in stuck[0]["stack"]
    assert "in swallow_for_ever" in stuck[1]["stack"]
    assert ["root/inner/last", "root/inner/polite"] == [line["actor"] for line in child.events("child_exited")]
    assert [
        "tars: not stopped 3 s after SIGTERM, exiting; still there:",
        "  root/inner/deaf (incarnation 1), stuck",
        "  root/inner/door (incarnation 1), stuck",
        "  root/first (incarnation 1)",
    ] == child.stderr.splitlines()[:4]
    assert "in hold_the_door" in child.stderr
    assert "in swallow_for_ever" in child.stderr
