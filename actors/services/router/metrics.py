"""What the router counts: questions, answers, sentences, and how long an answer takes. No clock here."""

from __future__ import annotations

from typing import Final

import attrs

_REMEMBERED: Final = 256
"""Questions that nobody ever answers must not pile up."""


@attrs.define
class Metrics:
    """`now_s` is monotonic seconds. An id counts once, however often it is asked, answered or given up."""

    llm_requests: int = attrs.field(default=0, init=False)
    llm_responses: int = attrs.field(default=0, init=False)
    tts_messages: int = attrs.field(default=0, init=False)
    _asked_at: dict[str, float] = attrs.field(factory=dict, init=False)
    _waited_s: float = attrs.field(default=0.0, init=False)

    def asked(self, now_s: float, request_id: str) -> None:
        """A question went to the language model."""
        self.llm_requests += 1
        self._asked_at[request_id] = now_s
        while len(self._asked_at) > _REMEMBERED:
            del self._asked_at[next(iter(self._asked_at))]

    def answered(self, now_s: float, request_id: str) -> bool:
        """The question is answered, or failed. False: it was not open."""
        asked_at = self._asked_at.pop(request_id, None)
        if asked_at is None:
            return False
        self.llm_responses += 1
        self._waited_s += now_s - asked_at
        return True

    def abandoned(self, request_id: str) -> None:
        """Nobody waits for that answer any more."""
        self._asked_at.pop(request_id, None)

    def spoke(self) -> None:
        """One sentence went out."""
        self.tts_messages += 1

    def values(self) -> dict[str, float]:
        """For the log: ``llm_requests llm_responses tts_messages avg_llm_latency_s llm_inflight``."""
        average = self._waited_s / self.llm_responses if self.llm_responses else 0.0
        return {
            "llm_requests": self.llm_requests,
            "llm_responses": self.llm_responses,
            "tts_messages": self.tts_messages,
            "avg_llm_latency_s": round(average, 6),
            "llm_inflight": len(self._asked_at),
        }
