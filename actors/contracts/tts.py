"""Text to speech: what to say, how it goes, and how to interrupt it. Times are Unix epoch seconds.

`wake_ack` marks the short answer to a wake word, `system_announce` a word of the system's own: neither opens a window
for a reply.
"""

from typing import ClassVar, Final, Literal

import attrs

from .fields import absent_when_none, contract, new_id, now_s
from .pair import Pair

TOPIC_TTS_SAY: Final = "tts/say"
TOPIC_TTS_STATUS: Final = "tts/status"
TOPIC_TTS_CONTROL: Final = "tts/control"

EVENT_TYPE_SAY: Final = "tts.say"
EVENT_TYPE_TTS_STATUS: Final = "tts.status"
EVENT_TYPE_TTS_CONTROL: Final = "tts.control"

TtsStatusEvent = Literal["speaking_start", "speaking_end", "paused", "resumed", "stopped"]
TtsControlAction = Literal["pause", "resume", "stop", "mute", "unmute"]


@contract
class TtsSay:
    """Say this. Messages of one `utt_id` may be joined into one utterance. `stt_ts`: when the question was heard."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_SAY, TOPIC_TTS_SAY)

    message_id: str = attrs.field(factory=new_id)
    text: str
    voice: str | None = None
    lang: str | None = None
    utt_id: str | None = None
    style: str | None = None
    stt_ts: float | None = None
    wake_ack: bool | None = None
    system_announce: bool | None = None


@contract
class TtsStatus:
    """What the speaker does now. `reason` says why it stopped, if it was stopped."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_TTS_STATUS, TOPIC_TTS_STATUS, qos=0)

    message_id: str = attrs.field(factory=new_id)
    event: TtsStatusEvent
    text: str = ""
    timestamp: float = attrs.field(factory=now_s)
    utt_id: str | None = None
    reason: str | None = None
    wake_ack: bool | None = None
    system_announce: bool | None = None


@contract
class TtsControlCommand:
    """Pause, resume, stop, mute or unmute what is spoken: the utterance `id` only, or whatever it is.

    Old speakers know only pause, resume and stop, and only with a `reason`. `id` stood in no old contract, but the old
    wake service sends it and the old speaker obeys it; so it is read, and left out when it is None.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_TTS_CONTROL, TOPIC_TTS_CONTROL)

    message_id: str = attrs.field(factory=new_id)
    action: TtsControlAction
    id: str | None = attrs.field(default=None, metadata=absent_when_none())
    reason: str | None = None
    ts: float = attrs.field(factory=now_s)
