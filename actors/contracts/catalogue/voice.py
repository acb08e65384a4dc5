"""What is heard, the wake word, and what is spoken."""

from typing import Final

from tars.actors.contracts.stt import AudioFFTData, FinalTranscript, PartialTranscript
from tars.actors.contracts.tts import TtsControlCommand, TtsSay, TtsStatus
from tars.actors.contracts.wake import WakeEvent, WakeMicCommand

from .entry import NOW_S, Chapter, Entry, Example, example_id

UTTERANCE: Final = "rt-4f1c2a9b"  # the question all examples of the voice loop are about

STT: Final = Chapter(
    title="Speech to text",
    module="stt",
    intro="What the microphone hears.",
    entries=(
        Entry(
            FinalTranscript.PAIR,
            sent_by="speech recogniser",
            read_by="router, memory, wake word, screens",
            source="tars-stt",
            examples=(
                Example(
                    FinalTranscript(
                        message_id=example_id("stt.final"),
                        text="what do you remember about rain",
                        confidence=0.93,
                        ts=NOW_S,
                    )
                ),
            ),
        ),
        Entry(
            PartialTranscript.PAIR,
            sent_by="speech recogniser",
            read_by="screens",
            source="tars-stt",
            examples=(Example(PartialTranscript(message_id=example_id("stt.partial"), text="what do you", confidence=0.6, ts=NOW_S)),),
        ),
        Entry(
            AudioFFTData.PAIR,
            sent_by="speech recogniser",
            read_by="screens",
            source="tars-stt",
            examples=(
                Example(
                    AudioFFTData(message_id=example_id("stt.audio_fft"), fft_data=(0.02, 0.31, 0.12, 0.0), sample_rate=16_000, ts=NOW_S)
                ),
            ),
        ),
    ),
)

WAKE: Final = Chapter(
    title="Wake word",
    module="wake",
    intro="The word that opens the microphone, and the microphone itself.",
    entries=(
        Entry(
            WakeEvent.PAIR,
            sent_by="wake word",
            read_by="router, speech recogniser, screens",
            source="wake-activation",
            examples=(
                Example(
                    WakeEvent(
                        message_id=example_id("wake.event"), type="wake", cause="wake_phrase", confidence=0.87, energy=0.042, ts=5120.5
                    )
                ),
            ),
        ),
        Entry(
            WakeMicCommand.PAIR,
            sent_by="wake word",
            read_by="speech recogniser",
            source="wake-activation",
            examples=(Example(WakeMicCommand(message_id=example_id("wake.mic"), action="unmute", ttl_ms=3000)),),
        ),
    ),
)

TTS: Final = Chapter(
    title="Text to speech",
    module="tts",
    intro="What is said, how that goes, and how to interrupt it.",
    entries=(
        Entry(
            TtsSay.PAIR,
            sent_by="router",
            read_by="speaker, speech recogniser, memory, screens",
            source="tars-router",
            examples=(
                Example(
                    TtsSay(
                        message_id=example_id("tts.say"),
                        text="You told me that you like it.",
                        voice="piper/en_US/amy",
                        lang="en",
                        utt_id=UTTERANCE,
                        stt_ts=NOW_S,
                    ),
                    UTTERANCE,
                ),
            ),
        ),
        Entry(
            TtsStatus.PAIR,
            sent_by="speaker",
            read_by="router, speech recogniser, wake word, screens",
            source="tars-tts",
            examples=(
                Example(
                    TtsStatus(
                        message_id=example_id("tts.status"),
                        event="speaking_start",
                        text="You told me that you like it.",
                        timestamp=NOW_S,
                        utt_id=UTTERANCE,
                    ),
                    UTTERANCE,
                ),
            ),
        ),
        Entry(
            TtsControlCommand.PAIR,
            sent_by="wake word",
            read_by="speaker",
            source="wake-activation",
            examples=(
                Example(
                    TtsControlCommand(message_id=example_id("tts.control"), action="pause", id=UTTERANCE, reason="wake_interrupt", ts=NOW_S)
                ),
            ),
        ),
    ),
)
