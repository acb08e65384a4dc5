"""The router's settings: `[actors.router.settings]`, structured strictly. Values only, no behaviour.

Every text may be blank, which means silence, except where a blank rule is stated. Topics, the mailbox and
the handler's time limit are not here: they are keys of the actor itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

DEFAULT_VOICE = "piper/en_US/amy"
DEFAULT_ACK_CHOICES = ("Hmm?", "Huh?", "Yes?")


def _phrases(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(stripped.lower() for value in values if (stripped := value.strip()))


def _ack_choices(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(stripped for value in values if (stripped := value.strip())) or DEFAULT_ACK_CHOICES


def _voice(value: str) -> str:
    return value.strip() or DEFAULT_VOICE


def _style(value: str) -> str:
    return value.strip() or "neutral"


@attrs.frozen(kw_only=True)
class RouterSettings:
    """Defaults are those of the services this router replaces. Raises `ValueError` naming every field out of range.

    Blank rules: no voice is the default voice, no ack choice is the default choices, no style is "neutral".
    """

    # speaking
    tts_voice: str = attrs.field(default=DEFAULT_VOICE, converter=_voice)
    tts_lang: str = "en"
    online_announce: bool = True
    online_text: str = "System online."
    llm_error_text: str = "Sorry, something went wrong. Please try again."
    """Spoken when the language model answers with an error. The error itself is for the log."""

    health_expires_s: float | None = None
    """A health report older than this no longer counts. None: never, because most services report once per connection."""

    # wake word and windows
    wake_phrases: tuple[str, ...] = attrs.field(default=("hey tars",), converter=_phrases)
    """Lower-cased. Taken off the front of a transcript. Empty: nothing is taken off."""
    wake_window_s: float = 8.0
    response_window_s: float = 10.0
    wake_timeout_grace_s: float = 0.0
    """How long the wake window still stands after the wake service says `timeout`. See `gate`."""
    wake_ack_enabled: bool = True
    wake_ack_choices: tuple[str, ...] = attrs.field(default=DEFAULT_ACK_CHOICES, converter=_ack_choices)
    wake_ack_style: str = attrs.field(default="friendly", converter=_style)
    wake_reprompt_text: str = ""
    wake_interrupt_text: str = ""
    wake_resume_text: str = ""
    wake_cancel_text: str = ""
    wake_timeout_text: str = ""

    # live mode
    live_mode_default: bool = False
    live_mode_enter_phrase: str = "enter live mode"
    live_mode_exit_phrase: str = "exit live mode"
    live_mode_enter_ack: str = "Live mode enabled."
    live_mode_exit_ack: str = "Live mode disabled."
    live_mode_active_hint: str = "Live mode is already active."
    live_mode_inactive_hint: str = "Live mode is already off."

    # asking the language model
    history_messages: int = 10
    """How many earlier turns go along with a question; 0: none."""

    # speaking a streamed answer
    llm_tts_stream: bool = True
    """False: deltas are ignored and the whole answer is spoken when it is complete."""
    stream_min_chars: int = 60
    stream_max_chars: int = 240
    stream_boundary_chars: str = ".!?;:"
    stream_boundary_only: bool = True
    stream_hard_max_chars: int = 2000
    stream_gap_wait_s: float = 2.0
    """A stream is over but a delta is missing and no full answer came: after this, what there is gets spoken."""
    stream_idle_s: float = 60.0
    """A stream that hears nothing for this long is dropped."""
    stream_max_streams: int = 16
    stream_max_held: int = 512
    """How many deltas of one stream may wait for an earlier one."""
    stream_max_reply_chars: int = 100_000
    """No streamed answer is kept beyond this."""

    def __attrs_post_init__(self) -> None:
        positive = ("wake_window_s", "response_window_s", "stream_idle_s", "stream_max_streams", "stream_max_held", "stream_min_chars")
        rules = [
            *((name, getattr(self, name) > 0, "> 0") for name in positive),
            ("wake_timeout_grace_s", self.wake_timeout_grace_s >= 0, ">= 0"),
            ("stream_gap_wait_s", self.stream_gap_wait_s >= 0, ">= 0"),
            ("history_messages", self.history_messages >= 0, ">= 0"),
            ("stream_max_chars", self.stream_max_chars >= self.stream_min_chars, ">= stream_min_chars"),
            ("stream_hard_max_chars", self.stream_hard_max_chars >= self.stream_max_chars, ">= stream_max_chars"),
            ("stream_max_reply_chars", self.stream_max_reply_chars >= self.stream_hard_max_chars, ">= stream_hard_max_chars"),
            ("stream_boundary_chars", _are_boundaries(self.stream_boundary_chars), "some punctuation characters"),
            ("health_expires_s", self.health_expires_s is None or self.health_expires_s > 0, "> 0"),
        ]
        floats = (attribute.name for attribute in attrs.fields(type(self)) if attribute.name.endswith("_s"))
        rules.extend((name, math.isfinite(getattr(self, name) or 0), "a finite number") for name in floats)
        broken = [f"{name} must be {rule}, got {getattr(self, name)!r}" for name, holds, rule in rules if not holds]
        if broken:
            raise ValueError("; ".join(broken))


def _are_boundaries(chars: str) -> bool:
    return bool(chars) and not any(char.isalnum() or char.isspace() for char in chars)
