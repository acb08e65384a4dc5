"""Settings, their blank rules, and the environment variables over them."""

from __future__ import annotations

import attrs
import pytest

from tars.actors.services.router.environment import ENVIRONMENT, Kind, read_environment
from tars.actors.services.router.settings import RouterSettings


def from_environment(**environ: str) -> RouterSettings:
    """The settings that `environ` alone gives."""
    return RouterSettings(**{path[1]: value for path, value in read_environment(environ).items() if path[0] == "settings"})  # type: ignore[arg-type]


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = from_environment()

    assert RouterSettings() == settings
    assert (8.0, 10.0, 10) == (settings.wake_window_s, settings.response_window_s, settings.history_messages)
    assert (60, 240, 2000, ".!?;:", True) == (
        settings.stream_min_chars,
        settings.stream_max_chars,
        settings.stream_hard_max_chars,
        settings.stream_boundary_chars,
        settings.stream_boundary_only,
    )


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("STREAM_MIN_CHARS", "30", "stream_min_chars", 30),
        ("ROUTER_STREAM_MAX_CHARS", "200", "stream_max_chars", 200),
        ("ROUTER_WAKE_WINDOW_SEC", "4.5", "wake_window_s", 4.5),
        ("WAKE_PHRASES", "Hey Jarvis|ok tars", "wake_phrases", ("hey jarvis", "ok tars")),
        ("WAKE_ACK_CHOICES", "Yes|No||", "wake_ack_choices", ("Yes", "No")),
        ("ROUTER_WAKE_ACK_TEXT", "At your service.", "wake_ack_choices", ("At your service.",)),
        ("ROUTER_WAKE_ACK_CHOICES", "", "wake_ack_choices", ("Hmm?", "Huh?", "Yes?")),
        ("ROUTER_WAKE_ACK_STYLE", " ", "wake_ack_style", "neutral"),
        ("PIPER_VOICE", "/voices/x.onnx", "tts_voice", "/voices/x.onnx"),
        ("ROUTER_TTS_VOICE", "", "tts_voice", "piper/en_US/amy"),
        ("ONLINE_ANNOUNCE", "1", "online_announce", True),
        ("ONLINE_ANNOUNCE", "Yes", "online_announce", True),
        ("ONLINE_ANNOUNCE", "0", "online_announce", False),
        ("ONLINE_ANNOUNCE", "off", "online_announce", False),
        ("ROUTER_STREAM_MIN_CHARS", " ", "stream_min_chars", 60),
    ],
)
def test_a_variable_overrides_its_setting(name: str, text: str, field: str, value: object) -> None:

    assert value == getattr(from_environment(**{name: text}), field)


def test_the_name_beats_its_alias() -> None:

    assert 10 == from_environment(ROUTER_STREAM_MIN_CHARS="10", STREAM_MIN_CHARS="20").stream_min_chars


def test_topics_and_actor_keys_go_beside_the_settings() -> None:

    assert {
        ("topics", "stt/final"): "robot7/stt/final",
        ("mailbox",): 8,
        ("overflow",): "drop_newest",
        ("handler_timeout_s",): 2.5,
    } == read_environment(
        {
            "TOPIC_STT_FINAL": "robot7/stt/final",
            "TOPIC_TTS_SAY": "",
            "ROUTER_QUEUE_MAXSIZE": "8",
            "ROUTER_QUEUE_OVERFLOW": "drop_new",
            "ROUTER_HANDLER_TIMEOUT": "2.5",
        }
    )


def test_every_mistake_is_named() -> None:
    with pytest.raises(ValueError, match=r"STREAM_MIN_CHARS must be a whole number, got 'x'; ROUTER_WAKE_WINDOW_SEC") as caught:
        read_environment(
            {"STREAM_MIN_CHARS": "x", "ROUTER_WAKE_WINDOW_SEC": "nan", "ONLINE_ANNOUNCE": "maybe", "ROUTER_QUEUE_OVERFLOW": "explode"}
        )

    assert 4 == len(str(caught.value).split("; "))


def test_every_override_names_a_setting_that_exists_and_no_name_twice() -> None:
    fields = {attribute.name for attribute in attrs.fields(RouterSettings)}
    names = [name for override in ENVIRONMENT for name in (override.name, *override.aliases)]

    assert set() == {override.path[1] for override in ENVIRONMENT if override.path[0] == "settings"} - fields
    assert len(names) == len(set(names))
    assert all(override.path[0] == "topics" for override in ENVIRONMENT if override.kind is Kind.TOPIC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wake_window_s", 0),
        ("wake_window_s", float("nan")),
        ("response_window_s", float("inf")),
        ("wake_timeout_grace_s", -1),
        ("health_expires_s", 0),
        ("history_messages", -1),
        ("stream_min_chars", 0),
        ("stream_max_chars", 59),
        ("stream_hard_max_chars", 239),
        ("stream_max_held", 0),
        ("stream_boundary_chars", ""),
        ("stream_boundary_chars", ".a"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        RouterSettings(**{field: value})  # type: ignore[arg-type]


def test_every_value_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"history_messages .*stream_boundary_chars"):
        RouterSettings(history_messages=-1, stream_boundary_chars="")
