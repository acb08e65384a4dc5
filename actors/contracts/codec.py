"""Between bytes and values: the one JSON parse of a message, and what it is taken for.

The law of reading. A document with exactly the five envelope keys is an envelope, and what is wrong in it is an error:
it is never taken for something else. Any other document is taken for the event itself, whole, and must satisfy its
class. Everything else is a `DecodeError`.

The law of writing. A field that is None is written as null, because the old services write it so; a field marked
`absent_when_none` is left out (`HealthPing`). Readers accept both. What leaves is first read back by its own contract:
nothing is sent that the other end would refuse.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, cast

import attrs
import orjson

from .converter import make_converter
from .envelope import Envelope
from .errors import DecodeError, EncodeError, Reason
from .fields import new_id, now_s
from .plain import MAX_DEPTH
from .refusal import Mismatch, Refusals, describe, explain

T = TypeVar("T")

MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024

_CONVERTER: Final = make_converter()  # compiled hooks and their cache; nobody registers anything on it later
_ENVELOPE_KEYS: Final = frozenset(field.name for field in attrs.fields(Envelope))


@attrs.frozen
class Decoded(Generic[T]):
    """A decoded message. `envelope` is None when the document was the event itself."""

    event: T
    envelope: Envelope | None


# -- bytes ---------------------------------------------------------------------------------------


def decode_json(payload: bytes, *, max_bytes: int = MAX_PAYLOAD_BYTES) -> object:
    """The JSON document in `payload`, as dict, list, str, int, float, bool and None.

    A key that stands twice has its last value; an integer beyond 64 bits comes as a float. Raises DecodeError:
    TOO_LARGE (over `max_bytes`), NOT_UTF8, NOT_JSON, TOO_DEEP (nested deeper than `MAX_DEPTH`).
    """
    if len(payload) > max_bytes:
        raise DecodeError(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {max_bytes} are read")
    try:
        document: object = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise _not_read(payload, str(error)) from None
    if _is_too_deep(payload, document):
        raise _too_deep()
    return document


def encode(obj: object) -> bytes:
    """`obj` (an attrs instance, an Envelope, a dict) as UTF-8 JSON that `decode_json` reads. Raises EncodeError."""
    return _written(unstructure(obj), obj)


def _written(data: dict[str, Any], of: object) -> bytes:
    try:
        payload = orjson.dumps(data)
    except orjson.JSONEncodeError as error:  # an int over 64 bits, a lone surrogate
        raise EncodeError(f"{type(of).__name__}: {error}") from None
    if _is_too_deep(payload, data):
        raise EncodeError(f"{type(of).__name__}: nested deeper than {MAX_DEPTH} levels")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EncodeError(f"{type(of).__name__}: {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    return payload


# -- values --------------------------------------------------------------------------------------


def structure(cls: type[T], data: object) -> T:
    """`data`, parsed JSON, as a `cls`. Raises DecodeError: NOT_AN_OBJECT, or WRONG_DATA naming every wrong field.

    Values of fields typed ``dict`` or ``Any`` are not copied. Raises TypeError if `cls` is no type for the wire.
    """
    try:
        return cast("T", _CONVERTER.get_structure_hook(cls)(data, cls))
    except Refusals as refusal:
        reason = Reason.WRONG_DATA if type(data) is dict else Reason.NOT_AN_OBJECT
        raise DecodeError(reason, f"as {_name(cls)}: {explain(refusal)}") from None


def unstructure(obj: object) -> dict[str, Any]:
    """`obj` (an attrs instance, an Envelope, a dict) as plain values, ready for JSON.

    Raises EncodeError for what JSON cannot carry (NaN, infinity, a set, nesting over `MAX_DEPTH`) and for an instance
    that its own class would refuse to read.
    """
    try:
        data = _CONVERTER.unstructure(obj)
    except Mismatch as refusal:
        raise EncodeError(f"{type(obj).__name__}: {refusal}") from None
    except (AttributeError, TypeError) as misfit:  # a dict where the class says another class, None where it says a list
        raise EncodeError(f"{type(obj).__name__}: a field holds something else than its class says: {misfit}") from None
    if type(data) is not dict:
        raise EncodeError(f"expected an attrs instance or a dict, found {describe(obj)}")
    if not isinstance(obj, dict):
        try:
            structure(type(obj), data)
        except DecodeError as error:
            raise EncodeError(error.detail) from None
    return data


def prepare(cls: type) -> None:
    """Compile the hooks of `cls` now, so that a class no message can be decoded to fails at load. Raises TypeError."""
    if cls is not bytes:
        _CONVERTER.get_structure_hook(cls)


# -- messages ------------------------------------------------------------------------------------


def decode(payload: bytes, cls: type[T]) -> Decoded[T]:
    """What a subscriber annotated with `cls` gets for `payload`; the law is at the top of this module. Raises DecodeError.

    ``bytes``: the payload as it came, whatever it is. `Envelope`: the envelope. ``dict``: the envelope's data, or the
    document. An attrs class: that, checked strictly.
    """
    if cls is bytes:
        return Decoded(cast("T", bytes(payload)), None)
    return decode_document(decode_json(payload), cls)


def decode_document(document: object, cls: type[T]) -> Decoded[T]:
    """Like `decode`, for a document that `decode_json` gave: one parse serves many subscribers.

    They then share what stands in fields typed ``dict`` or ``Any``. `cls` is not ``bytes``. Raises DecodeError.
    """
    if type(document) is not dict:
        raise _not_an_object(document)
    if document.keys() == _ENVELOPE_KEYS:
        envelope = _envelope(document)
        event = envelope if cls is Envelope else structure(cls, envelope.data)
        return Decoded(cast("T", event), envelope)
    if cls is Envelope:
        raise _not_an_envelope(document)
    try:
        return Decoded(structure(cls, document), None)
    except DecodeError as error:
        raise DecodeError(error.reason, f"{_not_an_envelope(document).detail}, and {error.detail}") from None


def seal(event_type: str, data: object, *, source: str, correlation_id: str | None = None) -> tuple[Envelope, bytes]:
    """`data` (an attrs instance or a dict) in an envelope of now, and that as UTF-8 JSON. Raises EncodeError.

    What `encode` makes of `wrap_now`; but the data is looked through once, which is on the way of every answer (3.7 of 7.6 us).
    """
    plain = unstructure(data)
    document = {"id": correlation_id or new_id(), "type": event_type, "ts": now_s(), "source": source, "data": plain}
    try:
        envelope = structure(Envelope, document)
    except DecodeError as error:
        raise EncodeError(error.detail) from None
    return envelope, _written(document, data)


def decode_envelope(payload: bytes) -> Envelope:
    """The envelope in `payload`. Raises DecodeError: NOT_AN_OBJECT, NOT_AN_ENVELOPE, or as `decode_json`."""
    return decode_document(decode_json(payload), Envelope).event


def _envelope(document: dict[str, Any]) -> Envelope:
    try:
        return structure(Envelope, document)
    except DecodeError as error:
        raise DecodeError(Reason.NOT_AN_ENVELOPE, error.detail) from None


# -- errors --------------------------------------------------------------------------------------


def _not_an_object(document: object) -> DecodeError:
    return DecodeError(Reason.NOT_AN_OBJECT, f"expected an object, found {describe(document)}")


def _not_an_envelope(document: dict[str, Any]) -> DecodeError:
    missing = sorted(_ENVELOPE_KEYS - document.keys())
    what = f"without {', '.join(missing)}" if missing else f"{len(document) - len(_ENVELOPE_KEYS)} fields too many"
    return DecodeError(Reason.NOT_AN_ENVELOPE, f"not an envelope ({what})")


def _not_read(payload: bytes, problem: str) -> DecodeError:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return DecodeError(Reason.NOT_UTF8, f"byte {error.start} of {len(payload)} is not UTF-8")
    # The reader has its own limit, 1024, above ours; only its words tell: "array and object recursion depth exceeded"
    # in orjson 3.10, "depth limit exceeded" in 3.13.
    if "depth" in problem and "exceeded" in problem:
        return _too_deep()
    return DecodeError(Reason.NOT_JSON, problem)


def _too_deep() -> DecodeError:
    return DecodeError(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")


def _is_too_deep(payload: bytes, document: object) -> bool:
    """Whether arrays and objects nest deeper than `MAX_DEPTH`. Level by level: no depth exhausts the stack."""
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:  # much cheaper than walking, and settles nearly every message
        return False
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(MAX_DEPTH):
        children = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in children if isinstance(child, dict | list)]
    return bool(level)


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", None) or repr(cls)
