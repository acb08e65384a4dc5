"""SIGHUP: read the config file again, and make the running tree what it says.

Laws: one line in the log tells the whole outcome. Nothing a file says, and no bug in the code it names, ends a running service. What
cannot change in a running process is named in that line, not passed over.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeAlias

import attrs
import structlog
import trio

from .config import ConfigError
from .errors import ActorStopped, SpecError, TarsError
from .reconfigure import Changes
from .render import error_values
from .signals import SignalWatch
from .spec import SupervisorSpec
from .tree import Supervisor

UNCHANGED: Final = "nothing has changed"
_FAULTS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError),
    *(OSError, RuntimeError, SyntaxError, SystemExit, TarsError, TypeError, ValueError),
)
"""What a bug in the code that a file names raises while its tree is built."""


@attrs.frozen
class Wanted:
    """What the config file asks for now. `next_start`: the keys that changed and hold from the next start of the process only."""

    spec: SupervisorSpec
    stop_deadline_s: float
    next_start: tuple[str, ...] = ()


Reload: TypeAlias = Callable[[SupervisorSpec], Wanted]
"""Reads the config file again, for a tree that runs as the spec says. Raises `ConfigError`, and nothing has changed then."""


@contextlib.contextmanager
def hangups_later() -> Iterator[None]:
    """A SIGHUP waits until `hangups` listens; one that nobody has listened to by the end of the block is forgotten.

    Put it around all that a process does: what it imports on its way takes a second, and the signal's default is the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        if signal.SIGHUP in signal.sigpending():
            signal.sigwait({signal.SIGHUP})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def hangups_harmless() -> Iterator[None]:
    """While nobody listens a SIGHUP means nothing, rather than the end of the process. Put it around `trio.run`."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def hangups() -> Iterator[AsyncIterator[int]]:
    """Each SIGHUP from now on, and one that waits; those that come while one is dealt with count as one."""
    with trio.open_signal_receiver(signal.SIGHUP) as receiver:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        yield receiver


async def reload_tree(supervisor: Supervisor, watch: SignalWatch, reload: Reload) -> None:
    """One reload. Raises nothing."""
    log = structlog.get_logger()
    stopping: dict[str, object] = {"error": "the service is stopping"}
    if supervisor.is_stopping or watch.received is not None:  # asked first: reading may change what the tree works on
        log.error("reload_failed", **stopping)
        return
    wanted = _read(supervisor.spec, reload)
    if not isinstance(wanted, Wanted):
        log.error("reload_failed", **wanted, consequence=UNCHANGED)
        return
    refusal: dict[str, object]
    try:
        changes = await supervisor.reconfigure(wanted.spec)
    except SpecError as error:
        refusal = {"error": str(error), "consequence": UNCHANGED}
    except ActorStopped:
        refusal = stopping
    else:
        watch.deadline_s = wanted.stop_deadline_s
        _tell(changes, wanted.next_start)
        return
    log.error("reload_failed", **refusal)


def _read(running: SupervisorSpec, reload: Reload) -> Wanted | dict[str, object]:
    """What the file asks for, or the values of the line that says why it cannot be used."""
    try:
        return reload(running)
    except ConfigError as error:
        return {"problems": error.lines}
    except _FAULTS as error:
        return error_values(error, with_traceback=True)


def _tell(changes: Changes, next_start: tuple[str, ...]) -> None:
    log = structlog.get_logger()
    values = {
        "stopped": changes.stopped,
        "started": changes.started,
        "restarted": changes.restarted,
        "failed": {path: str(failure) for path, failure in changes.failed},
        "stuck": changes.stuck,
        "next_start": next_start,
    }
    say = log.error if changes.failed or changes.stuck else log.warning if next_start else log.info
    say("reloaded", **{key: value for key, value in values.items() if value})
