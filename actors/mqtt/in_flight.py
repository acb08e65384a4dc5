"""The in-flight table: every delivery between its arrival and the moment nobody will touch it again.

Owned by the tree, so it survives every actor that writes to it. Nothing here waits and nothing is a
message: the connection never has to await another actor to learn that it may acknowledge.

A delivery is *settled* when it has been dispatched, every handler it went to has finished with it, and
every debt is paid (a QoS 1 publish made while handling it is confirmed, its dead letter is stored). Then
it is recorded done, then acknowledged. Law: an acknowledgement carries the epoch of the connection the
packet came by; packet ids mean nothing on another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import trio

from tars.actors.contracts import DecodeError, decode_json

from .pulse import Pulse
from .subscription import Subscription
from .transport import Inbound


@attrs.define(eq=False)
class Delivery:
    """One message on its way. `tokens`: (epoch, packet id) of every arrival that joined; empty for QoS 0."""

    inbound: Inbound
    serial: int
    key: str = ""
    lasting: bool = False  # another process would give it the same key
    message_id: str = ""
    tokens: list[tuple[int, int]] = attrs.field(factory=list)
    already_done: frozenset[str] = frozenset()  # subscriptions that finished it before, by the dedup window
    given: set[str] = attrs.field(factory=set)  # subscriptions it was ever handed to
    outstanding: set[str] = attrs.field(factory=set)  # subscriptions that have it now
    succeeded: set[str] = attrs.field(factory=set)
    debts: int = 0
    paid: trio.Event | None = None  # somebody waits for the last debt to be paid
    admitted: bool = False
    dispatched: bool = False
    recorded: bool = True  # retained deliveries pass dedup: they are neither looked up nor recorded
    noted: int = 0  # for how many of the succeeded a record was asked for
    dead_letters: int = 0  # how many were made of it, and of what was said while it was handled
    on_settled: Callable[[Delivery], None] | None = None  # of a replayed dead letter: whoever holds it until then
    _document: Any = None
    _unreadable: DecodeError | None = None
    _read: bool = False

    def document(self) -> Any:  # JSON
        """The payload as JSON, to look at and leave as it is. Raises `DecodeError`."""
        if not self._read:
            self._read = True
            try:
                self._document = decode_json(self.inbound.payload)
            except DecodeError as error:
                self._unreadable = error
        if self._unreadable is not None:
            raise self._unreadable
        return self._document

    def own_document(self) -> Any:  # JSON
        """The same, for somebody who may change it: the next reader, another actor or the next attempt, is given one of its own."""
        document = self.document()
        self._document, self._read = None, False
        return document


@attrs.frozen(eq=False)
class Work:
    """One delivery for one subscription: what lies in an actor's mailbox."""

    delivery: Delivery
    subscription: Subscription


@attrs.define(eq=False)
class InFlight:
    """See the module. `on_settled` is told of each settled delivery, before it is acknowledged.

    `record(delivery, on_written)` is asked about each that has succeeded somewhere and owes nothing: True when that must be
    written down before it may settle, and `on_written(delivery)` will be called when it is. One whose other subscriptions take long is
    not waited for: what is done stays done.

    Serials count from `first_serial`: in ids that leave the process, two processes must not mean two things by one.
    """

    on_settled: Callable[[Delivery], None]
    record: Callable[[Delivery, Callable[[Delivery], None]], bool] = attrs.field(default=lambda *_: False, kw_only=True)
    changed: Pulse = attrs.field(factory=Pulse, init=False)  # something was settled, or an ack is ready
    qos0: int = attrs.field(default=0, init=False)
    _live: set[Delivery] = attrs.field(factory=set, init=False)
    _by_key: dict[str, Delivery] = attrs.field(factory=dict, init=False)
    _unacknowledged: dict[int, Delivery] = attrs.field(factory=dict, init=False)  # by packet id, in this session
    _acks: list[tuple[int, int]] = attrs.field(factory=list, init=False)
    _serial: int = attrs.field(default=0, alias="first_serial", kw_only=True)

    def __len__(self) -> int:
        return len(self._live)

    def arrive(self, inbound: Inbound, epoch: int) -> Delivery:
        """Enter a message the connection of `epoch` has received."""
        self._serial += 1
        delivery = Delivery(inbound, self._serial)
        if inbound.qos == 0:
            self.qos0 += 1
        else:
            delivery.tokens.append((epoch, inbound.packet_id))
            self._unacknowledged[inbound.packet_id] = delivery
        self._live.add(delivery)
        return delivery

    def again(self, inbound: Inbound, key: str, message_id: str, on_settled: Callable[[Delivery], None]) -> Delivery:
        """Enter a message that no connection brought: a dead letter that is replayed. Dedup neither stops nor records it."""
        self._serial += 1
        lasting = not inbound.retain
        delivery = Delivery(inbound, self._serial, key, lasting, message_id, admitted=True, recorded=False, on_settled=on_settled)
        self.qos0 += inbound.qos == 0
        self._live.add(delivery)
        return delivery

    def rejoin(self, inbound: Inbound, epoch: int) -> bool:
        """Is `inbound` a message this process has already, sent again because its PUBACK never went out?

        Then nobody handles it twice: it joins the delivery it is, or, when that has settled meanwhile, is
        acknowledged. The packet id tells, as long as the session lives (MQTT 4.4); no key is needed, so this holds
        for raw messages and for outages longer than the dedup window.
        """
        known = self._unacknowledged.get(inbound.packet_id)
        if known is None or not inbound.qos or not inbound.duplicate or not _same_message(known.inbound, inbound):
            return False
        token = (epoch, inbound.packet_id)
        if known in self._live:
            known.tokens.append(token)
        else:
            self._acks.append(token)
            self.changed.beat()
        return True

    def acknowledged(self, packet_id: int) -> None:
        """A PUBACK went out on a live connection: the broker may use the packet id for another message."""
        self._unacknowledged.pop(packet_id, None)

    def will_come_again(self, delivery: Delivery) -> bool:
        """Does the broker still hold it for us? Only what came at QoS 1 in the present session, and is not acknowledged.

        A replayed dead letter comes again too, from the store.
        """
        return delivery.on_settled is not None or any(self._unacknowledged.get(packet_id) is delivery for _, packet_id in delivery.tokens)

    def undispatched(self) -> list[Delivery]:
        """What has arrived and been handed to nobody yet."""
        return [delivery for delivery in self._live if not delivery.dispatched]

    def session_lost(self) -> None:
        """The broker has forgotten the session: packet ids begin anew."""
        self._unacknowledged.clear()

    def admit(self, delivery: Delivery, key: str, already_done: Iterable[str]) -> bool:
        """Give a delivery its key. False: the same message is in flight, this arrival joined it and is over."""
        other = self._by_key.get(key)
        if other is not None and other is not delivery:
            other.tokens += delivery.tokens
            for _, packet_id in delivery.tokens:
                if self._unacknowledged.get(packet_id) is delivery:
                    self._unacknowledged[packet_id] = other
            delivery.tokens = []
            self._remove(delivery)
            return False
        delivery.key = key
        delivery.already_done = frozenset(already_done)
        delivery.admitted = True
        if delivery.recorded:
            self._by_key[key] = delivery
        return True

    def owe(self, delivery: Delivery, subscription_id: str) -> None:
        """`subscription_id` gets the delivery."""
        delivery.given.add(subscription_id)
        delivery.outstanding.add(subscription_id)

    def dispatch(self, delivery: Delivery) -> None:
        """Everybody who gets the delivery has been named."""
        delivery.dispatched = True
        self._settle_if_due(delivery)

    def finish(self, delivery: Delivery, subscription_id: str, *, success: bool) -> None:
        """One subscription will not touch it again. Only a success is remembered."""
        delivery.outstanding.discard(subscription_id)
        if success:
            delivery.succeeded.add(subscription_id)
        self._settle_if_due(delivery)

    def hold(self, delivery: Delivery) -> None:
        """A debt: something has to happen elsewhere before the delivery may settle."""
        delivery.debts += 1

    def release(self, delivery: Delivery) -> None:
        """A debt is paid."""
        delivery.debts -= 1
        self._settle_if_due(delivery)
        if not delivery.debts and delivery.paid is not None:
            delivery.paid.set()

    async def all_paid(self, delivery: Delivery) -> None:
        """Return when nothing is owed for it: what was said is confirmed, its dead letter stored, its record written."""
        while delivery.debts:
            if delivery.paid is None or delivery.paid.is_set():
                delivery.paid = trio.Event()
            await delivery.paid.wait()

    @property
    def unacknowledged(self) -> int:
        """How many messages of the present session the broker holds for us, settled or not."""
        return len(self._unacknowledged)

    def take_acks(self) -> list[tuple[int, int]]:
        """The (epoch, packet id) pairs to acknowledge, in order of settlement; each is given out once."""
        acks, self._acks = self._acks, []
        return acks

    async def wait_empty(self) -> None:
        """Return when nothing is in flight."""
        while self._live:
            await self.changed.wait()

    def _settle_if_due(self, delivery: Delivery) -> None:
        if not delivery.dispatched or delivery.debts or delivery not in self._live:
            return
        if len(delivery.succeeded) > delivery.noted:
            delivery.noted = len(delivery.succeeded)
            if self.record(delivery, self.release):
                self.hold(delivery)
                return
        if delivery.outstanding:
            return
        self.on_settled(delivery)
        if delivery.on_settled is not None:
            delivery.on_settled(delivery)
        self._acks += delivery.tokens
        self._remove(delivery)

    def _remove(self, delivery: Delivery) -> None:
        self._live.discard(delivery)
        if self._by_key.get(delivery.key) is delivery:
            del self._by_key[delivery.key]
        if delivery.inbound.qos == 0:
            self.qos0 -= 1
        self.changed.beat()


def _same_message(one: Inbound, other: Inbound) -> bool:
    """All that a redelivery leaves as it was."""
    return (one.topic, one.payload, one.user_properties) == (other.topic, other.payload, other.user_properties)
