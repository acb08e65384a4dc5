"""Payloads as a hostile client would send them, a million of them if need be, and the sums that show where each one went.

Law: from one seed always the same payloads. No two are the same message to the dedup window: an id stands in one payload only.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from support.contract_table import CONTRACTS
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.transport import Outbound

MIB: Final = 1024 * 1024
JUNK: Final = (
    *(b"null", b"true", b"0", b"-1", b"1e400", b"9" * 400, b"-0.0", b"NaN", b"[]", b"{}", b'{"seq":1}', b",", b"\x00", b""),
    *(b'""', b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xf0\x9f\x98\x80"', b'"' + b"x" * 5000 + b'"'),
    *(b"[" * 70 + b"]" * 70, b"[" * 2000 + b"]" * 2000, b'{"data":' * 65 + b"1" + b"}" * 65),
)


@attrs.define(eq=False)
class Hostile:
    """Makes the payloads. `next` gives one."""

    seed: int
    made: int = attrs.field(default=0, init=False)
    _chance: random.Random = attrs.field(init=False)
    _good: list[dict[str, Any]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._good = [
            {"text": "x"},
            {"message_id": "m", "text": "x", "confidence": 0.5},
            *(dict(minimal) for minimal, _ in CONTRACTS.values()),
        ]
        for event in self._good:
            event.pop("seq", None)  # a stream's messages share an id and differ in `seq`: to the window they might be the same

    def next(self) -> bytes:
        self.made += 1
        if self.made % 20_000 == 0:
            return b'{"text":"' + b"x" * self._chance.randrange(MIB) + b'"}'
        kind = self._chance.choice((self._noise, self._event, self._envelope, self._envelope, self._junk_envelope, self._junk_event))
        payload = kind()
        return self._damaged(payload) if self._chance.random() < 0.5 else payload

    def _noise(self) -> bytes:
        return self._chance.choice((self._chance.randbytes, self._junk, self._text))(self._chance.randrange(60))

    def _junk(self, _size: int = 0) -> bytes:
        return self._chance.choice(JUNK)

    def _text(self, size: int) -> bytes:
        return "".join(map(chr, self._chance.choices(range(0x20, 0xD800), k=size))).encode()

    def _event(self) -> bytes:
        return orjson.dumps(self._chance.choice(self._good))

    def _envelope(self) -> bytes:
        return orjson.dumps({"id": f"e{self.made}", "type": "t", "ts": 1.5, "source": "s", "data": self._chance.choice(self._good)})

    def _junk_envelope(self) -> bytes:
        fields = {"type": b'"t"', "ts": b"1.5", "source": b'"s"', "data": b'{"text":"x"}'}
        for name in self._chance.choices(list(fields), k=2):
            fields[name] = self._junk()
        strange_id = self._chance.choice((b'"e%d"' % self.made, b"%d" % self.made, b'""', b"null"))
        return _table({"id": strange_id, **fields})

    def _junk_event(self) -> bytes:
        event = self._chance.choice(self._good)
        return _table({**{name: orjson.dumps(value) for name, value in event.items()}, self._chance.choice([*event, "more"]): self._junk()})

    def _damaged(self, payload: bytes) -> bytes:
        start = self._chance.randrange(len(payload) + 1)
        return (
            payload[:start]
            + self._chance.choice((self._chance.randbytes(2), self._junk(), b""))
            + payload[start + self._chance.randrange(4) :]
        )


def _table(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


class ForgetfulBroker(MemoryBroker):
    """Counts what the other one keeps a list of: the memory that grows must be the service's."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def _note_ack(self, client_id: str, packet_id: int, *, known: bool) -> None:
        super()._note_ack(client_id, packet_id, known=known)
        self.count["acks" if known else "stray acks"] += 1
        self._acked.clear()

    def _note_published(self, client_id: str, message: Outbound, **how: Any) -> None:
        super()._note_published(client_id, message, **how)
        self.published.clear()


@attrs.frozen
class Memory:
    """What the process holds: `blocks` of Python's allocator, and `rss_bytes` of the machine's memory (0 where nobody says)."""

    blocks: int
    rss_bytes: int

    @classmethod
    def now(cls) -> Memory:
        """After a collection."""
        gc.collect()
        statm = Path("/proc/self/statm")
        return cls(sys.getallocatedblocks(), int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0)

    def since(self, before: Memory) -> Memory:
        return Memory(self.blocks - before.blocks, self.rss_bytes - before.rss_bytes)
