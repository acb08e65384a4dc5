"""What waits to be published: the item of the outbox and of the urgent mailbox."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from .in_flight import Delivery
from .transport import Outbound


def _nobody() -> None:
    return


@attrs.frozen(eq=False)
class Outgoing:
    """`on_settled` is called once, when the publish is confirmed, or became a dead letter: nobody will send it again.

    `expires_at` (trio time): not worth sending after that, None for ever.
    """

    message: Outbound
    on_settled: Callable[[], None] = _nobody
    expires_at: float | None = None
    actor: str = ""
    delivery: Delivery | None = None  # that it answers, and that is not acknowledged before this is confirmed
    is_letter: bool = False  # a dead letter itself: sent or not, it becomes none

    def to_send(self, now: Callable[[], float]) -> Outbound:
        """The message as it goes out at `now`. What it has waited is off its life: the broker would keep it as long again."""
        if self.expires_at is None:
            return self.message
        return attrs.evolve(self.message, expires_s=max(1, round(self.expires_at - now())))
