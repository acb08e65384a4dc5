"""What an MQTT service is made of. A service's author needs the names exported here, and `tars.actors.contracts`.

Layers, lowest first: ``contracts`` the wire; ``mqtt`` the transport and the actors of the link and pipeline;
``actor errors definition loading settings`` what an author writes and configures; ``services``; ``service`` wires it.
``connector`` is the link alone, for a program that is no service. It is imported when it is first asked for: it stands above
the services, and brings the MQTT client library with it, which they do not need to be imported.
"""

from pkgutil import resolve_name as _resolve_name
from typing import TYPE_CHECKING

from tars.supervisor import Escalate, Stop, TooSlow, Unavailable
from tars.supervisor.environment import Override, boolean, integer, number, text

from .actor import Actor, every, subscribe
from .declared import publishes
from .errors import Reject
from .mqtt.context import Context
from .mqtt.thread_context import ThreadContext

if TYPE_CHECKING:
    from .connector import Connector

__all__ = [
    "Actor",
    "Connector",
    "Context",
    "Escalate",
    "Override",
    "Reject",
    "Stop",
    "ThreadContext",
    "TooSlow",
    "Unavailable",
    "boolean",
    "every",
    "integer",
    "number",
    "publishes",
    "subscribe",
    "text",
]


def __getattr__(name: str) -> object:
    if name == "Connector":
        return _resolve_name("tars.actors.connector:Connector")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
