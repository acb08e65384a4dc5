"""When has a callback had what is retained on its topics? In the place of a sleep after subscribing.

Law: a broker answers in order, so what it had retained stands before its answer to a publish made after the SUBSCRIBE; and
a callback's mailbox is first in, first out, so a marker put in behind those comes out when they have been handled.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .connector_estate import ConnectorEstate, Entry
from .connector_tree import keepalive_topic
from .contracts import encode
from .contracts.health import HeartbeatPayload
from .mqtt.outgoing import Outgoing
from .mqtt.transport import Outbound


async def catch_up(estate: ConnectorEstate, entries: Sequence[Entry]) -> bool:
    """Wait until these callbacks have had what is retained. False: the connection ended first, or there is none."""
    link = estate.link
    if not link.is_up:
        return False
    epoch, done = link.epoch, False
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while link.is_up and link.epoch == epoch:
                await link.changed.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await _had_retained(estate, entries)
        done = True
        nursery.cancel_scope.cancel()
    return done


async def _had_retained(estate: ConnectorEstate, entries: Sequence[Entry]) -> None:
    """Many retained messages come in portions as we acknowledge, so this is repeated until none came.

    A message is acknowledged when every callback has had it: another one that hangs is waited for no longer than it may be
    too slow.
    """
    seen = -1
    while seen != (seen := sum(entry.calls.retained for entry in entries)):
        while estate.filters.wanted():
            await estate.filters.changed.wait()
        await _answered(estate)
        for passed in [estate.mark(entry) for entry in entries]:
            await passed.wait()
        while not all(entry.caught_up for entry in entries):
            with trio.move_on_after(estate.options.overflow_after_s) as patience:
                await estate.table.changed.wait()
            if patience.cancelled_caught:
                break


async def _answered(estate: ConnectorEstate) -> None:
    """One heartbeat more, confirmed."""
    confirmed = trio.Event()
    payload = encode(HeartbeatPayload())
    estate.urgent.send_nowait(Outgoing(Outbound(keepalive_topic(estate.options.client_id), payload, qos=1), confirmed.set))
    await confirmed.wait()
    await trio.lowlevel.checkpoint()  # whoever reads the link was woken before us: it has had its turn now
