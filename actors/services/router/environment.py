"""The router's own environment variables, as data; a key is the place below ``[actors.router]``.

A variable beats the file, a name beats its aliases. A blank number, switch or topic counts as not set, since compose
files write ``NAME=``; a blank text is a value: it means silence.

Law: no name without an effect. Hence no ``TOPIC_MOVEMENT_STOP``: the router neither publishes `movement/stop` nor listens to it,
and the one it replaces did not either. A spoken "stop" goes to `movement/test`, as every command does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tars.actors import Override, boolean, integer, number, text

_OVERFLOWS: Final[Mapping[str, str]] = MappingProxyType(
    {name: name for name in ("drop_oldest", "drop_newest", "block", "dead_letter")} | {"drop_new": "drop_newest"}
)


def phrases(found: str) -> list[str]:
    """Phrases separated by ``|``; blank ones are none."""
    return [phrase.strip() for phrase in found.split("|") if phrase.strip()]


def overflow(found: str) -> str:
    """An overflow policy, or the old name of one. Raises ValueError."""
    policy = _OVERFLOWS.get(found.strip().lower())
    if policy is None:
        raise ValueError(f'expected one of drop_oldest, drop_new, block, dead_letter, found "{found}"')
    return policy


def _switch(name: str, field: str) -> Override:
    return Override(name, ("settings", field), boolean)


def _text(field: str, *names: str) -> tuple[Override, ...]:
    return tuple(Override(name, ("settings", field), text, blank_counts=True) for name in names)


def _integer(field: str, *names: str) -> tuple[Override, ...]:
    return tuple(Override(name, ("settings", field), integer) for name in names)


def _phrases(field: str, *names: str) -> tuple[Override, ...]:
    return tuple(Override(name, ("settings", field), phrases, blank_counts=True) for name in names)


def _topic(name: str, topic: str) -> Override:
    return Override(name, ("topics", topic), str.strip)


ENVIRONMENT: Final[tuple[Override, ...]] = (
    _switch("ONLINE_ANNOUNCE", "online_announce"),
    *_text("online_text", "ONLINE_ANNOUNCE_TEXT"),
    *_text("tts_voice", "ROUTER_TTS_VOICE", "PIPER_VOICE"),
    _switch("ROUTER_LLM_TTS_STREAM", "llm_tts_stream"),
    *_integer("stream_min_chars", "ROUTER_STREAM_MIN_CHARS", "STREAM_MIN_CHARS"),
    *_integer("stream_max_chars", "ROUTER_STREAM_MAX_CHARS", "STREAM_MAX_CHARS"),
    *_text("stream_boundary_chars", "ROUTER_STREAM_BOUNDARY_CHARS", "STREAM_BOUNDARY_CHARS"),
    _switch("ROUTER_STREAM_BOUNDARY_ONLY", "stream_boundary_only"),
    *_integer("stream_hard_max_chars", "ROUTER_STREAM_HARD_MAX_CHARS"),
    *_phrases("wake_phrases", "ROUTER_WAKE_PHRASES", "WAKE_PHRASES"),
    Override("ROUTER_WAKE_WINDOW_SEC", ("settings", "wake_window_s"), number),
    # The transcriber mutes the microphone by a variable of its own: one that is set for both keeps the two windows alike.
    *(Override(name, ("settings", "response_window_s"), number) for name in ("ROUTER_RESPONSE_WINDOW_SEC", "TTS_RESPONSE_WINDOW_SEC")),
    _switch("ROUTER_WAKE_ACK_ENABLED", "wake_ack_enabled"),
    # One text is one choice: before, the text was read and never spoken because the choices are never empty. Blank ones are not set.
    *(
        Override(name, ("settings", "wake_ack_choices"), phrases)
        for name in ("ROUTER_WAKE_ACK_CHOICES", "WAKE_ACK_CHOICES", "ROUTER_WAKE_ACK_TEXT")
    ),
    *_text("wake_ack_style", "ROUTER_WAKE_ACK_STYLE"),
    *_text("wake_reprompt_text", "ROUTER_WAKE_REPROMPT_TEXT"),
    *_text("wake_interrupt_text", "ROUTER_WAKE_INTERRUPT_TEXT"),
    *_text("wake_resume_text", "ROUTER_WAKE_RESUME_TEXT"),
    *_text("wake_cancel_text", "ROUTER_WAKE_CANCEL_TEXT"),
    *_text("wake_timeout_text", "ROUTER_WAKE_TIMEOUT_TEXT"),
    _switch("ROUTER_LIVE_MODE_DEFAULT", "live_mode_default"),
    *_text("live_mode_enter_phrase", "ROUTER_LIVE_MODE_ENTER_PHRASE"),
    *_text("live_mode_exit_phrase", "ROUTER_LIVE_MODE_EXIT_PHRASE"),
    *_text("live_mode_enter_ack", "ROUTER_LIVE_MODE_ENTER_ACK"),
    *_text("live_mode_exit_ack", "ROUTER_LIVE_MODE_EXIT_ACK"),
    *_text("live_mode_active_hint", "ROUTER_LIVE_MODE_ACTIVE_HINT"),
    *_text("live_mode_inactive_hint", "ROUTER_LIVE_MODE_INACTIVE_HINT"),
    _topic("TOPIC_HEALTH_TTS", "system/health/tars-tts"),
    _topic("TOPIC_HEALTH_STT", "system/health/tars-stt"),
    _topic("TOPIC_HEALTH_ROUTER", "system/health/router"),
    _topic("TOPIC_STT_FINAL", "stt/final"),
    _topic("TOPIC_TTS_SAY", "tts/say"),
    _topic("TOPIC_TTS_STATUS", "tts/status"),
    _topic("TOPIC_LLM_REQUEST", "llm/request"),
    _topic("TOPIC_LLM_RESPONSE", "llm/response"),
    _topic("TOPIC_LLM_STREAM", "llm/stream"),
    _topic("TOPIC_LLM_CANCEL", "llm/cancel"),
    _topic("TOPIC_WAKE_EVENT", "wake/event"),
    _topic("TOPIC_MOVEMENT_TEST", "movement/test"),
    _topic("TOPIC_MOVEMENT_STATUS", "movement/status"),
    Override("ROUTER_QUEUE_MAXSIZE", ("mailbox",), integer),
    Override("ROUTER_QUEUE_OVERFLOW", ("overflow",), overflow),
    Override("ROUTER_HANDLER_TIMEOUT", ("handler_timeout_s",), number),
)
