"""What `tars doctor` can know of clocks: MQTT has none, and a broker tells its time to nobody, but services write theirs into messages.

A message that has just arrived was written a moment ago, or longer ago if it had to wait. So by its writer's clock it is at least as
late as it says: of many messages the latest counts. One that was retained may be of any age; it tells something only if
it comes from the future. A Will was written when its client connected, and tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import attrs
import trio

from tars.actors.contracts import Decoded, DecodeError, decode
from tars.actors.contracts.health import TOPIC_SYSTEM_HEALTH_PREFIX, TOPIC_SYSTEM_KEEPALIVE_PREFIX, HealthPing, HeartbeatPayload
from tars.actors.mqtt.transport import Inbound, Link

FILTERS: Final = (f"{TOPIC_SYSTEM_HEALTH_PREFIX}+", f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}+")
MAX_SOURCES: Final = 10_000
BY_A_WILL: Final = "lost"


@attrs.frozen
class Clock:
    """The clock of `source` is `ahead_s` seconds ahead of ours (negative: behind), or more. `fresh`: not much more."""

    source: str
    ahead_s: float
    fresh: bool


async def listen(link: Link, listen_s: float, now: Callable[[], float]) -> list[Clock]:
    """What services say within `listen_s` seconds on `FILTERS`. `now`: Unix epoch seconds."""
    heard: list[Clock] = []
    with trio.move_on_after(listen_s):
        while True:
            messages = await link.receive()
            heard = nearest([*heard, *filter(None, (clock_of(message, now()) for message in messages))])
    return heard


def clock_of(message: Inbound, now_s: float) -> Clock | None:
    """What one message tells, if anything."""
    is_health = message.topic.startswith(TOPIC_SYSTEM_HEALTH_PREFIX)
    decoded: Decoded[HealthPing] | Decoded[HeartbeatPayload]
    try:
        decoded = decode(message.payload, HealthPing) if is_health else decode(message.payload, HeartbeatPayload)
    except DecodeError:
        return None
    if decoded.event.event == BY_A_WILL:
        return None
    written_s = decoded.event.timestamp if decoded.envelope is None else decoded.envelope.ts
    source = message.topic.removeprefix(TOPIC_SYSTEM_HEALTH_PREFIX if is_health else TOPIC_SYSTEM_KEEPALIVE_PREFIX)
    return Clock(source, written_s - now_s, fresh=not message.retain)


def nearest(clocks: Iterable[Clock]) -> list[Clock]:
    """Of each source the one that tells most, of `MAX_SOURCES` at most."""
    best: dict[str, Clock] = {}
    for clock in clocks:
        known = best.get(clock.source)
        if known is None and len(best) >= MAX_SOURCES:
            continue
        if known is None or (clock.fresh, clock.ahead_s) > (known.fresh, known.ahead_s):
            best[clock.source] = clock
    return list(best.values())
