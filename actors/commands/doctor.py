"""``tars doctor``: what the broker of a config really does, and what that means for the promises.

Law: it leaves nothing behind. Its topics, client ids and sessions are its own, drawn for each call, and taken back in the end.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeAlias

import attrs
import orjson
import trio
import typer

from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.transport import FAILURE, Inbound, Link, LinkLost, LinkRefused, Outbound, Transport
from tars.supervisor.terminal import Terminal, ending_quietly

from .doctor_verdicts import Findings, Grade, Verdict, is_fit, verdicts
from .place import FAILED, Place, PlaceArgument, ProtocolOption, find, speak

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="The verdicts as one JSON document.")]

ROUND_TRIPS: Final = 100
WINDOW: Final = 5
BURST: Final = 40
QUEUE: Final = 2000
"""Twice what Mosquitto keeps for a session unless told otherwise."""
QUIET_S: Final = 1.0
"""A broker that sends nothing for so long has nothing to send."""
SESSION_S: Final = 60


def doctor(broker: PlaceArgument, *, as_json: JsonOption = False, protocol: ProtocolOption = "auto") -> None:
    """Try out what a broker really does, and say what it means for the promises.

    \b
    tars doctor config/router.toml
    tars doctor mqtt://127.0.0.1 --json

    Exit code 1: a promise does not hold on this broker, or it is not there; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    place = find("doctor", broker, protocol, os.environ)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        report = verdicts(speak("doctor", place, functools.partial(_examined, AiomqttTransport(), place)))
        if as_json:
            lines = [{**attrs.asdict(verdict), "grade": verdict.grade.value} for verdict in report]
            to.print(orjson.dumps({"broker": place.url, "fit": is_fit(report), "verdicts": lines}).decode())
        else:
            for verdict in report:
                to.print(_line(verdict, to))
    if not is_fit(report):
        raise typer.Exit(FAILED)


def _line(verdict: Verdict, to: Terminal) -> str:
    grade = f"{verdict.grade.value:5}"
    match verdict.grade:
        case Grade.GOOD:
            grade = to.paint(grade, "green")
        case Grade.LIMIT:
            grade = to.paint(grade, "yellow")
        case Grade.BAD:
            grade = to.paint(grade, "bold red")
    return f"{grade}  {to.paint(verdict.what, 'bold')}: {verdict.found}\n       {verdict.means}"


async def _examined(transport: Transport, place: Place, link: Link) -> Findings:
    """All probes, one after the other. `link` tells which protocol is spoken here."""
    spoken = await _spoken(transport, place)
    place = attrs.evolve(place, settings=attrs.evolve(place.settings, protocol=spoken))
    mailbox = f"tars/doctor/{place.source}"
    round_trips_s = await _round_trips(link, f"{mailbox}/trip")
    shared = await _comes(link, f"$share/{place.source}/{mailbox}/shared", f"{mailbox}/shared")
    retained = await _is_retained(link, f"{mailbox}/retained")
    outstanding = await _overshoot(transport, place, link, f"{mailbox}/window")
    session_kept, queued = await _away(transport, place, link, f"{mailbox}/queue")
    return Findings(
        protocol=spoken,
        shared=shared,
        window=WINDOW,
        outstanding=outstanding,
        retained=retained,
        session_kept=session_kept,
        queue_sent=QUEUE,
        queued=len(queued),
        in_order=queued == sorted(queued),
        round_trips_s=round_trips_s,
        max_packet_bytes=link.limits.max_packet_bytes,
    )


async def _spoken(transport: Transport, place: Place) -> str:
    """The broker is there; does it speak MQTT 5? A config says what it wants, and got it."""
    if not place.fall_back:
        return place.settings.protocol
    try:
        await _connected(transport, place, "version", _at_once)
    except (LinkLost, LinkRefused):
        return "3.1.1"
    return place.settings.protocol


async def _at_once(_: Link) -> None:
    await trio.lowlevel.checkpoint()


async def _connected(
    transport: Transport,
    place: Place,
    who: str,
    job: Callable[[Link], Awaitable[object]],
    *,
    session_expiry_s: int = 0,
    receive_maximum: int = 256,
) -> None:
    """One more connection, as another client."""
    client_id = f"{place.source}-{who}"
    named = attrs.evolve(place.settings, client_id=client_id, session_expiry_s=session_expiry_s, receive_maximum=receive_maximum)
    async with transport.connect(named) as link:
        await job(link)


async def _subscribed(link: Link, topic_filter: str) -> bool:
    (code,) = await link.subscribe([(topic_filter, 1)])
    return code < FAILURE


async def _round_trips(link: Link, topic: str) -> list[float]:
    await _subscribed(link, topic)
    found = []
    for number in range(ROUND_TRIPS):
        sent_at = trio.current_time()
        link.publish(Outbound(topic, b"%d" % number))
        while not [_taken(link, message) for message in await link.receive() if message.topic == topic]:
            pass
        found.append(trio.current_time() - sent_at)
    return found


def _taken(link: Link, message: Inbound) -> Inbound:
    if message.qos:
        link.ack(message.packet_id)
    return message


async def _all(link: Link, count: int) -> list[Inbound]:
    """What comes, acknowledged, until it is `count` or nothing has come for `QUIET_S`."""
    found: list[Inbound] = []
    while len(found) < count:
        with trio.move_on_after(QUIET_S) as quiet:
            found += [_taken(link, message) for message in await link.receive()]
        if quiet.cancelled_caught:
            break
    return found


async def _comes(link: Link, topic_filter: str, topic: str) -> bool:
    if not await _subscribed(link, topic_filter):
        return False
    link.publish(Outbound(topic, b"here"))
    return bool(await _all(link, 1))


async def _is_retained(link: Link, topic: str) -> bool:
    await _confirmed(link, [Outbound(topic, b"kept", retain=True)])
    await _subscribed(link, topic)
    found = await _all(link, 1)
    await link.unsubscribe([topic])
    await _confirmed(link, [Outbound(topic, b"", retain=True)])
    return any(message.retain for message in found)


async def _confirmed(link: Link, messages: list[Outbound]) -> None:
    """Publish, a window at a time, and return when the broker has confirmed all."""
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
        await done.wait()


async def _overshoot(transport: Transport, place: Place, link: Link, topic: str) -> int:
    """The most that a client which asked for `WINDOW` is sent without an acknowledgement, first or after one."""
    most = 0

    async def watch(other: Link) -> None:
        nonlocal most
        await _subscribed(other, topic)
        await _confirmed(link, [Outbound(topic, b"%d" % number) for number in range(BURST)])
        open_: list[Inbound] = []
        for _ in range(WINDOW):
            with trio.move_on_after(QUIET_S / 4):
                while True:
                    open_ += await other.receive()
            most = max(most, len(open_))
            if open_:
                _taken(other, open_.pop(0))

    await _connected(transport, place, "window", watch, receive_maximum=WINDOW)
    return most


async def _away(transport: Transport, place: Place, link: Link, topic: str) -> tuple[bool, list[int]]:
    """Is a session there again after its connection, and with which of the messages sent meanwhile?"""
    kept = False
    queued: list[int] = []

    async def leave(other: Link) -> None:
        await _subscribed(other, topic)

    async def come_back(other: Link) -> None:
        nonlocal kept, queued
        kept = other.limits.session_present
        queued = [int(message.payload) for message in await _all(other, QUEUE)]
        await other.flush()

    await _connected(transport, place, "away", leave, session_expiry_s=SESSION_S)
    await _confirmed(link, [Outbound(topic, b"%d" % number) for number in range(QUEUE)])
    await _connected(transport, place, "away", come_back, session_expiry_s=SESSION_S)
    await _connected(transport, place, "away", _at_once, session_expiry_s=0)
    return kept, queued
