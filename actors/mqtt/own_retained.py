"""What this service last said with the retain flag, topic by topic: a broker that has lost its memory is told again.

A broker without persistence, or with a new disk, comes back empty. Whoever subscribes then would wait for a state that
its owner believes to have told. MQTT has no word for "I forgot"; a CONNACK without our session is the sign of it, and says it too
often rather than too rarely. Whoever heard the state before gets it twice, under the same message id.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from .transport import Outbound


@attrs.define(eq=False)
class OwnRetained:
    """At most `capacity` topics; the one told longest ago goes first. Owned by the tree."""

    capacity: int = 1000
    _last: OrderedDict[str, Outbound] = attrs.field(factory=OrderedDict, init=False)

    def told(self, message: Outbound) -> None:
        """`message` is on its way to the broker."""
        if not message.retain:
            return
        self._last.pop(message.topic, None)
        if message.payload and message.expires_s is None:  # empty: the topic is cleared; one that expires is no lasting state
            self._last[message.topic] = message
        while len(self._last) > self.capacity:
            self._last.popitem(last=False)

    def all(self) -> tuple[Outbound, ...]:
        """What to tell again, the oldest first."""
        return tuple(self._last.values())
