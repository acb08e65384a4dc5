"""What `tars doctor` asks of a broker, and what it gets.

Laws: it leaves nothing behind: its topics, client ids and sessions are its own, drawn for each call, and taken back in the end. A
probe ends, whatever the broker does or leaves undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import attrs
import trio

from tars.actors.mqtt.transport import FAILURE, Inbound, Link, LinkLost, LinkRefused, Outbound, Transport

from .doctor_verdicts import Findings
from .place import Place

ROUND_TRIPS: Final = 100
WINDOW: Final = 5
BURST: Final = 40
QUEUE: Final = 2000
"""Twice what Mosquitto keeps for a session unless told otherwise."""
QUIET_S: Final = 2.0
"""A broker that sends nothing for so long has nothing to send: one on a busy machine takes its time."""
BREATH_S: Final = 0.25
"""So long it waits for what a broker may send beyond the window, after each acknowledgement."""
ONE_S: Final = 3.0
"""So long it waits for a single message, whose absence is the finding."""
SESSION_S: Final = 60
SHORT_SESSION_S: Final = 1
EXPIRED_S: Final = 2.5
"""After so long a session of `SHORT_SESSION_S` is over; brokers look once in a second."""
TRIP_S: Final = 10.0
PROBE_S: Final = 60.0
_NOT_AUTHORIZED: Final = 0x87


@attrs.frozen(eq=False)
class Site:
    """The broker, and what the doctor is called there. `link`: its first connection. `speaks_5`: the broker does, whatever `link` does."""

    transport: Transport
    place: Place
    link: Link
    speaks_5: bool

    @property
    def is_5(self) -> bool:
        """MQTT 5 is spoken on all connections."""
        return self.place.settings.protocol == "5"

    def topic(self, name: str) -> str:
        """One of its own."""
        return f"tars/doctor/{self.place.source}/{name}"

    @asynccontextmanager
    async def connected(self, who: str, *, session_expiry_s: int = 0, receive_maximum: int = 256) -> AsyncIterator[Link]:
        """One more connection, as another client."""
        settings = attrs.evolve(
            self.place.settings,
            client_id=f"{self.place.source}-{who}",
            session_expiry_s=session_expiry_s,
            receive_maximum=receive_maximum,
        )
        async with self.transport.connect(settings) as link:
            yield link


async def spoken(transport: Transport, place: Place, link: Link) -> Site:
    """Does the broker speak MQTT 5, and does `link`? A config says what it wants, and got it; a URL gets 5 where there is 5."""
    as_5 = Site(transport, attrs.evolve(place, settings=attrs.evolve(place.settings, protocol="5")), link, speaks_5=True)
    try:
        async with as_5.connected("version"):
            pass
    except (LinkLost, LinkRefused):
        as_3 = attrs.evolve(place, settings=attrs.evolve(place.settings, protocol="3.1.1"))
        return Site(transport, as_3, link, speaks_5=False)
    return attrs.evolve(as_5, place=place)


async def probe(site: Site) -> Findings:
    """All of it but the clocks. Raises `LinkLost`, `LinkRefused`."""
    _takes_qos_1(site.link)
    began_at = await _leave_for_short(site)
    round_trips_s = await _round_trips(site)
    shared = await _is_shared(site)
    retained = await _is_retained(site)
    outstanding = await _overshoot(site)
    session_kept, queued = await _away(site)
    return Findings(
        protocol=site.place.settings.protocol,
        speaks_5=site.speaks_5,
        shared=shared,
        window=WINDOW,
        outstanding=outstanding,
        retained=retained,
        session_kept=session_kept,
        session_expires=None if began_at is None else await _has_expired(site, began_at),
        queue_sent=QUEUE,
        queued=len(queued),
        in_order=queued == sorted(queued),
        round_trips_s=round_trips_s,
        max_packet_bytes=site.link.limits.max_packet_bytes,
    )


@contextmanager
def _within(limit_s: float, what: str) -> Iterator[None]:
    with trio.move_on_after(limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise LinkLost(f"the broker did not answer within {limit_s:g} s: {what}")


def _takes_qos_1(link: Link) -> None:
    if link.limits.max_qos < 1:
        raise LinkRefused("the broker takes no QoS 1, on which every promise rests", code=0x9B, hint="Mosquitto: max_qos")


async def subscribed(link: Link, *filters: str, qos: int = 1) -> bool:
    """May it subscribe one of them?"""
    with _within(TRIP_S, "a subscription"):
        return min(await link.subscribe([(each, qos) for each in filters])) < FAILURE


async def _round_trips(site: Site) -> list[float]:
    """Each at QoS 1, there and back. The first also shows whether the doctor may do anything here."""
    link, topic = site.link, site.topic("trip")
    found: list[float] = []
    if await subscribed(link, topic):
        with trio.move_on_after(PROBE_S):
            while len(found) < ROUND_TRIPS and await _round_trip(link, topic, found):
                pass
    if not found:
        why = f"what it is sent on {site.topic('#')} does not come back"
        raise LinkRefused(why, code=_NOT_AUTHORIZED, hint="let this user publish and subscribe to tars/doctor/#")
    return found


async def _round_trip(link: Link, topic: str, found: list[float]) -> bool:
    sent_at = trio.current_time()
    with trio.move_on_after(TRIP_S) as patience:
        link.publish(Outbound(topic, b"trip"), lambda code: patience.cancel() if code >= FAILURE else None)
        while not [_taken(link, message) for message in await link.receive() if message.topic == topic]:
            pass
        found.append(trio.current_time() - sent_at)
        return True
    return False


def _taken(link: Link, message: Inbound) -> Inbound:
    if message.qos:
        link.ack(message.packet_id)
    return message


async def _all(link: Link, topic: str, count: int, quiet_s: float = QUIET_S) -> list[Inbound]:
    """What comes on `topic`, acknowledged, until it is `count` or nothing has come for `quiet_s`.

    The embedded broker sends what is retained, on whatever topic, to a session that comes back.
    """
    found: list[Inbound] = []
    while len(found) < count:
        with trio.move_on_after(quiet_s) as quiet:
            found += [message for message in [_taken(link, each) for each in await link.receive()] if message.topic == topic]
        if quiet.cancelled_caught:
            break
    return found


async def _is_shared(site: Site) -> bool:
    link, topic = site.link, site.topic("shared")
    with _within(PROBE_S, "a shared subscription"):
        if not await subscribed(link, f"$share/{site.place.source}/{topic}"):
            return False
        link.publish(Outbound(topic, b"here"))
        return bool(await _all(link, topic, 1, ONE_S))


async def _is_retained(site: Site) -> bool:
    """On a connection of its own: some brokers end one that has something retained."""
    topic = site.topic("retained")
    try:
        async with site.connected("retained") as link:
            if not link.limits.retain_available:
                return False
            with _within(PROBE_S, "a retained message"):
                await _confirmed(link, [Outbound(topic, b"kept", retain=True)])
                await subscribed(link, topic)
                found = await _all(link, topic, 1, ONE_S)
                await _confirmed(link, [Outbound(topic, b"", retain=True)])
    except LinkLost:
        await site.link.flush()  # it is the retained message that it did not like, and not that the broker is gone
        return False
    return any(message.retain for message in found)


async def _confirmed(link: Link, messages: list[Outbound]) -> None:
    """Publish, a window at a time, and return when the broker has confirmed all. Raises `LinkLost`."""
    room = min(link.limits.receive_maximum, 100)
    for first in range(0, len(messages), room):
        left = messages[first : first + room]
        done, waiting = trio.Event(), len(left)

        def confirmed(_code: int) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                done.set()  # noqa: B023 - awaited below, before the next round

        for message in left:
            link.publish(message, confirmed)
        while not done.is_set():
            with trio.move_on_after(QUIET_S):
                await done.wait()
            await link.flush()  # which is how a connection that does not receive learns of its end


async def _overshoot(site: Site) -> int:
    """The most that a client which asked for `WINDOW` is sent without an acknowledgement, first or after one."""
    topic = site.topic("window")
    most = 0
    async with site.connected("window", receive_maximum=WINDOW) as link:
        with _within(PROBE_S, "a window of 5"):
            await subscribed(link, topic)
            await _confirmed(site.link, [Outbound(topic, b"%d" % number) for number in range(BURST)])
            open_: list[Inbound] = []
            for _ in range(WINDOW):
                with trio.move_on_after(BREATH_S):
                    while True:
                        open_ += await link.receive()
                most = max(most, len(open_))
                if open_:
                    _taken(link, open_.pop(0))
    return most


async def _away(site: Site) -> tuple[bool, list[int]]:
    """Is a session there again after its connection, and with which of the messages sent meanwhile?"""
    topic = site.topic("queue")
    async with site.connected("away", session_expiry_s=SESSION_S) as link:
        await subscribed(link, topic)
    with _within(PROBE_S, f"{QUEUE} messages for who is away"):
        await _confirmed(site.link, [Outbound(topic, b"%d" % number) for number in range(QUEUE)])
    async with site.connected("away", session_expiry_s=SESSION_S) as link:
        kept = link.limits.session_present
        with _within(PROBE_S, f"{QUEUE} messages after coming back"):
            queued = [int(message.payload) for message in await _all(link, topic, QUEUE)]
            await link.flush()
    async with site.connected("away"):
        pass
    return kept, queued


async def _leave_for_short(site: Site) -> float | None:
    """A session that should not be there for long, and since when it is alone. MQTT 3.1.1 knows no such thing."""
    if not site.is_5:
        return None
    async with site.connected("short", session_expiry_s=SHORT_SESSION_S) as link:
        await subscribed(link, site.topic("short"))
    return trio.current_time()


async def _has_expired(site: Site, began_at: float) -> bool:
    await trio.sleep_until(began_at + EXPIRED_S)
    async with site.connected("short") as link:
        return not link.limits.session_present
