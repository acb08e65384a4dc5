"""What a broken, old or hostile client may publish on ``stt/final``, and what is to become of it: a table."""

from __future__ import annotations

from typing import Any, Final

import attrs
import orjson

MIB: Final = 1024 * 1024


@attrs.frozen
class Case:
    """`error` is how the dead letter's begins; the machine-readable reason stands in it."""

    name: str
    payload: bytes = attrs.field(repr=False)
    error: str
    why: str = "undecodable"


def _envelope(**fields: Any) -> bytes:
    envelope = {"id": "e", "type": "stt.final", "ts": 1.0, "source": "stt", "data": {"text": "x"}, **fields}
    return orjson.dumps({key: value for key, value in envelope.items() if value != "absent"})


def _transcript(**fields: Any) -> bytes:
    return _envelope(data={"message_id": "m", "text": "x", **fields})


def _undecodable(name: str, payload: bytes, reason: str) -> Case:
    return Case(name, payload, f"DecodeError: {reason}: ")


CASES: Final = (
    _undecodable("empty", b"", "not_json"),
    _undecodable("white space", b" \n", "not_json"),
    _undecodable("cut off", b'{"text": "hel', "not_json"),
    _undecodable("plain text", b"what time is it", "not_json"),
    _undecodable("two documents", b"{}{}", "not_json"),
    _undecodable("not a number", b'{"text": "x", "ts": NaN}', "not_json"),
    _undecodable("single quotes", b"{'text': 'x'}", "not_json"),
    _undecodable("a lone surrogate", b'{"text": "\\ud800"}', "not_json"),
    _undecodable("another encoding", "grüß dich".encode("latin-1"), "not_utf8"),
    _undecodable("a picture", b"\x89PNG\r\n\x1a\n\x00\x00", "not_utf8"),
    _undecodable("an array", b"[1, 2]", "not_an_object"),
    _undecodable("a string", b'"x"', "not_an_object"),
    _undecodable("null", b"null", "not_an_object"),
    _undecodable("an empty object", b"{}", "wrong_data"),
    _undecodable("a bare event with a field too many", b'{"text": "x", "who": "me"}', "wrong_data"),
    _undecodable("an envelope without its source", _envelope(source="absent"), "wrong_data"),
    _undecodable("an envelope with a sixth field", _envelope(correlate="c"), "wrong_data"),
    _undecodable("an envelope whose id is a number", _envelope(id=7), "not_an_envelope"),
    _undecodable("an envelope whose time is a text", _envelope(ts="now"), "not_an_envelope"),
    _undecodable("an envelope whose data is an array", _envelope(data=[]), "not_an_envelope"),
    _undecodable("an envelope in an envelope", _envelope(data=orjson.loads(_envelope())), "wrong_data"),
    _undecodable("an event without its text", _envelope(data={}), "wrong_data"),
    _undecodable("an unknown field", _transcript(language="en"), "wrong_data"),
    _undecodable("a number for a text", _transcript(text=5), "wrong_data"),
    _undecodable("a text for a number", _transcript(confidence="0.9"), "wrong_data"),
    _undecodable("a truth value for a number", _transcript(confidence=True), "wrong_data"),
    _undecodable("a number for a truth value", _transcript(is_final=1), "wrong_data"),
    _undecodable("a number out of range", _transcript(confidence=1.5), "wrong_data"),
    _undecodable("nested 100 levels deep", b'{"text": ' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
    _undecodable("nested 100 000 levels deep", b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    _undecodable("1 MiB of nothing", b"\x00" * MIB, "not_json"),
    _undecodable("1 MiB that is no UTF-8", b"\xff" * MIB, "not_utf8"),
    _undecodable("1 MiB of unknown fields", _transcript(**{f"f{number}": number for number in range(60_000)}), "wrong_data"),
    _undecodable("a field name of 1 MiB", _transcript(**{"f" * MIB: 1}), "wrong_data"),
    _undecodable("a wrong envelope with an id of 1 MiB", _envelope(id="i" * MIB, data={}), "wrong_data"),
    _undecodable("17 MiB", b'{"text": "' + b"x" * 17 * MIB + b'"}', "too_large"),
    Case("a transcript of 1 MiB", _transcript(text="x" * MIB), "Reject: a transcript of 1048576 characters; at most 10000", "rejected"),
    Case("an utterance id of 1 MiB", _transcript(utt_id="u" * MIB), "Reject: utt_id has 1048576 characters; at most 256", "rejected"),
    Case("a message id of 1 MiB", _transcript(message_id="m" * MIB), "Reject: message_id has 1048576 characters; at most 256", "rejected"),
)
