"""An event that can happen again: everyone waiting at a `beat` is woken, nobody later is."""

from __future__ import annotations

import attrs
import trio


@attrs.define(eq=False)
class Pulse:
    """For "something changed, look again". Wait in a loop that checks its condition first."""

    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def beat(self) -> None:
        """Wake everyone who waits now."""
        if self._lot:
            self._lot.unpark_all()

    async def wait(self) -> None:
        """Return at the next `beat`."""
        await self._lot.park()
