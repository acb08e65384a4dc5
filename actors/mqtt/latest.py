"""The latest message of each of so many topics, and no more than so many bytes of them.

Law: bounded twice. A thousand small states are kept whole; a thousand pictures would be a gigabyte, so bytes count, too.
Who has to make room is the one unused longest; one that is larger than everything together may be is not kept, and pushes
nobody out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import attrs

from .transport import Inbound, Outbound

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_TOPICS: Final = 1000
MAX_BYTES: Final = 16 * 1024 * 1024
"""A thousand states of 16 KiB each, or a map and a few pictures; a device with 512 MiB carries several actors that keep as much."""


@attrs.define(eq=False)
class Latest(Generic[K, V]):
    """At most `capacity` values of `max_bytes` bytes together, by key, the one put in longest ago first."""

    capacity: int = MAX_TOPICS
    max_bytes: int = MAX_BYTES
    bytes_kept: int = attrs.field(default=0, init=False)
    _values: OrderedDict[K, tuple[V, int]] = attrs.field(factory=OrderedDict, init=False)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """`value` is the latest of `key`; what was there before is not any more."""
        self.drop(key)
        if size_bytes > self.max_bytes:
            return
        self._values[key] = (value, size_bytes)
        self.bytes_kept += size_bytes
        while len(self._values) > self.capacity or self.bytes_kept > self.max_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """There is nothing of `key` any more."""
        if key in self._values:
            self.bytes_kept -= self._values.pop(key)[1]

    def all(self) -> tuple[V, ...]:
        """The oldest first."""
        return tuple(value for value, _ in self._values.values())


def bytes_of(message: Inbound | Outbound) -> int:
    """What keeping `message` costs, but for a few hundred bytes that are the same for each."""
    properties = sum(len(name.encode()) + len(value.encode()) for name, value in message.user_properties)
    return len(message.topic.encode()) + len(message.payload) + properties
