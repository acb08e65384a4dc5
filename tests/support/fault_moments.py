"""The moments at which a fault may strike: how a stage gets there, and how it goes on afterwards.

Law: `enter` returns when the moment is there, not when it might be. `leave` takes away what held it up, and waits for nothing
but what was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from support.fault_stage import ACTORS, KEYS, Stage
from support.process import PATIENCE_S
from support.proxy import PUBLISH, SUBSCRIBE

BEHIND: Final = 4
"""Messages of each key that wait behind the one in hand."""

Step = Callable[[Stage, int], Awaitable[None]]


@attrs.frozen
class Moment:
    """`meaning`: in words. Both steps get the number of messages a flow has; `leave` runs beside what mends the fault."""

    name: str
    meaning: str
    enter: Step
    leave: Step


async def _leave_waiting(stage: Stage) -> None:
    if stage.child is not None:
        assert await stage.stop() == 0
    for key in KEYS:
        stage.send(key)
    await stage.client.confirmed()


async def _session_waits(stage: Stage, _: int) -> None:
    await _leave_waiting(stage)
    stage.proxy.stall()
    before = stage.proxy.connections
    child = await stage.start()
    await child.event("service_started")
    with trio.fail_after(PATIENCE_S):
        await stage.proxy.accepts(before + 1)


async def _session_comes(stage: Stage, _: int) -> None:
    await _leave_waiting(stage)
    stage.proxy.hold_up(connects=True)
    await stage.start()
    with trio.fail_after(PATIENCE_S):
        await stage.proxy.holds(SUBSCRIBE, 1)
    await stage.finish(len(ACTORS))


async def _flows(stage: Stage, _: int) -> None:
    stage.proxy.flow()


async def _nothing_to_do(stage: Stage, _: int) -> None:
    await stage.probe()
    await stage.all_is_done()


async def _go_on(stage: Stage, _: int) -> None:
    for key in KEYS:
        stage.send(key)


async def _hold(stage: Stage) -> None:
    stage.gate.shut()
    for actor in ACTORS:
        stage.send(f"{actor}0", held=True)
    await stage.gate.holds(len(ACTORS))


async def _in_hand(stage: Stage, _: int) -> None:
    await _hold(stage)
    await stage.client.confirmed()


async def _queued(stage: Stage, _: int) -> None:
    await _hold(stage)
    for index in range(BEHIND):
        for key in KEYS:
            stage.send(key, rejected=index == 1 and key.endswith("1"))
    await stage.client.confirmed()
    await stage.probe()


async def _open(stage: Stage, _: int) -> None:
    stage.gate.open()


async def _reply_queued(stage: Stage, _: int) -> None:
    await stage.all_is_done()
    stage.proxy.hold_up()
    for _index in range(BEHIND):
        for key in KEYS:
            stage.send(key)
    await stage.client.confirmed()
    with trio.fail_after(PATIENCE_S):
        await stage.proxy.holds(PUBLISH, len(ACTORS))


async def _release(stage: Stage, _: int) -> None:
    stage.proxy.release_up()


async def _handler_in_backoff(stage: Stage, _: int) -> None:
    stage.backend.unlink(missing_ok=True)
    failed = [len(stage.service.events("child_exited", actor=f"root/service/handlers/{actor}")) for actor in ACTORS]
    for actor in ACTORS:
        stage.send(f"{actor}0", away=True)
    for key in KEYS:
        stage.send(key)
    await stage.client.confirmed()
    for actor, count in zip(ACTORS, failed, strict=True):
        await stage.service.event("child_exited", actor=f"root/service/handlers/{actor}", count=count + 1)


async def _backend_is_back(stage: Stage, _: int) -> None:
    stage.backend.touch()


async def _link_in_backoff(stage: Stage, _: int) -> None:
    await _hold(stage)
    for key in KEYS:
        stage.send(key)
    await stage.client.confirmed()
    await stage.probe()
    stage.strikes()
    stage.proxy.refuse()
    await stage.link_fails()
    stage.gate.open()
    await stage.finish(len(ACTORS) + 1)  # and the probe


async def _link_may_come_back(stage: Stage, _: int) -> None:
    stage.proxy.accept()


async def _in_flow(stage: Stage, count: int) -> None:
    stage.nursery.start_soon(stage.flow, count)
    await stage.client.until(lambda: len(stage.client.sent) - len(stage.client.unanswered) >= min(count // 3, 500), "flow")


async def _flowed(stage: Stage, count: int) -> None:
    """The flow goes on by itself; `settle` waits for its end."""


BEFORE_CONNECT: Final = Moment("before connect", "the process runs, its CONNECT is under way, its session waits", _session_waits, _flows)
SUBSCRIBING: Final = Moment(
    "subscribing",
    "its SUBSCRIBE is under way, each handler has finished a message of the session, nothing is sent yet",
    _session_comes,
    _release,
)
IDLE: Final = Moment("idle", "connected, everything settled", _nothing_to_do, _go_on)
IN_HAND: Final = Moment("in hand", "each handler has a message in hand, nothing waits", _in_hand, _open)
QUEUED: Final = Moment("queued", "messages wait in the mailboxes behind the ones in hand", _queued, _open)
REPLY_QUEUED: Final = Moment(
    "reply queued", "each handler has finished a message, the broker has not confirmed its answer", _reply_queued, _release
)
BACKOFF: Final = Moment("in backoff", "each handler failed on a message and waits for its restart", _handler_in_backoff, _backend_is_back)
LINK_BACKOFF: Final = Moment(
    "link in backoff", "no connection; the answer to what each handler finished lies in the outbox", _link_in_backoff, _link_may_come_back
)
IN_FLOW: Final = Moment("in flow", "messages and answers travel all the time", _in_flow, _flowed)

MOMENTS: Final = (BEFORE_CONNECT, SUBSCRIBING, IDLE, IN_HAND, QUEUED, REPLY_QUEUED, BACKOFF, LINK_BACKOFF, IN_FLOW)
