"""Ten clients in one process that ask at a fixed rate, whatever comes back, and measure how long the answers take.

    python -m bench.clients PORT    prints "connected"
    ask RATE SECONDS                answers  measured {"asked": ..., "answered": ..., "handling_ms": [...], "reply_ms": [...]}

Law: a latency runs from the moment at which the request was *due*, not from when it could be sent: who waits for a slow
answer before asking again measures nothing ("coordinated omission").
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

import attrs
import orjson

from . import packets
from .contract import ASKED, CLIENTS, answer_topic, ask_topic
from .packets import Cutter
from .pump import Ended, say
from .statistics import percentile

PARTS: Final = (0.5, 0.95, 0.99, 0.999)
GRACE_S: Final = 10.0
"""How long unanswered requests are waited for."""
NANOSECONDS: Final = 1_000_000_000
_PACKET_IDS: Final = 65_535


@attrs.define
class Client:
    """One connection."""

    sock: socket.socket
    cutter: Cutter = attrs.field(factory=Cutter)
    out: bytearray = attrs.field(factory=bytearray)


@attrs.define
class Asking:
    """What was due, handled and answered when, in nanoseconds of the monotonic clock; by request number."""

    due_ns: Sequence[int]
    handled_ns: dict[int, int] = attrs.field(factory=dict)
    answered_ns: dict[int, int] = attrs.field(factory=dict)

    def note(self, first: int, payload: bytes, now_ns: int) -> None:
        """An answer has come; `first` is the number of this series' first request. One of an earlier series is passed over."""
        data = orjson.loads(payload)["data"]
        number = data["seq"] - first
        if number >= 0:
            self.handled_ns.setdefault(number, data["handled_ns"])
            self.answered_ns.setdefault(number, now_ns)

    def result(self) -> dict[str, object]:
        """Percentiles in milliseconds; an unanswered request is only counted."""
        return {
            "asked": len(self.due_ns),
            "answered": len(self.answered_ns),
            "handling_ms": self._percentiles(self.handled_ns),
            "reply_ms": self._percentiles(self.answered_ns),
        }

    def _percentiles(self, at_ns: dict[int, int]) -> list[float]:
        took_ms = [(at - self.due_ns[number]) / 1e6 for number, at in at_ns.items()]
        return [round(percentile(took_ms, part), 3) for part in PARTS] if took_ms else []


def request(number: int) -> bytes:
    """The PUBLISH of request `number`, QoS 1, by client ``number % CLIENTS``."""
    client = number % CLIENTS
    document = {"id": f"{number:032x}", "type": ASKED, "ts": 1_700_000_000.5, "source": "client", "data": {"client": client, "seq": number}}
    packet_id = number % _PACKET_IDS + 1
    return packets.publish(ask_topic(client), orjson.dumps(document), qos=1, packet_id=packet_id, protocol="3.1.1")


def connected(port: int, number: int) -> Client:
    """A client that has subscribed to its answers, at QoS 0: they need no acknowledgement."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(packets.connect(f"bench-client-{number}", "3.1.1") + packets.subscribe(answer_topic(number), 1, qos=0))
    client, kinds = Client(sock), list[int]()
    while packets.SUBACK not in kinds:
        kinds += [packet.kind for packet in client.cutter.feed(sock.recv(4096))]
    sock.settimeout(0)
    return client


def ask(clients: Sequence[Client], first: int, rate: int, seconds: float) -> Asking:
    """Ask ``rate * seconds`` times, from request `first` on; returns when all are answered, or `GRACE_S` after the last."""
    requests = [request(number) for number in range(first, first + round(rate * seconds))]
    began_ns = time.monotonic_ns() + NANOSECONDS // 100
    asking = Asking([began_ns + number * NANOSECONDS // rate for number in range(len(requests))])
    give_up_ns = asking.due_ns[-1] + round(GRACE_S * NANOSECONDS)
    by_socket = {client.sock: client for client in clients}
    asked = 0
    while len(asking.answered_ns) < len(requests) and (now_ns := time.monotonic_ns()) < give_up_ns:
        while asked < len(requests) and asking.due_ns[asked] <= now_ns:
            clients[(first + asked) % CLIENTS].out += requests[asked]
            asked += 1
        next_ns = asking.due_ns[asked] if asked < len(requests) else give_up_ns
        waiting = [client.sock for client in clients if client.out]
        wait_s = max(0, next_ns - time.monotonic_ns()) / NANOSECONDS
        readable, writable, _ = select.select(list(by_socket), waiting, [], wait_s)
        for sock in writable:
            client = by_socket[sock]
            del client.out[: sock.send(client.out)]
        for sock in readable:
            _read(by_socket[sock], first, asking)
    return asking


def _read(client: Client, first: int, asking: Asking) -> None:
    data = client.sock.recv(65_536)
    now_ns = time.monotonic_ns()
    if not data:
        raise Ended
    for packet in client.cutter.feed(data):
        if packet.kind == packets.PUBLISH:
            asking.note(first, packets.read_publish(packet, "3.1.1")[2], now_ns)


def main() -> None:
    """Ask as told until stdin has gone."""
    clients = [connected(int(sys.argv[1]), number) for number in range(CLIENTS)]
    say("connected")
    first = 0
    for line in os.fdopen(sys.stdin.fileno()):
        _, rate, seconds = line.split()
        asking = ask(clients, first, int(rate), float(seconds))
        first += len(asking.due_ns)
        say(f"measured {orjson.dumps(asking.result()).decode()}")


if __name__ == "__main__":
    main()
