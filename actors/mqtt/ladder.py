"""The failure ladder: what follows when the handling of a message has ended. Law: no rung reaches a neighbour.

* it raised, or exceeded its time: this incarnation ends, the next one gets the message again, `max_attempts` times;
  then the message is a dead letter. That costs the supervisor no intensity, but the actor's own `Ledger`.
* `Reject`: a dead letter at once, no restart. `Unavailable`: the message is kept, costs no attempt, backoff.
* the ledger is spent: the actor is parked, its messages are dead letters, then there is one trial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import attrs

from tars.actors.errors import Reject
from tars.supervisor import Custody, Escalate, Stop, Taken, Unavailable, leaves
from tars.supervisor.render import said

from .box import ActorBox
from .dead_letter import Why
from .events import ActorParked, ActorRecovered, HandlerFailed, HandlerUnavailable
from .health import Health, place_of_actor
from .in_flight import InFlight, Work
from .keys import cause_of, correlation_of
from .letters import Letters


class Failed(Unavailable):
    """An incarnation ends because of what it handled: excused before the supervisor, accounted for in the ledger."""


@attrs.frozen(eq=False)
class Ladder:
    """The ladder under one incarnation. Where a `taken` is None, the message is only shown again: nothing settles."""

    box: ActorBox
    table: InFlight
    letters: Letters
    health: Health
    emit: Callable[[object], None]
    custody: Custody[Work]

    def done(self, work: Work, taken: Taken[Work] | None) -> None:
        """It was handled."""
        self.box.retained.handled(work)
        self._leave_hand(work, taken, success=True)
        self.succeeded()

    def succeeded(self) -> None:
        """Something the actor did went well: its budget is whole again."""
        if self.box.ledger.succeeded():
            self.report_health(None)
            self.emit(ActorRecovered(self.box.path))

    def failed(self, work: Work, taken: Taken[Work] | None, attempt: int, error: Exception) -> None:
        """One step down. Returns only for `Reject`; otherwise raises what the incarnation ends with."""
        if all(isinstance(leaf, Reject) for leaf in leaves(error)):
            self.set_aside(work, taken, Why.REJECTED, attempt, leaves(error)[0])
            return
        if any(isinstance(leaf, Unavailable) for leaf in leaves(error)) and _is_said(error):
            self._keep(work, taken, error)
        elif _is_said(error):
            self._leave_hand(work, taken, success=True)  # Stop: handled, and the actor wants a fresh start
        _let_through(error, again_in_s=0.0)
        final = taken is None or attempt >= self.box.max_attempts
        self._report(work.subscription.id, work, attempt, error, final=final)
        if final:
            self.set_aside(work, taken, Why.CRASHED, attempt, error)
        retry_after_s = self._spend()
        if self.box.ledger.parked and not final:
            self.set_aside(work, taken, Why.PARKED, attempt, error)
        raise Failed(f"{work.subscription.id} failed: {_brief(error)}", retry_after_s=retry_after_s) from error

    def hook_failed(self, name: str, error: Exception) -> NoReturn:
        """`started`, `stopping` or a tick raised: nothing to deliver again. Raises what the incarnation ends with."""
        if any(isinstance(leaf, Unavailable) for leaf in leaves(error)) and _is_said(error):
            self.emit(HandlerUnavailable(self.box.path, name, "", "", _brief(error)))
        _let_through(error, again_in_s=None)  # a `started` that says Stop for ever must not spin
        self._report(name, None, 1, error, final=True)
        raise Failed(f"{name} failed: {_brief(error)}", retry_after_s=self._spend()) from error

    def thread_hung(self, work: Work, attempt: int, error: Exception) -> NoReturn:
        """A `def` handler's thread is back, too late; its message was set aside in the meantime. Raises `Failed`."""
        self.report_health(None)
        self._report(work.subscription.id, work, attempt, error, final=True)
        raise Failed(f"a worker thread hung in {work.subscription.id}", retry_after_s=self._spend())

    def set_aside(self, work: Work, taken: Taken[Work] | None, why: Why, attempts: int, error: BaseException | str) -> None:
        """Make a dead letter of it."""
        self.letters.inbound(work, why, attempts=attempts, error=error)
        self._leave_hand(work, taken, success=False)

    def report_health(self, complaint: str | None) -> None:
        """What is wrong with this actor, or None."""
        self.health.report(place_of_actor(self.box.name), complaint)

    def _keep(self, work: Work, taken: Taken[Work] | None, error: Exception) -> None:
        """Its backend is down: the message stays, and this costs it no attempt."""
        if taken is not None:
            self.custody.spare(taken)
        else:
            self.box.retained.handled(work)
        delivery = work.delivery
        self.emit(HandlerUnavailable(self.box.path, work.subscription.id, delivery.inbound.topic, delivery.message_id, _brief(error)))

    def _leave_hand(self, work: Work, taken: Taken[Work] | None, *, success: bool) -> None:
        if taken is not None:
            self.custody.done(taken)
            self.table.finish(work.delivery, work.subscription.id, success=success)

    def _spend(self) -> float:
        """One failure off the budget; seconds until the next incarnation: 0, or the time in the park."""
        park_s = self.box.ledger.failed()
        if park_s is None:
            return 0.0
        failures = self.box.ledger.failures
        self.box.mailbox.evict("parked", oldest_first=True)
        self.report_health(f"parked after {failures} failures in a row")
        self.emit(ActorParked(self.box.path, failures, park_s))
        return park_s

    def _report(self, subscription: str, work: Work | None, attempt: int, error: BaseException, *, final: bool) -> None:
        delivery = work.delivery if work is not None else None
        self.emit(
            HandlerFailed(
                actor=self.box.path,
                subscription=subscription,
                topic=delivery.inbound.topic if delivery else "",
                message_id=delivery.message_id if delivery else "",
                attempt=attempt,
                max_attempts=self.box.max_attempts,
                final=final,
                error=error,
                causation_id=cause_of(delivery.inbound.user_properties) if delivery else None,
                correlation_id=(correlation_of(delivery.document) or None) if delivery else None,
            )
        )


def _is_said(error: Exception) -> bool:
    """Did the author say something to the supervisor, rather than fail?"""
    return all(isinstance(leaf, (Unavailable, Stop)) for leaf in leaves(error))


def _let_through(error: Exception, *, again_in_s: float | None) -> None:
    """What the author says to the supervisor is not a failure of the message. `again_in_s`: after a Stop; None, by the backoff."""
    if any(isinstance(leaf, Escalate) for leaf in leaves(error)):
        raise error
    if _is_said(error):
        if any(isinstance(leaf, Unavailable) for leaf in leaves(error)):
            raise error
        raise Failed(_brief(error), retry_after_s=again_in_s) from error  # Stop: a fresh start, on purpose


def _brief(error: BaseException) -> str:
    first = leaves(error)[0]
    return f"{type(first).__name__}: {said(first)}"
