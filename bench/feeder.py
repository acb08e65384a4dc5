"""A client that publishes to a real broker what was encoded before.

    python -m bench.feeder PORT     prints "connected", then obeys `bench.pump`'s commands

It speaks MQTT 3.1.1: what it speaks does not change what the consumer gets. "acked" is the broker's word, not the consumer's.
"""

from __future__ import annotations

import socket
import sys

from . import packets
from .packets import Malformed, Packet
from .pump import Pump, say

WINDOW = 100
"""Unconfirmed publishes; the broker answers them faster than it delivers."""


def main() -> None:
    """Publish until stdin has gone."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
        sock.sendall(packets.connect("bench-feeder", "3.1.1"))
        Pump(sock, on_packet, window=WINDOW).run()


def on_packet(packet: Packet) -> bytes:
    """The CONNACK is all that comes beside PUBACKs. Raises `Malformed` if it says no."""
    if packet.kind != packets.CONNACK or packet.body[1]:
        raise Malformed(f"the broker said {packet}")
    say("connected")
    return b""


if __name__ == "__main__":
    main()
