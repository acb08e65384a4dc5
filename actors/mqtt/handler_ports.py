"""What a handler actor works with: all of it belongs to the tree and outlives the incarnation."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from .behaviour import Behaviour
from .box import ActorBox
from .context import Voice
from .drain import Drain
from .health import Health
from .in_flight import InFlight
from .journal import Journal
from .letters import Letters
from .permission import Permission
from .recorder import Recorder


@attrs.frozen(eq=False)
class HandlerPorts:
    """Everything an actor works with; all of it outlives the incarnation."""

    box: ActorBox
    behaviour: Behaviour
    voice: Voice
    table: InFlight
    letters: Letters
    drain: Drain
    health: Health
    emit: Callable[[object], None]
    permission: Permission | None = None  # None: it runs without what the broker refuses it
    journal: Journal = attrs.field(factory=Journal)  # as it comes it notes nothing
    recorder: Recorder | None = None
