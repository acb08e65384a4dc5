"""The topic registry: a value that knows both ways, and the standard one."""

import re

import attrs
import pytest

from tars.actors.contracts import STANDARD, Pair, TopicRegistry, UnknownEventType, UnknownTopic

# What the old registry held by default, and what was missing there: event type, topic, QoS, retained
EXPECTED = [
    ("stt.final", "stt/final", 1, False),
    ("stt.partial", "stt/partial", 0, False),
    ("tts.say", "tts/say", 1, False),
    ("tts.status", "tts/status", 0, False),
    ("llm.request", "llm/request", 1, False),
    ("llm.response", "llm/response", 1, False),
    ("llm.stream", "llm/stream", 0, False),
    ("llm.cancel", "llm/cancel", 1, False),
    ("wake.event", "wake/event", 1, False),
    ("wake.mic", "wake/mic", 1, False),
    ("system.health.tts", "system/health/tts", 1, True),
    ("system.health.stt", "system/health/stt", 1, True),
    ("system.health.router", "system/health/router", 1, True),
    ("memory.query", "memory/query", 1, False),
    ("memory.results", "memory/results", 1, False),
    ("system.health.memory", "system/health/memory", 1, True),
    ("character.get", "character/get", 1, False),
    ("character.result", "character/result", 1, False),
    ("system.character.current", "system/character/current", 1, True),
    # missing there
    ("stt.audio_fft", "stt/audio_fft", 0, False),
    ("tts.control", "tts/control", 1, False),
    ("llm.tools.registry", "llm/tools/registry", 1, True),
    ("llm.tool.call.request", "llm/tool.call.request", 1, False),
    ("llm.tool.call.result", "llm/tool.call.result", 1, False),
    ("character.update", "character/update", 1, False),
    ("movement.command", "movement/command", 1, False),
    ("movement.frame", "movement/frame", 1, False),
    ("movement.state", "movement/state", 1, False),
    ("movement.test", "movement/test", 1, False),
    ("movement.stop", "movement/stop", 1, False),
    ("movement.status", "movement/status", 0, False),
    ("camera.capture", "camera/capture", 1, False),
    ("camera.image", "camera/image", 1, False),
    ("camera.frame", "camera/frame", 0, False),
    ("health.status", "system/health/{client_id}", 1, True),
    ("system.keepalive", "system/keepalive/{client_id}", 1, False),
    ("config.update", "config/update", 1, False),
    ("system.health.config-manager", "system/health/config-manager", 1, True),
]


def test_the_standard_registry_holds_exactly_the_known_pairs() -> None:
    assert {Pair(*row) for row in EXPECTED} == set(STANDARD.pairs)


@pytest.mark.parametrize(("event_type", "topic", "qos", "retain"), EXPECTED)
def test_a_pair_is_found_from_either_side(event_type: str, topic: str, qos: int, retain: bool) -> None:
    names = {"client_id": "tars-stt"} if "{" in topic else {}

    assert topic.format(**names) == STANDARD.topic_of(event_type, **names)
    assert event_type == STANDARD.event_of(topic.format(**names))
    assert Pair(event_type, topic, qos, retain) == STANDARD.pair_of(event_type)


def test_only_what_a_newcomer_must_know_is_retained() -> None:
    retained = {pair.event_type for pair in STANDARD.pairs if pair.retain}

    assert {"system.character.current", "llm.tools.registry"} == {name for name in retained if "health" not in name}
    assert {pair.event_type for pair in STANDARD.pairs if pair.topic.startswith("system/health/")} == retained - {
        "system.character.current",
        "llm.tools.registry",
    }


def test_every_topic_is_lower_case_and_two_levels_but_for_the_system_s_and_the_tools() -> None:
    for pair in STANDARD.pairs:
        levels = pair.topic.split("/")
        assert pair.topic == pair.topic.lower()
        assert (3 if levels[0] == "system" or pair.topic == "llm/tools/registry" else 2) == len(levels), pair.topic


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({}, "'system/health/{client_id}' is filled with client_id, got nothing"),
        ({"client": "a"}, "is filled with client_id, got client"),
        ({"client_id": "a", "more": "b"}, "is filled with client_id, got client_id, more"),
        ({"client_id": ""}, "client_id must be one level of a topic, got ''"),
        *(({"client_id": wrong}, "client_id must be one level of a topic") for wrong in ("a/b", "+", "#", "a\0")),
    ],
)
def test_a_placeholder_is_filled_with_one_level_or_not_at_all(names: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        STANDARD.topic_of("health.status", **names)


def test_a_topic_as_it_is_takes_no_names() -> None:
    with pytest.raises(ValueError, match="'stt/final' is filled with nothing, got client_id"):
        STANDARD.topic_of("stt.final", client_id="a")


@pytest.mark.parametrize(
    ("topic", "event_type"),
    [
        ("system/health/tts", "system.health.tts"),  # a topic as it is goes before one with a placeholder
        ("system/health/tars-tts", "health.status"),
        ("system/health/movement-controller", "health.status"),
        ("system/keepalive/anybody", "system.keepalive"),
        ("system/health", None),
        ("system/health/", None),
        ("system/health/a/b", None),
        ("system/other/a", None),
        ("/system/health/a", None),
    ],
)
def test_a_placeholder_stands_for_exactly_one_level_that_is_not_empty(topic: str, event_type: str | None) -> None:
    if event_type is None:
        with pytest.raises(UnknownTopic):
            STANDARD.event_of(topic)
    else:
        assert event_type == STANDARD.event_of(topic)


@pytest.mark.parametrize("topic", ["a/{b}c", "a/{b", "a/b}", "{a}/{a}", "a/+", "a/#", "{}/a", "{a b}"])
def test_a_placeholder_that_is_no_whole_level_and_a_wildcard_are_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="a placeholder is one whole level"):
        Pair("a", topic)


def test_an_unknown_event_type_is_a_key_error_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownEventType) as caught:
        STANDARD.topic_of("movement/test")

    assert isinstance(caught.value, KeyError)
    assert "Unknown event type: 'movement/test'; did you mean 'movement.test'?" == str(caught.value)


def test_an_unknown_topic_is_a_key_error_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownTopic) as caught:
        STANDARD.event_of("sst/final")

    assert isinstance(caught.value, KeyError)
    assert "Unknown topic: 'sst/final'; did you mean 'stt/final'?" == str(caught.value)


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    with pytest.raises(UnknownTopic) as caught:
        STANDARD.event_of("zzzzzzzzzz")

    assert caught.value.suggestion is None
    assert "Unknown topic: 'zzzzzzzzzz'" == str(caught.value)


def test_adding_pairs_gives_a_new_registry_and_leaves_the_old_one() -> None:
    more = STANDARD.with_([Pair("door.opened", "door/opened", qos=0)])

    assert "door/opened" == more.topic_of("door.opened")
    assert "stt/final" == more.topic_of("stt.final")
    with pytest.raises(KeyError):
        STANDARD.topic_of("door.opened")


def test_a_replaced_pair_leaves_no_trace_on_either_side() -> None:
    more = STANDARD.with_([Pair("stt.final", "robot7/stt/final"), Pair("speech", "tts/say")])

    assert "robot7/stt/final" == more.topic_of("stt.final")
    assert "speech" == more.event_of("tts/say")
    with pytest.raises(UnknownTopic):
        more.event_of("stt/final")
    with pytest.raises(UnknownEventType):
        more.topic_of("tts.say")


def test_registries_of_the_same_pairs_are_equal() -> None:
    assert TopicRegistry((Pair("a", "b"),)) == TopicRegistry().with_([Pair("a", "b")])
    assert TopicRegistry() != STANDARD


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((Pair("a", "x"), Pair("a", "y")), "event type in more than one pair: a"),
        ((Pair("a", "x"), Pair("b", "x")), "topic in more than one pair: x"),
        ((Pair("a", "x/{y}"), Pair("b", "x/{z}")), "topic in more than one pair: x/{}"),
    ],
)
def test_an_event_type_or_topic_in_two_pairs_is_refused(pairs: tuple[Pair, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TopicRegistry(pairs)
    with pytest.raises(ValueError, match=words):
        TopicRegistry().with_(pairs)


def test_qos_2_is_refused() -> None:
    with pytest.raises(ValueError, match="qos"):
        Pair("a", "b", qos=2)


def test_a_registry_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        STANDARD.pairs = ()  # type: ignore[misc]
