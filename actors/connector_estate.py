"""What a `Connector` owns and none of its actors does: mailboxes, the in-flight table, callbacks, counters.

Law: nothing here waits. What a program publishes is counted once when it leaves: sent, or dropped for a reason that is told.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs
import trio

from tars.supervisor import Mailbox, Overflow

from .connector_early import Early
from .connector_parts import Calls, ConnectorStatistics, NotJson, PublishDropped, StatusTopic
from .mqtt.box import ActorBox
from .mqtt.dead_letter import StoreItem
from .mqtt.dispatcher import evicted
from .mqtt.drain import Drain
from .mqtt.events import DeadLettered, HandlerFailed, LinkUp, MessageUnmatched, Overflowed, SubscriptionRefused
from .mqtt.health import Health
from .mqtt.in_flight import Delivery, InFlight, Work
from .mqtt.latest import Latest
from .mqtt.ledger import Ledger
from .mqtt.letters import Letters
from .mqtt.link_state import Filters, LinkState
from .mqtt.outgoing import Outgoing
from .mqtt.pulse import Pulse
from .mqtt.requests import Requests
from .mqtt.retained import LastRetained
from .mqtt.subscription import Subscription
from .mqtt.topics import Matcher, Template, covers
from .mqtt.transport import Inbound, Outbound
from .settings import HeartbeatSettings, MqttSettings
from .url import BrokerUrl

OURS: Final = "connector"
"""Marks what the program published, beside the link's own beats and births."""
MARKER: Final = "$connector/marker/"
"""Topics of no broker: what is put there, behind the messages that have arrived, tells when a callback has had them."""


@attrs.frozen(kw_only=True)
class Options:
    """What a connector was asked for, checked. Times in seconds."""

    url: BrokerUrl
    client_id: str
    status: StatusTopic
    mqtt: MqttSettings
    heartbeat: HeartbeatSettings
    drain_s: float
    mailbox: int
    overflow_after_s: float


@attrs.define(eq=False)
class Entry:
    """One callback: its place, what is called, its subscription, and the marker's. `wake`: who waits behind which marker.

    `acknowledged`: how many retained messages of this callback have settled, so that the broker may send more.
    """

    box: ActorBox
    calls: Calls
    route: Subscription
    marker: Subscription
    wake: dict[bytes, trio.Event] = attrs.field(factory=dict, init=False)
    acknowledged: int = attrs.field(default=0, init=False)

    @property
    def caught_up(self) -> bool:
        """Nothing that was retained is in somebody's hands, and holds up what is retained behind it."""
        return self.acknowledged >= self.calls.retained

    def passed(self, marker: bytes) -> None:
        """Everything before this marker was handled, or left unhandled."""
        event = self.wake.pop(marker, None)
        if event is not None:
            event.set()


@attrs.define(eq=False)
class ConnectorEstate:
    """See the module. `emit` gets what is worth telling."""

    options: Options
    emit: Callable[[object], None]
    outbox: Mailbox[Outgoing] = attrs.field(init=False)
    letters: Letters = attrs.field(init=False)
    to_store: Mailbox[StoreItem] = attrs.field(factory=lambda: Mailbox(math.inf), init=False)
    arrivals: Mailbox[Delivery] = attrs.field(factory=lambda: Mailbox(math.inf), init=False)
    urgent: Mailbox[Outgoing] = attrs.field(factory=lambda: Mailbox(math.inf), init=False)
    table: InFlight = attrs.field(init=False)
    early: Early = attrs.field(init=False)
    health: Health = attrs.field(factory=Health, init=False)
    link: LinkState = attrs.field(factory=LinkState, init=False)
    drain: Drain = attrs.field(factory=Drain, init=False)
    requests: Requests = attrs.field(factory=Requests, init=False)
    filters: Filters = attrs.field(factory=lambda: Filters({}), init=False)
    matcher: Matcher[Subscription] = attrs.field(factory=Matcher, init=False)
    boxes: dict[str, ActorBox] = attrs.field(factory=dict, init=False)
    entries: dict[str, Entry] = attrs.field(factory=dict, init=False)
    moved: Pulse = attrs.field(factory=Pulse, init=False)  # something left the outbox for good
    _serial: int = attrs.field(default=0, init=False)
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)
    _told: set[str] = attrs.field(factory=set, init=False)  # reasons told on this connection
    _refused: set[str] = attrs.field(factory=set, init=False)  # filters the broker has refused
    _renewed: set[str] = attrs.field(factory=set, init=False)  # filters to ask for again at the next connection

    def __attrs_post_init__(self) -> None:
        self.table = InFlight(self._settled)
        self.outbox = Mailbox(self.options.mqtt.outbox, Overflow.DROP_OLDEST, on_evicted=self._unsent)
        self.letters = Letters(self.to_store, self.table, self.tell)
        self.early = Early(self.table, self.options.mqtt.receive_maximum, self.tell)

    # -- out --------------------------------------------------------------------------------------

    def put(self, message: Outbound) -> None:
        """Into the outbox; the oldest makes room. What a lost connection gave back counts as the oldest too."""
        self.outbox.send_nowait(Outgoing(message, self.moved.beat, actor=OURS))
        self.outbox.evict("overflowed", keep=self.options.mqtt.outbox, oldest_first=True)

    def drop(self, reason: str, topic: object, error: object = "") -> None:
        """Count a publish that is dropped; tell of the first one for this reason on this connection."""
        self._counts[reason] += 1
        if reason not in self._told:
            self._told.add(reason)
            self.emit(PublishDropped(reason, str(topic)[:200], str(error)[:500]))

    def _unsent(self, outgoing: Outgoing, reason: str) -> None:
        self.drop("closed" if reason == "closed" else "overflowed", outgoing.message.topic)
        self.moved.beat()

    # -- in ---------------------------------------------------------------------------------------

    def add(self, topic_filter: str, qos: int, calls: Calls, name: str) -> Entry:
        """A callback more, for everything that arrives from now on."""
        self._serial += 1
        key = f"{self._serial}:{name}"
        mailbox: Mailbox[Work] = Mailbox(math.inf, on_evicted=self._missed)
        route = Subscription(f"{key} {topic_filter}", key, f"callbacks/{key}", Template(topic_filter), qos)
        marker = Subscription(f"{key} marker", key, route.path, Template(f"{MARKER}{self._serial}"), 0)
        box = ActorBox(
            name=key,
            path=route.path,
            mailbox=mailbox,
            ledger=Ledger(sys.maxsize, 1.0),  # a callback is never parked: each message is a fresh try
            subscriptions=(route, marker),
            share=max(1, min(self.options.mailbox, self.options.mqtt.receive_maximum // 2)),
            overflow=Overflow.DROP_OLDEST,
            overflow_after_s=self.options.overflow_after_s,
            handler_timeout_s=math.inf,
            max_attempts=1,
            retained=LastRetained(Latest(capacity=0)),  # it is a function: there is no state to rebuild after a failure
        )
        entry = self.entries[key] = Entry(box, calls, route, marker)
        self.boxes[key] = box
        known = [each for each in self.filters.static if covers(each, topic_filter)]  # they bring what is retained
        if not self.link.is_up:
            self._renewed.update(known)
        for subscription in box.subscriptions:
            self.matcher.add(subscription.template.filter, subscription)
        for delivery in self.early.take(topic_filter):  # before anything that arrives from now on
            self.table.owe(delivery, route.id)
            mailbox.send_nowait(Work(delivery, route))
            self.table.dispatch(delivery)
        self._want(known)
        return entry

    def remove(self, entry: Entry) -> bool:
        """The callback gets nothing more; what waits for it is dropped. False: it was gone already."""
        if self.entries.pop(entry.box.name, None) is None:
            return False
        for subscription in entry.box.subscriptions:
            self.matcher.remove(subscription.template.filter, subscription)
        del self.boxes[entry.box.name]
        entry.box.mailbox.close("removed")
        for marker in list(entry.wake):
            entry.passed(marker)
        self._want([])
        gone = entry.route.template.filter
        if all(each.route.template.filter != gone for each in self.entries.values()):
            self.early.give_up(gone)
        return True

    def mark(self, entry: Entry) -> trio.Event:
        """Set when the callback has had everything that has arrived until now, or is removed."""
        passed = trio.Event()
        if entry.box.name not in self.entries:
            passed.set()
            return passed
        self._serial += 1
        self._counts["markers"] += 1
        marker = str(self._serial).encode()
        entry.wake[marker] = passed
        # Not in the in-flight table: it settles nothing, and nobody acknowledges it.
        self.arrivals.send_nowait(Delivery(Inbound(entry.marker.template.filter, marker), 0))
        return passed

    def _want(self, renewed: list[str]) -> None:
        """Each callback's filter, or a wider one of another: a broker may send a message once for each filter that matches it."""
        asked = [(entry.route.template.filter, entry.route.qos) for entry in self.entries.values()]
        wide = [each for each in dict.fromkeys(each for each, _ in asked) if ("+" in each or "#" in each) and each not in self._refused]
        strongest: dict[str, int] = {}
        for topic_filter, qos in asked:
            brings = topic_filter
            while wider := next((each for each in wide if each != brings and covers(each, brings)), None):
                brings = wider
            strongest[brings] = max(qos, strongest.get(brings, 0))
        self.filters.want(strongest, renewed)

    def _settled(self, delivery: Delivery) -> None:
        """Nothing else is remembered of a message that was handled: plain JSON has no id to know it by."""
        if delivery.inbound.retain:
            for entry in self.entries.values():
                entry.acknowledged += entry.route.id in delivery.given

    def _missed(self, work: Work, reason: str) -> None:
        if work.delivery.inbound.topic.startswith(MARKER):
            entry = self.entries.get(work.subscription.actor)
            if entry is not None:  # when it has been removed, nobody waits any more
                entry.passed(work.delivery.inbound.payload)
            return
        evicted(self.table, self.letters)(work, reason)

    # -- telling ----------------------------------------------------------------------------------

    def tell(self, event: object) -> None:
        """Count what the actors report, and pass on what a reader of the log wants to know."""
        match event:
            case LinkUp():
                self._told.clear()
                renewed, self._renewed = self._renewed, set()
                self._want([topic_filter for topic_filter in renewed if topic_filter in self.filters.static])
            case SubscriptionRefused(filter=topic_filter):
                self._refused.add(topic_filter)  # what it was to bring is asked for by itself
                self._want([])
            case DeadLettered(direction="out", actor=actor, topic=topic, error=error) if actor == OURS:
                self.drop("refused", topic, error)
                return
            case DeadLettered(why="rejected", topic=topic, subscription=subscription, error=error):
                self._counts["not_json"] += 1
                self.emit(NotJson(topic, subscription, error.removeprefix("Reject: ")))
                return
            case DeadLettered(why="crashed" | "removed"):
                return  # told already, or wanted
            case MessageUnmatched(topic=topic) if topic.startswith(MARKER):
                return  # its callback was removed meanwhile
            case MessageUnmatched():
                self._counts["unmatched"] += 1
            case HandlerFailed():
                self._counts["failures"] += 1
            case Overflowed():
                self._counts["missed"] += event.count
        self.emit(event)

    def statistics(self) -> ConnectorStatistics:
        """See `ConnectorStatistics`."""
        outbox, counts = self.outbox.statistics(), self._counts
        return ConnectorStatistics(
            connected=self.link.is_up,
            connections=self.link.ups,
            sent=outbox.done - counts["refused"],
            queued=outbox.queued + outbox.in_hand,
            overflowed=counts["overflowed"],
            closed=counts["closed"],
            unsendable=counts["unsendable"],
            refused=counts["refused"],
            subscriptions=len(self.entries),
            received=self.arrivals.statistics().accepted - counts["markers"],
            not_json=counts["not_json"],
            callback_failures=counts["failures"],
            missed=counts["missed"],
            unmatched=counts["unmatched"],
            held=len(self.early),
        )
