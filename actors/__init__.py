"""What an MQTT service is made of. A service's author needs the names exported here, and `tars.actors.contracts`.

Layers, lowest first: ``contracts`` the wire; ``mqtt`` the transport and the actors of the link and pipeline;
``actor errors definition loading settings`` what an author writes and configures; ``services``; ``service`` wires it.
"""

from tars.supervisor import Escalate, Stop, TooSlow, Unavailable
from tars.supervisor.environment import Override, boolean, integer, number, text

from .actor import Actor, every, subscribe
from .errors import Reject
from .mqtt.context import Context

__all__ = [
    "Actor",
    "Context",
    "Escalate",
    "Override",
    "Reject",
    "Stop",
    "TooSlow",
    "Unavailable",
    "boolean",
    "every",
    "integer",
    "number",
    "subscribe",
    "text",
]
