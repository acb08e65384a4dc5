"""Which event type travels on which topic, and how: a value, never changed in place.

The old registry was one mutable global and leaked from service to service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

import attrs

from . import health, llm, stt, tts, wake
from .errors import UnknownEventType, UnknownTopic


@attrs.frozen
class Pair:
    """One event type and its one topic (no wildcards), with the QoS (0 or 1) and retain flag it is published with."""

    event_type: str
    topic: str
    qos: int = attrs.field(default=1, validator=attrs.validators.in_((0, 1)))
    retain: bool = False


@attrs.frozen
class TopicRegistry:
    """Pairs, looked up from either side. An event type and a topic stand in one pair each: ValueError otherwise."""

    pairs: tuple[Pair, ...] = ()
    _by_event_type: Mapping[str, Pair] = attrs.field(init=False, repr=False, eq=False)
    _by_topic: Mapping[str, Pair] = attrs.field(init=False, repr=False, eq=False)

    @_by_event_type.default
    def _index_event_types(self) -> Mapping[str, Pair]:
        return _index("event type", [(pair.event_type, pair) for pair in self.pairs])

    @_by_topic.default
    def _index_topics(self) -> Mapping[str, Pair]:
        return _index("topic", [(pair.topic, pair) for pair in self.pairs])

    def pair_of(self, event_type: str) -> Pair:
        """The pair of an event type. Raises UnknownEventType, a KeyError."""
        try:
            return self._by_event_type[event_type]
        except KeyError:
            raise UnknownEventType(event_type, _nearest(event_type, self._by_event_type)) from None

    def topic_of(self, event_type: str) -> str:
        """The topic an event type is published on. Raises UnknownEventType, a KeyError."""
        return self.pair_of(event_type).topic

    def event_of(self, topic: str) -> str:
        """The event type that travels on `topic`, exactly. Raises UnknownTopic, a KeyError."""
        try:
            return self._by_topic[topic].event_type
        except KeyError:
            raise UnknownTopic(topic, _nearest(topic, self._by_topic)) from None

    def with_(self, pairs: Iterable[Pair]) -> TopicRegistry:
        """A registry that knows `pairs` too. Whatever shares an event type or a topic with one of them is replaced."""
        added = tuple(pairs)
        event_types, topics = {pair.event_type for pair in added}, {pair.topic for pair in added}
        kept = (pair for pair in self.pairs if pair.event_type not in event_types and pair.topic not in topics)
        return TopicRegistry((*kept, *added))


def _index(what: str, keyed: list[tuple[str, Pair]]) -> Mapping[str, Pair]:
    index = dict(keyed)
    if len(index) != len(keyed):
        twice = sorted({key for key, _ in keyed if sum(key == other for other, _ in keyed) > 1})
        raise ValueError(f"{what} in more than one pair: {', '.join(twice)}")
    return MappingProxyType(index)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, known, n=1)), None)


# QoS and retain follow the written topic standard: 1 for commands, requests, responses, finals and wake, 0 for what is
# replaced by the next one in a moment; retained is what a newcomer must know.
STANDARD: Final = TopicRegistry(
    (
        Pair(stt.EVENT_TYPE_STT_FINAL, stt.TOPIC_STT_FINAL),
        Pair(stt.EVENT_TYPE_STT_PARTIAL, stt.TOPIC_STT_PARTIAL, qos=0),
        Pair(stt.EVENT_TYPE_STT_AUDIO_FFT, stt.TOPIC_STT_AUDIO_FFT, qos=0),
        Pair(tts.EVENT_TYPE_SAY, tts.TOPIC_TTS_SAY),
        Pair(tts.EVENT_TYPE_TTS_STATUS, tts.TOPIC_TTS_STATUS, qos=0),
        Pair(tts.EVENT_TYPE_TTS_CONTROL, tts.TOPIC_TTS_CONTROL),
        Pair(llm.EVENT_TYPE_LLM_REQUEST, llm.TOPIC_LLM_REQUEST),
        Pair(llm.EVENT_TYPE_LLM_RESPONSE, llm.TOPIC_LLM_RESPONSE),
        Pair(llm.EVENT_TYPE_LLM_STREAM, llm.TOPIC_LLM_STREAM, qos=0),
        Pair(llm.EVENT_TYPE_LLM_CANCEL, llm.TOPIC_LLM_CANCEL),
        Pair(llm.EVENT_TYPE_LLM_TOOLS_REGISTRY, llm.TOPIC_LLM_TOOLS_REGISTRY, retain=True),
        Pair(llm.EVENT_TYPE_LLM_TOOL_CALL_REQUEST, llm.TOPIC_LLM_TOOL_CALL_REQUEST),
        Pair(llm.EVENT_TYPE_LLM_TOOL_CALL_RESULT, llm.TOPIC_LLM_TOOL_CALL_RESULT),
        Pair(wake.EVENT_TYPE_WAKE_EVENT, wake.TOPIC_WAKE_EVENT),
        Pair(wake.EVENT_TYPE_WAKE_MIC, wake.TOPIC_WAKE_MIC),
        Pair("memory.query", "memory/query"),
        Pair("memory.results", "memory/results"),
        Pair("character.get", "character/get"),
        Pair("character.result", "character/result"),
        Pair("character.update", "character/update"),
        Pair("system.character.current", "system/character/current", retain=True),
        Pair("movement.command", "movement/command"),
        Pair("movement.frame", "movement/frame"),
        Pair("movement.state", "movement/state"),
        Pair("movement.test", "movement/test"),
        Pair("movement.stop", "movement/stop"),
        Pair("movement.status", "movement/status", qos=0),
        Pair("camera.capture", "camera/capture"),
        Pair("camera.image", "camera/image"),
        Pair("camera.frame", "camera/frame", qos=0),
        *(
            Pair(f"{health.EVENT_TYPE_HEALTH}.{service}", f"{health.TOPIC_SYSTEM_HEALTH_PREFIX}{service}", retain=True)
            for service in ("tts", "stt", "router", "memory")
        ),
    )
)
