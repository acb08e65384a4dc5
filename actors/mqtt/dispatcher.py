"""The dispatcher: every subscription that matches gets the delivery; replies go to whoever asked.

It never waits for an actor. An actor's share of the receive window is not a wall: a burst may exceed it. What
is over the share while the actor's oldest waiting message is older than `overflow_after_s` is overflow, and the
actor's policy applies: a hung actor costs the others that second, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import attrs
import trio

from tars.actors.contracts import DecodeError
from tars.supervisor import Mailbox, Overflow

from .box import ActorBox
from .dead_letter import Why
from .events import MessageUnmatched, Overflowed
from .in_flight import Delivery, InFlight, Work
from .lanes import Lanes
from .letters import Letters
from .requests import Requests
from .subscription import Subscription
from .topics import Matcher, matches

BATCH = 256
"""What one wake-up may handle before others get a turn."""
MAX_ATTEMPTS = 3
"""A message that breaks the pipeline itself this often is set aside."""


@attrs.define(eq=False)
class Alarm:
    """Has the dispatcher look at everybody: the limits it goes by are not what they were, or messages came another way."""

    rung: bool = attrs.field(default=True, init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def ring(self) -> None:
        """Whoever changed a limit calls this, or moved messages."""
        self.rung = True
        self.scope.cancel()


@attrs.frozen(eq=False)
class DispatchPorts:
    """Everything the dispatcher works with; all of it outlives the incarnation."""

    table: InFlight
    arrivals: Mailbox[Delivery]  # only to see whether there are any
    admitted: Mailbox[Delivery]
    matcher: Matcher[Subscription]
    boxes: Mapping[str, ActorBox]  # by name, of the actors with one lane
    requests: Requests
    reply_filters: Mapping[str, None]
    letters: Letters
    emit: Callable[[object], None]
    lanes: Mapping[str, Lanes] = attrs.field(factory=dict)  # by name, of the others
    alarm: Alarm = attrs.field(factory=Alarm)
    hold: Callable[[Delivery], bool] = lambda _: False  # takes over what matches nothing, if it says so
    full: dict[ActorBox | Lanes, None] = attrs.field(factory=dict)  # who may hold more than the share: nobody else is looked at


async def dispatcher(ports: DispatchPorts, *, task_status: trio.TaskStatus[None]) -> None:
    """Run until cancelled."""
    task_status.started()
    async with ports.admitted.custody() as custody:
        while True:
            if ports.alarm.rung:
                ports.alarm.rung = False
                ports.full.update(dict.fromkeys([*ports.boxes.values(), *ports.lanes.values()]))
            with trio.move_on_at(_next_overflow(ports, trio.current_time())) as ports.alarm.scope:
                await custody.wait()
                now = trio.current_time()
                for taken in custody.receive_nowait(BATCH):
                    custody.begin(taken)
                    if taken.attempt > MAX_ATTEMPTS:
                        ports.letters.unhandled(taken.item, Why.POISON, attempts=MAX_ATTEMPTS, error="the dispatcher failed on it")
                        ports.table.dispatch(taken.item)
                    else:
                        _dispatch(ports, taken.item, now)
                    custody.done(taken)
                if len(ports.admitted):
                    await trio.lowlevel.checkpoint()  # others get a turn
            _shed_overflow(ports, trio.current_time())


def _dispatch(ports: DispatchPorts, delivery: Delivery, now: float) -> None:
    """Idempotent: a dispatcher that died halfway is repeated without giving anyone the delivery twice."""
    wanted = _answers(ports, delivery)
    for subscription in ports.matcher.match(delivery.inbound.topic):
        wanted = True
        if subscription.id in delivery.given or subscription.id in delivery.already_done:
            continue
        work = Work(delivery, subscription)
        box = ports.boxes.get(subscription.actor)
        if box is None:
            lanes = ports.lanes[subscription.actor]
            box = lanes.of(work)
            ports.full[lanes] = None
        elif len(box.mailbox) >= box.share:
            ports.full[box] = None
        ports.table.owe(delivery, subscription.id)
        if box.parked:
            set_aside(ports.table, ports.letters, work, Why.PARKED)
        else:
            box.mailbox.send_nowait(work, now=now)
    if not wanted:
        if ports.hold(delivery):
            return
        ports.emit(MessageUnmatched(delivery.inbound.topic, delivery.message_id))
    ports.table.dispatch(delivery)


def _answers(ports: DispatchPorts, delivery: Delivery) -> bool:
    """Is it a reply? Late ones, whose asker has gone, are no reason for a warning."""
    topic = delivery.inbound.topic
    if not ports.reply_filters or not any(matches(reply, topic) for reply in ports.reply_filters):
        return False
    if len(ports.requests):
        try:
            ports.requests.resolve(topic, delivery.own_document())
        except DecodeError:
            return True
    return True


def _crowded(ports: DispatchPorts) -> bool:
    """Are messages on their way to the actors?"""
    return len(ports.arrivals) > 0 or len(ports.admitted) > 0


def _next_overflow(ports: DispatchPorts, now: float) -> float:
    crowded = _crowded(ports)
    return min((at for box in _limited(ports) if (at := box.overflows_at(now, crowded=crowded)) is not None), default=math.inf)


def _shed_overflow(ports: DispatchPorts, now: float) -> None:
    crowded = _crowded(ports)
    for box in _limited(ports):
        at = box.overflows_at(now, crowded=crowded)
        if at is not None and at <= now:
            policy = box.overflow
            count = box.mailbox.evict(policy.value, keep=box.share, oldest_first=policy is Overflow.DROP_OLDEST)
            ports.emit(Overflowed(box.path, count, box.share, policy.value))


def _limited(ports: DispatchPorts) -> Iterator[ActorBox]:
    """Whoever may hold more than its share. Who does not, is out of it until it is given more: a thousand idle actors cost nothing."""
    for each in [*ports.full]:
        if over := each.over_share():
            yield from over
        else:
            del ports.full[each]


def set_aside(table: InFlight, letters: Letters, work: Work, why: Why) -> None:
    """`work` becomes a dead letter without having been begun."""
    letters.inbound(work, why)
    table.finish(work.delivery, work.subscription.id, success=False)


def evicted(table: InFlight, letters: Letters) -> Callable[[Work, str], None]:
    """What an actor's mailbox does with a message that leaves it unhandled: `reason` is the policy's, "parked" or "discarded"."""

    def on_evicted(work: Work, reason: str) -> None:
        if reason == "discarded" and table.will_come_again(work.delivery):
            return  # the end of the process: the broker keeps it for the next
        if reason in {"drop_oldest", "drop_newest"}:
            table.finish(work.delivery, work.subscription.id, success=False)
        else:
            set_aside(table, letters, work, _WHY.get(reason, Why.OVERFLOW))

    return on_evicted


_WHY: Final[Mapping[str, Why]] = MappingProxyType({"parked": Why.PARKED, "discarded": Why.DISCARDED, "removed": Why.REMOVED})
