"""From an author's actor to what the handler actor runs: one value of `Behaviour` per `ActorDefinition`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .definition import ActorDefinition, CallableDefinition
from .mqtt.behaviour import Behaviour, Method, Tick
from .mqtt.subscription import Subscription


def behaviour_of(definition: ActorDefinition, subscriptions: Sequence[Subscription]) -> Behaviour:
    """The author's class in the handler actor's terms."""
    by_id = {subscription.id: subscription for subscription in subscriptions}
    return Behaviour(
        make=definition.make,
        methods={
            each.id: Method(by_id[each.id], each.event_type, _caller(each, takes_event=True), is_async=each.is_async)
            for each in definition.subscriptions
        },
        ticks=tuple(Tick(each.id, each.every_s, _caller(each, takes_event=False), is_async=each.is_async) for each in definition.ticks),
        started=definition.started,
        stopping=definition.stopping,
    )


def _caller(definition: CallableDefinition, *, takes_event: bool) -> Callable[..., Any]:
    """``call(instance, [event,] ctx)`` for a function that may not want `ctx`, or the instance."""
    wants_ctx = definition.wants_ctx

    def call(instance: Any, *rest: Any) -> Any:
        function = definition.bind(instance)
        arguments = rest if wants_ctx else rest[:1] if takes_event else ()
        return function(*arguments)

    return call
