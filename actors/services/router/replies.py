"""Answers of the language model: questions out, deltas and responses in, sentences to speak and a history out.

Law, for each request id:

* what the user hears is the answer, in order, and no part of it twice, whichever of `done` and the response comes first;
* after a cancel or a response, nothing more of it is spoken, however late it arrives;
* an error is heard;
* the answer enters the history once, and the question is never in the history that goes along with it.

Everything kept is bounded: streams in number, size and age, closed ids and correlation ids in number. An id nobody asked for
here is spoken too: the question may be an earlier incarnation's, or another service's.
"""

from __future__ import annotations

import enum
from typing import TypeVar

import attrs

from .history import History, Turn
from .reconcile import remainder
from .say import Say
from .sentences import Cutter, wrapped
from .settings import RouterSettings
from .stream import Stream

_REMEMBERED_IDS = 256
V = TypeVar("V")


class Outcome(enum.Enum):
    """What a delta, a response, a cancel or the passing of time came to."""

    STREAMING = "streaming"
    FINISHED = "finished"  # the stream is spoken to its end
    ANSWERED = "answered"
    DESYNC = "desync"  # answered, but the response is not what was streamed: worth a warning
    FAILED = "failed"  # the model answered with an error
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"  # the stream broke off
    IGNORED = "ignored"  # too late, without an id, or streaming is off


@attrs.frozen
class Step:
    """What to do about one event: speak `says`. `lost`: deltas of this stream that never came, so far.

    `evicted`: the id of another stream that had to make room, None mostly.
    """

    request_id: str
    outcome: Outcome
    says: tuple[Say, ...] = ()
    lost: int = 0
    evicted: str | None = None


@attrs.frozen
class Question:
    """What goes to the language model. `history`: the turns before `text`, oldest first."""

    id: str
    text: str
    history: tuple[Turn, ...]


def request_id(utt_id: str | None, new_id: str) -> str:
    """The id of a request: the utterance's own, else made of `new_id` (hexadecimal, random, at least 8 long)."""
    return utt_id if utt_id and utt_id.strip() else f"rt-{new_id[:8]}"


@attrs.define
class Replies:
    """All answers under way. `now_s` is monotonic seconds."""

    settings: RouterSettings
    history: History = attrs.field(init=False)
    _cutter: Cutter = attrs.field(init=False)
    _streams: dict[str, Stream] = attrs.field(factory=dict, init=False)  # least recently touched first
    _closed: dict[str, Outcome] = attrs.field(factory=dict, init=False)
    _asked: dict[str, str] = attrs.field(factory=dict, init=False)  # id → correlation id, still unanswered

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self.history = History(settings.history_messages)
        self._cutter = Cutter(
            settings.stream_boundary_chars,
            settings.stream_boundary_only,
            settings.stream_min_chars,
            settings.stream_max_chars,
            settings.stream_hard_max_chars,
        )

    def ask(self, request_id: str, text: str, *, correlation_id: str) -> Question:
        """The question to send. The sentences of its answer will carry `correlation_id`. A reused id starts anew."""
        question = Question(request_id, text, self.history.turns())
        self.history.asked(request_id, text)
        self._streams.pop(request_id, None)
        self._closed.pop(request_id, None)
        _remember(self._asked, request_id, correlation_id)
        return question

    def delta(self, now_s: float, request_id: str, *, seq: int | None, text: str | None, done: bool) -> Step:
        """Take a delta; the sentences it completes."""
        if not self.settings.llm_tts_stream or not request_id.strip() or request_id in self._closed:
            return Step(request_id, Outcome.IGNORED)
        stream = self._streams.pop(request_id, None)
        evicted = self._make_room() if stream is None else None
        stream = stream or Stream(self._cutter, self.settings.stream_max_held, self.settings.stream_max_reply_chars)
        self._streams[request_id] = stream
        if stream.finished:
            return Step(request_id, Outcome.IGNORED)
        pieces = stream.delta(now_s, seq, text or "", done=done)
        return attrs.evolve(self._spoken(request_id, stream, pieces), evicted=evicted)

    def response(self, request_id: str, *, reply: str | None, error: str | None) -> Step:
        """Take the full answer, or the error; what of it is still to be spoken.

        A reply counts even beside an error. A blank reply without an error ends the stream as it stands.
        """
        if self._closed.get(request_id) in (Outcome.ANSWERED, Outcome.CANCELLED):
            return Step(request_id, Outcome.IGNORED)
        reply = (reply or "").strip()
        stream = self._streams.pop(request_id, None)
        lost = stream.lost if stream else 0
        if reply:
            residue, agrees = remainder(stream.spoken if stream else (), reply)
            pieces = wrapped(residue, self.settings.stream_hard_max_chars)
            outcome = Outcome.ANSWERED if agrees else Outcome.DESYNC
        elif error and error.strip():
            pieces, outcome = wrapped(self.settings.llm_error_text, self.settings.stream_hard_max_chars), Outcome.FAILED
        else:
            pieces, outcome = stream.flush() if stream else (), Outcome.ANSWERED
            lost = stream.lost if stream else 0
        self.history.answered(request_id, reply or _joined(stream))
        says = self._says(request_id, pieces)
        self._close(request_id, Outcome.ANSWERED)
        return Step(request_id, outcome, says, lost)

    def cancel(self, request_id: str) -> Step:
        """Nothing more of this answer is spoken, for good. What was spoken stays in the history: the user has heard it."""
        if not request_id.strip():
            return Step(request_id, Outcome.IGNORED)
        stream = self._streams.pop(request_id, None)
        self.history.answered(request_id, _joined(stream))
        self._close(request_id, Outcome.CANCELLED)
        return Step(request_id, Outcome.CANCELLED, lost=stream.lost if stream else 0)

    def under_way(self) -> tuple[str, ...]:
        """The ids of questions without a response and of streams that have not ended; oldest question first."""
        ended = {request_id for request_id, stream in self._streams.items() if stream.finished}
        return tuple(request_id for request_id in dict.fromkeys((*self._asked, *self._streams)) if request_id not in ended)

    def expire(self, now_s: float) -> tuple[Step, ...]:
        """Call about once a second. Ends streams whose missing delta never came, drops those nothing was heard of for too long."""
        steps: list[Step] = []
        for request_id, stream in list(self._streams.items()):
            idle_s = now_s - stream.touched_s
            if stream.overdue and idle_s >= self.settings.stream_gap_wait_s:
                steps.append(self._spoken(request_id, stream, stream.flush()))
            elif idle_s >= self.settings.stream_idle_s:
                dropped = self._drop(request_id)
                steps.extend([dropped] if dropped.outcome is Outcome.ABANDONED else [])
        return tuple(steps)

    def _make_room(self) -> str | None:
        """Before a new stream: drop the one longest silent when there are too many; its id."""
        if len(self._streams) < self.settings.stream_max_streams:
            return None
        return self._drop(next(iter(self._streams))).request_id

    def _drop(self, request_id: str) -> Step:
        """Forget a stream. One that had ended is answered; of one that had not, a response may still be spoken whole."""
        stream = self._streams.pop(request_id)
        self.history.answered(request_id, _joined(stream))
        outcome = Outcome.ANSWERED if stream.finished else Outcome.ABANDONED
        self._close(request_id, outcome)
        return Step(request_id, outcome, lost=stream.lost)

    def _spoken(self, request_id: str, stream: Stream, pieces: tuple[str, ...]) -> Step:
        if stream.finished:
            self.history.answered(request_id, _joined(stream))
        outcome = Outcome.FINISHED if stream.finished else Outcome.STREAMING
        return Step(request_id, outcome, self._says(request_id, pieces), stream.lost)

    def _says(self, request_id: str, pieces: tuple[str, ...]) -> tuple[Say, ...]:
        correlation_id = self._asked.get(request_id)
        return tuple(Say(text=piece, utt_id=request_id or None, correlation_id=correlation_id) for piece in pieces)

    def _close(self, request_id: str, outcome: Outcome) -> None:
        self._asked.pop(request_id, None)
        if request_id.strip():
            _remember(self._closed, request_id, outcome)


def _joined(stream: Stream | None) -> str:
    return " ".join(stream.spoken) if stream else ""


def _remember(known: dict[str, V], key: str, value: V) -> None:
    """Put `key` last in `known`, and keep no more than the last few hundred."""
    known.pop(key, None)
    known[key] = value
    while len(known) > _REMEMBERED_IDS:
        del known[next(iter(known))]
