"""The router: what the robot hears, routed to what it says and thinks. Thin handlers over the pure modules beside it.

Each handler reads the clock, asks a pure module, and publishes what that decided. The state (windows, answers under
way, history) is this incarnation's: a restart forgets it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Final

import trio

from tars.actors import Actor, Context, Reject, every, publishes, subscribe
from tars.actors.contracts.health import HealthPing
from tars.actors.contracts.llm import (
    EVENT_TYPE_LLM_CANCEL,
    EVENT_TYPE_LLM_REQUEST,
    ConversationMessage,
    LLMCancel,
    LLMRequest,
    LLMResponse,
    LLMStreamDelta,
)
from tars.actors.contracts.movement import MovementStatusUpdate, MovementTestCommand, MovementTestRequest
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.contracts.tts import EVENT_TYPE_SAY, TtsSay, TtsStatus
from tars.actors.contracts.wake import WakeEvent

from .environment import ENVIRONMENT
from .gate import Gate
from .metrics import Metrics
from .movement import movement, movement_id
from .readiness import Readiness
from .replies import Outcome, Replies, Step, request_id
from .rules import route
from .say import Say
from .settings import RouterSettings

MAX_TRANSCRIPT_CHARS: Final = 10_000
"""Ten minutes of speech. What is longer was not spoken."""
MAX_ID_CHARS: Final = 256
"""Ids are remembered and repeated in every sentence of an answer."""
_SHOWN_CHARS: Final = 300
_DROPPED: Final = ("empty", "no-wake")


@publishes("system.health.router", retain=True)
@publishes(EVENT_TYPE_SAY)
@publishes(EVENT_TYPE_LLM_REQUEST)
@publishes(EVENT_TYPE_LLM_CANCEL)
@publishes(MovementTestRequest.PAIR.event_type)
class Router(Actor):
    """The main conversation: wake, transcript, rule or language model, answer spoken sentence by sentence."""

    settings: RouterSettings
    environment = ENVIRONMENT

    def __init__(self) -> None:
        self.readiness = Readiness(self.settings)
        self.gate = Gate(self.settings)
        self.replies = Replies(self.settings)
        self.metrics = Metrics()

    async def started(self, ctx: Context) -> None:
        """Old services watch this topic beside our health."""
        await ctx.publish("system.health.router", HealthPing(ok=True, event="ready"), retain=True)

    async def stopping(self, ctx: Context) -> None:
        """The same, the other way."""
        await ctx.publish("system.health.router", HealthPing(ok=False, event="shutdown"), retain=True)

    # -- who is there ----------------------------------------------------------------------------

    @subscribe("system/health/tars-tts")
    async def on_tts_health(self, event: HealthPing, ctx: Context) -> None:
        """The speech service says how it is; its Will says ok=false."""
        await self._on_health("tts", event, ctx)

    @subscribe("system/health/tars-stt")
    async def on_stt_health(self, event: HealthPing, ctx: Context) -> None:
        """The transcriber does."""
        await self._on_health("stt", event, ctx)

    async def _on_health(self, service: str, event: HealthPing, ctx: Context) -> None:
        announcement = self.readiness.report(trio.current_time(), service, ok=event.ok)
        seen_before = ctx.retain and ctx.duplicate  # shown again after a crash: it was announced then
        if announcement is not None and not seen_before:
            await self._say([announcement], event.message_id, ctx)

    # -- who is spoken to ------------------------------------------------------------------------

    @subscribe("wake/event")
    async def on_wake(self, event: WakeEvent, ctx: Context) -> None:
        """The wake word, or what became of it. Cancelled: the answers under way are cancelled everywhere."""
        _check_id("tts_id", event.tts_id)
        says = self.gate.wake_event(trio.current_time(), event.type, tts_id=event.tts_id, epoch_ms=_epoch_ms())
        await self._say(says, event.message_id, ctx)
        if event.type.strip().lower() == "cancelled":
            for under_way in tuple(self.replies.under_way()):
                self.replies.cancel(under_way)
                await ctx.publish(EVENT_TYPE_LLM_CANCEL, LLMCancel(id=under_way), correlation_id=event.message_id)

    @subscribe("tts/status")
    async def on_tts_status(self, event: TtsStatus, ctx: Context) -> None:
        """The end of an answer opens the window for a follow-up."""
        opened = self.gate.tts_status(trio.current_time(), event.event, wake_ack=event.wake_ack, system_announce=event.system_announce)
        if opened:
            ctx.log.debug("response_window_opened", utt_id=event.utt_id)

    # -- question --------------------------------------------------------------------------------

    @subscribe("stt/final")
    async def on_final(self, event: FinalTranscript, ctx: Context) -> None:
        """A transcript: gate, live mode, movement, rule, language model, in that order."""
        _check_id("message_id", event.message_id)
        _check_id("utt_id", event.utt_id)
        if len(event.text) > MAX_TRANSCRIPT_CHARS:
            raise Reject(f"a transcript of {len(event.text)} characters; at most {MAX_TRANSCRIPT_CHARS} are routed")
        verdict = self.gate.utterance(trio.current_time(), event.text, utt_id=event.utt_id, epoch_ms=_epoch_ms())
        await self._say(verdict.says, event.message_id, ctx)
        if verdict.text is None:
            ctx.log.info("transcript_dropped" if verdict.reason in _DROPPED else "transcript_taken", reason=verdict.reason)
            return
        command = movement(verdict.text)
        if command is not None:
            request = MovementTestRequest(command=MovementTestCommand(command), request_id=movement_id(event.utt_id, uuid.uuid4().hex))
            await ctx.publish(MovementTestRequest.PAIR.event_type, request, correlation_id=event.message_id)
            return
        now = time.localtime()
        ruled = route(
            verdict.text,
            hour=now.tm_hour,
            minute=now.tm_min,
            utt_id=event.utt_id,
            stt_ts=event.ts,
            wake_phrases=self.settings.wake_phrases,
        )
        if ruled is not None:
            await self._say([ruled], event.message_id, ctx)
            return
        question = self.replies.ask(request_id(event.utt_id, uuid.uuid4().hex), verdict.text, correlation_id=event.message_id)
        history = tuple(ConversationMessage(role=turn.role, content=turn.content) for turn in question.history)
        asked = LLMRequest(id=question.id, text=question.text, stream=True, conversation_history=history)
        await ctx.publish(EVENT_TYPE_LLM_REQUEST, asked, correlation_id=event.message_id)
        self.metrics.asked(trio.current_time(), question.id)

    @subscribe("movement/status", qos=0)
    async def on_movement_status(self, event: MovementStatusUpdate, ctx: Context) -> None:
        """What the body says of a command; for the log only."""
        ctx.log.debug("movement_status", status=event.event, command=event.command, request_id=event.request_id)

    # -- answer ----------------------------------------------------------------------------------

    @subscribe("llm/stream")
    async def on_delta(self, event: LLMStreamDelta, ctx: Context) -> None:
        """A piece of an answer: speak the sentences it completes."""
        _check_id("id", event.id)
        step = self.replies.delta(trio.current_time(), event.id, seq=event.seq, text=event.delta, done=event.done)
        await self._step(step, event.message_id, ctx)
        if step.outcome is Outcome.FINISHED:
            self._count_answer(event.id, ctx)

    @subscribe("llm/response")
    async def on_response(self, event: LLMResponse, ctx: Context) -> None:
        """The whole answer, or an error: speak what has not been spoken."""
        _check_id("id", event.id)
        step = self.replies.response(event.id, reply=event.reply, error=event.error)
        if step.outcome is Outcome.FAILED:
            ctx.log.warning("llm_failed", request_id=event.id, error=(event.error or "")[:_SHOWN_CHARS])
        await self._step(step, event.message_id, ctx)
        self._count_answer(event.id, ctx)

    @subscribe("llm/cancel")
    async def on_cancel(self, event: LLMCancel, ctx: Context) -> None:
        """Somebody cancels an answer. Our own cancels come back here too, and change nothing."""
        _check_id("id", event.id)
        self.metrics.abandoned(event.id)
        await self._step(self.replies.cancel(event.id), event.message_id, ctx)

    @every(1.0)
    async def expire(self, ctx: Context) -> None:
        """Speak what a broken-off stream has left. One with an end is answered by that, one without is waited for no longer."""
        for step in self.replies.expire(trio.current_time()):
            await self._step(step, uuid.uuid4().hex, ctx)
            if step.outcome is Outcome.FINISHED:
                self._count_answer(step.request_id, ctx)
            else:
                self.metrics.abandoned(step.request_id)

    def _count_answer(self, request_id: str, ctx: Context) -> None:
        if self.metrics.answered(trio.current_time(), request_id):
            ctx.log.debug("router_metrics", **self.metrics.values())

    async def _step(self, step: Step, correlation_id: str, ctx: Context) -> None:
        if step.outcome in (Outcome.DESYNC, Outcome.ABANDONED) or step.lost or step.evicted:
            ctx.log.warning(
                "answer_incomplete", request_id=step.request_id, outcome=step.outcome.value, lost=step.lost, evicted=step.evicted
            )
        if step.evicted:
            self.metrics.abandoned(step.evicted)
        await self._say(step.says, correlation_id, ctx)

    async def _say(self, says: Iterable[Say], correlation_id: str, ctx: Context) -> None:
        for say in says:
            spoken = TtsSay(
                text=say.text,
                voice=self.settings.tts_voice,
                lang=self.settings.tts_lang,
                utt_id=say.utt_id,
                style=say.style,
                stt_ts=say.stt_ts,
                wake_ack=say.wake_ack or None,
                system_announce=say.system_announce or None,
            )
            await ctx.publish(EVENT_TYPE_SAY, spoken, correlation_id=say.correlation_id or correlation_id)
            self.metrics.spoke()


def _check_id(name: str, value: str | None) -> None:
    """Raise `Reject` for an id that is none."""
    if value is not None and len(value) > MAX_ID_CHARS:
        raise Reject(f"{name} has {len(value)} characters; at most {MAX_ID_CHARS} make an id")


def _epoch_ms() -> int:
    return int(time.time() * 1000)
