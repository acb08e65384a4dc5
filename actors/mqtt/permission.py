"""Does the broker let an actor subscribe what it listens to? An actor that it refuses one filter is parked.

Half-deaf is worse than absent: what such an actor knows of the world is wrong, and nobody would notice. Its neighbours run
on. Parked it has no instance, its messages become dead letters, and health says why. It comes back at the moment the broker
grants the filter: at a reconnect, which asks for everything, or when it is asked again after `park_s`, doubled at each refusal.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from tars.supervisor import ExitRequest

from .box import ActorBox
from .events import ActorParked, ActorRecovered
from .ledger import MAX_PARK_S
from .link_state import Filters


@attrs.frozen(eq=False)
class Permission:
    """One actor's, over all its incarnations."""

    box: ActorBox
    filters: Filters
    emit: Callable[[object], None]

    @property
    def refused(self) -> tuple[str, int] | None:
        """The first of the actor's filters that the broker refused, and the reason code; None before its first answer."""
        if not self.filters.refused:
            return None
        wanted = (each.template.filter for each in self.box.subscriptions)
        return next(((each, self.filters.refused[each]) for each in wanted if each in self.filters.refused), None)

    async def lost(self) -> None:
        """Return when the broker has refused one."""
        while self.refused is None:
            await self.filters.changed.wait()

    async def obtain(self, request: ExitRequest) -> bool:
        """Return True when the broker refuses none of them (any more), False when the actor is asked to stop before that."""
        if self.refused is None:
            return self._granted()
        self.box.without_filter = True
        self.box.mailbox.evict("parked", oldest_first=True)
        async with trio.open_nursery() as waiting:
            waiting.start_soon(self._wait, waiting.cancel_scope)
            await request.wait()
            waiting.cancel_scope.cancel()
        if request.is_set():
            return False
        self.emit(ActorRecovered(self.box.path))
        return self._granted()

    def _granted(self) -> bool:
        self.box.without_filter = False
        return True

    async def _wait(self, over: trio.CancelScope) -> None:
        park_s = self.box.ledger.park_s
        while (refused := self.refused) is not None:
            topic_filter, code = refused
            self.emit(ActorParked(self.box.path, 0, park_s, topic_filter, code))
            with trio.move_on_after(park_s) as pause:
                while self.refused == refused:
                    await self.filters.changed.wait()
            if pause.cancelled_caught:
                self.filters.ask_again(topic_filter)
                await self.filters.holding(topic_filter)
                park_s = min(MAX_PARK_S, park_s * 2)
        over.cancel()
