"""Which event type travels on which topic, and how: a value, never changed in place.

The old registry was one mutable global and leaked from service to service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

import attrs

from . import camera, config, health, llm, memory, movement, stt, tts, wake
from .errors import UnknownEventType, UnknownTopic
from .pair import Pair


@attrs.frozen
class TopicRegistry:
    """Pairs, looked up from either side. An event type and a topic stand in one pair each: ValueError otherwise.

    A topic as it is goes before one with placeholders; of two with placeholders the first that fits is taken.
    """

    pairs: tuple[Pair, ...] = ()
    _by_event_type: Mapping[str, Pair] = attrs.field(init=False, repr=False, eq=False)
    _by_topic: Mapping[str, Pair] = attrs.field(init=False, repr=False, eq=False)

    @_by_event_type.default
    def _index_event_types(self) -> Mapping[str, Pair]:
        return _index("event type", [(pair.event_type, pair) for pair in self.pairs])

    @_by_topic.default
    def _index_topics(self) -> Mapping[str, Pair]:
        return _index("topic", [(pair.shape, pair) for pair in self.pairs])

    def pair_of(self, event_type: str) -> Pair:
        """The pair of an event type. Raises UnknownEventType, a KeyError."""
        try:
            return self._by_event_type[event_type]
        except KeyError:
            raise UnknownEventType(event_type, _nearest(event_type, self._by_event_type)) from None

    def topic_of(self, event_type: str, **names: str) -> str:
        """The topic an event type is published on; `names` fills its placeholders, as in ``client_id="tars-stt"``.

        Raises UnknownEventType, a KeyError, and ValueError when `names` are not exactly the placeholders.
        """
        return self.pair_of(event_type).fill(names)

    def event_of(self, topic: str) -> str:
        """The event type that travels on `topic`, a topic as it is. Raises UnknownTopic, a KeyError."""
        exact = self._by_topic.get(topic)
        if exact is not None:
            return exact.event_type
        for pair in self.pairs:
            if pair.names and pair.holds(topic):
                return pair.event_type
        raise UnknownTopic(topic, _nearest(topic, self._by_topic))

    def with_(self, pairs: Iterable[Pair]) -> TopicRegistry:
        """A registry that knows `pairs` too. Whatever shares an event type or a topic with one of them is replaced."""
        added = tuple(pairs)
        event_types, topics = {pair.event_type for pair in added}, {pair.shape for pair in added}
        kept = (pair for pair in self.pairs if pair.event_type not in event_types and pair.shape not in topics)
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
# replaced by the next one in a moment; retained is what a newcomer must know. Each contract holds its own pair.
STANDARD: Final = TopicRegistry(
    (
        stt.FinalTranscript.PAIR,
        stt.PartialTranscript.PAIR,
        stt.AudioFFTData.PAIR,
        tts.TtsSay.PAIR,
        tts.TtsStatus.PAIR,
        tts.TtsControlCommand.PAIR,
        wake.WakeEvent.PAIR,
        wake.WakeMicCommand.PAIR,
        llm.LLMRequest.PAIR,
        llm.LLMResponse.PAIR,
        llm.LLMStreamDelta.PAIR,
        llm.LLMCancel.PAIR,
        llm.ToolsRegistry.PAIR,
        llm.ToolCallRequest.PAIR,
        llm.ToolCallResult.PAIR,
        memory.MemoryQuery.PAIR,
        memory.MemoryResults.PAIR,
        memory.CharacterGetRequest.PAIR,
        memory.CHARACTER_RESULT,
        memory.CHARACTER_CURRENT,
        memory.CHARACTER_UPDATE,
        movement.MovementCommand.PAIR,
        movement.MovementFrame.PAIR,
        movement.MovementState.PAIR,
        movement.MovementTestRequest.PAIR,
        movement.MovementStatusUpdate.PAIR,
        movement.EmergencyStopCommand.PAIR,
        camera.CameraCaptureRequest.PAIR,
        camera.CameraImageResponse.PAIR,
        camera.CameraFrame.PAIR,
        health.HealthPing.PAIR,
        *health.BY_SERVICE,
        health.HeartbeatPayload.PAIR,
        config.ConfigUpdatePayload.PAIR,
        config.ConfigHealthPayload.PAIR,
    )
)
