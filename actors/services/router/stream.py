"""One streamed answer: deltas in, sentences out.

Law: what comes out, put together, is the text of the deltas in the order of their numbers, up to white space. `spoken` is what came
out so far, so that the full answer, when it arrives, can be compared with what the user has already heard.
"""

from __future__ import annotations

import attrs

from .ordering import Delta, Reorder
from .sentences import Cutter


@attrs.define
class Stream:
    """The state of one answer. `max_chars` bounds all text it ever takes; what is beyond it counts as lost.

    `touched_s` is when the last delta arrived, in the caller's monotonic seconds.
    """

    cutter: Cutter
    max_held: int
    max_chars: int
    touched_s: float = 0.0
    spoken: list[str] = attrs.field(factory=list, init=False)
    finished: bool = attrs.field(default=False, init=False)
    _order: Reorder = attrs.field(init=False)
    _rest: str = attrs.field(default="", init=False)
    _chars: int = attrs.field(default=0, init=False)
    _overlong: int = attrs.field(default=0, init=False)

    @_order.default
    def _make_order(self) -> Reorder:
        return Reorder(self.max_held)

    @property
    def lost(self) -> int:
        """Deltas that never came, or did not fit."""
        return self._order.lost + self._overlong

    @property
    def overdue(self) -> bool:
        """True when the end is known but an earlier delta is missing."""
        return not self.finished and self._order.end_seen

    def delta(self, now_s: float, seq: int | None, text: str, *, done: bool = False) -> tuple[str, ...]:
        """Take a delta; the sentences that can be spoken now. After the end nothing comes out."""
        self.touched_s = now_s
        if self._chars + len(text) > self.max_chars:
            self._overlong += 1
            text = ""  # its number still counts, or all that follows would wait for it
        self._chars += len(text)
        return self._speak(self._order.take(seq, Delta(text, done)))

    def flush(self) -> tuple[str, ...]:
        """The end, whatever is missing: everything not yet spoken."""
        pieces = self._speak(self._order.give_up())
        return pieces if self.finished else pieces + self._speak((Delta("", done=True),))

    def _speak(self, ready: tuple[Delta, ...]) -> tuple[str, ...]:
        pieces: list[str] = []
        for delta in ready:
            if self.finished:
                break
            self.finished = delta.done
            cut, self._rest = self.cutter.cut(self._rest + delta.text, last=delta.done)
            pieces.extend(cut)
        self.spoken.extend(pieces)
        return tuple(pieces)
