"""The heartbeat watchdog: a QoS 1 publish that must be confirmed in time, or the link is dead.

Why QoS 1: a QoS 0 beat "succeeds" into the socket buffer of a frozen broker for ever, MQTT's own keepalive
takes 1.5 to 2 keepalive periods, a confirmed publish finds it within `deadline_s` (measured: 1.0 s at 1 s).

Wire: a `HeartbeatPayload` on ``system/keepalive/{client_id}``, not retained, not enveloped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import trio

from tars.actors.contracts import encode
from tars.actors.contracts.health import HeartbeatPayload
from tars.supervisor import Mailbox

from .link_state import LinkState
from .outgoing import Outgoing
from .transport import LinkLost, Outbound


@attrs.frozen(eq=False)
class Beats:
    """`interval_s` from one beat to the next, `deadline_s` for its confirmation."""

    topic: str
    urgent: Mailbox[Outgoing]
    state: LinkState
    interval_s: float
    deadline_s: float
    now: Callable[[], float] = time.time  # Unix epoch seconds


async def heartbeat(beats: Beats, *, task_status: trio.TaskStatus[None]) -> None:
    """Beat while the link is up. Raises `LinkLost` when a beat was not confirmed: the link group restarts."""
    task_status.started()
    while True:
        await beats.state.wait_up()
        began = trio.current_time()
        await _beat(beats)
        await trio.sleep_until(began + beats.interval_s)


async def _beat(beats: Beats) -> None:
    epoch = beats.state.epoch
    confirmed = trio.Event()
    payload = encode(HeartbeatPayload(timestamp=beats.now()))
    beats.urgent.send_nowait(Outgoing(Outbound(beats.topic, payload, qos=1), confirmed.set))
    with trio.move_on_after(beats.deadline_s):
        await confirmed.wait()
    if not confirmed.is_set() and beats.state.is_up and beats.state.epoch == epoch:
        msg = f"the broker did not confirm a heartbeat within {beats.deadline_s:g} s"
        raise LinkLost(msg)
