"""One incarnation of a scenario's worker: how it starts, runs, hangs, ends, and what it does when it must stop."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from tars.supervisor import Escalate, Stop, Unavailable, trap_exit

from .script import AtStart, AtStop, End, Life
from .sim_children import Boom

ENDINGS = {each.value: each for each in End}


def exception(end: End) -> BaseException | None:
    """What an incarnation raises to end so."""
    match end:
        case End.RETURN:
            error: BaseException | None = None
        case End.CRASH:
            error = Boom("a bug")
        case End.STOP:
            error = Stop("done")
        case End.UNAVAILABLE:
            error = Unavailable("nothing there")
        case End.ESCALATE:
            error = Escalate("nobody below can mend this")
        case End.EXIT:
            error = SystemExit(3)
    return error


@attrs.define(eq=False)
class Alive:
    """A life under way. `note` writes into the trace; the commands change what it will do."""

    life: Life
    note: Callable[[str], None]
    _disturbed: trio.Event = attrs.field(factory=trio.Event)
    _end: End | None = None
    _deaf_s: float = 0.0

    # -- what commands do to it -----------------------------------------------------------------

    def order(self, end: End) -> None:
        """End so, now."""
        self._end = end
        self._disturbed.set()

    def hang(self, seconds: float) -> None:
        """Be deaf to everything, from now on."""
        self._deaf_s = seconds
        self._disturbed.set()

    def stop_so(self, how: AtStop, seconds: float = 0.0) -> None:
        """Do this when it must end."""
        self.life = attrs.evolve(self.life, stop=how, stop_s=seconds)

    # -- its life -------------------------------------------------------------------------------

    async def live(self, task_status: trio.TaskStatus[None], up: Callable[[], None]) -> None:
        """From the call of its start function to its end; `up` is called when it has started."""
        request = trap_exit() if self.life.stop is AtStop.TRAP else None
        await self._start()
        if self.life.start is not AtStart.UP:
            return
        task_status.started()
        up()
        if request is None:
            await self._run()
        else:
            await self._run_trapping(request.wait)

    async def _start(self) -> None:
        life = self.life
        if life.start_s:
            self.note(f"takes {life.start_s:g} s to start")
            await trio.sleep(life.start_s)
        if life.start is AtStart.HANG:
            self.note("hangs in its start")
            await trio.sleep_forever()
        elif life.start is AtStart.DECLINE:
            await trio.lowlevel.checkpoint()
        elif life.start is not AtStart.UP:
            _raise(ENDINGS[life.start.value])

    async def _run(self) -> None:
        try:
            await self._work()
        except trio.Cancelled:
            match self.life.stop:
                case AtStop.SWALLOW:
                    self.note("is cancelled, and swallows it")
                case AtStop.RAISE:
                    self.note("is cancelled, and fails in its clean-up")
                    raise Boom("a bug in the clean-up") from None
                case AtStop.TIDY:
                    self.note(f"is cancelled, and cleans up for {self.life.stop_s:g} s")
                    with trio.CancelScope(shield=True):
                        await trio.sleep(self.life.stop_s)
                    raise
                case _:
                    raise

    async def _run_trapping(self, asked: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                await asked()
                self.note(f"is asked to stop, and takes {self.life.stop_s:g} s")
                await trio.sleep(self.life.stop_s)
                nursery.cancel_scope.cancel()

            nursery.start_soon(heed)
            await self._work()
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        """Until the life's own end, or an order."""
        ends_at = math.inf if self.life.run_s is None else trio.current_time() + self.life.run_s
        while self._end is None and trio.current_time() < ends_at:
            with trio.move_on_at(ends_at):
                await self._disturbed.wait()
            self._disturbed = trio.Event()
            if self._deaf_s:
                await self._hang()
        _raise(self._end or self.life.end)

    async def _hang(self) -> None:
        self.note(f"hangs, deaf to everything, for {self._deaf_s:g} s")
        with trio.CancelScope(shield=True):
            await trio.sleep(self._deaf_s)
        self._deaf_s = 0.0
        self.note("hears again")
        await trio.lowlevel.checkpoint()


def _raise(end: End) -> None:
    error = exception(end)
    if error is not None:
        raise error
