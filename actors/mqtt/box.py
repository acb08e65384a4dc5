"""An actor's place in the tree: everything of it that outlives its incarnations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs

from tars.supervisor import Mailbox, Overflow

from .in_flight import Work
from .ledger import Ledger
from .pace import Pace
from .retained import LastRetained
from .subscription import Subscription


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
    overflow: Overflow = Overflow.DEAD_LETTER
    overflow_after_s: float = 1.0
    handler_timeout_s: float = 30.0
    max_attempts: int = 3
    retained: LastRetained = attrs.field(factory=LastRetained)
    busy_since: float | None = None  # the actor works on one message since then (trio time)
    without_filter: bool = False  # the broker refused it one of its subscriptions: see permission
    _excused: bool = attrs.field(default=False, init=False)
    _pace: Pace = attrs.field(factory=Pace, init=False)

    @property
    def parked(self) -> bool:
        """It gets no messages: they become dead letters."""
        return self.without_filter or self.ledger.parked

    def over_share(self) -> Sequence[ActorBox]:
        """Itself, while it may hold too much; nobody while there is room."""
        return (self,) if len(self.mailbox) > self.share else ()

    @contextmanager
    def excuse(self) -> Iterator[None]:
        """In this block the actor waits for somebody else: that is no slowness of its own."""
        self._excused = True
        try:
            yield
        finally:
            self._excused = False

    def overflows_at(self, now: float, *, crowded: bool) -> float | None:
        """When what is over the share becomes overflow (trio time); None while nothing can, or under `BLOCK`.

        Only a slow actor overflows: one that has worked on one message for `overflow_after_s`, or has finished fewer
        than its share in that time. Time in which it is `crowded` (messages pour in before it, and take the time it
        would need) does not count for the second: a burst is no event. Measured with Mosquitto 2.0.11, which sends all it has
        whatever the Receive Maximum: by the age of the mailbox's head alone, a burst of 2 000 condemned 241 messages of an
        actor doing 1 400 a second, and on a starved machine one of 5 000 condemned 4 911.

        Each call is a look at the actor's pace, and is remembered.
        """
        inside = self.mailbox.statistics()
        if inside.oldest_since is None or self._excused:
            self._pace.begin_anew()
            return None
        waiting_since, within_s = inside.oldest_since, self.overflow_after_s
        since = self._pace.look(now, inside.done, waiting_since=waiting_since, share=self.share, within_s=within_s, crowded=crowded)
        if self.overflow is Overflow.BLOCK or inside.queued <= self.share:
            return None
        if self.busy_since is not None:
            since = min(since, self.busy_since)
        at = max(since, inside.oldest_since) + self.overflow_after_s
        if at <= now:
            self._pace.too_slow()
        return at
