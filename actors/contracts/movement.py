"""Movement: commands, the servo frames they become, and what came of them. Times are Unix epoch seconds.

Two ways. Frames: a `MovementCommand` becomes `MovementFrame` after `MovementFrame`, and `MovementState` tells how far it is; all
carry the command's `id`. Commands: a `MovementTestRequest` is carried out by the body itself, and `MovementStatusUpdate` tells what
came of it; all carry its `request_id`.

The microcontroller at the end sends and reads bare JSON, without envelopes. What it sends is read, like any bare event that
satisfies its contract; publish to it without an envelope.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import attrs

from .codec import structure
from .fields import Between, contract, new_id, now_s
from .pair import Pair

TOPIC_MOVEMENT_COMMAND: Final = "movement/command"
TOPIC_MOVEMENT_FRAME: Final = "movement/frame"
TOPIC_MOVEMENT_STATE: Final = "movement/state"
TOPIC_MOVEMENT_TEST: Final = "movement/test"
TOPIC_MOVEMENT_STOP: Final = "movement/stop"
TOPIC_MOVEMENT_STATUS: Final = "movement/status"
TOPIC_HEALTH_MOVEMENT_SERVICE: Final = "system/health/movement"
TOPIC_HEALTH_MOVEMENT_CONTROLLER: Final = "system/health/movement-controller"

EVENT_TYPE_MOVEMENT_COMMAND: Final = "movement.command"
EVENT_TYPE_MOVEMENT_FRAME: Final = "movement.frame"
EVENT_TYPE_MOVEMENT_STATE: Final = "movement.state"
EVENT_TYPE_MOVEMENT_TEST: Final = "movement.test"
EVENT_TYPE_MOVEMENT_STOP: Final = "movement.stop"
EVENT_TYPE_MOVEMENT_STATUS: Final = "movement.status"

Percent = Annotated[float, Between(1, 100)]


class MovementAction(StrEnum):
    """What a `MovementCommand` may ask for."""

    RESET = "reset"
    DISABLE = "disable"
    STEP_FORWARD = "step_forward"
    STEP_BACKWARD = "step_backward"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    BALANCE = "balance"
    LAUGH = "laugh"
    SWING_LEGS = "swing_legs"
    POSE = "pose"
    BOW = "bow"


class MovementTestCommand(StrEnum):
    """What a `MovementTestRequest` may ask for."""

    RESET = "reset"
    STEP_FORWARD = "step_forward"
    STEP_BACKWARD = "step_backward"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    WAVE = "wave"
    LAUGH = "laugh"
    SWING_LEGS = "swing_legs"
    PEZZ = "pezz"
    PEZZ_DISPENSER = "pezz_dispenser"
    NOW = "now"
    BALANCE = "balance"
    MIC_DROP = "mic_drop"
    MONSTER = "monster"
    POSE = "pose"
    BOW = "bow"
    DISABLE = "disable"
    STOP = "stop"
    MOVE_LEGS = "move_legs"
    MOVE_ARM = "move_arm"


class MovementStatusEvent(StrEnum):
    """What a `MovementStatusUpdate` may tell."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    COMMAND_STARTED = "command_started"
    COMMAND_COMPLETED = "command_completed"
    COMMAND_FAILED = "command_failed"
    EMERGENCY_STOP = "emergency_stop"
    STOP_CLEARED = "stop_cleared"
    QUEUE_FULL = "queue_full"
    BATTERY_LOW = "battery_low"


class MovementStateEvent(StrEnum):
    """What a `MovementState` may tell."""

    STARTED = "started"
    FRAME_SENT = "frame_sent"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@contract
class MovementCommand:
    """Move: a command that is computed into frames."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_COMMAND, TOPIC_MOVEMENT_COMMAND)

    message_id: str = attrs.field(factory=new_id)
    id: str = attrs.field(factory=new_id)
    command: MovementAction
    params: dict[str, Any] = attrs.field(factory=dict)
    timestamp: float = attrs.field(factory=now_s)


@contract
class MovementFrame:
    """One step of the command `id`, number `seq` of `total`: pulse widths in microseconds by servo channel.

    It takes `duration_ms` and is held for `hold_ms`. `done` marks the last frame, `disable_after` switches the servos off after it.
    The channels are integers here and, as JSON wants it, strings of digits on the wire.
    Refused: ``{"ch0": ..., "timestamp": ...}``, the microcontroller's own frames; they lack the order and the times.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_FRAME, TOPIC_MOVEMENT_FRAME)

    message_id: str = attrs.field(factory=new_id)
    id: str
    seq: int
    total: int
    duration_ms: int
    hold_ms: int
    channels: dict[int, int]
    disable_after: bool = False
    done: bool = False
    timestamp: float = attrs.field(factory=now_s)


@contract
class MovementState:
    """How far the command `id` is: the frame `seq`, and the reason when it failed in `detail`."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_STATE, TOPIC_MOVEMENT_STATE)

    message_id: str = attrs.field(factory=new_id)
    id: str
    event: MovementStateEvent
    seq: int | None = None
    detail: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class MovementTestRequest:
    """Move: a command the body carries out by itself. `speed` 1.0 is full speed. For the params of a limb see `limb_params`."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_TEST, TOPIC_MOVEMENT_TEST)

    message_id: str = attrs.field(factory=new_id)
    command: MovementTestCommand
    speed: Annotated[float, Between(0.1, 1.0)] = 1.0
    params: dict[str, Any] = attrs.field(factory=dict)
    request_id: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class MovementStatusUpdate:
    """What came of the request `request_id`, or what happened to the body."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_STATUS, TOPIC_MOVEMENT_STATUS, qos=0)

    message_id: str = attrs.field(factory=new_id)
    event: MovementStatusEvent
    command: str | None = None
    detail: str | None = None
    request_id: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class EmergencyStopCommand:
    """Stop everything, now."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MOVEMENT_STOP, TOPIC_MOVEMENT_STOP)

    message_id: str = attrs.field(factory=new_id)
    reason: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class MoveLegsParams:
    """The params of the command ``move_legs``, in percent of each range. Never travels alone."""

    height_percent: Percent
    left_percent: Percent
    right_percent: Percent


@contract
class MoveArmParams:
    """The params of the command ``move_arm``, in percent of each joint's range; at least one joint. Never travels alone."""

    port_main: Percent | None = None
    port_forearm: Percent | None = None
    port_hand: Percent | None = None
    star_main: Percent | None = None
    star_forearm: Percent | None = None
    star_hand: Percent | None = None

    def __attrs_post_init__(self) -> None:
        joints = (self.port_main, self.port_forearm, self.port_hand, self.star_main, self.star_forearm, self.star_hand)
        if all(joint is None for joint in joints):
            raise ValueError("MoveArmParams needs at least one joint")


def validate_test_movement(data: dict[str, Any]) -> MovementTestRequest:
    """`data`, parsed JSON, as a request. Raises DecodeError."""
    return structure(MovementTestRequest, data)


def validate_movement_command(data: dict[str, Any]) -> MovementCommand:
    """`data`, parsed JSON, as a command. Raises DecodeError."""
    return structure(MovementCommand, data)


def validate_emergency_stop(data: dict[str, Any]) -> EmergencyStopCommand:
    """`data`, parsed JSON, as a stop. Raises DecodeError."""
    return structure(EmergencyStopCommand, data)


def limb_params(request: MovementTestRequest) -> MoveLegsParams | MoveArmParams | None:
    """The params of a ``move_legs`` or ``move_arm`` as their class; None for other commands. Raises DecodeError."""
    match request.command:
        case MovementTestCommand.MOVE_LEGS:
            return structure(MoveLegsParams, request.params)
        case MovementTestCommand.MOVE_ARM:
            return structure(MoveArmParams, request.params)
        case _:
            return None
