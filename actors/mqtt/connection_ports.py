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
from .requests import Requests
from .transport import ConnectSettings, LinkRefused, Transport


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
    requests: Requests
    health: Health
    health_topic: HealthTopic
    drain: Drain
    letters: Letters
    emit: Callable[[object], None]
    drain_s: float
    inbound_qos0: int
    acks_in_order: bool = False
    dead_letters: Mailbox[Outgoing] = attrs.field(factory=lambda: Mailbox(1))  # to be published, beside the outbox


def refusal(settings: ConnectSettings, refused: LinkRefused) -> str:
    """What is said when the broker will not have us."""
    hint = f"; {refused.hint}" if refused.hint else ""
    where = f"{settings.host}:{settings.port}"
    if str(refused).startswith(f"{where}: "):  # not the broker's word, or not about who we are
        return f"broker {refused}{hint}"
    why = str(refused).removeprefix(f"{where} ").removeprefix("refused the connection: ")
    return f"broker {where} refused client id {settings.client_id!r}: {why}{hint}"
