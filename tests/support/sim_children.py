"""Scripted children: start functions with a fault at a named point.

Each behaviour is one incarnation. It writes down what happens to it: ``start`` (its function was called), ``up`` (it
called `started`), ``asked`` (its `ExitRequest` fired, or it was cancelled), and ``down`` (its function is left).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
import trio

from tars.supervisor import ExitRequest, trap_exit


class Boom(Exception):
    """A bug in a child."""


@attrs.define(eq=False)
class Life:
    """One incarnation of a scripted child."""

    name: str
    number: int
    _note: Callable[..., None]
    _status: trio.TaskStatus[object]
    gone: bool = False
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _error: BaseException | None = None

    def note(self, word: str) -> None:
        self._note(word, self.name)

    def ready(self, value: object = None) -> None:
        self.note("up")
        self._status.started(value)

    def order(self, error: BaseException | None) -> None:
        self._error = error
        self._wake.set()

    async def obey(self) -> None:
        """Wait for an order, then return or raise as it says."""
        await self._wake.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)  # one exception serves many runs: it shall not collect their frames

    async def live(self, behaviour: Behaviour) -> None:
        self.note("start")
        try:
            await behaviour(self)
        except trio.Cancelled:
            self.note("cancelled")
            raise
        finally:
            self.gone = True
            self.note("down")


Behaviour: TypeAlias = Callable[[Life], Awaitable[None]]


async def obey(life: Life) -> None:
    """Start, then run until told how to end."""
    life.ready()
    await life.obey()


def after(seconds: float, error: BaseException | None = None) -> Behaviour:
    """Start, run for `seconds`, then raise `error` or return."""

    async def run(life: Life) -> None:
        life.ready()
        await trio.sleep(seconds)
        if error is not None:
            raise error.with_traceback(None)

    return run


def fail_to_start(error: BaseException, seconds: float = 0) -> Behaviour:
    """Raise `seconds` after being called, before `started`."""

    async def run(life: Life) -> None:
        await trio.sleep(seconds)
        life.note("failing")
        raise error.with_traceback(None)

    return run


async def decline(life: Life) -> None:
    """Return without `started` (OTP's ``ignore``)."""
    await trio.lowlevel.checkpoint()
    life.note("decline")


async def hang_in_start(life: Life) -> None:
    """Never call `started`."""
    life.note("hang")
    await trio.sleep_forever()


def start_slowly(seconds: float) -> Behaviour:
    """Need `seconds` to start, then obey."""

    async def run(life: Life) -> None:
        await trio.sleep(seconds)
        await obey(life)

    return run


def tidy_up(seconds: float) -> Behaviour:
    """Obey; when cancelled, clean up for `seconds` behind a shield. An hour of that is a stuck child."""

    async def run(life: Life) -> None:
        life.ready()
        try:
            await life.obey()
        except trio.Cancelled:
            life.note("asked")
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            raise

    return run


def trap(seconds: float, then: BaseException | None = None, seen: Callable[[ExitRequest], None] = lambda _: None) -> Behaviour:
    """Trap exits; when asked, hand the request to `seen`, take `seconds`, then return or raise `then`."""

    async def run(life: Life) -> None:
        request = trap_exit()
        life.ready()
        await request.wait()
        life.note("asked")
        seen(request)
        await trio.sleep(seconds)
        if then is not None:
            raise then.with_traceback(None)

    return run


async def swallow_cancel(life: Life) -> None:
    """Catch the cancellation like a careless retry loop, and return as if nothing had happened."""
    life.ready()
    try:
        await life.obey()
    except trio.Cancelled:
        life.note("asked")


def raise_in_finally(error: BaseException) -> Behaviour:
    """Obey; whatever ends it, clean-up raises `error` instead."""

    async def run(life: Life) -> None:
        life.ready()
        try:
            await life.obey()
        finally:
            life.note("asked")
            raise error.with_traceback(None)

    return run


def nursery_with(error: BaseException) -> Behaviour:
    """Work in a nursery of its own: its failures arrive in groups, mixed with its siblings' cancellations."""

    async def run(life: Life) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            life.ready()
            await life.obey()
            raise error.with_traceback(None)

    return run
