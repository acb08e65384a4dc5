"""Does an actor keep pace? What is known of that from one look at it to the next.

Law: pure arithmetic over what the looks see; the clock is passed in. An actor keeps pace while it finishes its share of
messages within a given time. Time in which messages pour in before it is not its own, for they take the loop it works on: that
is forgiven, from one look that sees them to the next that does, and within a limit, for what lasts longer is no burst.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

FORGIVEN_TIMES: Final = 10
"""A share may take this much longer in a burst. A burst of 50 000 messages is read in that time; what pours in for ever is load."""


@attrs.define(eq=False)
class Pace:
    """One actor's. Times in seconds, on the clock of `now`."""

    _since: float = math.nan  # since when we wait for a share to be done, moved on by what was forgiven
    _done: int | None = None  # messages done by then; None: nothing is waited for
    _behind: bool = False  # it was too slow, and has done no share in time since: no new grace
    _looked_at: float = math.nan
    _was_crowded: bool = False
    _forgiven_s: float = 0.0

    def begin_anew(self) -> None:
        """There is nothing it could be too slow for."""
        self._done = None

    def look(self, now: float, done: int, *, waiting_since: float, share: int, within_s: float, crowded: bool) -> float:
        """Since when it has been at the present share, -inf while it has a slow one to make up for.

        `done`: messages finished in all; `waiting_since`: the oldest that waits; `crowded`: more pour in.
        """
        if self._done is None or waiting_since > self._looked_at:  # all that waited at the last look is done
            self._wait_for_a_share(now, done)
            self._behind = False
        elif done - self._done >= share:
            self._behind = self._behind and now - self._since > within_s
            self._wait_for_a_share(now, done)
        elif crowded and self._was_crowded and not self._behind:
            forgiven_s = min(now - self._looked_at, FORGIVEN_TIMES * within_s - self._forgiven_s)
            self._forgiven_s += forgiven_s
            self._since += forgiven_s
        self._looked_at, self._was_crowded = now, crowded
        return -math.inf if self._behind else self._since

    def too_slow(self) -> None:
        """It was: until a share is done in time, nothing is forgiven, and there is no waiting for one."""
        self._behind = True

    def _wait_for_a_share(self, now: float, done: int) -> None:
        self._since, self._done, self._forgiven_s = now, done, 0.0
