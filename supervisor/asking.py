"""`ask`: a question through a mailbox, and an answer, or a reason why none will come.

A question that comes back after a restart is `abandoned`: whoever asked has been told already.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs
import trio

from .errors import ActorRestarting, ActorStopped, MailboxClosed, TooSlow
from .mailbox import Mailbox, ReaderState

T = TypeVar("T")


@attrs.define(eq=False)
class Ask(Generic[T]):
    """What the actor finds in its mailbox. `abandoned`: nobody waits any more."""

    message: T
    abandoned: bool = False
    _value: Any = None
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)

    def reply(self, value: object) -> None:
        """Answer. The first answer counts; later ones, and answers to nobody, are ignored."""
        if not self._answered.is_set():
            self._value = value
            self._answered.set()


async def ask(mailbox: Mailbox[Any], message: object, timeout_s: float) -> Any:
    """Send `message` as an `Ask` and wait for its reply, at most `timeout_s` seconds in all.

    Raises `ActorStopped` or `ActorRestarting` as soon as the reader's incarnation ends or when it is already
    gone, and `TooSlow` after `timeout_s`. A reader that has not come up yet is waited for.
    """
    _refuse(mailbox.reader)
    question: Ask[object] = Ask(message)
    left = trio.Event()
    unwatch = mailbox.watch_reader(left)
    closed: MailboxClosed | None = None
    try:
        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as either:
                either.start_soon(_then_cancel, left, either.cancel_scope)
                try:
                    await mailbox.send(question)  # may wait for room, and the reader may end meanwhile
                    await question._answered.wait()  # noqa: SLF001 - the two are one thing
                except MailboxClosed as error:  # kept for outside: out of a nursery it would come in a group
                    closed = error
                either.cancel_scope.cancel()
    finally:
        unwatch()
        question.abandoned = True
    if closed is not None:
        raise ActorStopped(str(closed)) from closed
    if question._answered.is_set():  # noqa: SLF001
        return question._value  # noqa: SLF001
    if left.is_set():
        _refuse(mailbox.reader)
        raise ActorRestarting(repr(message))
    msg = f"no reply within {timeout_s:g} s"
    raise TooSlow(msg)


def _refuse(reader: ReaderState) -> None:
    if reader is ReaderState.RESTARTING:
        msg = "the actor is between two incarnations"
        raise ActorRestarting(msg)
    if reader is ReaderState.STOPPED:
        msg = "the actor has stopped"
        raise ActorStopped(msg)


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
