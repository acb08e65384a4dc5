"""Messages that belong together: what ties a request to its answer, and the two contracts one topic may carry."""

from typing import Any

import pytest

from tars.actors.contracts import DecodeError, decode, decode_envelope, decode_json, encode, structure, unstructure, wrap_now
from tars.actors.contracts.camera import CameraCaptureRequest, CameraImageResponse, CameraStatusUpdate
from tars.actors.contracts.health import EVENT_TYPE_HEALTH_STATUS, HealthPing
from tars.actors.contracts.memory import (
    CharacterResetTraits,
    CharacterSection,
    CharacterSnapshot,
    CharacterTraitUpdate,
    read_character_result,
    read_character_update,
)
from tars.actors.contracts.movement import (
    EmergencyStopCommand,
    MoveArmParams,
    MoveLegsParams,
    MovementAction,
    MovementCommand,
    MovementFrame,
    MovementState,
    MovementStateEvent,
    MovementStatusEvent,
    MovementStatusUpdate,
    MovementTestCommand,
    MovementTestRequest,
    limb_params,
    validate_emergency_stop,
    validate_movement_command,
    validate_test_movement,
)
from tars.actors.contracts.stt import FinalTranscript


def test_an_event_in_an_envelope_keeps_the_correlation_and_every_field() -> None:
    transcript = FinalTranscript(text="hello", confidence=0.95)

    envelope = decode_envelope(encode(wrap_now("stt.final", unstructure(transcript), source="tars-stt", correlation_id="parent-123")))

    assert ("parent-123", "stt.final", "tars-stt") == (envelope.id, envelope.type, envelope.source)
    assert unstructure(transcript) == envelope.data


def test_health_travels_as_health_status_without_its_empty_fields() -> None:
    ping = HealthPing(ok=True, event="startup_complete")

    envelope = decode_envelope(encode(wrap_now(EVENT_TYPE_HEALTH_STATUS, unstructure(ping), source="tars-stt")))

    assert "health.status" == envelope.type
    assert {"message_id": ping.message_id, "ok": True, "event": "startup_complete", "timestamp": ping.timestamp} == envelope.data


# -- movement ------------------------------------------------------------------------------------


def test_the_channels_of_a_frame_are_integers_at_both_ends_and_digits_between() -> None:
    """The old services could not publish a frame at all: their JSON writer refused integer keys."""
    frame = MovementFrame(
        id="m-1", seq=0, total=1, duration_ms=400, hold_ms=50, channels={0: 1500, 15: 1620}, disable_after=True, done=True
    )

    payload = encode(wrap_now("movement.frame", unstructure(frame), source="tars-movement"))

    document: Any = decode_json(payload)
    assert {"0": 1500, "15": 1620} == document["data"]["channels"]
    assert frame == decode(payload, MovementFrame).event
    assert frame == decode(encode(frame), MovementFrame).event


@pytest.mark.parametrize(
    "channels", [{"00": 1500}, {"1.0": 1500}, {"a": 1500}, {"": 1500}, {"1": "1500"}, {"1": 1500.5}, {"1": True}, [1500]]
)
def test_a_channel_is_a_whole_number_and_so_is_its_pulse(channels: Any) -> None:
    with pytest.raises(DecodeError, match=r"\$\.channels"):
        structure(MovementFrame, {"id": "m", "seq": 0, "total": 1, "duration_ms": 1, "hold_ms": 0, "channels": channels})


def test_frames_and_states_carry_the_command_s_id() -> None:
    command = MovementCommand(command=MovementAction.STEP_FORWARD, params={"duration": 5.0})
    frames = [
        MovementFrame(id=command.id, seq=seq, total=3, duration_ms=100, hold_ms=0, channels={0: 1500 + seq}, done=seq == 2)
        for seq in range(3)
    ]
    states = [MovementState(id=command.id, event=event) for event in (MovementStateEvent.STARTED, MovementStateEvent.COMPLETED)]

    read = [decode(encode(frame), MovementFrame).event for frame in frames]

    assert {command.id} == {*(frame.id for frame in read), *(state.id for state in states)}
    assert [False, False, True] == [frame.done for frame in read]
    assert command == decode(encode(command), MovementCommand).event


def test_a_test_request_and_its_statuses_share_the_request_id_and_the_command() -> None:
    request = MovementTestRequest(command=MovementTestCommand.WAVE, speed=0.8, request_id="flow123")
    statuses = [
        MovementStatusUpdate(event=event, command=request.command, request_id=request.request_id)
        for event in (MovementStatusEvent.COMMAND_STARTED, MovementStatusEvent.COMMAND_COMPLETED)
    ]

    read = [decode(encode(status), MovementStatusUpdate).event for status in statuses]

    assert [("command_started", "wave", "flow123"), ("command_completed", "wave", "flow123")] == [
        (status.event.value, status.command, status.request_id) for status in read
    ]


def test_the_reason_of_an_emergency_stop_reaches_the_status() -> None:
    stop = decode(encode(EmergencyStopCommand(reason="something in the way")), EmergencyStopCommand).event
    status = MovementStatusUpdate(event=MovementStatusEvent.EMERGENCY_STOP, detail=stop.reason)

    assert "something in the way" == decode(encode(status), MovementStatusUpdate).event.detail


@pytest.mark.parametrize(
    ("validate", "right", "wrong"),
    [
        (
            validate_test_movement,
            {"command": "wave", "speed": 0.8},
            [{"command": "invalid"}, {"speed": 0.5}, {}, {"command": "wave", "speed": 2}],
        ),
        (validate_movement_command, {"command": "step_forward"}, [{"command": "wave"}, {}]),
        (validate_emergency_stop, {"reason": "now"}, [{"reason": 5}, {"why": "now"}]),
        (validate_emergency_stop, {}, []),
    ],
)
def test_a_validator_gives_the_contract_or_says_what_is_wrong(validate: Any, right: dict[str, Any], wrong: list[dict[str, Any]]) -> None:
    event = validate(right)

    assert right == {name: getattr(event, name) for name in right}
    for data in wrong:
        with pytest.raises(DecodeError):
            validate(data)


@pytest.mark.parametrize(
    ("command", "params", "expected"),
    [
        (
            "move_legs",
            {"height_percent": 50, "left_percent": 1, "right_percent": 100},
            MoveLegsParams(height_percent=50, left_percent=1, right_percent=100),
        ),
        ("move_arm", {"port_main": 1, "star_hand": 100}, MoveArmParams(port_main=1, star_hand=100)),
        ("wave", {"whatever": 1}, None),
    ],
)
def test_the_params_of_a_limb_have_a_class(command: str, params: dict[str, Any], expected: object) -> None:
    request = structure(MovementTestRequest, {"command": command, "params": params})

    assert params == request.params
    assert expected == limb_params(request)


@pytest.mark.parametrize(
    ("command", "params", "words"),
    [
        ("move_legs", {"height_percent": 0, "left_percent": 50}, r"height_percent.*missing field @ \$\.right_percent"),
        ("move_arm", {"port_main": 101}, r"in 1\.\.100, found int 101"),
        ("move_arm", {}, "MoveArmParams needs at least one joint"),
        ("move_arm", {"port_main": None}, "MoveArmParams needs at least one joint"),
        ("move_arm", {"elbow": 50}, "unknown fields 'elbow'"),
    ],
)
def test_wrong_params_of_a_limb_are_refused(command: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        limb_params(structure(MovementTestRequest, {"command": command, "params": params}))


def test_an_arm_without_a_joint_is_never_made() -> None:
    """The old contract said "at least one" and let none pass."""
    with pytest.raises(ValueError, match="at least one joint"):
        MoveArmParams()


# -- camera --------------------------------------------------------------------------------------


def test_a_picture_its_request_and_its_statuses_share_the_request_id() -> None:
    request = decode(encode(CameraCaptureRequest(format="png", quality=95, width=1920, height=1080)), CameraCaptureRequest).event
    picture = CameraImageResponse(request_id=request.request_id, image_data="AA==", format="png", width=1920, height=1080, size_bytes=1)
    started = CameraStatusUpdate(event="capture_started", request_id=request.request_id)
    done = CameraStatusUpdate(event="capture_completed", request_id=request.request_id, detail="1 byte")

    assert [request.request_id] * 3 == [decode(encode(message), type(message)).event.request_id for message in (picture, started, done)]


def test_a_picture_that_could_not_be_taken_has_no_size_and_an_error() -> None:
    failed = CameraImageResponse(
        request_id="r", image_data="", format="jpeg", width=0, height=0, size_bytes=0, success=False, error="no camera"
    )

    assert failed == decode(encode(failed), CameraImageResponse).event


# -- character -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "event"),
    [
        (read_character_result, CharacterSnapshot(name="TARS", traits={"humor": 75})),
        (read_character_result, CharacterSection(section="traits", value={"humor": 75})),
        (read_character_result, CharacterSection(section="name", value="TARS")),
        (read_character_result, CharacterSection(section="shoes", value={"error": "unknown", "available": ["traits"]})),
        (read_character_update, CharacterTraitUpdate(trait="humor", value=0)),
        (read_character_update, CharacterResetTraits()),
    ],
)
def test_of_the_two_contracts_on_one_topic_the_right_one_is_read(read: Any, event: Any) -> None:
    assert event == read(decode(encode(event), dict).event)
