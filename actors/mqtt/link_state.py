"""What the tree knows of the connection: its epoch, whether it is up, and the filters it must hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

from .events import SubscriptionRefused, SubscriptionWeakened
from .own_retained import OwnRetained
from .proven import Proven
from .pulse import Pulse
from .topics import validate_filter
from .transport import FAILURE

IDLE_REPLIES: Final = 16
"""Reply filters nobody waits on that stay subscribed: the next request is spared a round trip. Every message is matched to each."""


@attrs.define(eq=False)
class LinkState:
    """Written by the connection actor only. `epoch` counts connection attempts; `ups` those that came up."""

    epoch: int = 0
    ups: int = 0
    is_up: bool = False
    retained: OwnRetained = attrs.field(factory=OwnRetained, init=False)
    proven: Proven = attrs.field(factory=Proven, init=False)
    changed: Pulse = attrs.field(factory=Pulse, init=False)

    def attempt(self) -> int:
        """A new connection is tried: its epoch."""
        self.epoch += 1
        return self.epoch

    def up(self) -> None:
        """Connected, and every subscription answered."""
        self.is_up = True
        self.ups += 1
        self.changed.beat()

    def down(self) -> None:
        """Disconnected."""
        self.is_up = False
        self.changed.beat()

    async def wait_up(self) -> None:
        """Return when the link is up."""
        while not self.is_up:
            await self.changed.wait()


@attrs.define(eq=False)
class Filters:
    """The filters a connection subscribes: the actors' own, and those of replies, added when first asked for.

    A reply filter is QoS 0: it needs no credit, so that a request inside a handler cannot deadlock behind
    requests that hold the receive window (measured: 6 of 6 timed out with QoS 1 and Receive Maximum 4).
    """

    static: Mapping[str, int]  # the actors' own: filter -> QoS
    replies: dict[str, None] = attrs.field(factory=dict, init=False)  # the one used last stands last
    held: dict[str, int] = attrs.field(factory=dict, init=False)  # on the present connection, or refused there: filter -> QoS asked for
    listeners: Mapping[str, str] = attrs.field(factory=dict, init=False)  # filter -> the names of the actors that subscribe it
    refused: dict[str, int] = attrs.field(factory=dict, init=False)  # at the broker's last answer: filter -> reason code
    changed: Pulse = attrs.field(factory=Pulse, init=False)
    _asking: Counter[str] = attrs.field(factory=Counter, init=False)  # requests under way, by their reply filter
    _kept: dict[str, None] = attrs.field(
        factory=dict, init=False
    )  # asked for, on this connection or an earlier one: the session may have them

    def want(self, static: Mapping[str, int], renewed: Collection[str] = (), listeners: Mapping[str, str] | None = None) -> None:
        """The actors subscribe these from now on. The `renewed` are asked for again: someone new wants what is retained there.

        `listeners`: by filter, who does without the rest when the broker refuses it.
        """
        for topic_filter in renewed:
            if self.held.pop(topic_filter, None) is not None:
                self._kept[topic_filter] = None
        self.static, self.listeners = static, listeners or {}
        for topic_filter in [each for each in self.refused if each not in static and each not in self.replies]:
            del self.refused[topic_filter]
        self.changed.beat()

    def give_up(self) -> list[str]:
        """What the connection or its session holds and nobody needs any more. From now on it does not count as held."""
        holds = dict.fromkeys([*self.held, *self._kept])
        unwanted = [topic_filter for topic_filter in holds if topic_filter not in self.static and topic_filter not in self.replies]
        for topic_filter in unwanted:
            self._kept[topic_filter] = None
            self.held.pop(topic_filter, None)
        return unwanted

    def drop(self, filters: list[str]) -> None:
        """The broker no longer has these for us."""
        for topic_filter in filters:
            self._kept.pop(topic_filter, None)

    def wanted(self) -> list[tuple[str, int]]:
        """Every (filter, QoS) the connection must hold and does not. One held at another QoS is asked for again."""
        everything = [*self.static.items(), *((reply, 0) for reply in self.replies if reply not in self.static)]
        return [(topic_filter, qos) for topic_filter, qos in everything if self.held.get(topic_filter) != qos]

    def ask(self, filters: list[tuple[str, int]]) -> None:
        """The broker is about to be asked for these: it may have them, whatever becomes of its answer."""
        self._kept.update(dict.fromkeys(topic_filter for topic_filter, _ in filters))

    def confirm(self, filters: list[tuple[str, int]], codes: Sequence[int]) -> None:
        """The broker has answered for these, with these reason codes."""
        self.held.update(filters)
        for (topic_filter, _), code in zip(filters, codes, strict=True):
            if code >= FAILURE:
                self.refused[topic_filter] = code
            else:
                self.refused.pop(topic_filter, None)
        self.changed.beat()

    def shortfall(self, topic_filter: str, qos: int, code: int) -> SubscriptionRefused | SubscriptionWeakened | None:
        """What the broker's answer to a SUBSCRIBE at `qos` leaves out of what was asked for; None when it grants all."""
        actors = self.listeners.get(topic_filter, "")
        if code >= FAILURE:
            return SubscriptionRefused(topic_filter, code, actors)
        return SubscriptionWeakened(topic_filter, actors, qos, code) if code < qos else None

    def ask_again(self, topic_filter: str) -> None:
        """A filter that was refused may be granted by now. Without a connection there is nothing to do: the next one asks for all."""
        self.held.pop(topic_filter, None)
        self.changed.beat()

    def forget(self) -> None:
        """A new connection holds nothing yet. Its session may, also what nobody has wanted since."""
        self._kept.update(dict.fromkeys(self.held))
        self.held.clear()

    @contextmanager
    def asking(self, topic_filter: str) -> Iterator[None]:
        """Hold `topic_filter` as a reply filter inside the block, and as one of the last `IDLE_REPLIES` after it."""
        validate_filter(topic_filter)
        self.replies.pop(topic_filter, None)
        self.replies[topic_filter] = None  # also when an actor subscribes it: the dispatcher looks here for who waits
        self._asking[topic_filter] += 1
        self.changed.beat()
        try:
            yield
        finally:
            self._asking[topic_filter] -= 1
            if not self._asking[topic_filter]:
                del self._asking[topic_filter]
            idle = [reply for reply in self.replies if reply not in self._asking]
            for reply in idle[:-IDLE_REPLIES]:
                del self.replies[reply]
                self.changed.beat()

    async def holding(self, topic_filter: str) -> None:
        """Return when the present connection holds `topic_filter`."""
        while topic_filter not in self.held:
            await self.changed.wait()
