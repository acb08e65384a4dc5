"""Items by key, lowest first, where keys change and items leave: a heap that forgives.

Putting, dropping and asking for the first cost O(log n). What is out of date stays in the heap until it comes up,
or until it makes up half of it; but only as a number: an item that was dropped is let go at once. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Lowest(Generic[T]):
    """Each item is in it once, under its latest key. Items of equal keys come in the order they were put."""

    def __init__(self) -> None:
        self._entry: dict[T, tuple[float, int]] = {}  # key, and the number of its put
        self._item: dict[int, T] = {}  # by that number
        self._heap: list[tuple[float, int]] = []
        self._puts = 0

    def put(self, item: T, key: float) -> None:
        """Have `item` in it under `key`, whatever its key was before."""
        known = self._entry.get(item)
        if known is not None and known[0] == key:
            return
        self.drop(item)
        self._puts += 1
        entry = self._entry[item] = (key, self._puts)
        self._item[self._puts] = item
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entry) + 16:
            self._heap = list(self._entry.values())
            heapq.heapify(self._heap)

    def drop(self, item: T) -> None:
        """Have `item` no longer in it."""
        if (entry := self._entry.pop(item, None)) is not None:
            del self._item[entry[1]]

    def first(self) -> tuple[float, T] | None:
        """The lowest key and its item; None when there is nothing."""
        while self._heap:
            key, put = self._heap[0]
            if put in self._item:
                return key, self._item[put]
            heapq.heappop(self._heap)
        return None

    def take_up_to(self, key: float) -> Iterator[T]:
        """Take out the items with keys up to `key`, `key` included, lowest first."""
        while (lowest := self.first()) is not None and lowest[0] <= key:
            self.drop(lowest[1])
            yield lowest[1]

    def __len__(self) -> int:
        return len(self._entry)
