"""The orderly end, in two steps, seen by everyone it concerns.

The link stops taking messages and waits until what is in flight is settled; then it gives the word, each
actor runs its `stopping` hook while the link still works, and the link says goodbye when all have.
"""

from __future__ import annotations

import attrs
import trio

from .pulse import Pulse


@attrs.define(eq=False)
class Drain:
    """`word`: set when actors shall run `stopping`. Only actors that live take part."""

    word: trio.Event = attrs.field(factory=trio.Event, init=False)
    _living: dict[str, None] = attrs.field(factory=dict, init=False)
    _changed: Pulse = attrs.field(factory=Pulse, init=False)

    def join(self, actor: str) -> None:
        """An incarnation of `actor` lives: the drain waits for it."""
        self._living[actor] = None

    def leave(self, actor: str) -> None:
        """It is through with `stopping`, or dead."""
        self._living.pop(actor, None)
        self._changed.beat()

    async def give_word(self) -> None:
        """Tell the actors and wait until all of them have left."""
        self.word.set()
        while self._living:
            await self._changed.wait()
