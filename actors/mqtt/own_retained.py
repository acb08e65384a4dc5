"""What this service last said with the retain flag, topic by topic: a broker that has lost its memory is told again.

A broker without persistence, or with a new disk, comes back empty. Whoever subscribes then would wait for a state that
its owner believes to have told. MQTT has no word for "I forgot"; a CONNACK without our session is the sign of it, and says it too
often rather than too rarely. Whoever heard the state before gets it twice, under the same message id.
"""

from __future__ import annotations

import attrs

from .latest import Latest, bytes_of
from .transport import Outbound


@attrs.frozen(eq=False)
class OwnRetained:
    """By topic, as bounded as `Latest` is. Owned by the tree."""

    last: Latest[str, Outbound] = attrs.field(factory=Latest)

    def told(self, message: Outbound) -> None:
        """`message` is on its way to the broker."""
        if not message.retain:
            return
        if message.payload and message.expires_s is None:
            self.last.put(message.topic, message, bytes_of(message))
        else:  # empty: the topic is cleared; one that expires is no lasting state
            self.last.drop(message.topic)

    def forget(self, message: Outbound) -> None:
        """It cannot be told any more."""
        self.last.drop(message.topic)

    def all(self) -> tuple[Outbound, ...]:
        """What to tell again, the oldest first."""
        return self.last.all()
