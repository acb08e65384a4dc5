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

from tars.actors.contracts import DecodeError
from tars.supervisor import Custody, ExitReason, ExitRequest, MailboxClosed, Taken, trap_exit

from .author_code import decode, run_author, run_author_in_thread
from .behaviour import Behaviour, Method, Tick
from .box import ActorBox
from .context import Context, Voice
from .dead_letter import Why
from .drain import Drain
from .health import Health
from .in_flight import Delivery, InFlight, Work
from .journal import MAX_DEATHS, Journal
from .ladder import Failed, Ladder
from .letters import Letters
from .log_scope import LogScope
from .permission import Permission
from .recorder import Recorder
from .thread_context import ThreadContext
from .topics import params

_TURN = 64
"""After so many messages without a wait, others get a turn of the scheduler."""


@attrs.frozen(eq=False)
class HandlerPorts:
    """Everything an actor works with; all of it outlives the incarnation."""

    box: ActorBox
    behaviour: Behaviour
    voice: Voice
    table: InFlight
    letters: Letters
    drain: Drain
    health: Health
    emit: Callable[[object], None]
    permission: Permission | None = None  # None: it runs without what the broker refuses it
    journal: Journal = attrs.field(factory=Journal)  # as it comes it notes nothing
    recorder: Recorder | None = None


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
        self._threads = trio.CapacityLimiter(1)
        self._lines = LogScope()
        self._instance: Any = None
        self._busy = 0
        began = trio.current_time()
        self._due = [(began + tick.interval_s, tick) for tick in ports.behaviour.ticks]

    async def heed(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Interrupt the idle wait when something is to be done; work is never interrupted."""
        await wait()
        self._idle.cancel()

    async def run(self) -> None:
        behaviour = self._ports.behaviour
        self._instance = behaviour.make()
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
            if self._due and self._due[0][0] <= trio.current_time():
                await self._tick()
            elif taken := self._custody.receive_nowait(1):
                await self._handle(taken[0])
                await self._give_a_turn()
            else:
                await self._wait()
        if self._request.reason is ExitReason.SHUTDOWN:
            await self._stop()

    async def _wait(self) -> None:
        deadline = self._due[0][0] if self._due else float("inf")
        with trio.CancelScope(deadline=deadline) as self._idle:
            if not self._request.is_set() and not self._ports.drain.word.is_set():
                try:
                    await self._custody.wait()
                except MailboxClosed:  # the actor was taken out of the config: nothing will come
                    await self._request.wait()
        self._busy = 0

    async def _give_a_turn(self) -> None:
        self._busy += 1
        if self._busy >= _TURN:
            self._busy = 0
            await trio.lowlevel.checkpoint()

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
        with self._lines.of(None):
            await (self._hook(tick.name, tick.call) if tick.is_async else self._def_tick(tick))
        if not self._ports.behaviour.methods:  # a handled message gives the budget back; here there is none to wait for
            self._ladder.succeeded()

    async def _def_tick(self, tick: Tick) -> None:
        ctx = ThreadContext(Context(self._ports.voice))
        error, late = await self._in_thread(lambda: None, tick.call, self._instance, ctx)
        if late:
            error = self._too_long()
        if error is not None:
            self._ladder.hook_failed(tick.name, error)

    async def _hook(self, name: str, call: Callable[[Any, Context], Awaitable[object]]) -> None:
        """Run `started`, `stopping` or a tick under the same limits as a message."""
        error: Exception | None = None
        with trio.CancelScope(deadline=self._deadline()) as scope:
            error = await run_author(call, self._instance, Context(self._ports.voice, scope=scope))
        if scope.cancelled_caught:
            error = self._too_long()
        if error is not None:
            self._ladder.hook_failed(name, error)

    async def _show_retained(self) -> None:
        """What earlier incarnations, or other lanes, have seen retained, so that the actor's view of the world is whole."""
        for work in self._ports.box.retained.all():
            if work.subscription not in self._ports.box.subscriptions:
                continue  # taken out of the config
            seen = work.delivery
            shown = attrs.evolve(seen.inbound, retain=True, duplicate=True)
            again = Delivery(shown, 0, key=f"shown|{uuid.uuid4().hex}", message_id=seen.message_id)  # what it makes us say is new
            self._ports.box.retained.forget(work)  # back in when it was handled; if it hurts, it is not shown again
            await self._handle_one(Work(again, work.subscription), 1, None)

    # -- one message -----------------------------------------------------------------------------

    async def _handle(self, taken: Taken[Work]) -> None:
        subscription = taken.item.subscription
        if subscription.id not in self._ports.behaviour.methods and subscription in self._ports.box.subscriptions:
            await self._request.wait()  # a reload has added it: this incarnation is about to end, the next one knows it
            return
        self._custody.begin(taken)
        self._ports.box.busy_since = trio.current_time()
        try:
            await self._handle_one(taken.item, taken.attempt, taken)
        except trio.Cancelled:
            self._custody.spare(taken)  # stopped in the middle: not the message's fault
            raise
        finally:
            self._ports.box.busy_since = None
        if self._ports.recorder is not None and self._ports.recorder.guards(taken.item.delivery):
            await self._until_safe(taken.item)

    async def _until_safe(self, work: Work) -> None:
        """Begin nothing new before a death of the process could not repeat this one: so it repeats one message at most."""
        with self._ports.box.excuse(), trio.CancelScope() as self._idle:
            if not self._request.is_set() and not self._ports.drain.word.is_set():
                await self._ports.table.all_paid(work.delivery)

    async def _handle_one(self, work: Work, attempt: int, taken: Taken[Work] | None) -> None:
        ports = self._ports
        method = ports.behaviour.methods.get(work.subscription.id)
        if method is None:
            self._ladder.set_aside(work, taken, Why.REMOVED, attempt, "its subscription was taken out of the config")
            return
        try:
            event, envelope = decode(work, method)
        except DecodeError as unreadable:
            self._ladder.set_aside(work, taken, Why.UNDECODABLE, attempt, unreadable)
            return
        if ports.journal.suspects and not await self._may_run(work, attempt, taken):
            return
        error: Exception | None = None
        with trio.CancelScope(deadline=self._deadline()) as scope:
            inbound = work.delivery.inbound
            ctx = Context(
                ports.voice,
                delivery=work.delivery,
                subscription_id=work.subscription.id,
                params=params(work.subscription.template, inbound.topic),
                envelope=envelope,
                attempt=attempt,
                scope=scope,
            )
            ports.journal.begin(ports.box.name, work, attempt)
            try:
                with self._lines.of(ctx):
                    if method.is_async:
                        error = await run_author(method.call, self._instance, event, ctx)
                    else:
                        scope.deadline = float("inf")
                        error = await self._call_in_thread(method, event, ctx, work, taken)
            finally:
                ports.journal.end(ports.box.name)
        if scope.cancelled_caught:
            error = self._too_long()
        if error is None:
            self._ladder.done(work, taken)
        else:
            self._ladder.failed(work, taken, attempt, error)

    async def _may_run(self, work: Work, attempt: int, taken: Taken[Work] | None) -> bool:
        """What a process has died of takes its turn with other such messages; what two have died of is not run."""
        box, journal = self._ports.box, self._ports.journal
        deaths = journal.deaths(work)
        if deaths >= MAX_DEATHS:
            error = f"{deaths} processes died with it in hand"
            self._ladder.set_aside(work, taken, Why.QUARANTINED, deaths + attempt - 1, error)
            return False
        if deaths:
            with box.excuse():
                await journal.turn(box.name)
        return True

    async def _in_thread(
        self, overdue: Callable[[], None], call: Callable[..., object], *arguments: object
    ) -> tuple[Exception | None, bool]:
        """See `run_author_in_thread`. While the thread hangs, health says so."""

        def on_late() -> None:
            self._ladder.report_health("a worker thread hangs")
            overdue()

        timeout_s = self._ports.box.handler_timeout_s
        error, late = await run_author_in_thread(call, *arguments, timeout_s=timeout_s, on_late=on_late, limiter=self._threads)
        if late:
            self._ladder.report_health(None)
        return error, late

    async def _call_in_thread(self, method: Method, event: object, ctx: Context, work: Work, taken: Taken[Work] | None) -> Exception | None:
        """A `def` handler. Timed out, its message is a dead letter at once, and a new incarnation waits for the thread."""

        def overdue() -> None:
            self._ladder.set_aside(work, taken, Why.TIMED_OUT, ctx.attempt, self._too_long())

        error, late = await self._in_thread(overdue, method.call, self._instance, event, ThreadContext(ctx))
        if late:
            self._ladder.thread_hung(work, ctx.attempt, self._too_long())
        return error

    def _deadline(self) -> float:
        return trio.current_time() + self._ports.box.handler_timeout_s

    def _too_long(self) -> TimeoutError:
        return TimeoutError(f"took longer than handler_timeout_s = {self._ports.box.handler_timeout_s:g} s")
