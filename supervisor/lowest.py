"""Items by key, lowest first, where keys change and items leave: a heap that forgives.

Putting, dropping and asking for the first cost O(log n). What is out of date stays in the heap until it comes up,
or until it makes up half of it. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Lowest(Generic[T]):
    """Each item is in it once, under its latest key. Items of equal keys come in the order they were put."""

    def __init__(self) -> None:
        self._entry: dict[T, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._puts = 0

    def put(self, item: T, key: float) -> None:
        """Have `item` in it under `key`, whatever its key was before."""
        known = self._entry.get(item)
        if known is not None and known[0] == key:
            return
        self._puts += 1
        self._entry[item] = (key, self._puts)
        heapq.heappush(self._heap, (key, self._puts, item))
        if len(self._heap) > 2 * len(self._entry) + 16:
            self._heap = [(*entry, each) for each, entry in self._entry.items()]
            heapq.heapify(self._heap)

    def drop(self, item: T) -> None:
        """Have `item` no longer in it."""
        self._entry.pop(item, None)

    def first(self) -> tuple[float, T] | None:
        """The lowest key and its item; None when there is nothing."""
        while self._heap:
            key, put, item = self._heap[0]
            if self._entry.get(item) == (key, put):
                return key, item
            heapq.heappop(self._heap)
        return None

    def take_up_to(self, key: float) -> Iterator[T]:
        """Take out the items with keys up to `key`, `key` included, lowest first."""
        while (lowest := self.first()) is not None and lowest[0] <= key:
            self.drop(lowest[1])
            yield lowest[1]

    def __len__(self) -> int:
        return len(self._entry)
