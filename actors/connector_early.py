"""Messages that come before their callback does: what the broker kept for this client id arrives with the connection.

Law: a QoS 1 message that nobody has subscribed to yet is neither acknowledged nor dropped until the program has made its
first subscriptions. They are made when it calls `ready` with one, or `PAUSE_S` after the last. Then, and beyond `limit`, it is
what it is to a service: unmatched, acknowledged, counted and told. One that is held when the block ends stays with the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from .mqtt.events import MessageUnmatched
from .mqtt.in_flight import Delivery, InFlight
from .mqtt.pulse import Pulse
from .mqtt.topics import matches

PAUSE_S: Final = 5.0
"""A program that has subscribed nothing more for so long has subscribed what it wants."""


@attrs.define(eq=False)
class Early:
    """See the module. `limit`: the receive window; a broker that heeds it sends no more than that before we acknowledge."""

    table: InFlight
    limit: int
    emit: Callable[[object], None]
    over: bool = attrs.field(default=False, init=False)
    _held: dict[Delivery, None] = attrs.field(factory=dict, init=False)  # in the order of arrival
    _given_up: set[str] = attrs.field(factory=set, init=False)  # filters that had a callback, and have none now
    _subscribed: Pulse = attrs.field(factory=Pulse, init=False)

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, delivery: Delivery) -> bool:
        """Keep a message that matches nothing. False: it is not for us to keep."""
        topic = delivery.inbound.topic
        if self.over or not delivery.inbound.qos or any(matches(given_up, topic) for given_up in self._given_up):
            return False
        self._held[delivery] = None
        if len(self._held) > self.limit:
            self._let_go(next(iter(self._held)))
        return True

    def give_up(self, topic_filter: str) -> None:
        """The last callback of this filter was unsubscribed: what still comes for it is wanted by nobody."""
        if not self.over:
            self._given_up.add(topic_filter)

    def take(self, topic_filter: str) -> list[Delivery]:
        """What was held for a filter that has its first callback now, in order. The caller has them dispatched."""
        found = [delivery for delivery in self._held if matches(topic_filter, delivery.inbound.topic)]
        for delivery in found:
            del self._held[delivery]
        self._given_up.discard(topic_filter)
        self._subscribed.beat()
        return found

    def release(self) -> bool:
        """The first subscriptions are made. False: nothing was held."""
        self.over = True
        self._given_up.clear()
        held = list(self._held)
        for delivery in held:
            self._let_go(delivery)
        return bool(held)

    async def wait(self) -> None:
        """Release when the program has made its first subscriptions, unless it says so itself before."""
        await self._subscribed.wait()
        paused = False
        while not paused:
            with trio.move_on_after(PAUSE_S) as pause:
                await self._subscribed.wait()
            paused = pause.cancelled_caught
        self.release()

    def _let_go(self, delivery: Delivery) -> None:
        del self._held[delivery]
        self.emit(MessageUnmatched(delivery.inbound.topic, delivery.message_id))
        self.table.dispatch(delivery)
