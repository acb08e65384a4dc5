"""The socket under the client library: opened by trio, so that cancelling is immediate, and read in one gulp per wake-up.

Law: a wake-up of the event loop reads from the kernel once, so a peer that sends faster than we parse cannot keep
the loop for itself; a buffer is never left with bytes nobody is woken for.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import trio

from .transport import TlsSettings

READ_BYTES: Final = 65_536
WRITE_BYTES: Final = 262_144


class BufferedSocket:
    """A connected, non-blocking socket with the methods paho uses, reading up to `READ_BYTES` at a time.

    paho asks for a packet byte by byte; here those are slices of memory, not system calls. aiomqtt's reader
    goes on while `pending()` is not 0, so everything buffered is parsed in the same wake-up.

    Whole packets may go past paho in both directions: `sift` takes some out of what is read, `queue` and `write_queued` put
    some between paho's, never into the middle of one.
    """

    __slots__ = ("_data", "_in_packet", "_may_read", "_position", "_queue", "_sock", "_write_failed", "failure", "opening", "sift")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""
        self._position = 0
        self._may_read = True
        self._write_failed = False
        self._in_packet = False  # the kernel has taken a part of one of paho's
        self._queue = bytearray()
        self.sift: Callable[[bytes], bytes] = bytes
        """Gets all that is read, in order; returns what is for paho."""
        self.opening = b""
        """The first bytes that came, at most 4: enough to read a 3.1.1 CONNACK that paho keeps to itself."""
        self.failure: OSError | None = None
        """What broke it; paho tells us only that it is broken."""

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end; BlockingIOError (or ssl's) when the wake-up has had its share."""
        if self._position == len(self._data) and not self._fill():
            raise BlockingIOError
        start = self._position
        self._position = min(start + size, len(self._data))
        return self._data[start : self._position]

    def pending(self) -> int:
        """How many bytes wait here. 0 ends the wake-up, and the next one may read from the kernel again."""
        waiting = len(self._data) - self._position
        if not waiting:
            self._may_read = True
        return waiting

    def _fill(self) -> bool:
        """Read from the kernel. Is there something for paho now, if only the end?"""
        if not self._may_read:
            return False
        self._data = b""
        self._position = 0
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.failure = error
            raise
        # What OpenSSL has decoded already does not make the socket readable: nobody would wake us for it.
        if isinstance(self._sock, ssl.SSLSocket):
            while waiting := self._sock.pending():
                data += self._sock.recv(waiting)
        self._may_read = False
        if not self.opening:
            self.opening = data[:4]
        self._data = self.sift(data)
        return bool(self._data) or not data

    def send(self, data: bytes | bytearray) -> int:
        """paho's: how many bytes of `data` the kernel took; BlockingIOError (or ssl's) for none. See `_send`."""
        if self._queue and not self._in_packet:
            self.write_queued()
            if self._queue:
                raise BlockingIOError
        self._in_packet = True  # also when it must be tried again: OpenSSL insists on the same bytes
        sent = self._send(data)
        self._in_packet = sent < len(data)
        return sent

    def queue(self, packets: bytes) -> None:
        """Whole packets, to be written by `write_queued`."""
        self._queue += packets

    @property
    def queued_bytes(self) -> int:
        """How much of what was queued the kernel has not taken yet."""
        return len(self._queue)

    def write_queued(self) -> None:
        """Write as much as the kernel takes now; nothing while one of paho's packets is written in part."""
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._queue and not self._in_packet:
                del self._queue[: self._send(bytes(self._queue[:WRITE_BYTES]))]

    def _send(self, data: bytes | bytearray) -> int:
        """Never says that the connection broke.

        That is for `recv` to say, behind what the broker sent before: messages, or why it closed. paho would close at
        once. Nothing follows what could not be written: the other side sees the end of the stream there.
        """
        if self._write_failed:
            return len(data)
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.failure = error
            self._write_failed = True
            with suppress(OSError):
                # Not SSLSocket's own: it would read the rest without decrypting it.
                socket.socket.shutdown(self._sock, socket.SHUT_WR)
            return len(data)

    def close(self) -> None:
        """Close at once, without a goodbye. Harmless the second time."""
        self._sock.close()

    def fileno(self) -> int:
        """The file descriptor; -1 after `close`."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the name and shape of socket.setblocking
        """As `socket.setblocking`; paho calls it with False."""
        self._sock.setblocking(flag)


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Verifies the broker and its host name. Reads files: run it in a thread. Raises ValueError that names the file."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise ValueError(f"ca_file {tls.ca_file!r} cannot be used: {error}") from error
    if tls.cert_file is None and tls.key_file is not None:
        raise ValueError(f"there is a key_file, {tls.key_file!r}, but no cert_file")
    if tls.cert_file is not None:
        try:
            # A password given here, even a useless one, keeps OpenSSL from asking for it on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except OSError as error:
            why = "the key is locked with a passphrase, and nobody is here to ask for it" if _is_locked(tls) else str(error)
            raise ValueError(f"cert_file {tls.cert_file!r} with key_file {tls.key_file!r} cannot be used: {why}") from error
    return context


def _is_locked(tls: TlsSettings) -> bool:
    """OpenSSL says "bad decrypt" of it, which helps nobody."""
    try:
        return b"ENCRYPTED" in Path(tls.key_file or tls.cert_file or "").read_bytes()
    except OSError:
        return False


async def open_socket(host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connected, non-blocking socket with TCP_NODELAY, and TLS when there is a `context`. Raises OSError, of which ssl's are.

    Cancelled, it leaves nothing behind. Only a name look-up that hangs stays in its thread until the resolver gives up.
    """
    stream = await trio.open_tcp_stream(host, port)
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            await _shake_hands(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return


class HasFileno(Protocol):
    """Any socket, as far as it matters here."""

    def fileno(self) -> int:
        """The file descriptor; -1 when it is closed."""
        ...


@contextmanager
def hold_open(sock: HasFileno | None) -> Iterator[socket.socket | None]:
    """A second descriptor of the connection of `sock`, so that its owner's close does not end it yet. None when there is none."""
    if sock is None or sock.fileno() < 0:
        yield None
        return
    with socket.socket(fileno=os.dup(sock.fileno())) as held:
        held.settimeout(0)
        yield held


async def wait_for_end(held: socket.socket | None) -> None:
    """Say that nothing follows, and read away what still comes, until the broker has closed.

    A socket that is closed with unread bytes answers RST, and the RST overtakes what the broker has not read yet:
    measured, of 20 messages published before leaving, 6 arrived.
    """
    if held is None:
        return
    with suppress(OSError):
        held.shutdown(socket.SHUT_WR)
        while True:
            await trio.lowlevel.wait_readable(held)
            if not held.recv(READ_BYTES):
                return
