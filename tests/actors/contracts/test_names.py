"""The constants: topics, event types and the values of the enums, as the old services spell them; and which class knows which."""

from enum import Enum
from types import ModuleType

import pytest

from support.contract_table import CONTRACTS
from tars.actors.contracts import STANDARD, Pair, camera, config, health, llm, memory, movement, stt, tts, wake
from tars.actors.contracts.memory import CHARACTER_CURRENT, CHARACTER_RESULT, CHARACTER_UPDATE

NAMES: list[tuple[ModuleType, dict[str, str]]] = [
    (
        stt,
        {
            "TOPIC_STT_FINAL": "stt/final",
            "TOPIC_STT_PARTIAL": "stt/partial",
            "TOPIC_STT_AUDIO_FFT": "stt/audio_fft",
            "EVENT_TYPE_STT_FINAL": "stt.final",
            "EVENT_TYPE_STT_PARTIAL": "stt.partial",
            "EVENT_TYPE_STT_AUDIO_FFT": "stt.audio_fft",
        },
    ),
    (
        tts,
        {
            "TOPIC_TTS_SAY": "tts/say",
            "TOPIC_TTS_STATUS": "tts/status",
            "TOPIC_TTS_CONTROL": "tts/control",
            "EVENT_TYPE_SAY": "tts.say",
            "EVENT_TYPE_TTS_STATUS": "tts.status",
            "EVENT_TYPE_TTS_CONTROL": "tts.control",
        },
    ),
    (
        llm,
        {
            "TOPIC_LLM_REQUEST": "llm/request",
            "TOPIC_LLM_RESPONSE": "llm/response",
            "TOPIC_LLM_STREAM": "llm/stream",
            "TOPIC_LLM_CANCEL": "llm/cancel",
            "TOPIC_LLM_TOOLS_REGISTRY": "llm/tools/registry",
            "TOPIC_LLM_TOOL_CALL_REQUEST": "llm/tool.call.request",
            "TOPIC_LLM_TOOL_CALL_RESULT": "llm/tool.call.result",
            "EVENT_TYPE_LLM_REQUEST": "llm.request",
            "EVENT_TYPE_LLM_RESPONSE": "llm.response",
            "EVENT_TYPE_LLM_STREAM": "llm.stream",
            "EVENT_TYPE_LLM_CANCEL": "llm.cancel",
            "EVENT_TYPE_LLM_TOOLS_REGISTRY": "llm.tools.registry",
            "EVENT_TYPE_LLM_TOOL_CALL_REQUEST": "llm.tool.call.request",
            "EVENT_TYPE_LLM_TOOL_CALL_RESULT": "llm.tool.call.result",
        },
    ),
    (
        memory,
        {
            "TOPIC_MEMORY_QUERY": "memory/query",
            "TOPIC_MEMORY_RESULTS": "memory/results",
            "TOPIC_CHARACTER_GET": "character/get",
            "TOPIC_CHARACTER_RESULT": "character/result",
            "TOPIC_CHARACTER_UPDATE": "character/update",
            "TOPIC_SYSTEM_CHARACTER_CURRENT": "system/character/current",
            "EVENT_TYPE_MEMORY_QUERY": "memory.query",
            "EVENT_TYPE_MEMORY_RESULTS": "memory.results",
            "EVENT_TYPE_MEMORY_HEALTH": "system.health.memory",
            "EVENT_TYPE_CHARACTER_GET": "character.get",
            "EVENT_TYPE_CHARACTER_RESULT": "character.result",
            "EVENT_TYPE_CHARACTER_UPDATE": "character.update",
            "EVENT_TYPE_CHARACTER_CURRENT": "system.character.current",
        },
    ),
    (
        movement,
        {
            "TOPIC_MOVEMENT_COMMAND": "movement/command",
            "TOPIC_MOVEMENT_FRAME": "movement/frame",
            "TOPIC_MOVEMENT_STATE": "movement/state",
            "TOPIC_MOVEMENT_TEST": "movement/test",
            "TOPIC_MOVEMENT_STOP": "movement/stop",
            "TOPIC_MOVEMENT_STATUS": "movement/status",
            "TOPIC_HEALTH_MOVEMENT_SERVICE": "system/health/movement",
            "TOPIC_HEALTH_MOVEMENT_CONTROLLER": "system/health/movement-controller",
            "EVENT_TYPE_MOVEMENT_COMMAND": "movement.command",
            "EVENT_TYPE_MOVEMENT_FRAME": "movement.frame",
            "EVENT_TYPE_MOVEMENT_STATE": "movement.state",
            "EVENT_TYPE_MOVEMENT_TEST": "movement.test",
            "EVENT_TYPE_MOVEMENT_STOP": "movement.stop",
            "EVENT_TYPE_MOVEMENT_STATUS": "movement.status",
        },
    ),
    (
        wake,
        {
            "TOPIC_WAKE_EVENT": "wake/event",
            "TOPIC_WAKE_MIC": "wake/mic",
            "EVENT_TYPE_WAKE_EVENT": "wake.event",
            "EVENT_TYPE_WAKE_MIC": "wake.mic",
        },
    ),
    (
        camera,
        {
            "TOPIC_CAMERA_CAPTURE": "camera/capture",
            "TOPIC_CAMERA_IMAGE": "camera/image",
            "TOPIC_CAMERA_FRAME": "camera/frame",
            "EVENT_TYPE_CAMERA_CAPTURE": "camera.capture",
            "EVENT_TYPE_CAMERA_IMAGE": "camera.image",
            "EVENT_TYPE_CAMERA_FRAME": "camera.frame",
        },
    ),
    (
        health,
        {
            "TOPIC_SYSTEM_HEALTH_PREFIX": "system/health/",
            "TOPIC_SYSTEM_KEEPALIVE_PREFIX": "system/keepalive/",
            "EVENT_TYPE_HEALTH": "system.health",
            "EVENT_TYPE_HEALTH_STATUS": "health.status",
            "EVENT_TYPE_KEEPALIVE": "system.keepalive",
        },
    ),
    (
        config,
        {
            "TOPIC_CONFIG_UPDATE": "config/update",
            "TOPIC_HEALTH_CONFIG_MANAGER": "system/health/config-manager",
            "EVENT_TYPE_CONFIG_UPDATE": "config.update",
            "EVENT_TYPE_CONFIG_HEALTH": "system.health.config-manager",
        },
    ),
]


@pytest.mark.parametrize(
    ("module", "names"), NAMES, ids=lambda part: part.__name__.rpartition(".")[2] if isinstance(part, ModuleType) else ""
)
def test_a_domain_has_exactly_these_topics_and_event_types(module: ModuleType, names: dict[str, str]) -> None:
    found = {name: value for name, value in vars(module).items() if name.startswith(("TOPIC_", "EVENT_TYPE_"))}
    if module is config:  # these two stand there to build its own from
        found = {name: value for name, value in found.items() if name not in ("EVENT_TYPE_HEALTH", "TOPIC_SYSTEM_HEALTH_PREFIX")}

    assert names == found


@pytest.mark.parametrize(
    ("enum", "values"),
    [
        (
            movement.MovementAction,
            "reset disable step_forward step_backward turn_left turn_right balance laugh swing_legs pose bow",
        ),
        (
            movement.MovementTestCommand,
            (
                "reset step_forward step_backward turn_left turn_right wave laugh swing_legs pezz pezz_dispenser now balance "
                "mic_drop monster pose bow disable stop move_legs move_arm"
            ),
        ),
        (
            movement.MovementStatusEvent,
            "connected disconnected command_started command_completed command_failed emergency_stop stop_cleared queue_full battery_low",
        ),
        (movement.MovementStateEvent, "started frame_sent completed failed cancelled"),
    ],
)
def test_an_enum_has_exactly_these_values(enum: type[Enum], values: str) -> None:
    assert values.split() == [member.value for member in enum]


@pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)
def test_a_contract_that_travels_one_way_only_knows_its_pair(cls: type) -> None:
    pair: Pair | None = getattr(cls, "PAIR", None)

    if pair is None:
        inside_others = {"ConversationMessage", "ToolSpec", "MemoryResult", "MoveLegsParams", "MoveArmParams"}
        assert cls.__name__ in inside_others | {"CharacterSnapshot", "CameraStatusUpdate"}
    else:
        assert pair in STANDARD.pairs


def test_every_standard_pair_is_some_contract_s_but_the_old_health_topics() -> None:
    known = {getattr(cls, "PAIR", None) for cls in CONTRACTS} | {CHARACTER_RESULT, CHARACTER_UPDATE, CHARACTER_CURRENT}

    assert set(health.BY_SERVICE) == set(STANDARD.pairs) - known


def test_no_contract_s_name_looks_like_a_test_to_a_test_runner() -> None:
    assert [] == [cls.__name__ for cls in CONTRACTS if cls.__name__.startswith("Test")]
