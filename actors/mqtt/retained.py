"""The last retained message an actor handled on each topic: what a new incarnation is shown first.

A broker sends retained messages when we subscribe, not when we restart an actor; without this, the new
incarnation would not know the state of its world. Later messages on a topic that has once been retained
count too: a live update of retained state arrives without the flag.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from .in_flight import Work


@attrs.define(eq=False)
class LastRetained:
    """Per (topic, subscription), at most `capacity` entries; the one unused longest goes first. Owned by the tree."""

    capacity: int = 1000
    _last: OrderedDict[tuple[str, str], Work] = attrs.field(factory=OrderedDict, init=False)

    def handled(self, work: Work) -> None:
        """The actor handled `work` with success."""
        if work.delivery.on_settled is not None:
            return  # a replayed dead letter: what came after it is newer
        inbound = work.delivery.inbound
        place = (inbound.topic, work.subscription.id)
        if place not in self._last and not inbound.retain:
            return
        self._last.pop(place, None)
        if inbound.payload:  # an empty retained message clears the topic
            self._last[place] = work
        while len(self._last) > self.capacity:
            self._last.popitem(last=False)

    def forget(self, work: Work) -> None:
        """Do not show this one again: it hurts."""
        self._last.pop((work.delivery.inbound.topic, work.subscription.id), None)

    def all(self) -> tuple[Work, ...]:
        """What to show a new incarnation, the oldest first."""
        return tuple(self._last.values())
