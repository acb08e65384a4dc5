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

    def overflows_at(self) -> float | None:
        """When what is over the share becomes overflow (trio time); None while nothing is, or under "block"."""
        if self.overflow == "block" or len(self.mailbox) <= self.share:
            return None
        oldest = self.mailbox.statistics().oldest_since
        return None if oldest is None else oldest + self.overflow_after_s
