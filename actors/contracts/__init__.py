"""The wire: the envelope, the codec, which event travels on which topic, and one module of contracts per domain.

Imports nothing of ours but errors. Layers, lowest first; a module imports only from below:

* ``errors fields pair refusal``           the words of failure; what contracts are made of
* ``plain scalars compound converter``     strict reading and writing of values
* ``envelope codec``                       messages
* ``stt tts wake llm memory``              contracts: fields, topics, event types
  ``movement camera health config``
* ``registry schema``                      event type <-> topic; a contract as JSON Schema
* ``catalogue``                            every topic with its contracts, who sends and who reads, an example
* ``wire_doc``                             the catalogue as Markdown

What is exported here is the public API. The contracts themselves are imported from their modules.
"""

from .codec import (
    MAX_PAYLOAD_BYTES,
    Decoded,
    decode,
    decode_document,
    decode_envelope,
    decode_json,
    encode,
    prepare,
    seal,
    structure,
    unstructure,
)
from .envelope import Envelope, wrap, wrap_now
from .errors import DecodeError, EncodeError, Reason, UnknownEventType, UnknownTopic
from .fields import (
    Between,
    NonNegative,
    NonNegativeInt,
    PositiveInt,
    ZeroToOne,
    absent_when_none,
    also_read_as,
    contract,
    new_id,
    now_s,
    now_utc,
)
from .pair import Pair
from .plain import MAX_DEPTH
from .registry import STANDARD, TopicRegistry

__all__ = [
    "MAX_DEPTH",
    "MAX_PAYLOAD_BYTES",
    "STANDARD",
    "Between",
    "DecodeError",
    "Decoded",
    "EncodeError",
    "Envelope",
    "NonNegative",
    "NonNegativeInt",
    "Pair",
    "PositiveInt",
    "Reason",
    "TopicRegistry",
    "UnknownEventType",
    "UnknownTopic",
    "ZeroToOne",
    "absent_when_none",
    "also_read_as",
    "contract",
    "decode",
    "decode_document",
    "decode_envelope",
    "decode_json",
    "encode",
    "new_id",
    "now_s",
    "now_utc",
    "prepare",
    "seal",
    "structure",
    "unstructure",
    "wrap",
    "wrap_now",
]
