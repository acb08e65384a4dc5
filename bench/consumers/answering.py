"""What the peers do for a request: decode it into the contract, drop duplicates, make the answer."""

from __future__ import annotations

import time
from typing import Any

import attrs
import cattrs
import orjson

from bench.consumers.work import Window
from bench.contract import ANSWERED, ASK_FILTER, Question, answer_topic


@attrs.frozen
class Request:
    """The wire's five fields."""

    id: str
    type: str
    ts: float
    source: str
    data: Question


@attrs.define
class Answers:
    """Makes the answers of one process."""

    _window: Window = attrs.field(factory=Window)
    _structure: Any = attrs.field(
        factory=lambda: cattrs.Converter(forbid_extra_keys=True, detailed_validation=False).get_structure_hook(Request)
    )

    def to(self, topic: str, payload: bytes | bytearray) -> tuple[str, bytes] | None:
        """Topic and payload of the answer; None for a duplicate."""
        request: Request = self._structure(orjson.loads(payload), Request)
        return self.of(request.type, request.id, request.data.client, request.data.seq, topic)

    def of(self, kind: str, correlation: str, client: int, seq: int, topic: str = ASK_FILTER) -> tuple[str, bytes] | None:
        """The same, of a request that somebody else has decoded."""
        if self._window.repeats((topic, kind, correlation, seq)):
            return None
        data = {"seq": seq, "handled_ns": time.monotonic_ns()}  # `Answer`, without the microsecond that `attrs.asdict` takes
        envelope = {"id": correlation, "type": ANSWERED, "ts": time.time(), "source": "bench-consumer", "data": data}
        return answer_topic(client), orjson.dumps(envelope)
