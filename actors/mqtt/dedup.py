"""The dedup actor: gives every delivery its key, and stops those that are in flight already.

What was *done* before is only looked up here; the dispatcher, who knows the subscriptions, leaves those out.
A crash loses nothing: what it held goes back to its mailbox, and doing a delivery twice here changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from tars.supervisor import Mailbox

from .dead_letter import Why
from .in_flight import Delivery, InFlight
from .keys import MESSAGE_ID, bounded, identity_of, property_of, unique_key
from .letters import Letters
from .sequence import MARK, Sequences
from .window import DoneWindow

BATCH = 256
"""What one wake-up may handle before others get a turn."""
MAX_ATTEMPTS = 3
"""A message that breaks the pipeline itself this often is set aside."""


@attrs.frozen(eq=False)
class DedupPorts:
    """Everything dedup works with; all of it outlives the incarnation."""

    table: InFlight
    window: DoneWindow
    usable: Callable[[], Awaitable[None]]  # returns when what was done is known, and what will be can be recorded
    arrivals: Mailbox[Delivery]
    admitted: Mailbox[Delivery]
    letters: Letters
    sequences: Sequences


async def dedup(ports: DedupPorts, *, task_status: trio.TaskStatus[None]) -> None:
    """Run until cancelled."""
    task_status.started()
    async with ports.arrivals.custody() as custody:
        while True:
            await custody.wait()
            await ports.usable()
            now = trio.current_time()
            for taken in custody.receive_nowait(BATCH):
                custody.begin(taken)
                if taken.attempt > MAX_ATTEMPTS:
                    ports.letters.unhandled(taken.item, Why.POISON, attempts=MAX_ATTEMPTS, error="dedup failed on it")
                    ports.table.dispatch(taken.item)
                elif _admit(ports, taken.item, now):
                    ports.admitted.send_nowait(taken.item, now=now)
                custody.done(taken)
            if len(ports.arrivals):
                await trio.lowlevel.checkpoint()  # others get a turn


def _admit(ports: DedupPorts, delivery: Delivery, now: float) -> bool:
    inbound = delivery.inbound
    identity = identity_of(delivery)
    key = identity or unique_key(delivery)
    delivery.message_id = (inbound.user_properties and bounded(property_of(inbound.user_properties, MESSAGE_ID))) or key
    if inbound.retain:  # state shown to a new subscription: it must get through, however often it was seen
        delivery.recorded = False
        return ports.table.admit(delivery, f"{key}|retained#{delivery.serial}", ())
    delivery.lasting = delivery.recorded = identity is not None
    if not ports.table.admit(delivery, key, ports.window.finished(key, now)):
        return False
    if MARK in inbound.payload and not delivery.already_done:
        ports.sequences.see(inbound.topic, delivery.document, now)
    return True
