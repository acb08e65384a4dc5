"""The camera: single pictures on request, and the moving picture. Times are Unix epoch seconds, sizes are pixels.

`request_id` ties the request, its status and the picture together.
"""

from typing import Annotated, ClassVar, Final, Literal

import attrs

from .fields import Between, NonNegative, NonNegativeInt, PositiveInt, contract, new_id, now_s
from .pair import Pair

TOPIC_CAMERA_CAPTURE: Final = "camera/capture"
TOPIC_CAMERA_IMAGE: Final = "camera/image"
TOPIC_CAMERA_FRAME: Final = "camera/frame"

EVENT_TYPE_CAMERA_CAPTURE: Final = "camera.capture"
EVENT_TYPE_CAMERA_IMAGE: Final = "camera.image"
EVENT_TYPE_CAMERA_FRAME: Final = "camera.frame"

ImageFormat = Literal["jpeg", "png", "raw"]
FrameFormat = Literal["jpeg", "png"]
CameraStatusEvent = Literal["camera_ready", "camera_unavailable", "capture_started", "capture_completed", "capture_failed"]


@contract
class CameraCaptureRequest:
    """Take a picture. Without a size the camera's own; `quality` counts for jpeg; `purpose` comes back in the answer."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CAMERA_CAPTURE, TOPIC_CAMERA_CAPTURE)

    message_id: str = attrs.field(factory=new_id)
    request_id: str = attrs.field(factory=new_id)
    format: ImageFormat = "jpeg"
    quality: Annotated[int, Between(1, 100)] = 85
    width: PositiveInt | None = None
    height: PositiveInt | None = None
    purpose: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class CameraImageResponse:
    """The picture, or `error` and a picture of no size. `image_data` is base64, `size_bytes` its size before that."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CAMERA_IMAGE, TOPIC_CAMERA_IMAGE)

    message_id: str = attrs.field(factory=new_id)
    request_id: str
    image_data: str
    format: ImageFormat
    width: NonNegativeInt
    height: NonNegativeInt
    size_bytes: NonNegativeInt
    success: bool = True
    error: str | None = None
    purpose: str | None = None
    capture_timestamp: float = attrs.field(factory=now_s)
    timestamp: float = attrs.field(factory=now_s)


@contract
class CameraStatusUpdate:
    """How the camera, or the capture `request_id`, is. It never had a topic: give one when you publish it."""

    message_id: str = attrs.field(factory=new_id)
    event: CameraStatusEvent
    request_id: str | None = None
    detail: str | None = None
    timestamp: float = attrs.field(factory=now_s)


@contract
class CameraFrame:
    """One frame of the moving picture, base64 in `frame_data`; replaced by the next one.

    Refused: the fields ``frame`` and ``mqtt_rate`` of old documents; nothing ever sent them.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CAMERA_FRAME, TOPIC_CAMERA_FRAME, qos=0)

    message_id: str = attrs.field(factory=new_id)
    frame_data: str
    format: FrameFormat = "jpeg"
    width: PositiveInt
    height: PositiveInt
    frame_number: NonNegativeInt
    fps: NonNegative | None = None
    timestamp: float = attrs.field(factory=now_s)
