"""The last turns of the conversation, as the language model is told them.

Law: at most `limit` turns of at most `MAX_TURN_CHARS` each: the model has a context window, and a message a size.
An answer enters once, whether it was streamed, answered whole, or both.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

MAX_TURN_CHARS: Final = 10_000
"""Of a longer turn the beginning is kept."""


@attrs.frozen
class Turn:
    """What one side said."""

    role: Literal["user", "assistant"]
    content: str


@attrs.define
class History:
    """Turns in the order they were said, each with the id of the request it belongs to. `limit` >= 0."""

    limit: int
    _entries: list[tuple[str, Turn]] = attrs.field(factory=list, init=False)

    def turns(self) -> tuple[Turn, ...]:
        """Oldest first."""
        return tuple(turn for _, turn in self._entries)

    def asked(self, request_id: str, text: str) -> None:
        """The user said `text`."""
        self._add(request_id, Turn("user", text[:MAX_TURN_CHARS]))

    def answered(self, request_id: str, text: str) -> None:
        """The answer to `request_id` is `text`; what was noted as its answer before is replaced. Blank: no turn."""
        if not text.strip():
            return
        turn = Turn("assistant", text[:MAX_TURN_CHARS])
        for index, (owner, old) in enumerate(self._entries):
            if owner == request_id and old.role == "assistant":
                self._entries[index] = (request_id, turn)
                return
        self._add(request_id, turn)

    def _add(self, request_id: str, turn: Turn) -> None:
        self._entries.append((request_id, turn))
        del self._entries[: max(0, len(self._entries) - self.limit)]
