"""``tars sub``: what travels on topics, as it comes."""

from __future__ import annotations

import base64
import datetime as dt
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeAlias

import attrs
import orjson
import trio
import typer

from tars.actors.contracts import DecodeError, Envelope, decode_json, structure
from tars.actors.mqtt.topics import TopicError, validate_filter
from tars.actors.mqtt.transport import Inbound, Link
from tars.supervisor.terminal import Terminal, ending_quietly, printable, refuse

from .place import FAILED, WRONG_CALL, PlaceArgument, ProtocolOption, find, speak

FilterArguments: TypeAlias = Annotated[list[str], typer.Argument(metavar="FILTER...", help="Topic filters; + one level, # all below.")]
CountOption: TypeAlias = Annotated[int | None, typer.Option("--count", "-n", min=1, help="Leave after so many messages.")]
TimeoutOption: TypeAlias = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Leave after so many seconds.")]
QosOption: TypeAlias = Annotated[int, typer.Option("--qos", min=0, max=1, help="At most.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object for each message, with everything about it.")]


def sub(
    broker: PlaceArgument,
    filters: FilterArguments,
    *,
    count: CountOption = None,
    timeout_s: TimeoutOption = None,
    qos: QosOption = 1,
    as_json: JsonOption = False,
    protocol: ProtocolOption = "auto",
) -> None:
    """Show the messages of these topics as they come, envelopes read, until Ctrl-C.

    \b
    tars sub mqtt://127.0.0.1 'stt/#' 'tts/#'
    tars sub config/router.toml 'system/health/+' --count 1 --timeout 5
    tars sub mqtt://127.0.0.1 '#' --json | jq .envelope.data

    Exit code 1: the broker is not there, or refuses, or fewer than --count messages came in time; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    for each in filters:
        try:
            validate_filter(each)
        except TopicError as error:
            refuse("sub", str(error), WRONG_CALL)
    place = find("sub", broker, protocol, os.environ)
    to = Terminal.of(sys.stdout, os.environ)

    def show(message: Inbound, now: dt.datetime) -> None:
        to.print(orjson.dumps(values(message, now)).decode() if as_json else text(message, now, to))
        to.stream.flush()

    with ending_quietly():
        came, refused = speak("sub", place, _listening(filters, qos, count, timeout_s, show))
    if refused:
        refuse("sub", f"{place.url}: the broker refused {', '.join(refused)}; may you subscribe there?", FAILED)
    if count is not None and came < count:
        refuse("sub", f"only {came} of {count} messages came in {timeout_s:g} s", FAILED)


def _listening(
    filters: Sequence[str],
    qos: int,
    count: int | None,
    timeout_s: float | None,
    show: Callable[[Inbound, dt.datetime], None],
) -> Callable[[Link], Awaitable[tuple[int, list[str]]]]:
    """How many messages came, and which filters the broker refused."""

    async def listen(link: Link) -> tuple[int, list[str]]:
        codes = await link.subscribe([(each, qos) for each in filters])
        refused = [each for each, code in zip(filters, codes, strict=True) if code >= 0x80]
        came = 0
        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            while not refused and came != count:
                for message in await link.receive():
                    if came == count:
                        break
                    show(message, dt.datetime.now(dt.UTC))
                    came += 1
                    if message.qos:
                        link.ack(message.packet_id)
        return came, refused

    return listen


def text(message: Inbound, now: dt.datetime, to: Terminal) -> str:
    """One line for people: time (UTC), topic, and of an envelope its type, source, id and data."""
    flags = "".join(
        f"  {to.paint(word, 'yellow')}" for word, is_so in (("retained", message.retain), ("again", message.duplicate)) if is_so
    )
    head = f"{to.paint(now.strftime('%H:%M:%S.%f')[:-3], 'dim')} {to.paint(printable(message.topic), 'cyan')}{flags}"
    envelope = _envelope(message.payload)
    if envelope is not None:
        who = f"{to.paint(printable(envelope.type), 'bold')}  {to.paint(printable(f'from={envelope.source} id={envelope.id}'), 'dim')}"
        return f"{head}  {who}  {printable(orjson.dumps(envelope.data).decode())}"
    try:
        return f"{head}  {printable(message.payload.decode())}"
    except UnicodeDecodeError:
        return f"{head}  {to.paint(f'{len(message.payload)} bytes, no text', 'dim')}"


def values(message: Inbound, now: dt.datetime) -> dict[str, object]:
    """The same for programs: with the envelope, or else the payload as text, or in base64."""
    found: dict[str, object] = {
        "at": now.isoformat(timespec="milliseconds"),
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "duplicate": message.duplicate,
        "user_properties": message.user_properties,
    }
    envelope = _envelope(message.payload)
    if envelope is not None:
        return {**found, "envelope": attrs.asdict(envelope)}
    try:
        return {**found, "payload": message.payload.decode()}
    except UnicodeDecodeError:
        return {**found, "payload_base64": base64.b64encode(message.payload).decode()}


def _envelope(payload: bytes) -> Envelope | None:
    try:
        return structure(Envelope, decode_json(payload))
    except DecodeError:
        return None
