"""What is on its way into the durable dedup window. Owned by the tree: it outlives the actor that writes.

Laws. A delivery settles, and is acknowledged, after its record is written. Until the last process's records are known,
and while none can be written, nobody lets a delivery in: it could be handled, and then not be recognised.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import attrs

from tars.supervisor import Mailbox

from .in_flight import Delivery
from .pulse import Pulse
from .window import DoneWindow
from .window_file import Done


@attrs.frozen(eq=False)
class ToRecord:
    """`done` on its way to the disk; `on_written` is called, in the event loop, once it is with the kernel."""

    done: Done
    on_written: Callable[[], None]


def _mailbox() -> Mailbox[ToRecord]:
    return Mailbox(math.inf, on_evicted=lambda record, _reason: record.on_written())  # switched off: nobody waits for the disk


@attrs.define(eq=False)
class Recorder:
    """`now` is the clock of `window` (trio time); `works`: records can be written."""

    window: DoneWindow
    now: Callable[[], float]
    durable: bool = attrs.field(default=False, init=False)
    works: bool = attrs.field(default=False, init=False)
    known: bool = attrs.field(default=False, init=False)  # the last process's records are in the window
    changed: Pulse = attrs.field(factory=Pulse, init=False)
    mailbox: Mailbox[ToRecord] = attrs.field(factory=_mailbox, init=False)
    _shift_s: float = attrs.field(default=0.0, init=False)  # from trio's clock to the one on disk

    def switch(self, *, durable: bool) -> None:
        """Follow the config. Switched off, what waits to be written settles without."""
        if self.durable and not durable:
            self.mailbox.close("dedup.durable was switched off")
            self.mailbox = _mailbox()
            self.works = self.known = False
        self.durable = durable
        self.changed.beat()

    def guards(self, delivery: Delivery) -> bool:
        """Is it one that will come again after a death of the process, and be recognised then?"""
        return self.durable and bool(delivery.tokens) and delivery.recorded and self.window.ttl_s > 0 and delivery.lasting

    def record(self, delivery: Delivery, on_written: Callable[[Delivery], None]) -> bool:
        """Everybody is done with `delivery`. True: it is to be recorded first, and `on_written(delivery)` follows when it is."""
        if not delivery.succeeded or not self.guards(delivery):
            return False
        done = Done(delivery.key, tuple(sorted(delivery.succeeded)), self.now() + self._shift_s)
        self.mailbox.send_nowait(ToRecord(done, functools.partial(on_written, delivery)))
        return True

    def opened(self, found: Sequence[Done]) -> None:
        """The file is open. The first time, `found` is what the last process did; its time stood still meanwhile."""
        if self.known:
            return
        now = self.now()
        self._shift_s = found[-1].at - now if found else -now
        for done in found:
            self.window.record(done.key, done.subscriptions, done.at - self._shift_s)
        self.known = True

    def report(self, *, works: bool) -> None:
        """Can records be written?"""
        if works is not self.works:
            self.works = works
            self.changed.beat()

    async def usable(self) -> None:
        """Return when a delivery may be let in: at once, unless the window is durable and cannot be relied on."""
        while self.durable and not (self.works and self.known):
            await self.changed.wait()
