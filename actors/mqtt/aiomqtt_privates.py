"""Every private name of aiomqtt and paho that the transport needs, in one place.

Law: no other module reaches behind their public interface. `missing` looks for each name on a live client;
a test calls it, so a release that moves one fails there, loudly, and not on a robot.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .aiomqtt_socket import BufferedSocket

AIOMQTT_VERSIONS: Final = ((2, 5), (3,))
"""First version that is known to work, first that is not (aiomqtt 3 is another program)."""
PAHO_VERSIONS: Final = ((2, 2), (3,))

_OF_AIOMQTT: Final = ("_client", "_connected", "_disconnected")
_OF_PAHO: Final = ("_create_socket", "_last_bytes_received", "_mid_generate", "_sock_close")


def missing(client: aiomqtt.Client) -> list[str]:
    """The private names used here that this client does not have."""
    absent = [f"aiomqtt.Client.{name}" for name in _OF_AIOMQTT if not hasattr(client, name)]
    if "aiomqtt.Client._client" not in absent:
        absent += [f"paho.mqtt.client.Client.{name}" for name in _OF_PAHO if not hasattr(paho_of(client), name)]
    return absent


def paho_of(client: aiomqtt.Client) -> paho.Client:
    """The paho client that does the work."""
    return client._client  # noqa: SLF001


def disconnected_of(client: aiomqtt.Client) -> asyncio.Future[None]:
    """Done when the connection is over; its exception is what aiomqtt's reader met, our own callbacks' errors included."""
    return client._disconnected  # noqa: SLF001


def retrieve_exceptions(client: aiomqtt.Client) -> None:
    """Look at the exceptions of both futures: one that nobody looked at is raised again when it is collected.

    trio-asyncio raises it in the loop of that moment, which is the *next* connection's.
    """
    for future in (client._connected, client._disconnected):  # noqa: SLF001
        if future.done() and not future.cancelled():
            future.exception()


def use_socket(client: paho.Client, sock: socket.socket | BufferedSocket) -> None:
    """Let the next connect take `sock` instead of opening one (on this instance only)."""

    def create_socket() -> socket.socket | BufferedSocket:
        return sock

    client._create_socket = create_socket  # type: ignore[method-assign]  # noqa: SLF001


def number_packets(client: paho.Client, next_id: Callable[[], int]) -> None:
    """Let `client` ask `next_id` for the packet ids of its SUBSCRIBEs (on this instance only): MQTT has one count for all kinds."""
    client._mid_generate = next_id  # type: ignore[method-assign]  # noqa: SLF001


def note_arrival(client: paho.Client, at: float) -> None:
    """Something has come from the broker that `client` may not see: a broker that talks is alive, though its PINGRESP be late.

    `at` is `time.monotonic()`, as paho counts.
    """
    client._last_bytes_received = at  # noqa: SLF001


def last_arrival(client: paho.Client) -> float:
    """When anything came from the broker (`time.monotonic()`), or when paho last asked it for a PINGRESP: it takes that for granted."""
    return client._last_bytes_received  # noqa: SLF001


def close_socket(client: paho.Client) -> None:
    """Unregister the socket from the event loop and close it, without a goodbye. Harmless the second time."""
    client._sock_close()  # noqa: SLF001


class PackedProperties(Properties):
    """The property section of a PUBLISH that is encoded already.

    paho's own builds three tables per object and walks through them; all it asks of the object is `pack`.
    """

    packed: bytes

    def __init__(self, packed: bytes) -> None:
        # Properties.__setattr__ takes MQTT's property names only.
        object.__setattr__(self, "packetType", PacketTypes.PUBLISH)
        object.__setattr__(self, "packed", packed)

    def pack(self) -> bytes:
        """The bytes it was made of."""
        return self.packed
