"""What the broker has taken from us so far: where to, and how large.

A publish that breaks the connection is one the broker will not have: too large for it, or to a topic it forbids (MQTT 3.1.1
has no other way to say so, section 3.3.5). One like those it has taken before is never suspected.
"""

from __future__ import annotations

from typing import Final

import attrs

from .transport import Outbound

MAX_TOPICS: Final = 4096


@attrs.define(eq=False)
class Proven:
    """Owned by the tree: a new connection is to the same broker. Of topics the last `MAX_TOPICS` new ones are remembered."""

    _largest_bytes: int = attrs.field(default=-1, init=False)
    _topics: dict[str, None] = attrs.field(factory=dict, init=False)

    def took(self, message: Outbound) -> None:
        """The broker has confirmed `message`."""
        self._largest_bytes = max(self._largest_bytes, len(message.payload))
        if message.topic not in self._topics:
            if len(self._topics) >= MAX_TOPICS:
                del self._topics[next(iter(self._topics))]
            self._topics[message.topic] = None

    def vouches_for(self, message: Outbound) -> bool:
        """Has it taken one to this topic, and one that was as large?"""
        return message.topic in self._topics and len(message.payload) <= self._largest_bytes
