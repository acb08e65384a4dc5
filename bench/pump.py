"""One socket that pushes encoded phases and counts what is acknowledged; driven by lines on stdin.

    load COUNT QOS    encode a phase         answers  loaded FRESH
    go                send it                answers  acked COUNT SECONDS   when all of it is acknowledged

Law: between "go" and "acked" nothing is encoded, and nothing is done for a single message but counting its PUBACK.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable

import attrs

from .packets import Cutter, Packet, Protocol
from .stream import Phase, may_send, numbers, phase


class Ended(Exception):
    """The other side of the socket, or of stdin, has gone."""


@attrs.define
class Pump:
    """`on_packet` gets what is no PUBACK and returns the bytes to answer with. `window`: the receiver's Receive Maximum."""

    sock: socket.socket
    on_packet: Callable[[Packet], bytes]
    protocol: Protocol = "3.1.1"
    window: int = 65_535
    _cutter: Cutter = attrs.field(factory=Cutter)
    _answers: bytes = b""
    _chunk: memoryview = attrs.field(factory=lambda: memoryview(b""))
    _next_number: int = 0
    _phase: Phase | None = None
    _qos: int = 1
    _going: bool = False
    _queued_bytes: int = 0
    _acked: int = 0
    _began_s: float = 0.0
    _commands: bytes = b""

    def run(self) -> None:
        """Until either side has gone."""
        self.sock.settimeout(0)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                self._turn()
        except (Ended, ConnectionError):
            return

    def _turn(self) -> None:
        if not self._chunk:
            self._chunk = self._next_chunk()
        readable, writable, _ = select.select([self.sock, sys.stdin], [self.sock] if self._chunk else [], [])
        if self.sock in readable:
            self._read()
        if self.sock in writable:
            self._chunk = self._chunk[self.sock.send(self._chunk) :]
        if sys.stdin in readable:
            self._obey()

    # -- the socket -------------------------------------------------------------------------------

    def _read(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise Ended
        for packet in self._cutter.feed(data):
            self._answers += self.on_packet(packet)
        if acks := self._cutter.take_pubacks():
            self._acked += acks
            if self._phase is not None and self._going and self._acked >= self._phase.acks:
                self._going = False
                say(f"acked {self._acked} {time.perf_counter() - self._began_s}")

    def _next_chunk(self) -> memoryview:
        """Whole packets, to be sent as one: answers first, then what the window lets through of the phase."""
        if self._answers:
            chunk, self._answers = self._answers, b""
            return memoryview(chunk)
        if self._phase is None or not self._going:
            return memoryview(b"")
        may = min(may_send(self._acked, qos=self._qos, window=self.window), len(self._phase.ends))
        begin, self._queued_bytes = self._queued_bytes, self._phase.ends[may - 1]
        return memoryview(self._phase.data)[begin : self._queued_bytes]

    # -- stdin ------------------------------------------------------------------------------------

    def _obey(self) -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            raise Ended
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            self._command(line.decode().split())

    def _command(self, words: list[str]) -> None:
        match words:
            case ["load", count, qos]:
                self._qos = int(qos)
                self._phase = phase(self._next_number, int(count), qos=self._qos, protocol=self.protocol)
                self._next_number += numbers(int(count))
                say(f"loaded {self._phase.fresh}")
            case ["go"]:
                self._queued_bytes = self._acked = 0
                self._going = True
                self._began_s = time.perf_counter()
            case _:
                say(f"not understood: {' '.join(words)}")


def say(line: str) -> None:
    """A line for whoever drives this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
