"""What the two services say to each other, and to anybody else who listens."""

from typing import Annotated, Literal

import attrs

from tars.actors.contracts import Between


@attrs.frozen
class Reading:
    """On ``sensors/{room}/temp``."""

    celsius: Annotated[float, Between(-60, 200)]


@attrs.frozen
class Alarm:
    """On ``alarms/{room}``, retained: who comes later knows too."""

    state: Literal["ok", "hot", "silent"]
    celsius: float | None = None
