"""The context of a `def` handler, which runs in a worker thread: the same facts, and calls that block that thread.

Law: every public name of `Context` is here, with the signature it has there but for the ``await``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import trio

from tars.actors.contracts import Envelope

from .context import Context


class ThreadContext:
    """What a `def` handler annotates: `Context`, with plain calls for `publish`, `publish_raw` and `request`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.topic: str = ctx.topic
        self.qos: int = ctx.qos
        self.retain: bool = ctx.retain
        self.duplicate: bool = ctx.duplicate
        self.params: Mapping[str, str] = ctx.params
        self.envelope: Envelope | None = ctx.envelope
        self.attempt: int = ctx.attempt
        self.message_id: str = ctx.message_id

    @property
    def correlation_id(self) -> str:
        """See `Context.correlation_id`."""
        return self._ctx.correlation_id

    @property
    def causation_id(self) -> str | None:
        """See `Context.causation_id`."""
        return self._ctx.causation_id

    @property
    def log(self) -> Any:
        """See `Context.log`."""
        return self._ctx.log

    def publish(
        self,
        event_type: str,
        data: object,
        *,
        topic: str | None = None,
        qos: int = 1,
        retain: bool = False,
        correlation_id: str | None = None,
        expires_s: float | None = None,
    ) -> str:
        """See `Context.publish`."""
        said = functools.partial(self._ctx.publish, topic=topic, qos=qos, retain=retain, correlation_id=correlation_id, expires_s=expires_s)
        return trio.from_thread.run(said, event_type, data)

    def publish_raw(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expires_s: float | None = None) -> None:
        """See `Context.publish_raw`."""
        said = functools.partial(self._ctx.publish_raw, qos=qos, retain=retain, expires_s=expires_s)
        return trio.from_thread.run(said, topic, payload)

    def request(self, event_type: str, data: object, *, reply: str, timeout_s: float, topic: str | None = None) -> Envelope:
        """See `Context.request`."""
        asked = functools.partial(self._ctx.request, reply=reply, timeout_s=timeout_s, topic=topic)
        return trio.from_thread.run(asked, event_type, data)
