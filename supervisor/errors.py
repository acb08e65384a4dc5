"""Every exception of the runtime, in one place, so that no module imports another just to raise.

Three of them are *words an actor says* (`Stop`, `Unavailable`, `Escalate`); the others are what the
runtime answers. This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence


class TarsError(Exception):
    """Root of every exception the runtime raises on its own account. Never raised itself."""


# -- what an actor says -------------------------------------------------------------------------


class Stop(Exception):
    """An actor ends on purpose (OTP's ``{shutdown, Term}``).

    A permanent child is restarted all the same, a transient one is not.
    """

    def __init__(self, reason: object = None) -> None:
        super().__init__(reason)
        self.reason = reason


class Unavailable(Exception):
    """Something outside is missing (a broker, a backend): restart me with backoff.

    Costs neither restart intensity nor ``max_consecutive``. `retry_after_s` replaces the computed backoff
    when the raiser knows better; None leaves it to the child's `Backoff`.
    """

    def __init__(self, *args: object, retry_after_s: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after_s = retry_after_s


class Escalate(Exception):
    """Nobody below can mend this: every supervisor up to the root gives up, without a restart."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason


# -- what a supervisor says when it fails -------------------------------------------------------


class RestartIntensityExceeded(TarsError):
    """A supervisor gave up: more restarts than its limit allows. Abnormal to every parent (D1).

    `limit` is the sentence of the limit that was passed, e.g. ``"3 restarts in 5 s"``; `causes` are the
    exits that counted, oldest first.
    """

    def __init__(self, child_id: str, limit: str, causes: Sequence[BaseException | None]) -> None:
        super().__init__(child_id, limit, tuple(causes))
        self.child_id = child_id
        self.limit = limit
        self.causes = tuple(causes)

    def __str__(self) -> str:
        last = self.causes[-1] if self.causes else None
        tail = "it returned" if last is None else f"{type(last).__name__}: {last}"
        return f"child {self.child_id!r} passed the limit of {self.limit}; last cause: {tail}"


class StartFailed(TarsError):
    """A child could not be started; its own exception is the ``__cause__``."""

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id

    def __str__(self) -> str:
        cause = self.__cause__
        return f"child {self.child_id!r} failed to start" + ("" if cause is None else f": {type(cause).__name__}: {cause}")


class SpecError(TarsError, ValueError):
    """A child or supervisor spec that cannot mean anything; raised before anything starts."""


# -- refusals of the dynamic API (OTP's {error, Reason}) ----------------------------------------


class Refused(TarsError):
    """The supervisor understood and says no. Never raised itself; `child_id` is what was asked about."""

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id


class AlreadyStarted(Refused):
    """A child of that id is running (OTP ``already_started``)."""


class AlreadyPresent(Refused):
    """A child of that id is known but not running (OTP ``already_present``)."""


class NotFound(Refused):
    """No child of that id (OTP ``not_found``)."""


class Running(Refused):
    """The child runs; only a stopped one can be restarted or deleted (OTP ``running``)."""


class Restarting(Refused):
    """The child is between two incarnations (OTP ``restarting``)."""


# -- answers to `ask` ---------------------------------------------------------------------------


class AskFailed(TarsError):
    """No reply will come. Never raised itself."""


class ActorStopped(AskFailed):
    """The actor has stopped for good, or is being stopped."""


class ActorRestarting(AskFailed):
    """The actor's incarnation ended with the question unanswered; the next one will not see it."""


class TooSlow(AskFailed):
    """No reply within `timeout_s`."""


class MailboxFull(TarsError):
    """`send_nowait` on a full mailbox whose overflow policy is BLOCK."""


class MailboxClosed(TarsError):
    """The mailbox was closed: its actor will never come back."""
