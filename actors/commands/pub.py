"""``tars pub``: one message from a shell."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

import attrs
import orjson
import trio
import typer

from tars.actors.contracts import STANDARD, DecodeError, EncodeError, Pair, UnknownEventType, decode_json, seal, structure
from tars.actors.contracts.catalogue import CATALOGUE
from tars.actors.mqtt.keys import MESSAGE_ID
from tars.actors.mqtt.topics import TopicError, validate_topic
from tars.actors.mqtt.transport import Link, LinkLost, LinkRefused, Outbound
from tars.supervisor.terminal import Terminal, ending_quietly, refuse

from .place import FAILED, WRONG_CALL, PlaceArgument, ProtocolOption, find, speak

EventType: TypeAlias = Annotated[str, typer.Argument(metavar="EVENT_TYPE", help="Such as stt.final; with --raw a topic.")]
Data: TypeAlias = Annotated[str, typer.Argument(metavar="DATA", help="The event, a JSON object; - reads it from the standard input.")]
TopicOption: TypeAlias = Annotated[str, typer.Option("--topic", help="Where to; without it the topic registry says.")]
RawOption: TypeAlias = Annotated[bool, typer.Option("--raw", help="DATA as it is, without an envelope, to the topic EVENT_TYPE.")]
QosOption: TypeAlias = Annotated[int | None, typer.Option("--qos", min=0, max=1, help="Without it the registry's, else 1.")]
RetainOption: TypeAlias = Annotated[bool | None, typer.Option("--retain/--no-retain", help="Without it the registry's, else not.")]
CorrelationOption: TypeAlias = Annotated[str, typer.Option("--correlation-id", metavar="ID", help="The envelope's id; else a new one.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="What was published, as one JSON object, with its ids.")]
SourceOption: TypeAlias = Annotated[str, typer.Option("--source", help="The envelope's source; else a name of its own.")]


@attrs.define
class _Confirmation:
    """What became of the message: the PUBACK's code, or why there will be none."""

    code: int | None = None
    lost: LinkLost | LinkRefused | None = None


def pub(  # noqa: PLR0913 - one parameter for each option
    broker: PlaceArgument,
    event_type: EventType,
    data: Data,
    *,
    topic: TopicOption = "",
    raw: RawOption = False,
    qos: QosOption = None,
    retain: RetainOption = None,
    correlation_id: CorrelationOption = "",
    source: SourceOption = "",
    as_json: JsonOption = False,
    protocol: ProtocolOption = "auto",
) -> None:
    """Publish one event, in an envelope, and wait until the broker has confirmed it.

    \b
    tars pub mqtt://127.0.0.1 stt.final '{"text": "hey tars, what time is it"}'
    tars pub config/router.toml wake.event '{"type": "wake"}' --correlation-id test-1
    echo '{"celsius": 31}' | tars pub mqtt://127.0.0.1 climate.temperature - --topic sensors/kitchen/temp
    tars pub mqtt://127.0.0.1 --raw --qos 0 lights/on 1

    Exit code 1: the broker is not there, or refuses; 2: the call makes no sense. Certificates for TLS are named in a config.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    place = find("pub", broker, protocol, os.environ)
    content = sys.stdin.buffer.read() if data == "-" else data.encode("utf-8", "surrogateescape")
    if raw and topic:
        refuse("pub", "--raw publishes to EVENT_TYPE; --topic has no meaning with it", WRONG_CALL)
    pair = Pair(event_type, "x") if raw or topic else _pair(event_type)
    message_id = str(uuid.uuid4())
    envelope_id = correlation_id or message_id.replace("-", "")
    message = Outbound(
        topic or (event_type if raw else pair.topic),
        content if raw else _enveloped(event_type, content, source or place.source, envelope_id),
        qos=pair.qos if qos is None else qos,
        retain=pair.retain if retain is None else retain,
        user_properties=((MESSAGE_ID, message_id),),
    )
    try:
        validate_topic(message.topic)
    except TopicError as error:
        refuse("pub", str(error), WRONG_CALL)
    code = speak("pub", place, _publishing(message))
    if code >= 0x80:
        refuse("pub", f"{place.url}: the broker refused it with reason code {code} (0x{code:02x}); may you publish there?", FAILED)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        if as_json:
            ids = {"message_id": message_id} | ({} if raw else {"type": event_type, "id": envelope_id})
            said = {"topic": message.topic, "qos": message.qos, "retain": message.retain, "confirmed": message.qos > 0, **ids}
            to.print(orjson.dumps(said).decode())
            return
        what = "raw" if raw else f"{event_type}  id={envelope_id}"
        to.print(f"{to.paint(message.topic, 'bold')}  {what}  {to.paint('confirmed' if message.qos else 'sent', 'green')}")


def _pair(event_type: str) -> Pair:
    try:
        pair = STANDARD.pair_of(event_type)
    except UnknownEventType as error:
        refuse("pub", f"{error}; or say where to with --topic", WRONG_CALL)
    if pair.names:
        refuse("pub", f"{event_type} travels on {pair.topic}: say where to with --topic", WRONG_CALL)
    return pair


def _enveloped(event_type: str, content: bytes, source: str, envelope_id: str) -> bytes:
    try:
        event = decode_json(content)
        if not isinstance(event, dict):
            refuse("pub", f"DATA must be a JSON object, found {orjson.dumps(event).decode()[:60]}; --raw sends anything", WRONG_CALL)
        if problem := misfit(event_type, event):
            typer.echo(f"tars pub: {event_type} does not fit its contract, and is published all the same: {problem}", err=True)
        return seal(event_type, event, source=source, correlation_id=envelope_id)[1]
    except (DecodeError, EncodeError) as error:
        refuse("pub", f"DATA: {error}", WRONG_CALL)


def misfit(event_type: str, event: dict[str, object]) -> str:
    """What the contracts that travel as `event_type` refuse in `event`, field by field; "" when one takes it, or there is none."""
    problems = []
    for contract in (
        each for chapter in CATALOGUE for entry in chapter.entries if entry.pair.event_type == event_type for each in entry.contracts
    ):
        try:
            structure(contract, event)
        except DecodeError as error:
            problems.append(error.detail)
        else:
            return ""
    return "; or ".join(problems)


def _publishing(message: Outbound) -> Callable[[Link], Awaitable[int]]:
    async def publish(link: Link) -> int:
        if message.qos == 0:
            link.publish(message)
            await link.flush()
            return 0
        seen = _Confirmation()
        with trio.CancelScope() as scope:

            def confirmed(code: int) -> None:
                seen.code = code
                scope.cancel()

            link.publish(message, confirmed)
            try:
                while True:
                    await link.receive()
            except (LinkLost, LinkRefused) as error:
                seen.lost = error
        if seen.code is not None:
            return seen.code
        raise seen.lost or LinkLost("the connection ended before the broker confirmed the message")

    return publish
