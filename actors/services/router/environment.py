"""The router's own environment variables, as data, and the one pure function that reads them.

An override beats the file. `Override.path` is the place below `[actors.router]`. The first name that is set wins:
the name, then its aliases in order. A blank number, switch or topic counts as not set, since compose files write `NAME=`;
a blank text is a value: it means silence.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import attrs

Value: TypeAlias = str | bool | int | float | list[str]


class Kind(enum.Enum):
    """How a variable's text becomes a value; the value is what TOML would have given."""

    TEXT = "a text"
    SWITCH = "1, true, yes, on, 0, false, no or off"
    INTEGER = "a whole number"
    NUMBER = "a number"
    PHRASES = "phrases separated by |"
    TOPIC = "a topic"
    OVERFLOW = "drop_oldest, drop_new, block or dead_letter"


@attrs.frozen
class Override:
    """One variable. `path` is where its value goes below `[actors.router]`, e.g. ("settings", "wake_window_s")."""

    name: str
    path: tuple[str, ...]
    kind: Kind
    aliases: tuple[str, ...] = ()


def _setting(name: str, field: str, kind: Kind, *aliases: str) -> Override:
    return Override(name, ("settings", field), kind, aliases)


def _topic(name: str, topic: str) -> Override:
    return Override(name, ("topics", topic), Kind.TOPIC)


ENVIRONMENT: tuple[Override, ...] = (
    _setting("ONLINE_ANNOUNCE", "online_announce", Kind.SWITCH),
    _setting("ONLINE_ANNOUNCE_TEXT", "online_text", Kind.TEXT),
    _setting("ROUTER_TTS_VOICE", "tts_voice", Kind.TEXT, "PIPER_VOICE"),
    _setting("ROUTER_LLM_TTS_STREAM", "llm_tts_stream", Kind.SWITCH),
    _setting("ROUTER_STREAM_MIN_CHARS", "stream_min_chars", Kind.INTEGER, "STREAM_MIN_CHARS"),
    _setting("ROUTER_STREAM_MAX_CHARS", "stream_max_chars", Kind.INTEGER, "STREAM_MAX_CHARS"),
    _setting("ROUTER_STREAM_BOUNDARY_CHARS", "stream_boundary_chars", Kind.TEXT, "STREAM_BOUNDARY_CHARS"),
    _setting("ROUTER_STREAM_BOUNDARY_ONLY", "stream_boundary_only", Kind.SWITCH),
    _setting("ROUTER_STREAM_HARD_MAX_CHARS", "stream_hard_max_chars", Kind.INTEGER),
    _setting("ROUTER_WAKE_PHRASES", "wake_phrases", Kind.PHRASES, "WAKE_PHRASES"),
    _setting("ROUTER_WAKE_WINDOW_SEC", "wake_window_s", Kind.NUMBER),
    _setting("ROUTER_WAKE_ACK_ENABLED", "wake_ack_enabled", Kind.SWITCH),
    # One text is one choice: before, the text was read and never spoken because the choices are never empty.
    _setting("ROUTER_WAKE_ACK_CHOICES", "wake_ack_choices", Kind.PHRASES, "WAKE_ACK_CHOICES", "ROUTER_WAKE_ACK_TEXT"),
    _setting("ROUTER_WAKE_ACK_STYLE", "wake_ack_style", Kind.TEXT),
    _setting("ROUTER_WAKE_REPROMPT_TEXT", "wake_reprompt_text", Kind.TEXT),
    _setting("ROUTER_WAKE_INTERRUPT_TEXT", "wake_interrupt_text", Kind.TEXT),
    _setting("ROUTER_WAKE_RESUME_TEXT", "wake_resume_text", Kind.TEXT),
    _setting("ROUTER_WAKE_CANCEL_TEXT", "wake_cancel_text", Kind.TEXT),
    _setting("ROUTER_WAKE_TIMEOUT_TEXT", "wake_timeout_text", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_DEFAULT", "live_mode_default", Kind.SWITCH),
    _setting("ROUTER_LIVE_MODE_ENTER_PHRASE", "live_mode_enter_phrase", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_EXIT_PHRASE", "live_mode_exit_phrase", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_ENTER_ACK", "live_mode_enter_ack", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_EXIT_ACK", "live_mode_exit_ack", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_ACTIVE_HINT", "live_mode_active_hint", Kind.TEXT),
    _setting("ROUTER_LIVE_MODE_INACTIVE_HINT", "live_mode_inactive_hint", Kind.TEXT),
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
    _topic("TOPIC_MOVEMENT_STOP", "movement/stop"),
    _topic("TOPIC_MOVEMENT_STATUS", "movement/status"),
    Override("ROUTER_QUEUE_MAXSIZE", ("mailbox",), Kind.INTEGER),
    Override("ROUTER_QUEUE_OVERFLOW", ("overflow",), Kind.OVERFLOW),
    Override("ROUTER_HANDLER_TIMEOUT", ("handler_timeout_s",), Kind.NUMBER),
)

_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_OVERFLOWS = {name: name for name in ("drop_oldest", "drop_newest", "block", "dead_letter")} | {"drop_new": "drop_newest"}
_BLANK_IS_A_VALUE = frozenset((Kind.TEXT, Kind.PHRASES))


def read_environment(environ: Mapping[str, str], overrides: Sequence[Override] = ENVIRONMENT) -> dict[tuple[str, ...], Value]:
    """The overrides that are set: path → value. Raises `ValueError` naming every variable that cannot be read."""
    values: dict[tuple[str, ...], Value] = {}
    mistakes: list[str] = []
    for override in overrides:
        name = next((name for name in (override.name, *override.aliases) if _is_set(environ, name, override.kind)), None)
        if name is None:
            continue
        try:
            values[override.path] = _PARSERS[override.kind](environ[name])
        except (ValueError, KeyError):
            mistakes.append(f"{name} must be {override.kind.value}, got {environ[name]!r}")
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return values


def _is_set(environ: Mapping[str, str], name: str, kind: Kind) -> bool:
    return name in environ and (kind in _BLANK_IS_A_VALUE or bool(environ[name].strip()))


def _phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split("|") if phrase.strip()]


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_PARSERS: Mapping[Kind, Callable[[str], Value]] = MappingProxyType(
    {
        Kind.TEXT: str,
        Kind.SWITCH: lambda text: _SWITCHES[text.strip().lower()],
        Kind.INTEGER: int,
        Kind.NUMBER: _finite,
        Kind.PHRASES: _phrases,
        Kind.TOPIC: str.strip,
        Kind.OVERFLOW: lambda text: _OVERFLOWS[text.strip().lower()],
    }
)
