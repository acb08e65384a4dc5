"""``tars doctor``: what the broker of a config really does, and what that means for the promises.

What is asked of the broker, and how, is in `doctor_probes`; what the answers mean in `doctor_verdicts`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import Annotated, Final, TypeAlias

import attrs
import orjson
import trio
import typer

from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.transport import Link, LinkLost, LinkRefused, Transport
from tars.supervisor.restart import leaves
from tars.supervisor.terminal import Terminal, ending_quietly

from .doctor_clocks import FILTERS, Clock, listen
from .doctor_probes import probe, spoken, subscribed
from .doctor_verdicts import Findings, Grade, Verdict, is_fit, verdicts
from .place import FAILED, Place, PlaceArgument, ProtocolOption, find, speak

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="The verdicts as one JSON document.")]
ListenOption: TypeAlias = Annotated[
    float, typer.Option("--listen", min=0.0, max=3600.0, help="Seconds to listen to services, to compare clocks; 0: not at all.")
]

LISTEN_S: Final = 6.0
"""A service beats every 5 s unless told otherwise."""


def doctor(
    broker: PlaceArgument, *, listen_s: ListenOption = LISTEN_S, as_json: JsonOption = False, protocol: ProtocolOption = "auto"
) -> None:
    """Try out what a broker really does, and say what it means for the promises.

    \b
    tars doctor config/router.toml
    tars doctor mqtt://127.0.0.1 --json

    It leaves nothing behind, and needs to publish and subscribe below tars/doctor/.
    Exit code 1: a promise does not hold on this broker, or it is not there; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    place = find("doctor", broker, protocol, os.environ)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        report = verdicts(speak("doctor", place, functools.partial(examined, AiomqttTransport(), place, listen_s)))
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
        case Grade.OPEN:
            grade = to.paint(grade, "dim")
    return f"{grade}  {to.paint(verdict.what, 'bold')}: {verdict.found}\n       {verdict.means}"


async def examined(transport: Transport, place: Place, listen_s: float, link: Link) -> Findings:
    """All probes, one after the other, while another connection listens to services. `link` tells which protocol is spoken here."""
    site = await spoken(transport, place, link)
    clocks: list[Clock] | None = []

    async def listener(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal clocks
        async with site.connected("ears") as ears:
            may = await subscribed(ears, *FILTERS, qos=0)
            task_status.started()
            clocks = await listen(ears, listen_s, time.time) if may else None

    try:
        async with trio.open_nursery() as nursery:
            if listen_s:
                await nursery.start(listener)
            found = await probe(site)
    except* (LinkLost, LinkRefused) as lost:
        raise leaves(lost)[0] from None
    return attrs.evolve(found, listened_s=listen_s, clocks=clocks)
