"""A real Mosquitto for the tests, on its own port and in its own directory. One per test, never shared.

Law: a test that needs a broker fails where there is none; it is never skipped. What is awaited is always
the thing itself (the port accepts, the process is gone), never a length of time.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import attrs
import trio

START_TIMEOUT_S = 10.0
_PORT_ATTEMPTS = 5
_SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


class MosquittoMissing(Exception):
    """There is no `mosquitto` on this machine. The message says how to get one."""


class MosquittoFailed(Exception):
    """Mosquitto ended, or did not open its port; the message carries its log."""


def mosquitto_path() -> str:
    """Where the broker's program is. Debian puts it in /usr/sbin, which is not on everybody's PATH."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *_SBIN]))
    if found is None:
        msg = "these tests need a real broker: install it with `apt-get install mosquitto` or `brew install mosquitto`"
        raise MosquittoMissing(msg)
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define
class Mosquitto:
    """`async with Mosquitto(config=[...]) as broker:` runs one broker on 127.0.0.1:`broker.port`.

    `config` are lines of mosquitto.conf for its one listener, e.g. ``"max_packet_size 2000"``; the default lets
    everybody in. `persistent` keeps sessions and messages in a file, written by `save` and `terminate`.
    """

    config: Sequence[str] = ("allow_anonymous true",)
    persistent: bool = False
    port: int = 0
    directory: Path = attrs.field(factory=lambda: Path(tempfile.mkdtemp(prefix="mosquitto-")))
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        program = mosquitto_path()
        attempts = _PORT_ATTEMPTS if self.port == 0 else 1
        chosen = self.port
        for attempt in range(1, attempts + 1):
            self.port = chosen or free_port()
            try:
                await self._start(program)
            except MosquittoFailed:
                # Somebody may have taken the free port between the look and the start.
                if attempt == attempts:
                    self._remove()
                    raise
            else:
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        self._remove()

    async def _start(self, program: str) -> None:
        config = self.directory / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            # Started by root, Mosquitto becomes another user, who cannot write here.
            f"user {getpass.getuser()}",
            f"log_dest file {self.directory / 'mosquitto.log'}",
            "log_type all",
            "set_tcp_nodelay true",
            *self.config,
        ]
        if self.persistent:
            lines += ["persistence true", f"persistence_location {self.directory}/", "autosave_interval 0"]
        config.write_text("\n".join(lines) + "\n")
        with (self.directory / "stderr.log").open("ab") as stderr:
            self._process = subprocess.Popen([program, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)  # noqa: ASYNC220 - it only forks
        try:
            with trio.fail_after(START_TIMEOUT_S):
                await self._accepts(self._process)
        except trio.TooSlowError:
            self.kill()
            msg = f"mosquitto did not open port {self.port} within {START_TIMEOUT_S} s:\n{self.log()}"
            raise MosquittoFailed(msg) from None

    async def _accepts(self, process: subprocess.Popen[bytes]) -> None:
        """Return when the port is open. Polls: Mosquitto tells nobody when it has opened it."""
        while True:
            if process.poll() is not None:
                msg = f"mosquitto ended with code {process.returncode} at its start:\n{self.log()}"
                raise MosquittoFailed(msg)
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            except OSError:
                await trio.sleep(0.002)
            else:
                await stream.aclose()
                return

    def log(self) -> str:
        """Everything it has logged so far."""
        files = [self.directory / "stderr.log", self.directory / "mosquitto.log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    async def logged(self, text: str) -> None:
        """Return when it has logged `text`. Polls: it tells nobody else."""
        with trio.fail_after(START_TIMEOUT_S):
            while True:
                if text in self.log():
                    return
                await trio.sleep(0.02)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running broker; raises `MosquittoFailed` when there is none."""
        if self._process is None:
            msg = "this broker is not running"
            raise MosquittoFailed(msg)
        return self._process

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone: nothing is said to anybody, nothing is saved. Harmless when it is not running."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and wait until it is gone: it says DISCONNECT to MQTT 5 clients and saves what is to be persistent."""
        self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(with_signal)
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    async def save(self) -> None:
        """Have sessions and messages written to the file now (SIGUSR1), and return when they are. Only for a `persistent` broker."""
        file = self.directory / "mosquitto.db"
        before = file.stat().st_ino if file.exists() else None
        self.process.send_signal(signal.SIGUSR1)
        with trio.fail_after(START_TIMEOUT_S):
            # Mosquitto writes another file and renames it. Polls: it tells nobody.
            while True:
                if file.exists() and file.stat().st_ino != before:
                    return
                await trio.sleep(0.002)

    async def restart(self) -> None:
        """Start again on the same port, killing what still runs there."""
        self.kill()
        await self._start(mosquitto_path())

    def freeze(self) -> None:
        """SIGSTOP: the kernel still accepts connections and bytes, and nobody answers (a half-open link)."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: the end of `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def _remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
