"""Running what an author wrote, with what it asks for.

Law: whatever comes out of it is handed back as a value, for the ladder to decide what follows; only the word to stop passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tars.actors.contracts import Envelope, decode_document
from tars.supervisor import leaves

from .behaviour import Method
from .in_flight import Work


def decode(work: Work, method: Method) -> tuple[Any, Envelope | None]:
    """What `method` gets of the message, and its envelope, if it has one. Raises `DecodeError`."""
    if method.event_type is bytes:
        return work.delivery.inbound.payload, None
    decoded = decode_document(work.delivery.document(), method.event_type)
    return decoded.event, decoded.envelope


async def run_author(call: Callable[..., Awaitable[object]], *arguments: object) -> Exception | None:
    """Run an ``async def``; returns what it raised. A `sys.exit` is an error like any other."""
    try:
        await call(*arguments)
    except SystemExit as leaving:
        return _exited(leaving, leaving)
    except BaseExceptionGroup as group:
        exits, rest = group.split(SystemExit)
        if rest is not None and not isinstance(rest, Exception):  # the word to stop: what fails on the way out is no news
            raise rest.split(Exception)[1] or rest from None
        if exits is None:
            return rest
        error = _exited(leaves(exits)[0], group)
        return error if rest is None else ExceptionGroup("and another", [error, rest])
    except Exception as error:  # noqa: BLE001 - whatever the author's code raises, the ladder decides what follows
        return error
    return None


async def run_author_in_thread(
    call: Callable[..., object], *arguments: object, timeout_s: float, on_late: Callable[[], None], limiter: trio.CapacityLimiter
) -> tuple[Exception | None, bool]:
    """Run a `def` in a worker thread: its error, and whether it took longer than `timeout_s`; then `on_late` was called.

    A thread cannot be stopped: we wait for it, shielded, since what it did is done and its result counts.
    """
    late = False

    async def watch() -> None:
        nonlocal late
        await trio.sleep(timeout_s)
        late = True
        on_late()

    async def in_thread() -> None:
        await trio.to_thread.run_sync(call, *arguments, limiter=limiter)

    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            error = await run_author(in_thread)
            nursery.cancel_scope.cancel()
    return error, late


def _exited(leaving: BaseException, cause: BaseException) -> RuntimeError:
    """For the ``sys.exit`` of a library that thinks it is a program: no reason to take the neighbours along."""
    error = RuntimeError(f"called sys.exit({', '.join(map(repr, leaving.args))})")
    error.__cause__ = cause
    return error
