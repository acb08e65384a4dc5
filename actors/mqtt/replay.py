"""The replay actor: dead letters that somebody asked for again go back to the subscription that failed, and to nobody else.

Laws. One replay at a time for each actor, in the order they were asked for: a replay takes one place of an actor's share,
and after a `kill -9` at most one of them runs twice. The next begins when the end of the one before is on disk. It only
reads the file: the store records the end, once the delivery has settled.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from tars.supervisor import Mailbox

from .dead_letter import DeadLetter, Outcome, ReplayEnded, StoreItem
from .events import DeadLetterReplayed
from .in_flight import Delivery, InFlight, Work
from .lanes import Lanes
from .outgoing import Outgoing
from .pulse import Pulse
from .store_replays import Waiting, fetch, waiting
from .subscription import Subscription
from .transport import Inbound, Outbound

POLL_S: Final = 1.0
"""How soon a replay is noticed. A command writes to the file; nobody tells this process."""
MOST: Final = 100_000
"""Replays known of at a time; more stay in the file until these are through."""


@attrs.define(eq=False)
class UnderWay:
    """The replays that have begun: lane → request. Owned by the tree, as the deliveries are that they became."""

    lanes: dict[str, int] = attrs.field(factory=dict, init=False)
    ended: int = attrs.field(default=0, init=False)  # how many, ever
    changed: Pulse = attrs.field(factory=Pulse, init=False)

    def leave(self, lane: str) -> None:
        """The end of the one in `lane` is on disk."""
        self.lanes.pop(lane, None)
        self.ended += 1
        self.changed.beat()


@attrs.frozen(eq=False)
class ReplayPorts:
    """Everything replays work with; all of it outlives the incarnation."""

    table: InFlight
    actors: Mapping[str, Lanes]
    admitted: Mailbox[Delivery]
    outbox: Mailbox[Outgoing]
    to_store: Mailbox[StoreItem]
    under_way: UnderWay
    emit: Callable[[object], None]
    now: Callable[[], float] = time.time  # Unix epoch seconds
    poll_s: float = POLL_S


async def replay(state_dir: Path, ports: ReplayPorts, *, task_status: trio.TaskStatus[None]) -> None:
    """Run until cancelled. Raises `StoreError`, an `Unavailable`, when the file cannot be read."""
    task_status.started()
    one_thread = trio.CapacityLimiter(1)
    lanes: dict[str, deque[Waiting]] = {}
    seen, look_at = 0, trio.current_time()
    while True:
        ended = ports.under_way.ended
        if trio.current_time() >= look_at and sum(map(len, lanes.values())) < MOST:
            begun = set(ports.under_way.lanes.values())  # before the look: one that ends meanwhile may still be seen waiting
            for each in await trio.to_thread.run_sync(waiting, state_dir, seen, MOST, limiter=one_thread):
                seen = each.request
                if each.request not in begun:
                    lanes.setdefault(_lane(each), deque()).append(each)
            look_at = trio.current_time() + ports.poll_s
        for lane, queue in lanes.items():
            if queue and lane not in ports.under_way.lanes and _has_room(ports, queue[0]):
                letter = await trio.to_thread.run_sync(fetch, state_dir, queue[0].letter, limiter=one_thread)
                asked = queue.popleft()
                if letter is not None:  # else it was thrown away meanwhile, and the request with it
                    _begin(ports, lane, asked, letter)
        if ports.under_way.ended == ended:
            with trio.move_on_at(look_at):
                await ports.under_way.changed.wait()


def _lane(asked: Waiting) -> str:
    """One for each actor, one for what no actor had yet; and for each actor one of what it said."""
    return f"{asked.direction} {asked.actor}"


def _has_room(ports: ReplayPorts, asked: Waiting) -> bool:
    """Not to a parked actor, or one with a parked lane: that might make a dead letter of it again. Not into a full outbox."""
    if asked.direction == "out":
        return len(ports.outbox) < ports.outbox.capacity
    return not any(box.parked for lanes in ports.actors.values() if lanes.path == asked.actor for box in lanes.boxes)


def _begin(ports: ReplayPorts, lane: str, asked: Waiting, letter: DeadLetter) -> None:
    def settled(delivery: Delivery) -> None:
        _end(ports, lane, asked, letter, _outcome(delivery, letter))

    ports.under_way.lanes[lane] = asked.request
    subscription = _subscription(ports, letter)
    if letter.direction == "in" and letter.subscription and subscription is None:
        _end(ports, lane, asked, letter, Outcome.REFUSED)
        return
    inbound = Inbound(letter.topic, letter.payload, letter.qos, letter.retain, duplicate=True, user_properties=letter.user_properties)
    # Begun again after a kill, it has the same key: what is said while it is handled has the same ids as the first time.
    delivery = ports.table.again(inbound, f"replay|{asked.request}", letter.message_id, settled)
    if letter.direction == "out":
        ports.table.hold(delivery)
        ports.table.dispatch(delivery)
        message = Outbound(letter.topic, letter.payload, letter.qos, letter.retain, letter.user_properties)
        ports.outbox.send_nowait(Outgoing(message, lambda: ports.table.release(delivery), actor=letter.actor, delivery=delivery))
    elif subscription is None:  # the pipeline failed on it, or never came to it
        ports.admitted.send_nowait(delivery)
    else:
        ports.table.owe(delivery, subscription.id)
        ports.table.dispatch(delivery)
        work = Work(delivery, subscription)
        ports.actors[subscription.actor].of(work).mailbox.send_nowait(work)


def _subscription(ports: ReplayPorts, letter: DeadLetter) -> Subscription | None:
    """The one that failed, if it still is in the config."""
    found = (each for lanes in ports.actors.values() if lanes.path == letter.actor for each in lanes.subscriptions)
    return next((each for each in found if each.id == letter.subscription), None)


def _outcome(delivery: Delivery, letter: DeadLetter) -> Outcome:
    if delivery.dead_letters:
        return Outcome.FAILED
    if letter.direction == "out":
        return Outcome.SENT
    if delivery.succeeded:
        return Outcome.HANDLED
    return Outcome.DROPPED if delivery.given else Outcome.REFUSED


def _end(ports: ReplayPorts, lane: str, asked: Waiting, letter: DeadLetter, outcome: Outcome) -> None:
    ports.emit(
        DeadLetterReplayed(
            letter=asked.letter,
            outcome=outcome.value,
            direction=letter.direction,
            topic=letter.topic,
            actor=letter.actor,
            subscription=letter.subscription,
            message_id=letter.message_id,
        )
    )
    ended = ReplayEnded(asked.request, asked.letter, ports.now(), outcome, lambda: ports.under_way.leave(lane))
    ports.to_store.send_nowait(ended)
