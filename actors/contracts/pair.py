"""One event type and the topic it travels on: what a contract knows about its own place on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


@attrs.frozen
class Pair:
    """One event type and its one topic, with the QoS (0 or 1) and retain flag it is published with.

    A level of the topic may be a placeholder: ``system/keepalive/{client_id}`` stands for one topic per client. No wildcards.
    """

    event_type: str
    topic: str = attrs.field()
    qos: int = attrs.field(default=1, validator=attrs.validators.in_((0, 1)))
    retain: bool = False

    @topic.validator
    def _is_whole_levels(self, _: object, topic: str) -> None:
        levels = topic.split("/")
        if any(set(level) & set("{}+#") and not _PLACEHOLDER.fullmatch(level) for level in levels) or len(set(self.names)) < len(
            self.names
        ):
            raise ValueError(f"{topic!r}: a placeholder is one whole level, named once, and there are no wildcards")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the placeholders, in order; empty for a topic as it is."""
        return tuple(_PLACEHOLDER.findall(self.topic))

    @property
    def shape(self) -> str:
        """The topic without the names: two topics of one shape are the same topics."""
        return _PLACEHOLDER.sub("{}", self.topic)

    def fill(self, names: Mapping[str, str]) -> str:
        """The topic with every placeholder replaced, each by one level. Raises ValueError for one that is missing, unknown or no level."""
        if names.keys() != set(self.names):
            wanted, given = ", ".join(self.names) or "nothing", ", ".join(sorted(names)) or "nothing"
            raise ValueError(f"{self.topic!r} is filled with {wanted}, got {given}")
        for name, value in names.items():
            if not value or set(value) & set("/+#\0"):
                raise ValueError(f"{name} must be one level of a topic, got {value!r:.40}")
        return _PLACEHOLDER.sub(lambda match: names[match[1]], self.topic)

    def holds(self, topic: str) -> bool:
        """Whether `topic`, a topic as it is, is one of this pair's."""
        levels, own = topic.split("/"), self.shape.split("/")
        if len(levels) != len(own):
            return False
        return all(level == mine or (mine == "{}" and level) for level, mine in zip(levels, own, strict=True))
