"""The first service: reads a thermometer that is a file, as Linux shows them, and publishes what it says."""

from pathlib import Path

import attrs
from messages import Reading

from tars.actors import Actor, ThreadContext, Unavailable, every


@attrs.frozen
class SensorSettings:
    """[actors.sensor.settings]."""

    room: str
    file: Path = Path("/sys/class/thermal/thermal_zone0/temp")  # thousandths of a degree


class Sensor(Actor):
    """A ``def``, because reading a device may block."""

    settings: SensorSettings

    @every(1.0)
    def read(self, ctx: ThreadContext) -> None:
        try:
            celsius = int(self.settings.file.read_text()) / 1000
        except OSError as error:
            raise Unavailable(f"{self.settings.file}: {error.strerror}") from error
        ctx.publish("sensor.reading", Reading(celsius), topic=f"sensors/{self.settings.room}/temp", expires_s=60)
