"""The scripted workers of the model check: what `model_machine.WorkerProcess` foretells, as a task on trio."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from tars.supervisor import Custody, Escalate, ExitRequest, Mailbox, Stop, Unavailable, trap_exit

from .model_shapes import Ending, Plan, Word
from .sim_children import Boom

RAISES: Final[Mapping[Word, Callable[[Ending], BaseException]]] = {
    Word.CRASH: lambda _: Boom(),
    Word.STOP: lambda _: Stop("done"),
    Word.UNAVAILABLE: lambda ending: Unavailable("outside", retry_after_s=ending.retry_after_s),
    Word.ESCALATE: lambda _: Escalate("no use"),
    Word.MIXED: lambda _: ExceptionGroup("both", [Unavailable("outside"), Boom()]),
    Word.EXIT: lambda _: SystemExit(3),
}
"""How a worker says it; what is not in here is said by returning."""


@attrs.define(eq=False)
class Life:
    """One incarnation of a worker, steered by orders."""

    path: str
    number: int
    plan: Plan
    asked: Callable[[str], None]  # told the path when it notices that it has to go
    custody: Custody[int] | None = None
    _ordered: trio.Event = attrs.field(factory=trio.Event)
    ending: Ending | None = None  # the order

    def order(self, ending: Ending) -> None:
        self.ending = ending
        self._ordered.set()

    async def linger(self, seconds: float) -> Ending | None:
        """Let `seconds` pass, or less when an order comes: then return it."""
        if self.ending is None:
            with trio.move_on_after(seconds):
                await self._ordered.wait()
        return self.ending

    async def work(self, request: ExitRequest | None) -> None:
        """Until an order comes or the request does."""
        if request is None:
            await self._ordered.wait()
            return
        async with trio.open_nursery() as either:
            either.start_soon(_then_cancel, request, either.cancel_scope)
            await self._ordered.wait()
            either.cancel_scope.cancel()

    async def lead(self, mailbox: Mailbox[int] | None, task_status: trio.TaskStatus[None]) -> Ending:
        """This life, as its plan has it. Returns how it ends, or lets its cancellation through."""
        plan = self.plan
        async with contextlib.AsyncExitStack() as stack:
            try:
                request = trap_exit() if plan.traps else None
                early = await self.linger(plan.start_s) or plan.start
                if early is not None:
                    return early
                if mailbox is not None:
                    self.custody = await stack.enter_async_context(mailbox.custody())
                task_status.started()
                await self.work(request)
                if self.ending is None:
                    self.asked(self.path)
                return await self.linger(plan.leave_s) or plan.says or Ending(Word.RETURN)
            except (trio.Cancelled, BaseExceptionGroup):
                if not plan.traps:
                    self.asked(self.path)
                with trio.CancelScope(shield=True):
                    ending = await self.linger(plan.clean_s) or plan.says
                if ending is None:
                    raise
                return ending


async def _then_cancel(request: ExitRequest, scope: trio.CancelScope) -> None:
    await request.wait()
    scope.cancel()
