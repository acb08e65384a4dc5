"""What the in-memory broker keeps for one client id: what it waits for, what it was sent, what it has not acknowledged.

Source of the rules: MQTT 5 sections 4.1, 4.4 (delivery), 4.9 (flow control), 3.3.1.1 (DUP).
Law: pure. The clock's reading comes in as `now_s`; what goes out goes through the link the session is attached to.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

import attrs

from .transport import Inbound, UserProperties

_PACKET_IDS: Final = 65_535


class Loss(Enum):
    """Why a message did not reach a subscriber. A broker may lose a message in no other way."""

    OFFLINE = "QoS 0, and the client is not connected"
    QUEUE_FULL = "the session's queue is full"
    EXPIRED = "its time was up before its turn came"


@attrs.frozen(slots=True)
class Message:
    """One message inside the broker. `expires_at_s` is on the clock of `now_s`; None: it does not expire."""

    topic: str
    payload: bytes
    qos: int
    user_properties: UserProperties = ()
    expires_at_s: float | None = None

    def expired(self, now_s: float) -> bool:
        """True when nobody is to be sent it any more."""
        return self.expires_at_s is not None and self.expires_at_s <= now_s


@attrs.frozen(slots=True)
class Delivery:
    """A message on its way to one session."""

    message: Message
    qos: int
    retain: bool

    def packet(self, now_s: float, packet_id: int = 0, *, is_5: bool, duplicate: bool = False) -> Inbound:
        """The PUBLISH. What only MQTT 5 can carry is left out under 3.1.1."""
        message = self.message
        expires_s = None if message.expires_at_s is None or not is_5 else max(0, math.ceil(message.expires_at_s - now_s))
        properties = message.user_properties if is_5 else ()
        return Inbound(message.topic, message.payload, self.qos, self.retain, duplicate, packet_id, properties, expires_s)


class Receiver(Protocol):
    """A link as a session sees it."""

    @property
    def is_5(self) -> bool:
        """MQTT 5, not 3.1.1."""
        ...

    def hear_publish(self, packet: Inbound) -> None:
        """A PUBLISH has arrived."""
        ...


OnLost = Callable[["Session", Message, Loss], None]


@attrs.define(eq=False)
class Session:
    """One client id's state. It outlives connections; `link` is the one it has now.

    `unacked` is what was sent and not acknowledged, by packet id, in order of sending; `queue` is what waits for
    room in the window. A message is sent a second time on a new connection only, with the DUP flag and its old packet id.
    """

    client_id: str
    on_lost: OnLost
    max_queued: int | None = None
    link: Receiver | None = None
    window: int = 1
    expires_at_s: float = math.inf
    subscriptions: dict[str, int] = attrs.Factory(dict)
    unacked: dict[int, Delivery] = attrs.Factory(dict)
    queue: deque[Delivery] = attrs.Factory(deque)
    _again: deque[int] = attrs.Factory(deque)
    _out: set[int] = attrs.Factory(set)
    _last_id: int = 0

    def attach(self, link: Receiver, window: int, now_s: float) -> None:
        """A connection is there. What it is owed is sent at once, as far as `window` (its Receive Maximum) allows."""
        self.link, self.window, self.expires_at_s = link, window, math.inf
        self._out.clear()
        self._again = deque(self.unacked)
        self._pump(now_s)

    def detach(self, expires_at_s: float) -> None:
        """The connection is over; the state is kept until `expires_at_s`."""
        self.link, self.expires_at_s = None, expires_at_s

    def offer(self, message: Message, qos: int, now_s: float, *, retain: bool = False) -> None:
        """Send `message` now or when there is room. `qos` is what the subscription grants."""
        delivery = Delivery(message, min(qos, message.qos), retain)
        if delivery.qos == 0:
            if self.link is None:
                self.on_lost(self, message, Loss.OFFLINE)
            else:
                self.link.hear_publish(delivery.packet(now_s, is_5=self.link.is_5))
            return
        self.queue.append(delivery)
        self._pump(now_s)
        if self.max_queued is not None and len(self.queue) > self.max_queued:
            self.on_lost(self, self.queue.pop().message, Loss.QUEUE_FULL)

    def ack(self, packet_id: int, now_s: float) -> bool:
        """PUBACK. False when nothing was sent under this packet id: such an ack changes nothing."""
        if self.unacked.pop(packet_id, None) is None:
            return False
        self._out.discard(packet_id)
        self._pump(now_s)
        return True

    def _pump(self, now_s: float) -> None:
        """Fill the window: first what an older connection left unacknowledged, then what waits, each in its order."""
        while self.link is not None and len(self._out) < self.window:
            if self._again:
                packet_id = self._again.popleft()
                if packet_id not in self.unacked:
                    continue
                duplicate = True
            elif self.queue:
                delivery = self.queue.popleft()
                if delivery.message.expired(now_s):
                    self.on_lost(self, delivery.message, Loss.EXPIRED)
                    continue
                packet_id, duplicate = self._free_id(), False
                self.unacked[packet_id] = delivery
            else:
                return
            self._out.add(packet_id)
            self.link.hear_publish(self.unacked[packet_id].packet(now_s, packet_id, is_5=self.link.is_5, duplicate=duplicate))

    def _free_id(self) -> int:
        # Ends: a fresh id is wanted only when everything unacknowledged is in the window, and that has room.
        while True:
            self._last_id = self._last_id % _PACKET_IDS + 1
            if self._last_id not in self.unacked:
                return self._last_id
