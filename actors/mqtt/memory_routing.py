"""Who gets a message in the in-memory broker: subscriptions, shared subscriptions, and what is retained.

Source of the rules: MQTT 5 sections 3.3.1.3 (retain), 3.8.4, 4.7, 4.8.2 (shared subscriptions).
Law: pure; it decides and keeps, it sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import attrs

from .memory_session import Message, Session
from .topics import Matcher, matches, plain_filter


@attrs.define(eq=False)
class _Group:
    """The members of one ``$share/GROUP/FILTER``; `turn` is whose turn it is."""

    topic_filter: str
    members: list[Session] = attrs.Factory(list)
    turn: int = 0

    def next(self) -> tuple[Session, int]:
        """Round robin over who is connected; over everybody when nobody is. And the QoS granted."""
        ring = [*self.members[self.turn :], *self.members[: self.turn]]
        chosen = next((member for member in ring if member.link is not None), ring[0])
        self.turn = (self.members.index(chosen) + 1) % len(self.members)
        return chosen, chosen.subscriptions[self.topic_filter]


_Target: TypeAlias = tuple[Session, str] | _Group


class Routing:
    """The broker's subscription table and its retained messages."""

    def __init__(self) -> None:
        self.retained: dict[str, Message] = {}
        self._matcher: Matcher[_Target] = Matcher()
        self._groups: dict[str, _Group] = {}

    def subscribe(self, session: Session, topic_filter: str, qos: int) -> None:
        """Add a valid filter, or change its QoS."""
        known = topic_filter in session.subscriptions
        session.subscriptions[topic_filter] = qos
        if known:
            return
        if not topic_filter.startswith("$share/"):
            self._matcher.add(topic_filter, (session, topic_filter))
            return
        if topic_filter not in self._groups:
            self._groups[topic_filter] = _Group(topic_filter)
            self._matcher.add(topic_filter, self._groups[topic_filter])
        self._groups[topic_filter].members.append(session)

    def unsubscribe(self, session: Session, topic_filter: str) -> None:
        """Take a filter away; one that was never subscribed is no error (MQTT 3.11.3)."""
        if session.subscriptions.pop(topic_filter, None) is None:
            return
        group = self._groups.get(topic_filter)
        if group is None:
            self._matcher.remove(topic_filter, (session, topic_filter))
            return
        group.members.remove(session)
        group.turn = 0
        if not group.members:
            del self._groups[topic_filter]
            self._matcher.remove(topic_filter, group)

    def receivers(self, topic: str) -> list[tuple[Session, int]]:
        """Sessions to send to, each with its QoS. Filters that overlap give one copy, at the highest QoS; a share gives its own."""
        plain: dict[Session, int] = {}
        shared: list[tuple[Session, int]] = []
        for target in self._matcher.match(topic):
            if isinstance(target, _Group):
                shared.append(target.next())
            else:
                session, topic_filter = target
                plain[session] = max(plain.get(session, 0), session.subscriptions[topic_filter])
        return [*plain.items(), *shared]

    def retain(self, message: Message) -> None:
        """Keep the message for its topic; an empty payload takes away what is kept (MQTT 3.3.1.3)."""
        if message.payload:
            self.retained[message.topic] = message
        else:
            self.retained.pop(message.topic, None)

    def kept(self, topic_filter: str, now_s: float) -> Iterator[Message]:
        """What a new subscription is sent. A shared one is sent nothing (MQTT 4.8.2)."""
        if topic_filter.startswith("$share/"):
            return
        for topic, message in list(self.retained.items()):
            if message.expired(now_s):
                del self.retained[topic]
            elif matches(plain_filter(topic_filter), topic):
                yield message
