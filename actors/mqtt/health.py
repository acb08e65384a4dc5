"""Is the service well, and why not? The facts; the connection publishes them.

Wire: retained, QoS 1, on ``system/health/{client_id}``, an envelope of type ``health.status`` around a
`HealthPing`; the retained Will says ``ok=false, event="lost"``.
"""

from __future__ import annotations

import attrs

from tars.actors.contracts import seal
from tars.actors.contracts.health import EVENT_TYPE_HEALTH_STATUS, TOPIC_SYSTEM_HEALTH_PREFIX, HealthPing

from .pulse import Pulse
from .transport import Outbound, Will


def place_of_actor(name: str) -> str:
    """Where an actor's own problem is reported."""
    return f"actor {name}"


def place_of_subscription(topic_filter: str) -> str:
    """Where a filter that the broker refused is reported."""
    return f"subscription {topic_filter}"


@attrs.define(eq=False)
class Health:
    """`problems`: what is wrong, by its place. Empty means well."""

    problems: dict[str, str] = attrs.field(factory=dict, init=False)
    changed: Pulse = attrs.field(factory=Pulse, init=False)

    def report(self, place: str, problem: str | None) -> None:
        """Set the problem of one place, or clear it with None."""
        if self.problems.get(place) == problem:
            return
        if problem is None:
            del self.problems[place]
        else:
            self.problems[place] = problem
        self.changed.beat()

    def summary(self) -> str | None:
        """All problems in one line; None when there is none."""
        return "; ".join(f"{place}: {problem}" for place, problem in self.problems.items()) or None


@attrs.frozen
class HealthTopic:
    """Makes the messages. `enabled` False: the service says nothing about itself, not even by its Will."""

    client_id: str
    source: str
    enabled: bool = True

    @property
    def topic(self) -> str:
        """Where they go."""
        return f"{TOPIC_SYSTEM_HEALTH_PREFIX}{self.client_id}"

    def message(self, event: str, *, ok: bool, err: str | None = None) -> Outbound:
        """One health message."""
        return Outbound(self.topic, self._payload(event, ok=ok, err=err), qos=1, retain=True)

    def status(self, health: Health, event: str) -> Outbound:
        """`event` when all is well, else "degraded" with the problems."""
        problem = health.summary()
        return self.message(event, ok=True) if problem is None else self.message("degraded", ok=False, err=problem)

    def will(self) -> Will | None:
        """What the broker says when we vanish."""
        return Will(self.topic, self._payload("lost", ok=False)) if self.enabled else None

    def _payload(self, event: str, *, ok: bool, err: str | None = None) -> bytes:
        ping = HealthPing(ok=ok, event=event, err=err)
        return seal(EVENT_TYPE_HEALTH_STATUS, ping, source=self.source)[1]
