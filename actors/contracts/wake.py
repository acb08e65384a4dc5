"""The wake word, and the microphone it opens."""

from typing import ClassVar, Final, Literal

import attrs

from .fields import NonNegative, NonNegativeInt, ZeroToOne, contract, new_id
from .pair import Pair

TOPIC_WAKE_EVENT: Final = "wake/event"
TOPIC_WAKE_MIC: Final = "wake/mic"

EVENT_TYPE_WAKE_EVENT: Final = "wake.event"
EVENT_TYPE_WAKE_MIC: Final = "wake.mic"


@contract
class WakeEvent:
    """Something about the wake word. `type` is free text: wake, interrupt, timeout, resume, cancelled, error are known.

    `confidence` runs from 0 to 1, `energy` from 0 up. `ts` is the sender's and may be a monotonic clock's: compare it
    with other wake events of that sender only. `tts_id` names the utterance that was interrupted.

    Refused: the fields ``detected``, ``score``, ``wake_word`` and ``keyword`` of old documents; nothing ever sent them.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_WAKE_EVENT, TOPIC_WAKE_EVENT)

    message_id: str = attrs.field(factory=new_id)
    type: str
    tts_id: str | None = None
    cause: str | None = None
    confidence: ZeroToOne | None = None
    energy: NonNegative | None = None
    ts: float | None = None


@contract
class WakeMicCommand:
    """Open or close the microphone; after `ttl_ms` milliseconds the opposite happens by itself.

    The old wake service sends it in envelopes of type ``mic.control``; the topic decides, so they are read.
    Refused: the actions ``start``, ``stop``, ``enable`` and ``disable`` of old documents.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_WAKE_MIC, TOPIC_WAKE_MIC)

    message_id: str = attrs.field(factory=new_id)
    action: Literal["mute", "unmute"]
    reason: str = "wake"
    ttl_ms: NonNegativeInt | None = None
