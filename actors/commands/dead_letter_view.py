"""How dead letters are shown: rows of a table, one letter whole, and the same for programs. Pure.

Law: a secret is not shown, wherever it stands: in a key of the payload, in a user property, in a URL of a traceback.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

import attrs
import orjson

from tars.actors.contracts import DecodeError, Envelope, decode_json, structure
from tars.actors.mqtt.dead_letter import DeadLetter
from tars.actors.mqtt.store_letters import Found
from tars.supervisor.redact import HIDDEN, is_secret, redact
from tars.supervisor.terminal import Terminal, printable

HEAD: Final = ("id", "time", "reason", "actor", "topic", "bytes", "replay", "error")
_AS_HEX_BYTES: Final = 128
"""Up to here bytes that are no text are shown in hexadecimal, beyond in base64."""


def row(found: Found) -> tuple[str, ...]:
    """One letter in the columns of `HEAD`; times in UTC."""
    letter = found.letter
    return (
        str(found.id),
        moment(letter.at),
        letter.why.value,
        _who(letter),
        printable(letter.topic),
        str(found.payload_bytes),
        replay_of(found) or "-",
        printable(redact(letter.error)),
    )


def values(found: Found) -> dict[str, object]:
    """What is known of a letter, but for its payload and traceback, for programs."""
    letter = found.letter
    replay = None
    if found.replay is not None:
        ended_at = None if found.ended_at is None else moment(found.ended_at, "iso")
        outcome = None if found.outcome is None else found.outcome.value
        replay = {"at": moment(found.replay, "iso"), "ended_at": ended_at, "outcome": outcome}
    facts = attrs.asdict(letter, filter=lambda field, _: field.name not in {"why", "payload", "traceback", "user_properties"})
    return {
        "id": found.id,
        **facts,
        "at": moment(letter.at, "iso"),
        "reason": letter.why.value,
        "error": redact(letter.error),
        "payload_bytes": found.payload_bytes,
        "replay": replay,
    }


def whole(found: Found) -> dict[str, object]:
    """Everything about a letter, for programs: its payload as an envelope, else as text, else in base64."""
    letter = found.letter
    properties = [[name, HIDDEN if is_secret(name) else redact(value)] for name, value in letter.user_properties]
    return {**values(found), "user_properties": properties, "traceback": redact(letter.traceback), **_payload(letter.payload)}


def text(found: Found, to: Terminal) -> Iterator[str]:
    """Everything about a letter, line by line, for people."""
    letter = found.letter
    direction = "to be handled by" if letter.direction == "in" else "said by"
    yield to.paint(f"dead letter {found.id}", "bold") + f"  {moment(letter.at)} UTC  {to.paint(letter.why.value, 'red')}"
    facts = [
        ("topic", f"{letter.topic}  qos {letter.qos}{', retained' if letter.retain else ''}"),
        (direction, "  ".join(each for each in (letter.actor, letter.subscription) if each)),
        ("attempts", str(letter.attempts) if letter.attempts else ""),
        ("error", redact(letter.error)),
        ("message id", letter.message_id),
        ("correlation id", letter.correlation_id),
        ("replay", replay_of(found)),
        *((f"property {name}", HIDDEN if is_secret(name) else redact(value)) for name, value in letter.user_properties),
    ]
    for name, value in facts:
        if value:
            yield f"  {to.paint(printable(name), 'dim')}  {printable(value)}"
    yield from _payload_text(letter.payload, to)
    if letter.traceback:
        yield f"  {to.paint('traceback', 'dim')}"
        yield from (f"    {printable(line)}" for line in redact(letter.traceback).splitlines())


def moment(at: float, form: str = "short") -> str:
    """Unix epoch seconds in UTC, to the second for people, in ISO 8601 with milliseconds for programs."""
    found = dt.datetime.fromtimestamp(at, dt.UTC)
    return found.isoformat(timespec="milliseconds") if form == "iso" else found.strftime("%Y-%m-%d %H:%M:%S")


def replay_of(found: Found) -> str:
    """What the last replay came to; "" when there was none."""
    if found.replay is None:
        return ""
    return "waits" if found.outcome is None else found.outcome.value


def masked(value: Any) -> Any:  # JSON
    """The same with what is named like a secret, and the credentials of URLs, hidden."""
    if isinstance(value, dict):
        return {key: HIDDEN if is_secret(key) else masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [masked(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _who(letter: DeadLetter) -> str:
    """The end of the actor's path: the table has no room for what all have in common."""
    return letter.actor.rsplit("/", 1)[-1] or "-"


def _read(payload: bytes) -> Envelope | str | None:
    """As an envelope, else as text; what stands for a secret masked. None when it is neither."""
    try:
        document = masked(decode_json(payload))
    except DecodeError:
        try:
            return redact(payload.decode())
        except UnicodeDecodeError:
            return None
    try:
        return structure(Envelope, document)
    except DecodeError:
        return orjson.dumps(document).decode()


def _payload(payload: bytes) -> dict[str, object]:
    found = _read(payload)
    if isinstance(found, Envelope):
        return {"envelope": attrs.asdict(found)}
    return {"payload_base64": base64.b64encode(payload).decode()} if found is None else {"payload": found}


def _payload_text(payload: bytes, to: Terminal) -> Iterator[str]:
    found = _read(payload)
    if isinstance(found, Envelope):
        who = printable(f"from={found.source} id={found.id}")
        yield f"  {to.paint('envelope', 'dim')}  {to.paint(printable(found.type), 'bold')}  {to.paint(who, 'dim')}"
        yield from (f"    {printable(line)}" for line in orjson.dumps(found.data, option=orjson.OPT_INDENT_2).decode().splitlines())
    elif found is not None:
        yield f"  {to.paint('payload', 'dim')}  {len(payload)} bytes of text"
        yield from (f"    {printable(line)}" for line in found.splitlines())
    else:
        short = len(payload) <= _AS_HEX_BYTES
        yield f"  {to.paint('payload', 'dim')}  {len(payload)} bytes, no text; in {'hexadecimal' if short else 'base64'}"
        yield f"    {payload.hex(' ') if short else base64.b64encode(payload).decode()}"
