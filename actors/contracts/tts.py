"""Text to speech: what to say, how it goes, and how to interrupt it. Times are Unix epoch seconds.

`wake_ack` marks the short answer to a wake word, `system_announce` a word of the system's own: neither opens a window
for a reply.
"""

from typing import Final, Literal

import attrs

from .fields import contract, new_id, now_s

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
    """Pause, resume, stop, mute or unmute. Old speakers know only the first three, and only with a `reason`."""

    message_id: str = attrs.field(factory=new_id)
    action: TtsControlAction
    reason: str | None = None
    ts: float = attrs.field(factory=now_s)
