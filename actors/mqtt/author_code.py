"""Running what an author wrote, with what it asks for.

Law: whatever comes out of it is handed back as a value, for the ladder to decide what follows; only the word to stop passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from tars.actors.contracts import Envelope, decode_document
from tars.supervisor import leaves
from tars.supervisor.render import said

from .behaviour import Method
from .in_flight import Work

_WORDS_TO_STOP: Final = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
"""What passes: of trio, of whoever is at the terminal, and of an interpreter that throws the task away."""


def decode(work: Work, method: Method) -> tuple[Any, Envelope | None]:
    """What `method` gets of the message, and its envelope, if it has one. Raises `DecodeError`."""
    if method.event_type is bytes:
        return work.delivery.inbound.payload, None
    decoded = decode_document(work.delivery.own_document(), method.event_type)
    return decoded.event, decoded.envelope


async def run_author(call: Callable[..., Awaitable[object]], *arguments: object) -> Exception | None:
    """Run an ``async def``; returns what it raised. What is no `Exception` is an error like any other, unless it is the word to stop.

    So are `sys.exit`, the panic of an extension written in Rust, asyncio's own cancellation.
    """
    try:
        await call(*arguments)
    except _WORDS_TO_STOP:
        raise
    except BaseExceptionGroup as group:
        word, _ = group.split(_WORDS_TO_STOP)
        if word is not None:  # what fails on the way out is no news
            raise word from None
        usual, strange = group.split(Exception)
        if strange is None:
            return usual
        error = _in_our_words(leaves(strange)[0], group)
        return error if usual is None else ExceptionGroup("and another", [error, usual])
    except BaseException as error:  # noqa: BLE001 - whatever the author's code raises, the ladder decides what follows
        return error if isinstance(error, Exception) else _in_our_words(error, error)
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


def _in_our_words(strange: BaseException, cause: BaseException) -> RuntimeError:
    """For what is made to end a program, raised by a library that thinks it is one: no reason to take the neighbours along."""
    if isinstance(strange, SystemExit):
        error = RuntimeError(f"called sys.exit({', '.join(map(repr, strange.args))})")
    else:
        error = RuntimeError(f"raised {type(strange).__name__}{said(strange) and f': {said(strange)}'}")
    error.__cause__ = cause
    return error
