"""What a service owns and no actor does: everything that outlives incarnations, and reloads of the config.

Law: made once per process. `adapt` brings it in line with another config; the actors that work on it are told
by what they find here, or restarted by `Supervisor.reconfigure` where that is not enough.
"""

from __future__ import annotations

import functools
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from tars.supervisor import LoopBlocked, LoopFree, Mailbox

from .definition import ActorDefinition, SubscriptionDefinition
from .mqtt.bound_logger import bound_at_first_use
from .mqtt.box import ActorBox
from .mqtt.dead_letter import StoreItem, Why
from .mqtt.dispatcher import Alarm, evicted
from .mqtt.drain import Drain
from .mqtt.health import Health, place_of_actor, place_of_subscription
from .mqtt.in_flight import Delivery, InFlight, Work
from .mqtt.journal import Journal
from .mqtt.keys import cause_of
from .mqtt.lane_key import LaneKey, parse_lane_key
from .mqtt.lanes import Lanes
from .mqtt.ledger import Ledger
from .mqtt.letter_topic import PREFIX, LetterTopic
from .mqtt.letters import Letters
from .mqtt.link_state import Filters, LinkState
from .mqtt.outgoing import Outgoing
from .mqtt.recorder import Recorder
from .mqtt.replay import UnderWay
from .mqtt.requests import Requests
from .mqtt.sequence import Sequences
from .mqtt.subscription import Subscription
from .mqtt.topics import Matcher
from .mqtt.window import DoneWindow
from .service_config import ServiceConfig, share_of
from .settings import ActorSettings

HANDLERS_PATH = "root/service/handlers"
MOVED = "moved"
"""Why a message leaves the mailbox of a lane that is no more."""


@attrs.define(eq=False, kw_only=True)
class Estate:
    """See the module. `to_store` feeds the store, `letters` writes to it.

    By actor name: `actors` are all of them, `boxes` those with one lane, `lanes` those with more.
    """

    emit: Callable[[Any], None]
    window: DoneWindow
    recorder: Recorder
    health: Health
    journal: Journal
    table: InFlight
    to_store: Mailbox[StoreItem]
    letters: Letters
    letter_topic: LetterTopic
    outbox: Mailbox[Outgoing]
    sequences: Sequences
    arrivals: Mailbox[Delivery] = attrs.field(factory=lambda: Mailbox(math.inf))
    admitted: Mailbox[Delivery] = attrs.field(factory=lambda: Mailbox(math.inf))
    urgent: Mailbox[Outgoing] = attrs.field(factory=lambda: Mailbox(math.inf))
    link: LinkState = attrs.field(factory=LinkState)
    drain: Drain = attrs.field(factory=Drain)
    requests: Requests = attrs.field(factory=Requests)
    filters: Filters = attrs.field(factory=lambda: Filters({}))
    matcher: Matcher[Subscription] = attrs.field(factory=Matcher)
    alarm: Alarm = attrs.field(factory=Alarm)
    replays: UnderWay = attrs.field(factory=UnderWay)
    actors: dict[str, Lanes] = attrs.field(factory=dict)
    boxes: dict[str, ActorBox] = attrs.field(factory=dict)
    lanes: dict[str, Lanes] = attrs.field(factory=dict)
    _coming: dict[str, Lanes] = attrs.field(factory=dict, init=False)  # other arrangements, which the tree is to start
    _moved: list[Work] = attrs.field(factory=list, init=False)

    @classmethod
    def make(cls, config: ServiceConfig, definitions: Sequence[ActorDefinition], emit: Callable[[Any], None]) -> Estate:
        """A new one, in line with `config`."""
        window = DoneWindow(config.dedup.ttl_s, config.dedup.max_entries)
        recorder = Recorder(window, trio.current_time)
        health = Health()
        journal = Journal(functools.partial(health.report, "crash journal"))
        settled = functools.partial(_settled, window, journal, bound_at_first_use())
        table = InFlight(settled, record=recorder.record, first_serial=secrets.randbits(64))
        to_store: Mailbox[StoreItem] = Mailbox(math.inf)
        letter_topic = LetterTopic(emit)
        letters = Letters(to_store, table, emit, topic=letter_topic)
        outbox: Mailbox[Outgoing] = Mailbox(config.mqtt.outbox, on_evicted=functools.partial(_unsent, letters))
        estate = cls(
            emit=emit,
            letter_topic=letter_topic,
            window=window,
            recorder=recorder,
            health=health,
            journal=journal,
            table=table,
            to_store=to_store,
            letters=letters,
            outbox=outbox,
            sequences=Sequences(emit),
        )
        estate.adapt(config, definitions)
        return estate

    def adapt(self, config: ServiceConfig, definitions: Sequence[ActorDefinition]) -> None:
        """Take over limits, subscriptions and actors from `config`. Messages that lie in a mailbox stay there.

        A removed actor's mailbox is closed: what it holds becomes dead letters.
        """
        self.window.ttl_s, self.window.max_entries = config.dedup.ttl_s, config.dedup.max_entries
        self.recorder.switch(durable=config.dedup.durable)
        self.outbox.resize(config.mqtt.outbox)
        self.letter_topic.topic = f"{PREFIX}{config.client_id}" if config.store.publish_dead_letters else None
        wanted = {definition.name: definition for definition in definitions}
        before = {each for lanes in self.actors.values() for each in lanes.subscriptions}
        for name in [name for name in self.actors if name not in wanted]:
            self._drop(name)
        for name, definition in wanted.items():
            subscriptions = tuple(_subscription(name, each) for each in definition.subscriptions)
            arrangements = self._arrange(name, config.actors[name])
            self._match(arrangements[0].subscriptions, subscriptions)
            for lanes in arrangements:
                self._take_limits(lanes, config)
                lanes.subscribe(subscriptions)
        now = [each for lanes in self.actors.values() for each in lanes.subscriptions]
        for gone in {each.template.filter for each in before} - {each.template.filter for each in now}:
            self.health.report(place_of_subscription(gone), None)
        renewed = {each.template.filter for each in now if each not in before}
        self.filters.want(_strongest(now), renewed, _listeners(now))
        self.alarm.ring()

    # -- the actors' places ----------------------------------------------------------------------

    def arranged(self, name: str) -> Lanes:
        """The lanes that the tree shall run for this actor."""
        return self._coming.get(name) or self.actors[name]

    def enter(self, lanes: Lanes) -> None:
        """One of `lanes` begins. If they are new, none of the lanes before lives any more: what those had is dealt out to these.

        In the order in which it arrived, so that no message overtakes another of its key. Failed attempts, and parking, are forgotten.
        """
        if self._coming.get(lanes.name) is not lanes:
            return
        del self._coming[lanes.name]
        before = self.actors[lanes.name]
        self._install(lanes)
        for box in before.boxes:
            box.mailbox.evict(MOVED, oldest_first=True)
            self.health.report(place_of_actor(box.name), None)
            for shown in box.retained.all():
                lanes.of(shown).retained.take_over(shown)
        moved, self._moved = self._moved, []
        for work in sorted(moved, key=lambda work: work.delivery.serial):
            lanes.of(work).mailbox.send_nowait(work)
        self.alarm.ring()

    def _arrange(self, name: str, actor: ActorSettings) -> list[Lanes]:
        """The actor's lanes as they are, and, if they shall be others, those. They come when the tree has stopped the old ones."""
        key = parse_lane_key(actor.key) if actor.key is not None and actor.concurrency > 1 else None
        shape = (actor.concurrency, None if key is None else key.text)
        now, coming = self.actors.get(name), self._coming.pop(name, None)
        if now is None:
            self._install(now := self._lanes(name, actor.concurrency, key))
        elif now.shape != shape:
            coming = coming if coming is not None and coming.shape == shape else self._lanes(name, actor.concurrency, key)
            self._coming[name] = coming
            return [now, coming]
        return [now]

    def _lanes(self, name: str, concurrency: int, key: LaneKey | None) -> Lanes:
        names = [name] if key is None else [f"{name}/{number}" for number in range(concurrency)]
        return Lanes(name, f"{HANDLERS_PATH}/{name}", tuple(map(self._box, names)), key)

    def _box(self, name: str) -> ActorBox:
        usual = evicted(self.table, self.letters)

        def on_evicted(work: Work, reason: str) -> None:
            if reason == MOVED:
                self._moved.append(work)
            else:
                usual(work, reason)

        mailbox = Mailbox(math.inf, on_evicted=on_evicted)  # a burst is no event: see dispatcher
        return ActorBox(name=name, path=f"{HANDLERS_PATH}/{name}", mailbox=mailbox, ledger=Ledger(1, 1.0))

    def _install(self, lanes: Lanes) -> None:
        """They get the actor's messages from now on."""
        self.boxes.pop(lanes.name, None)
        self.lanes.pop(lanes.name, None)
        self.actors[lanes.name] = lanes
        if lanes.key is None:
            self.boxes[lanes.name] = lanes.boxes[0]
        else:
            self.lanes[lanes.name] = lanes

    def _drop(self, name: str) -> None:
        lanes = self.actors.pop(name)
        self._coming.pop(name, None)
        self.boxes.pop(name, None)
        self.lanes.pop(name, None)
        self._match(lanes.subscriptions, ())
        lanes.subscribe(())
        for box in lanes.boxes:
            box.mailbox.close("removed")
            self.health.report(place_of_actor(box.name), None)

    def _take_limits(self, lanes: Lanes, config: ServiceConfig) -> None:
        actor = config.actors[lanes.name]
        lanes.share = share_of(actor, config.mqtt.receive_maximum, len(config.actors))
        for box in lanes.boxes:
            box.share = lanes.share
            box.overflow = actor.overflow
            box.overflow_after_s = actor.overflow_after_s
            box.handler_timeout_s = actor.handler_timeout_s
            box.max_attempts = actor.max_attempts
            box.ledger.max_failures_in_a_row, box.ledger.park_s = actor.max_failures_in_a_row, actor.park_s

    def _match(self, before: Sequence[Subscription], now: Sequence[Subscription]) -> None:
        for gone in before:
            self.matcher.remove(gone.template.filter, gone)
        for subscription in now:
            self.matcher.add(subscription.template.filter, subscription)

    # -- what the tree tells ---------------------------------------------------------------------

    def loop_state(self, state: LoopBlocked | LoopFree) -> None:
        """The watch reports. While the loop is blocked nothing can be published: health tells afterwards, until the process ends."""
        self.emit(state)
        if isinstance(state, LoopFree):
            self.health.report("event loop", f"was blocked for {state.blocked_s:.1f} s at {state.where}")

    def last_call(self) -> None:
        """The process ends, all actors but the store are gone: nothing that is still queued vanishes."""
        self.outbox.close("the service stopped before it could be sent")
        self.letter_topic.close()
        self.sequences.tell_all(trio.current_time())
        for lanes in self.actors.values():
            for box in lanes.boxes:
                box.mailbox.evict("discarded", oldest_first=True)
        for delivery in self.table.undispatched():
            if not self.table.will_come_again(delivery):
                self.letters.unhandled(delivery, Why.DISCARDED, attempts=0, error="the service stopped before it was handled")


def _settled(window: DoneWindow, journal: Journal, logger: Callable[[], Any], delivery: Delivery) -> None:
    """Recorded done before it is acknowledged: a redelivery in between is recognised."""
    if delivery.recorded and delivery.succeeded:
        window.record(delivery.key, delivery.succeeded, trio.current_time())
    if journal.suspects:
        journal.settled(delivery)
    if not _tells(log := logger()):  # the values of a line that nobody sees cost, too
        return
    cause = cause_of(delivery.inbound.user_properties)
    by = {"causation_id": cause} if cause else {}
    log.debug("message_settled", topic=delivery.inbound.topic, message_id=delivery.message_id, given=len(delivery.given), **by)


def _tells(log: Any) -> bool:
    """Would it write a debug line? A logger that cannot say so (an embedding program's) is asked to."""
    is_enabled_for = getattr(log, "is_enabled_for", None)
    return is_enabled_for is None or bool(is_enabled_for(logging.DEBUG))


def _unsent(letters: Letters, outgoing: Outgoing, reason: str) -> None:
    """What a delivery said is said again when the broker redelivers it; the rest would be lost."""
    if outgoing.delivery is None or not letters.table.will_come_again(outgoing.delivery):
        letters.outbound(outgoing, Why.DISCARDED, reason)


def _subscription(actor: str, definition: SubscriptionDefinition) -> Subscription:
    return Subscription(definition.id, actor, f"{HANDLERS_PATH}/{actor}", definition.template, definition.qos)


def _listeners(subscriptions: Sequence[Subscription]) -> dict[str, str]:
    """Who subscribes each filter: the actors' names."""
    actors: dict[str, dict[str, None]] = {}
    for each in subscriptions:
        actors.setdefault(each.template.filter, {})[each.actor] = None
    return {topic_filter: ", ".join(names) for topic_filter, names in actors.items()}


def _strongest(subscriptions: Sequence[Subscription]) -> dict[str, int]:
    """Each filter once, at the highest QoS anyone asks for."""
    strongest: dict[str, int] = {}
    for each in subscriptions:
        strongest[each.template.filter] = max(each.qos, strongest.get(each.template.filter, 0))
    return strongest
