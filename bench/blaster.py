"""A fake broker for one client, which pushes what was encoded before: it shows the client's own ceiling.

    python -m bench.blaster     prints "listening PORT", then takes one client and obeys `bench.pump`'s commands

It answers CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ and QoS 1 PUBLISH, keeps no session, and sends to whoever subscribed to
anything. It respects the client's Receive Maximum, and never has more than `bench.stream.WINDOW` messages unacknowledged.
"""

from __future__ import annotations

import socket

from . import packets
from .packets import Packet, acknowledge
from .pump import Ended, Pump, say


def main() -> None:
    """Serve one client until it or stdin has gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        say(f"listening {server.getsockname()[1]}")
        sock, _ = server.accept()
    with sock:
        pump = Pump(sock, lambda packet: answer(pump, packet))
        pump.run()


def answer(pump: Pump, packet: Packet) -> bytes:
    """What a broker says to `packet`; the pump learns from CONNECT how to speak."""
    match packet.kind:
        case packets.CONNECT:
            connect = packets.read_connect(packet.body)
            pump.protocol, pump.window = connect.protocol, connect.receive_maximum
            return packets.connack(connect.protocol)
        case packets.SUBSCRIBE:
            filters = packets.read_filters(packet.body, pump.protocol, with_options=True)
            return acknowledge(packets.SUBACK, packet.body[:2], pump.protocol, [1] * len(filters))
        case packets.UNSUBSCRIBE:
            filters = packets.read_filters(packet.body, pump.protocol, with_options=False)
            return acknowledge(packets.UNSUBACK, packet.body[:2], pump.protocol, [0] * len(filters) if pump.protocol == "5" else [])
        case packets.PINGREQ:
            return packets.packet(packets.PINGRESP, b"")
        case packets.PUBLISH:
            _, packet_id, _ = packets.read_publish(packet, pump.protocol)
            return acknowledge(packets.PUBACK, packet_id, pump.protocol) if packet_id else b""
        case packets.DISCONNECT:
            raise Ended
        case _:
            return b""


if __name__ == "__main__":
    main()
