"""Requests waiting for a reply: who waits, on which filter, for which envelope id.

Owned by the tree, filled by handlers, resolved by the dispatcher as replies come by.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from .topics import matches


@attrs.define(eq=False)
class Pending:
    """One question. `reply` is the reply's document once `answered` is set."""

    topic_filter: str
    answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    reply: Any = None


@attrs.define(eq=False)
class Requests:
    """The open questions, by the envelope id their reply will carry."""

    _pending: dict[str, Pending] = attrs.field(factory=dict, init=False)

    @contextmanager
    def open(self, request_id: str, topic_filter: str) -> Iterator[Pending]:
        """Wait for the reply with this id inside the block; after it nobody does."""
        pending = self._pending[request_id] = Pending(topic_filter)
        try:
            yield pending
        finally:
            if self._pending.get(request_id) is pending:
                del self._pending[request_id]

    def __len__(self) -> int:
        return len(self._pending)

    def resolve(self, topic: str, document: Any) -> bool:  # JSON
        """Hand a message to whoever waits for it. False: nobody does."""
        if not self._pending or not isinstance(document, dict):
            return False
        request_id = document.get("id")
        pending = self._pending.get(request_id) if isinstance(request_id, str) else None  # it may be anything, a list too
        if pending is None or not matches(pending.topic_filter, topic):
            return False
        if not pending.answered.is_set():  # the first counts
            pending.reply = document
            pending.answered.set()
        return True
