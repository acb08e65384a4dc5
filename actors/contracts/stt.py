"""Speech to text: what was heard. Times are Unix epoch seconds."""

from typing import ClassVar, Final

import attrs

from .fields import PositiveInt, ZeroToOne, contract, new_id, now_s
from .pair import Pair

TOPIC_STT_FINAL: Final = "stt/final"
TOPIC_STT_PARTIAL: Final = "stt/partial"
TOPIC_STT_AUDIO_FFT: Final = "stt/audio_fft"

EVENT_TYPE_STT_FINAL: Final = "stt.final"
EVENT_TYPE_STT_PARTIAL: Final = "stt.partial"
EVENT_TYPE_STT_AUDIO_FFT: Final = "stt.audio_fft"


@contract
class FinalTranscript:
    """An utterance, complete. `confidence` runs from 0 to 1; `utt_id` ties it to the answer spoken later."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_STT_FINAL, TOPIC_STT_FINAL)

    message_id: str = attrs.field(factory=new_id)
    text: str
    lang: str = "en"
    confidence: ZeroToOne | None = None
    utt_id: str | None = None
    ts: float = attrs.field(factory=now_s)
    is_final: bool = True


@contract
class PartialTranscript:
    """An utterance still being spoken; replaced by the next one, and by the final one in the end."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_STT_PARTIAL, TOPIC_STT_PARTIAL, qos=0)

    message_id: str = attrs.field(factory=new_id)
    text: str
    lang: str = "en"
    confidence: ZeroToOne | None = None
    utt_id: str | None = None
    ts: float = attrs.field(factory=now_s)
    is_final: bool = False


@contract
class AudioFFTData:
    """The spectrum of what the microphone hears, for a display. `sample_rate` in Hz; no bins at all is legal.

    Refused: ``{"fft": [...], "ts": ...}``, which the old recogniser meant to send and never did; it lacks the rate.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_STT_AUDIO_FFT, TOPIC_STT_AUDIO_FFT, qos=0)

    message_id: str = attrs.field(factory=new_id)
    fft_data: tuple[float, ...]
    sample_rate: PositiveInt
    ts: float = attrs.field(factory=now_s)
