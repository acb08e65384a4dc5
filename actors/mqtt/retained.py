"""The last retained message an actor handled on each topic: what a new incarnation is shown first.

A broker sends retained messages when we subscribe, not when we restart an actor; without this, the new
incarnation would not know the state of its world. Later messages on a topic that has once been retained
count too: a live update of retained state arrives without the flag.
"""

from __future__ import annotations

import attrs

from .in_flight import Delivery, Work
from .latest import Latest, bytes_of
from .subscription import Subscription
from .transport import Inbound


@attrs.frozen(slots=True)
class _Kept:
    """What is needed to show it again, and nothing of the delivery it came with: that holds the parsed payload, many times as large."""

    inbound: Inbound
    message_id: str
    subscription: Subscription


@attrs.frozen(eq=False)
class LastRetained:
    """Per (topic, subscription), as bounded as `Latest` is. Owned by the tree."""

    last: Latest[tuple[str, str], _Kept] = attrs.field(factory=Latest)

    def handled(self, work: Work) -> None:
        """The actor handled `work` with success."""
        if work.delivery.on_settled is not None:
            return  # a replayed dead letter: what came after it is newer
        inbound = work.delivery.inbound
        place = (inbound.topic, work.subscription.id)
        if place not in self.last and not inbound.retain:
            return
        if inbound.payload:
            self.take_over(work)
        else:  # an empty retained message clears the topic
            self.last.drop(place)

    def take_over(self, work: Work) -> None:
        """Remember what another gave with `all`."""
        inbound = work.delivery.inbound
        kept = _Kept(inbound, work.delivery.message_id, work.subscription)
        self.last.put((inbound.topic, work.subscription.id), kept, bytes_of(inbound))

    def forget(self, work: Work) -> None:
        """Do not show this one again: it hurts."""
        self.last.drop((work.delivery.inbound.topic, work.subscription.id))

    def all(self) -> tuple[Work, ...]:
        """What to show a new incarnation, the oldest first."""
        return tuple(Work(Delivery(kept.inbound, 0, message_id=kept.message_id), kept.subscription) for kept in self.last.all())
