"""The handler actor: one incarnation of one author's actor, one message at a time.

The failure ladder (law: no rung reaches a neighbour):

* it raises, or exceeds its time: this incarnation ends, the next one gets the message again, `max_attempts` times;
  then the message is a dead letter. That costs the supervisor no intensity, but the actor's own `Ledger`.
* `Reject`: a dead letter at once, no restart. `Unavailable`: the message is kept, costs no attempt, backoff.
* the ledger is spent: the actor is parked, its messages are dead letters, then there is one trial.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from tars.actors.contracts import DecodeError, Envelope, decode_document
from tars.actors.errors import Reject
from tars.supervisor import Custody, Escalate, ExitReason, ExitRequest, Stop, Taken, Unavailable, current, leaves, trap_exit

from .behaviour import Behaviour, Method
from .box import ActorBox
from .context import Context, Voice
from .dead_letter import Why
from .drain import Drain
from .events import ActorParked, ActorRecovered, HandlerFailed, HandlerUnavailable
from .health import Health
from .in_flight import Delivery, InFlight, Work
from .letters import Letters
from .topics import params

_TURN = 64
"""After so many messages without a wait, others get a turn of the scheduler."""


class Failed(Unavailable):
    """An incarnation ends because of what it handled: excused before the supervisor, accounted for in the ledger."""


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
    handler_timeout_s: float
    max_attempts: int


async def handler(ports: HandlerPorts, *, task_status: trio.TaskStatus[None]) -> None:
    """Run one incarnation. Raises `Failed`, `Unavailable` or `Escalate`; returns when asked to stop."""
    request = trap_exit()
    task_status.started()  # the mailbox takes messages already; what `started` does is the actor's own affair
    ports.box.ledger.begin()
    ports.drain.join(ports.box.name)
    try:
        async with ports.box.mailbox.custody() as custody, trio.open_nursery() as watch:
            life = _Life(ports, custody, request)
            watch.start_soon(life.heed, request.wait)
            watch.start_soon(life.heed, ports.drain.word.wait)
            await life.run()
            watch.cancel_scope.cancel()
    finally:
        ports.drain.leave(ports.box.name)


class _Life:
    """One incarnation."""

    def __init__(self, ports: HandlerPorts, custody: Custody[Work], request: ExitRequest) -> None:
        self._ports = ports
        self._custody = custody
        self._request = request
        self._idle = trio.CancelScope()
        self._threads = trio.CapacityLimiter(1)
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
                await self._custody.wait()
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
        self._due.append((max(due_at + tick.interval_s, trio.current_time()), tick))
        self._due.sort(key=lambda each: each[0])
        await self._hook(tick.name, tick.call)

    async def _hook(self, name: str, call: Callable[[Any, Context], Awaitable[object]]) -> None:
        """Run `started`, `stopping` or a tick under the same limits as a message."""
        error: Exception | None = None
        with trio.CancelScope(deadline=self._deadline()) as scope:
            error = await self._run(call, self._instance, Context(self._ports.voice, scope=scope))
        if scope.cancelled_caught:
            error = self._too_long()
        if error is None:
            self._succeeded()
            return
        _let_through(error)
        self._report(name, None, 1, error, final=True)
        raise Failed(f"{name} failed: {_brief(error)}", retry_after_s=self._spend()) from error

    async def _show_retained(self) -> None:
        """After a restart: the last retained message of each topic, so that the actor's view of the world is whole."""
        me = current()
        number = me.number if me is not None else 1
        for work in self._ports.box.retained.all() if number > 1 else ():
            seen = work.delivery
            again = Delivery(attrs.evolve(seen.inbound, retain=True), 0, key=f"{seen.key}|shown#{number}", message_id=seen.message_id)
            self._ports.box.retained.forget(work)  # back in when it was handled; if it hurts, it is not shown again
            await self._handle_one(Work(again, work.subscription), 1, None)

    # -- one message -----------------------------------------------------------------------------

    async def _handle(self, taken: Taken[Work]) -> None:
        self._custody.begin(taken)
        try:
            await self._handle_one(taken.item, taken.attempt, taken)
        except trio.Cancelled:
            self._custody.spare(taken)  # stopped in the middle: not the message's fault
            raise

    async def _handle_one(self, work: Work, attempt: int, taken: Taken[Work] | None) -> None:
        ports = self._ports
        method = ports.behaviour.methods[work.subscription.id]
        try:
            event, envelope = _decode(work, method)
        except DecodeError as unreadable:
            self._set_aside(work, taken, Why.UNDECODABLE, attempt, unreadable)
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
            if method.is_async:
                error = await self._run(method.call, self._instance, event, ctx)
            else:
                scope.deadline = float("inf")
                error = await self._in_thread(method, event, ctx, work, taken)
        if scope.cancelled_caught:
            error = self._too_long()
        if error is None:
            self._done(work, taken)
        else:
            self._failed(work, taken, attempt, error)

    async def _run(self, call: Callable[..., Awaitable[object]], *arguments: object) -> Exception | None:
        try:
            await call(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever the author's code raises, the ladder decides what follows
            return error
        return None

    async def _in_thread(self, method: Method, event: object, ctx: Context, work: Work, taken: Taken[Work] | None) -> Exception | None:
        """A `def` handler. Its thread cannot be stopped: timed out, the message is set aside and we wait for the thread."""
        overdue = False

        async def watch() -> None:
            nonlocal overdue
            await trio.sleep(self._ports.handler_timeout_s)
            overdue = True
            self._set_aside(work, taken, Why.TIMED_OUT, 1, self._too_long())
            self._ports.health.report(self._place, "a worker thread hangs")

        async def in_thread() -> None:
            await trio.to_thread.run_sync(method.call, self._instance, event, ctx, limiter=self._threads)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            error = await self._run(in_thread)
            nursery.cancel_scope.cancel()
        if overdue:
            self._ports.health.report(self._place, None)
            self._report(work.subscription.id, work, 1, self._too_long(), final=True)
            raise Failed(f"a worker thread hung in {work.subscription.id}", retry_after_s=self._spend())
        return error

    # -- how it ended ----------------------------------------------------------------------------

    def _done(self, work: Work, taken: Taken[Work] | None) -> None:
        self._ports.box.retained.handled(work)
        self._leave_hand(work, taken, success=True)
        self._succeeded()

    def _failed(self, work: Work, taken: Taken[Work] | None, attempt: int, error: Exception) -> None:
        """One step down the ladder. Returns only for `Reject`."""
        if all(isinstance(leaf, Reject) for leaf in leaves(error)):
            self._set_aside(work, taken, Why.REJECTED, attempt, leaves(error)[0])
            return
        if any(isinstance(leaf, Unavailable) for leaf in leaves(error)) and _is_said(error):
            self._keep(work, taken, error)
        elif _is_said(error):
            self._leave_hand(work, taken, success=True)  # Stop: handled, and the actor wants a fresh start
        _let_through(error)
        final = taken is None or attempt >= self._ports.max_attempts
        self._report(work.subscription.id, work, attempt, error, final=final)
        if final:
            self._set_aside(work, taken, Why.CRASHED, attempt, error)
        retry_after_s = self._spend()
        if self._ports.box.ledger.parked and not final:
            self._set_aside(work, taken, Why.PARKED, attempt, error)
        raise Failed(f"{work.subscription.id} failed: {_brief(error)}", retry_after_s=retry_after_s) from error

    def _keep(self, work: Work, taken: Taken[Work] | None, error: Exception) -> None:
        """Its backend is down: the message stays, and this costs it no attempt."""
        if taken is not None:
            self._custody.spare(taken)
        else:
            self._ports.box.retained.handled(work)
        delivery = work.delivery
        self._ports.emit(
            HandlerUnavailable(self._ports.box.path, work.subscription.id, delivery.inbound.topic, delivery.message_id, _brief(error))
        )

    def _set_aside(self, work: Work, taken: Taken[Work] | None, why: Why, attempts: int, error: BaseException) -> None:
        self._ports.letters.inbound(work, why, attempts=attempts, error=error)
        self._leave_hand(work, taken, success=False)

    def _leave_hand(self, work: Work, taken: Taken[Work] | None, *, success: bool) -> None:
        if taken is not None:
            self._custody.done(taken)
            self._ports.table.finish(work.delivery, work.subscription.id, success=success)

    def _succeeded(self) -> None:
        if self._ports.box.ledger.succeeded():
            self._ports.health.report(self._place, None)
            self._ports.emit(ActorRecovered(self._ports.box.path))

    def _spend(self) -> float:
        """One failure off the budget; seconds until the next incarnation: 0, or the time in the park."""
        box = self._ports.box
        park_s = box.ledger.failed()
        if park_s is None:
            return 0.0
        box.mailbox.evict("parked", oldest_first=True)
        self._ports.health.report(self._place, f"parked after {box.ledger.failures} failures in a row")
        self._ports.emit(ActorParked(box.path, box.ledger.failures, park_s))
        return park_s

    def _report(self, subscription: str, work: Work | None, attempt: int, error: BaseException, *, final: bool) -> None:
        delivery = work.delivery if work is not None else None
        self._ports.emit(
            HandlerFailed(
                actor=self._ports.box.path,
                subscription=subscription,
                topic=delivery.inbound.topic if delivery else "",
                message_id=delivery.message_id if delivery else "",
                attempt=attempt,
                max_attempts=self._ports.max_attempts,
                final=final,
                error=error,
            )
        )

    @property
    def _place(self) -> str:
        return f"actor {self._ports.box.name}"

    def _deadline(self) -> float:
        return trio.current_time() + self._ports.handler_timeout_s

    def _too_long(self) -> TimeoutError:
        return TimeoutError(f"took longer than handler_timeout_s = {self._ports.handler_timeout_s:g} s")


def _is_said(error: Exception) -> bool:
    """Did the author say something to the supervisor, rather than fail?"""
    return all(isinstance(leaf, (Unavailable, Stop)) for leaf in leaves(error))


def _let_through(error: Exception) -> None:
    """What the author says to the supervisor is not a failure of the message."""
    if any(isinstance(leaf, Escalate) for leaf in leaves(error)):
        raise error
    if _is_said(error):
        if any(isinstance(leaf, Unavailable) for leaf in leaves(error)):
            raise error
        raise Failed(_brief(error), retry_after_s=0.0) from error  # Stop: a fresh start, on purpose


def _decode(work: Work, method: Method) -> tuple[Any, Envelope | None]:
    if method.event_type is bytes:
        return work.delivery.inbound.payload, None
    decoded = decode_document(work.delivery.document(), method.event_type)
    return decoded.event, decoded.envelope


def _brief(error: BaseException) -> str:
    first = leaves(error)[0]
    return f"{type(first).__name__}: {first}"
