"""What an actor does, as the handler actor runs it: made from the author's class by `tars.actors.service`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from .context import Context
from .subscription import Subscription

Hook: TypeAlias = Callable[[Any, Context], Awaitable[object]]
"""Called with the instance of this incarnation and a context."""


@attrs.frozen
class Method:
    """How one subscription is handled. `call(instance, event, ctx)`; a `def` one runs in a worker thread."""

    subscription: Subscription
    event_type: Any
    call: Callable[[Any, Any, Context], Any]
    is_async: bool = True


@attrs.frozen
class Tick:
    """A function that runs every `interval_s` seconds, between two messages."""

    name: str
    interval_s: float
    call: Callable[[Any, Any], Any]
    is_async: bool = True


@attrs.frozen
class Behaviour:
    """`make` gives a fresh instance for each incarnation: a restart is a return to a known state."""

    make: Callable[[], Any]
    methods: Mapping[str, Method]  # by subscription id
    ticks: tuple[Tick, ...] = ()
    started: Hook | None = None
    stopping: Hook | None = None
