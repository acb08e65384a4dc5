"""An actor's place in the tree: everything of it that outlives its incarnations."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from tars.supervisor import Mailbox

from .in_flight import Work
from .ledger import Ledger
from .retained import LastRetained
from .subscription import Subscription

OverflowPolicy: TypeAlias = Literal["dead_letter", "block", "drop_oldest", "drop_newest"]


@attrs.define(eq=False)
class ActorBox:
    """`share` is what the actor may hold of the receive window for long; a burst may exceed it (see dispatcher).

    The limits may change while the actor runs: whoever needs one reads it here, at the moment.
    """

    name: str
    path: str  # in the tree, as events name it
    mailbox: Mailbox[Work]
    ledger: Ledger
    subscriptions: tuple[Subscription, ...] = ()
    share: int = 1
    overflow: OverflowPolicy = "dead_letter"
    overflow_after_s: float = 1.0
    handler_timeout_s: float = 30.0
    max_attempts: int = 3
    retained: LastRetained = attrs.field(factory=LastRetained)
    _progress: tuple[float, int] | None = attrs.field(default=None, init=False)  # when we last saw some, messages done by then

    def overflows_at(self, now: float) -> float | None:
        """When what is over the share becomes overflow (trio time); None while nothing can, or under "block".

        An actor that has finished as many as its share since we last looked is busy, not slow: its burst is no
        event. (Measured: Mosquitto 2.0.11 sends all it has whatever the Receive Maximum; of a burst of 2 000 to an actor
        doing 1 400 a second, the head's age alone condemned 241.)
        """
        inside = self.mailbox.statistics()
        if inside.oldest_since is None:
            self._progress = None
            return None
        if self._progress is None or inside.done - self._progress[1] >= self.share:
            self._progress = (now, inside.done)
        if self.overflow == "block" or inside.queued <= self.share:
            return None
        return max(self._progress[0], inside.oldest_since) + self.overflow_after_s
