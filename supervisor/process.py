"""One tree as a process: start it, stop it on a signal, turn its end into an exit code and one sentence.

Exit codes: 0 stopped cleanly, 1 gave up, refused, or did not stop in time, 128 + n on a second signal n.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import attrs
import structlog
import trio

from .collector import rare_collections
from .errors import Escalate, RestartIntensityExceeded, SpecError, StartFailed
from .events import ChildExited, ChildStarted, ChildStuck, Emit, Event, IntensityExceeded
from .log import event_logger
from .redact import redact
from .reload import Reload, hangups, hangups_harmless, reload_tree
from .render import error_values
from .restart import ExitKind, leaves
from .signals import SignalWatch
from .spec import SupervisorSpec
from .stacks import stack_of
from .tree import Supervisor, supervise

CLEAN: Final = 0
FAILED: Final = 1
BAD_CONFIG: Final = 2

_ENDINGS: Final = (RestartIntensityExceeded, Escalate, StartFailed, SpecError)


@attrs.define
class Roster:
    """Who is alive, told by the events: what a stop that hangs is asked about. Read from another thread."""

    emit: Emit
    main_task: trio.lowlevel.Task | None = None
    ends: Callable[[Event], None] = lambda _: None
    _alive: dict[str, int] = attrs.field(factory=dict)
    _stuck: dict[str, None] = attrs.field(factory=dict)

    def __call__(self, event: Event) -> None:
        """An `Emit` that passes every event on."""
        if isinstance(event, ChildStarted):
            self._alive[event.path] = event.incarnation
        elif isinstance(event, ChildExited):
            self._alive.pop(event.path, None)
            self._stuck.pop(event.path, None)
        elif isinstance(event, ChildStuck):
            self._stuck[event.path] = None
        self.ends(event)
        self.emit(event)

    def stuck(self) -> list[str]:
        """Who may hold the end up: alive, with nothing alive below; first those reported as stuck, for whom the others may be waiting."""
        above = {path[:at] for path in self._alive for at, letter in enumerate(path) if letter == "/"}
        alive = sorted((path not in self._stuck, path, number) for path, number in self._alive.items() if path not in above)
        return [f"{path} (incarnation {number}){'' if waits else ', stuck'}" for waits, path, number in alive]

    def report(self) -> Iterator[str]:
        """Children, then the stacks of all threads, then of all trio tasks. What is surest comes first."""
        yield from (f"  {each}" for each in self.stuck() or ["no child that had started"])
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - public in all but name: the docs list it
            yield f"thread {names.get(ident, ident)}:"
            yield "".join(traceback.format_stack(frame)).rstrip()
        if self.main_task is not None:
            yield stack_of(self.main_task)


def run(spec: SupervisorSpec, *, stop_deadline_s: float, reload: Reload | None = None) -> int:
    """Run `spec` until it ends or a signal ends it; returns the exit code. Call it in the main thread, once per process.

    With `reload`, SIGHUP reconfigures the running tree; a config with mistakes changes nothing.
    """
    log = structlog.get_logger()
    roster = Roster(event_logger(log))
    watch = SignalWatch(stop_deadline_s, roster.report)
    roster.ends = functools.partial(_begin_deadline_when_it_ends, spec.id, watch)
    try:
        with hangups_harmless() if reload is not None else contextlib.nullcontext():
            trio.run(_serve, spec, roster, watch, reload)
    except (BaseExceptionGroup, KeyboardInterrupt) as error:  # all that leaves a nursery does so in a group
        code, said = verdict(error)
        if said is None:
            raise
        log.critical("service_failed", code=code, **error_values(error, with_traceback=False))
        print(f"tars: {spec.id}: {redact(said)}", file=sys.stderr, flush=True)  # noqa: T201 - the one sentence for the user
        return code
    finally:
        watch.keep()
    log.info("service_stopped")
    return CLEAN


def _begin_deadline_when_it_ends(root: str, watch: SignalWatch, event: Event) -> None:
    """What takes the whole tree down starts the deadline as a signal does."""
    fatal = isinstance(event, ChildExited) and event.kind in (ExitKind.ESCALATE, ExitKind.FATAL) and not event.asked
    if fatal or (isinstance(event, IntensityExceeded) and event.path == root):
        watch.begin_deadline()


def verdict(error: BaseException) -> tuple[int, str | None]:
    """The exit code for what came out of the tree and what to say; None for what is a fault of the runtime."""
    found = leaves(error)
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in found):
        return 128 + signal.SIGINT, "interrupted"
    for leaf in found:
        if isinstance(leaf, SystemExit):
            return leaf.code if isinstance(leaf.code, int) else FAILED, f"an actor asked the process to exit ({leaf.code})"
    if all(isinstance(leaf, _ENDINGS) for leaf in found):
        return FAILED, "; ".join(_sentence(leaf) for leaf in found)
    return FAILED, None


def _sentence(error: BaseException) -> str:
    match error:
        case Escalate():
            return f"gave up: {error.reason}"
        case RestartIntensityExceeded():
            return f"gave up: {error}"
        case _:
            return str(error)


async def _serve(spec: SupervisorSpec, roster: Roster, watch: SignalWatch, reload: Reload | None) -> None:
    roster.main_task = trio.lowlevel.current_task()
    log = structlog.get_logger()
    supervisor: Supervisor | None = None
    over = trio.Event()  # the start is: it succeeded, or was cancelled
    starting = trio.CancelScope()

    async def stop_when_asked() -> None:
        await watch.asked.wait()
        log.info("stop_requested", signal=watch.received.name if watch.received else None, deadline_s=watch.deadline_s)
        starting.cancel()
        await over.wait()
        if supervisor is not None:
            await supervisor.stop()

    async def reload_when_told(reload: Reload, told: AsyncIterator[int]) -> None:
        async for _ in told:
            await over.wait()
            if supervisor is not None:
                await reload_tree(supervisor, watch, reload)

    with watch.listening(), contextlib.ExitStack() as to_the_end:
        async with trio.open_nursery() as around:
            around.start_soon(stop_when_asked)
            if reload is not None:  # opened before the tree: what comes while it starts is not lost
                around.start_soon(reload_when_told, reload, to_the_end.enter_context(hangups()))
            async with trio.open_nursery() as inside:
                with starting:
                    supervisor = await inside.start(supervise, spec, roster)
                    to_the_end.enter_context(rare_collections())
                    log.info("service_started", service=spec.id)
                over.set()
            around.cancel_scope.cancel()
