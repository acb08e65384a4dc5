"""The handler actor: one incarnation of one author's actor, one message at a time.

Law: whatever the author's code does ends as a step on the `ladder`, and the loop here never waits for anything
but a message, a tick, the author's code, or the word to stop.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from tars.supervisor import Custody, ExitReason, ExitRequest, MailboxClosed, trap_exit

from .author_code import run_author
from .behaviour import Tick
from .context import Context
from .handler_ports import HandlerPorts
from .handling import Handling
from .in_flight import Delivery, Work
from .ladder import Failed, Ladder
from .thread_context import ThreadContext


async def handler(ports: HandlerPorts, *, task_status: trio.TaskStatus[None]) -> None:
    """Run one incarnation. Raises `Failed`, `Unavailable` or `Escalate`; returns when asked to stop."""
    request = trap_exit()
    task_status.started()  # the mailbox takes messages already; what `started` does is the actor's own affair
    if ports.permission is not None and not await ports.permission.obtain(request):
        return
    ports.box.ledger.begin()
    ports.drain.join(ports.box.name)
    try:
        async with ports.box.mailbox.custody() as custody, trio.open_nursery() as watch:
            ladder = Ladder(ports.box, ports.table, ports.letters, ports.health, ports.emit, custody)
            life = _Life(ports, custody, ladder, request)
            watch.start_soon(life.heed, request.wait)
            watch.start_soon(life.heed, ports.drain.word.wait)
            if ports.permission is not None:
                watch.start_soon(life.heed, ports.permission.lost)
            await life.run()
            watch.cancel_scope.cancel()
    finally:
        ports.drain.leave(ports.box.name)


class _Life:
    """One incarnation."""

    def __init__(self, ports: HandlerPorts, custody: Custody[Work], ladder: Ladder, request: ExitRequest) -> None:
        self._ports = ports
        self._custody = custody
        self._ladder = ladder
        self._request = request
        self._idle = trio.CancelScope()
        self._handling = Handling(ports, custody, ladder, request)
        began = trio.current_time()
        self._due = [(began + tick.interval_s, tick) for tick in ports.behaviour.ticks]
        self._ticked = False  # since the last message: what waits comes before the next tick, however late that is

    async def heed(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Interrupt the idle wait when something is to be done; work is never interrupted."""
        await wait()
        self._idle.cancel()
        self._custody.interrupt()

    async def run(self) -> None:
        behaviour = self._ports.behaviour
        await self._hook("__init__", self._make)
        if behaviour.started is not None:
            await self._hook("started", behaviour.started)
        await self._show_retained()
        while not self._request.is_set():
            if self._ports.drain.word.is_set():
                await self._stop()
                await self._request.wait()
                return
            if self._ports.permission is not None and (refused := self._ports.permission.refused):
                raise Failed(f"the broker refused its filter {refused[0]!r}", retry_after_s=0.0)
            if self._tick_is_due() and not (self._ticked and len(self._ports.box.mailbox)):
                await self._tick()
                self._ticked = True
            elif len(self._ports.box.mailbox):
                must_be_safe = await self._handling.work_off(self._may_go_on)
                if must_be_safe is not None:
                    await self._until_safe(must_be_safe)
                if len(self._ports.box.mailbox):
                    await trio.lowlevel.checkpoint()  # others get a turn
            else:
                await self._wait()
        if self._request.reason is ExitReason.SHUTDOWN:
            await self._stop()

    def _may_go_on(self) -> bool:
        """Is there nothing to do but messages?"""
        ports = self._ports
        ticked, self._ticked = self._ticked, False
        return not (
            self._request.is_set()
            or ports.drain.word.is_set()
            or (ports.permission is not None and ports.permission.refused)
            or (self._tick_is_due() and not ticked)
        )

    def _tick_is_due(self) -> bool:
        return bool(self._due) and self._due[0][0] <= trio.current_time()

    async def _wait(self) -> None:
        try:
            if not self._due:
                await self._custody.wait()
            else:
                with trio.move_on_at(self._due[0][0]):
                    await self._custody.wait()
        except MailboxClosed:  # the actor was taken out of the config: nothing will come
            await self._request.wait()
        self._custody.resume()  # the loop has a look at everything there may be

    async def _stop(self) -> None:
        if self._ports.behaviour.stopping is not None:
            await self._hook("stopping", self._ports.behaviour.stopping)
        self._ports.drain.leave(self._ports.box.name)

    # -- what is not a message -------------------------------------------------------------------

    async def _tick(self) -> None:
        due_at, tick = self._due.pop(0)
        next_at, now = due_at + tick.interval_s, trio.current_time()
        self._due.append((next_at if next_at > now else now + tick.interval_s, tick))  # one that is late comes once
        self._due.sort(key=lambda each: each[0])
        with self._handling.lines.of(None):
            await (self._hook(tick.name, tick.call) if tick.is_async else self._def_tick(tick))
        if not self._ports.behaviour.methods:  # a handled message gives the budget back; here there is none to wait for
            self._ladder.succeeded()

    async def _def_tick(self, tick: Tick) -> None:
        ctx = ThreadContext(Context(self._ports.voice))
        error, late = await self._handling.in_thread(lambda: None, tick.call, self._handling.instance, ctx)
        if late:
            error = self._handling.too_long()
        if error is not None:
            self._ladder.hook_failed(tick.name, error)

    async def _hook(self, name: str, call: Callable[[Any, Context], Awaitable[object]]) -> None:
        """Run `started`, `stopping` or a tick under the same limits as a message."""
        error: Exception | None = None
        with trio.CancelScope(deadline=self._deadline()) as scope:
            error = await run_author(call, self._handling.instance, Context(self._ports.voice, scope=scope))
        if scope.cancelled_caught:
            error = self._handling.too_long()
        if error is not None:
            self._ladder.hook_failed(name, error)

    async def _make(self, _instance: object, _ctx: Context) -> None:
        self._handling.instance = self._ports.behaviour.make()

    async def _show_retained(self) -> None:
        """What earlier incarnations, or other lanes, have seen retained, so that the actor's view of the world is whole."""
        for work in self._ports.box.retained.all():
            if work.subscription not in self._ports.box.subscriptions:
                continue  # taken out of the config
            seen = work.delivery
            shown = attrs.evolve(seen.inbound, retain=True, duplicate=True)
            again = Delivery(shown, 0, key=f"shown|{uuid.uuid4().hex}", message_id=seen.message_id)  # what it makes us say is new
            self._ports.box.retained.forget(work)  # back in when it was handled; if it hurts, it is not shown again
            await self._handling.show(Work(again, work.subscription))

    async def _until_safe(self, delivery: Delivery) -> None:
        """Begin nothing new before a death of the process could not repeat this one: so it repeats one message at most."""
        with self._ports.box.excuse(), trio.CancelScope() as self._idle:
            if not self._request.is_set() and not self._ports.drain.word.is_set():
                await self._ports.table.all_paid(delivery)

    def _deadline(self) -> float:
        return trio.current_time() + self._ports.box.handler_timeout_s
