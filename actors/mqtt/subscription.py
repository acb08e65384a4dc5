"""One subscription of one actor, as the pipeline sees it. How its handler is called is the handler's business."""

from __future__ import annotations

import attrs

from .topics import Template


@attrs.frozen
class Subscription:
    """`id` is stable across restarts of the process: dedup remembers it, dead letters name it. `path`: the actor's in the tree."""

    id: str
    actor: str
    path: str
    template: Template
    qos: int
