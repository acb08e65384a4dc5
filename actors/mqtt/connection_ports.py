"""What the connection actor works with: all of it belongs to the tree and outlives the incarnation."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tars.supervisor import Mailbox

from .drain import Drain
from .health import Health, HealthTopic
from .in_flight import Delivery, InFlight
from .letters import Letters
from .link_state import Filters, LinkState
from .outgoing import Outgoing
from .transport import ConnectSettings, Transport


@attrs.frozen(eq=False)
class Ports:
    """Everything the connection works with; all of it outlives the incarnation."""

    transport: Transport
    settings: ConnectSettings
    table: InFlight
    arrivals: Mailbox[Delivery]
    outbox: Mailbox[Outgoing]
    urgent: Mailbox[Outgoing]
    state: LinkState
    filters: Filters
    health: Health
    health_topic: HealthTopic
    drain: Drain
    letters: Letters
    emit: Callable[[object], None]
    drain_s: float
    inbound_qos0: int
    acks_in_order: bool = False
    dead_letters: Mailbox[Outgoing] = attrs.field(factory=lambda: Mailbox(1))  # to be published, beside the outbox
