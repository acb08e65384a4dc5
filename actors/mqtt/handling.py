"""One message after the other through the author's code, with a limit to the time each may take.

Law: whatever the author's code does ends as a step on the `ladder`; between two messages nothing waits but what the law of
`Recorder` asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from tars.actors.contracts import DecodeError
from tars.supervisor import Custody, ExitRequest, Taken

from .author_code import decode, run_author, run_author_in_thread
from .behaviour import Method
from .context import Context
from .dead_letter import Why
from .handler_ports import HandlerPorts
from .in_flight import Delivery, Work
from .journal import MAX_DEATHS
from .ladder import Ladder
from .log_scope import LogScope
from .thread_context import ThreadContext
from .topics import params

_TURN: Final = 64
"""After so many messages without a wait, others get a turn of the scheduler."""
_TURN_S: Final = 0.005
"""Or after so much time: what a message costs without waiting, others wait for once, and not `_TURN` times."""
_SHARP: Final = 0.001
"""A message may be given so much less of its time, in parts of it: a time limit is not moved on more often."""


@attrs.define(eq=False)
class TimeLimit:
    """One trio scope for many messages in turn, its deadline moved on for each: a scope for each costs as much as its decoding."""

    timeout_s: float
    began: float  # trio time
    scope: trio.CancelScope = attrs.field(init=False)
    _deadline: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._deadline = self.began + self.timeout_s
        self.scope = trio.CancelScope(deadline=self._deadline)

    def move_on(self, now: float) -> bool:
        """Give the next message its time. False: this scope is of no more use, its time was up or somebody else has set it."""
        if now >= self._deadline or self.scope.deadline != self._deadline:
            return False
        if now - self.began > self.timeout_s * _SHARP:
            self.began = now
            self._deadline = self.scope.deadline = now + self.timeout_s
        return True


class Handling:
    """The messages of one incarnation; `instance` is the author's."""

    def __init__(self, ports: HandlerPorts, custody: Custody[Work], ladder: Ladder, request: ExitRequest) -> None:
        self.instance: Any = None
        self.lines = LogScope()
        self._ports = ports
        self._custody = custody
        self._ladder = ladder
        self._request = request
        self._threads = trio.CapacityLimiter(1)

    async def work_off(self, may_go_on: Callable[[], bool]) -> Delivery | None:
        """Handle what is there, as long as it `may_go_on` and others need no turn.

        Returns a delivery that must be safe before anything else is begun.
        """
        ports, box = self._ports, self._ports.box
        taken: Taken[Work] | None = None
        began = trio.current_time()
        limit = TimeLimit(box.handler_timeout_s, began)
        try:
            with limit.scope:
                for _ in range(_TURN):
                    now = trio.current_time()
                    if now - began > _TURN_S or not may_go_on() or not limit.move_on(now) or (taken := self._custody.receive_one()) is None:
                        break
                    if self._is_new_to_us(taken.item):
                        break
                    self._custody.begin(taken)
                    box.busy_since = now
                    await self._handle(taken.item, taken.attempt, taken, limit.scope)
                    box.busy_since = None
                    delivery, taken = taken.item.delivery, None
                    if ports.recorder is not None and ports.recorder.guards(delivery):
                        return delivery
        except (trio.Cancelled, BaseExceptionGroup):  # the author's nursery makes a group of the first
            if taken is not None:
                self._custody.spare(taken)  # stopped in the middle: not the message's fault
            raise
        finally:
            box.busy_since = None
        if taken is None:
            return None
        if limit.scope.cancelled_caught:
            self._ladder.failed(taken.item, taken, taken.attempt, self.too_long())
        else:
            await self._request.wait()  # this incarnation is about to end, the next one knows the subscription
        return None

    async def show(self, work: Work) -> None:
        """Handle `work` though it is in nobody's custody and settles nothing."""
        with trio.CancelScope(deadline=trio.current_time() + self._ports.box.handler_timeout_s) as scope:
            await self._handle(work, 1, None, scope)
        if scope.cancelled_caught:
            self._ladder.failed(work, None, 1, self.too_long())

    def _is_new_to_us(self, work: Work) -> bool:
        """Has a reload added its subscription?"""
        subscription = work.subscription
        return subscription.id not in self._ports.behaviour.methods and subscription in self._ports.box.subscriptions

    async def _handle(self, work: Work, attempt: int, taken: Taken[Work] | None, scope: trio.CancelScope) -> None:
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
        if ports.journal.suspects and not await self._may_run(work, attempt, taken, scope):
            return
        ctx = Context(
            ports.voice,
            delivery=work.delivery,
            subscription_id=work.subscription.id,
            params=params(work.subscription.template, work.delivery.inbound.topic),
            envelope=envelope,
            attempt=attempt,
            scope=scope,
        )
        ports.journal.begin(ports.box.name, work, attempt)
        try:
            with self.lines.of(ctx):
                if method.is_async:
                    error = await run_author(method.call, self.instance, event, ctx)
                else:
                    scope.deadline = float("inf")
                    error = await self._call_in_thread(method, event, ctx, work, taken)
        finally:
            ports.journal.end(ports.box.name)
        if error is None:
            self._ladder.done(work, taken)
        else:
            self._ladder.failed(work, taken, attempt, error)

    async def _may_run(self, work: Work, attempt: int, taken: Taken[Work] | None, scope: trio.CancelScope) -> bool:
        """What a process has died of takes its turn with other such messages; what two have died of is not run."""
        box, journal = self._ports.box, self._ports.journal
        deaths = journal.deaths(work)
        if deaths >= MAX_DEATHS:
            error = f"{deaths} processes died with it in hand"
            self._ladder.set_aside(work, taken, Why.QUARANTINED, deaths + attempt - 1, error)
            return False
        if deaths:
            scope.deadline = float("inf")
            with box.excuse():
                await journal.turn(box.name)
            scope.deadline = trio.current_time() + box.handler_timeout_s
        return True

    async def in_thread(
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
            self._ladder.set_aside(work, taken, Why.TIMED_OUT, ctx.attempt, self.too_long())

        error, late = await self.in_thread(overdue, method.call, self.instance, event, ThreadContext(ctx))
        if late:
            self._ladder.thread_hung(work, ctx.attempt, self.too_long())
        return error

    def too_long(self) -> TimeoutError:
        """What exceeding `handler_timeout_s` is."""
        return TimeoutError(f"took longer than handler_timeout_s = {self._ports.box.handler_timeout_s:g} s")
