"""Movement and the camera."""

from typing import Final

from tars.actors.contracts.camera import CameraCaptureRequest, CameraFrame, CameraImageResponse, CameraStatusUpdate
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
)

from .entry import NOW_S, Chapter, Entry, Example, example_id

_MOVE_ID: Final = example_id("a movement")
_REQUEST_ID: Final = "wave-17"
_CAPTURE_ID: Final = example_id("a picture")
_PIXEL: Final = "R0lGODlhAQABAAAAACw="  # base64, cut short: what matters is the field

MOVEMENT: Final = Chapter(
    title="Movement",
    module="movement",
    intro=(
        "Two ways. Frames: a command becomes one frame after the other, and a state tells how far it is; all carry the command's `id`. "
        "Commands: the body carries a test request out by itself, and a status tells what came of it; all carry its `request_id`. "
        "The microcontroller at the end knows no envelopes: it sends bare JSON, which is read, and expects bare JSON."
    ),
    entries=(
        Entry(
            MovementCommand.PAIR,
            sent_by="router",
            read_by="movement",
            source="tars-router",
            examples=(
                Example(
                    MovementCommand(
                        message_id=example_id("movement.command"), id=_MOVE_ID, command=MovementAction.STEP_FORWARD, timestamp=NOW_S
                    )
                ),
            ),
        ),
        Entry(
            MovementFrame.PAIR,
            sent_by="movement",
            read_by="body",
            source="tars-movement",
            examples=(
                Example(
                    MovementFrame(
                        message_id=example_id("movement.frame"),
                        id=_MOVE_ID,
                        seq=0,
                        total=3,
                        duration_ms=400,
                        hold_ms=50,
                        channels={0: 1500, 1: 1620},
                        timestamp=NOW_S,
                    ),
                    _MOVE_ID,
                ),
            ),
        ),
        Entry(
            MovementState.PAIR,
            sent_by="body",
            read_by="movement",
            source="tars-esp32",
            examples=(
                Example(
                    MovementState(
                        message_id=example_id("movement.state"), id=_MOVE_ID, event=MovementStateEvent.FRAME_SENT, seq=0, timestamp=NOW_S
                    ),
                    _MOVE_ID,
                ),
            ),
        ),
        Entry(
            MovementTestRequest.PAIR,
            sent_by="router, tools",
            read_by="movement, body",
            source="tars-router",
            examples=(
                Example(
                    MovementTestRequest(
                        message_id=example_id("movement.test"),
                        command=MovementTestCommand.WAVE,
                        speed=0.8,
                        request_id=_REQUEST_ID,
                        timestamp=NOW_S,
                    ),
                    _REQUEST_ID,
                ),
            ),
        ),
        Entry(
            MovementStatusUpdate.PAIR,
            sent_by="body",
            read_by="router",
            source="tars-esp32",
            examples=(
                Example(
                    MovementStatusUpdate(
                        message_id=example_id("movement.status"),
                        event=MovementStatusEvent.COMMAND_COMPLETED,
                        command="wave",
                        request_id=_REQUEST_ID,
                        timestamp=NOW_S,
                    ),
                    _REQUEST_ID,
                ),
            ),
        ),
        Entry(
            EmergencyStopCommand.PAIR,
            sent_by="anybody",
            read_by="movement, body",
            source="tars-router",
            examples=(
                Example(EmergencyStopCommand(message_id=example_id("movement.stop"), reason="something in the way", timestamp=NOW_S)),
            ),
        ),
    ),
    strays=(MoveLegsParams, MoveArmParams),
)

CAMERA: Final = Chapter(
    title="Camera",
    module="camera",
    intro="`request_id` ties a request, its status and its picture together.",
    entries=(
        Entry(
            CameraCaptureRequest.PAIR,
            sent_by="anybody",
            read_by="camera",
            source="tars-router",
            examples=(
                Example(
                    CameraCaptureRequest(
                        message_id=example_id("camera.capture"),
                        request_id=_CAPTURE_ID,
                        width=640,
                        height=480,
                        purpose="who is there",
                        timestamp=NOW_S,
                    ),
                    _CAPTURE_ID,
                ),
            ),
        ),
        Entry(
            CameraImageResponse.PAIR,
            sent_by="camera",
            read_by="who asked",
            source="tars-camera",
            examples=(
                Example(
                    CameraImageResponse(
                        message_id=example_id("camera.image"),
                        request_id=_CAPTURE_ID,
                        image_data=_PIXEL,
                        format="jpeg",
                        width=640,
                        height=480,
                        size_bytes=14,
                        purpose="who is there",
                        capture_timestamp=NOW_S,
                        timestamp=NOW_S,
                    ),
                    _CAPTURE_ID,
                ),
            ),
        ),
        Entry(
            CameraFrame.PAIR,
            sent_by="camera",
            read_by="screens",
            source="tars-camera",
            examples=(
                Example(
                    CameraFrame(
                        message_id=example_id("camera.frame"),
                        frame_data=_PIXEL,
                        width=640,
                        height=480,
                        frame_number=42,
                        fps=10.0,
                        timestamp=NOW_S,
                    )
                ),
            ),
        ),
    ),
    strays=(CameraStatusUpdate,),
)
