"""Who is being spoken to? The gate lets a transcript through only when somebody woke the robot, or it just spoke.

Law: no clock here. `now_s` is monotonic seconds, `epoch_ms` wall-clock milliseconds (it only makes ids).

Two windows, both owned by the router and both used up by one utterance:

* the wake window, opened by `wake` and `interrupt`, closed by `resume`, `cancelled` and `timeout`;
* the response window, opened when an answer has been spoken. Nothing the wake service says closes it.

`timeout` needs care. The wake service sends it a fixed time after *every* wake, whether or not somebody spoke, and
that time may be shorter than our window. So: a `timeout` whose wake has already been used does nothing and says
nothing (an answer is on its way). Otherwise it closes the wake window, since it also means that the microphone
closes. Speech from before that moment may still be in transcription: `wake_timeout_grace_s` keeps the window open that
much longer, never longer than it would have been. With a wake service that counts 3 s, a few seconds of grace save slow sentences.
"""

from __future__ import annotations

import re

import attrs

from .phrases import normalised, wake_phrase_pattern, without_wake_phrase
from .say import Say
from .settings import RouterSettings


@attrs.frozen
class Verdict:
    """What becomes of a transcript. `text`: route this (None: nothing to route). `says`: speak these.

    `reason` is one of passed, empty, no-wake, wake-phrase, live-mode.
    """

    reason: str
    text: str | None = None
    says: tuple[Say, ...] = ()


@attrs.define
class Gate:
    """The windows, live mode and the rotation of acknowledgements. In live mode every utterance passes."""

    settings: RouterSettings
    live: bool = attrs.field(init=False)
    _wake_until_s: float | None = attrs.field(default=None, init=False)  # None: never opened, used up or closed
    _response_until_s: float | None = attrs.field(default=None, init=False)
    _acks_said: int = attrs.field(default=0, init=False)
    _pattern: re.Pattern[str] | None = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.live = self.settings.live_mode_default
        self._pattern = wake_phrase_pattern(self.settings.wake_phrases)

    def wake_event(self, now_s: float, event_type: str, *, tts_id: str | None = None, epoch_ms: int = 0) -> tuple[Say, ...]:
        """Take a `wake/event`; what to say to it. An unknown type changes nothing."""
        settings = self.settings
        match event_type.strip().lower():
            case "wake":
                return self._wake(now_s, tts_id, epoch_ms)
            case "interrupt":
                self._wake_until_s = now_s + settings.wake_window_s
                return _spoken(settings.wake_interrupt_text, tts_id)
            case "resume":
                self._wake_until_s = None
                return _spoken(settings.wake_resume_text, tts_id)
            case "cancelled":
                self._wake_until_s = None
                return _spoken(settings.wake_cancel_text, tts_id)
            case "timeout":
                return self._timeout(now_s, tts_id)
        return ()

    def tts_status(self, now_s: float, event: str, *, wake_ack: bool | None, system_announce: bool | None) -> bool:
        """Take a `tts/status`. True when it opened the response window: an answer has been spoken to its end.

        The end of an acknowledgement or of an announcement is no answer, so nobody is expected to reply to it.
        """
        if event != "speaking_end" or wake_ack or system_announce:
            return False
        self._response_until_s = now_s + self.settings.response_window_s
        return True

    def utterance(self, now_s: float, text: str, *, utt_id: str | None = None, epoch_ms: int = 0) -> Verdict:
        """Take a final transcript. The order of the steps is part of the contract."""
        if not text.strip():
            return Verdict("empty")
        self._expire(now_s)
        rest, named = without_wake_phrase(text, self._pattern)
        if not (self.live or self._wake_until_s is not None or self._response_until_s is not None):
            return Verdict("no-wake")
        if named and not rest:
            return Verdict("wake-phrase", says=self._called(now_s, epoch_ms))
        said = self._live_mode(rest, utt_id)
        if said is not None:
            return Verdict("live-mode", says=said)
        self._wake_until_s = self._response_until_s = None
        return Verdict("passed", rest)

    def _wake(self, now_s: float, tts_id: str | None, epoch_ms: int) -> tuple[Say, ...]:
        settings = self.settings
        self._wake_until_s = now_s + settings.wake_window_s
        acks: tuple[Say, ...] = ()
        if settings.wake_ack_enabled:
            text = settings.wake_ack_choices[self._acks_said % len(settings.wake_ack_choices)]
            self._acks_said += 1
            acks = (Say(text=text, utt_id=tts_id or f"wake-ack-{epoch_ms}", style=settings.wake_ack_style, wake_ack=True),)
        return acks + _spoken(settings.wake_reprompt_text, tts_id)

    def _called(self, now_s: float, epoch_ms: int) -> tuple[Say, ...]:
        """The wake phrase and nothing else is a wake. In a wake window it is the same call, transcribed: acknowledged already."""
        if self._wake_until_s is None:
            return self._wake(now_s, None, epoch_ms)
        self._wake_until_s = now_s + self.settings.wake_window_s
        return ()

    def _timeout(self, now_s: float, tts_id: str | None) -> tuple[Say, ...]:
        if self._wake_until_s is None:
            return ()
        kept_until_s = min(self._wake_until_s, now_s + self.settings.wake_timeout_grace_s)
        self._wake_until_s = kept_until_s if kept_until_s > now_s else None
        return _spoken(self.settings.wake_timeout_text, tts_id)

    def _live_mode(self, text: str, utt_id: str | None) -> tuple[Say, ...] | None:
        """What to say when `text` switches live mode, None when it does not.

        Marked as announcements: the acknowledgement of leaving live mode must not open a window again.
        """
        settings = self.settings
        words = normalised(text)
        if words and words == normalised(settings.live_mode_enter_phrase):
            answer = settings.live_mode_active_hint if self.live else settings.live_mode_enter_ack
            self.live = True
        elif words and words == normalised(settings.live_mode_exit_phrase):
            answer = settings.live_mode_exit_ack if self.live else settings.live_mode_inactive_hint
            self.live = False
        else:
            return None
        self._wake_until_s = self._response_until_s = None
        return _spoken(answer, utt_id, system_announce=True)

    def _expire(self, now_s: float) -> None:
        if self._wake_until_s is not None and now_s >= self._wake_until_s:
            self._wake_until_s = None
        if self._response_until_s is not None and now_s >= self._response_until_s:
            self._response_until_s = None


def _spoken(text: str, utt_id: str | None, *, system_announce: bool = False) -> tuple[Say, ...]:
    """`text` as a sentence; a blank text is silence."""
    return (Say(text=text, utt_id=utt_id, system_announce=system_announce),) if text.strip() else ()
