"""The context of a `def` handler, which runs in a worker thread: the same facts, and calls that block that thread."""

from __future__ import annotations

import functools
from typing import Any

import trio

from tars.actors.contracts import Envelope

from .context import Context


class ThreadContext:
    """Everything of `Context`; `publish`, `publish_raw` and `request` are plain calls: no ``await`` in a `def`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def publish(self, event_type: str, data: object, **options: Any) -> str:
        """See `Context.publish`."""
        return trio.from_thread.run(functools.partial(self._ctx.publish, event_type, data, **options))

    def publish_raw(self, topic: str, payload: bytes, **options: Any) -> None:
        """See `Context.publish_raw`."""
        trio.from_thread.run(functools.partial(self._ctx.publish_raw, topic, payload, **options))

    def request(self, event_type: str, data: object, **options: Any) -> Envelope:
        """See `Context.request`."""
        return trio.from_thread.run(functools.partial(self._ctx.request, event_type, data, **options))
