"""Ten clients in one process that ask, and measure how long the answers take.

    python -m bench.clients PORT    prints "connected"
    ask RATE SECONDS                at a fixed rate, whatever comes back
    flood COUNT WINDOW              as fast as is answered: WINDOW requests are always on their way
                                    both answer  measured {"asked": ..., "answered": ..., "handling_ms": [...], "reply_ms": [...]}

Law: a latency runs from the moment at which the request was *due*, not from when it could be sent: who waits for a slow
answer before asking again measures nothing ("coordinated omission"). So the latencies of a flood are those of its window,
and say nothing about a rate; what it is for is the cost of an answer where none has to wait for another's wake-up.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final, Protocol

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
_GRACE_NS: Final = round(GRACE_S * NANOSECONDS)
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

    due_ns: list[int] = attrs.field(factory=list)
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


class Pace(Protocol):
    """When a request is due, in nanoseconds since its series began."""

    def due_ns(self, number: int, answered: int, now_ns: int) -> int | None:
        """Of request `number`, when so many have been answered; None: not before the next answer."""


@attrs.frozen
class Steady(Pace):
    """So many per second."""

    rate: int

    def due_ns(self, number: int, answered: int, now_ns: int) -> int:  # noqa: ARG002 - whatever comes back
        """See `Pace`."""
        return number * NANOSECONDS // self.rate


@attrs.frozen
class Window(Pace):
    """So many unanswered at any time."""

    size: int

    def due_ns(self, number: int, answered: int, now_ns: int) -> int | None:
        """See `Pace`."""
        return now_ns if number < answered + self.size else None


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


def ask(clients: Sequence[Client], first: int, count: int, pace: Pace) -> Asking:
    """Ask `count` times, from request `first` on; returns when all are answered, or `GRACE_S` after the last."""
    requests = [request(number) for number in range(first, first + count)]  # made before the clock runs
    asking, began_ns = Asking(), time.monotonic_ns()
    by_socket = {client.sock: client for client in clients}
    give_up_ns = began_ns + _GRACE_NS
    while len(asking.answered_ns) < count and (now_ns := time.monotonic_ns()) < give_up_ns:
        next_ns = give_up_ns
        while (asked := len(asking.due_ns)) < count:
            due_ns = pace.due_ns(asked, len(asking.answered_ns), now_ns - began_ns)
            if due_ns is None:
                break
            if began_ns + due_ns > now_ns:
                next_ns = began_ns + due_ns
                break
            clients[(first + asked) % CLIENTS].out += requests[asked]
            asking.due_ns.append(began_ns + due_ns)
            next_ns = give_up_ns = asking.due_ns[-1] + _GRACE_NS
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


def told(line: str) -> tuple[int, Pace]:
    """How often to ask, and when. Raises ValueError for a line that says something else."""
    match line.split():
        case ["ask", rate, seconds]:
            return round(int(rate) * float(seconds)), Steady(int(rate))
        case ["flood", count, size]:
            return int(count), Window(int(size))
        case _:
            raise ValueError(f"ask RATE SECONDS, or flood COUNT WINDOW, not {line!r}")


def main() -> None:
    """Ask as told until stdin has gone."""
    clients = [connected(int(sys.argv[1]), number) for number in range(CLIENTS)]
    say("connected")
    first = 0
    for line in os.fdopen(sys.stdin.fileno()):
        count, pace = told(line)
        asking = ask(clients, first, count, pace)
        first += count
        say(f"measured {orjson.dumps(asking.result()).decode()}")


if __name__ == "__main__":
    main()
