"""A Mosquitto of the test's own, for ``with_real=True``: on a free port, in a folder that goes with it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from tars.supervisor.errors import TarsError

START_TIMEOUT_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.002
_PORT_ATTEMPTS: Final = 5
_SBIN: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where Debian, and others, put it; not on everybody's PATH."""


class MosquittoMissing(TarsError):
    """There is no ``mosquitto`` on this machine."""


class MosquittoFailed(TarsError):
    """Mosquitto ended at its start, or did not open its port; the message carries its log."""


def search_path() -> str:
    """Where `mosquitto_in` is to look on this machine."""
    return os.pathsep.join([os.environ.get("PATH", ""), *_SBIN])


def mosquitto_in(path: str) -> str:
    """The program, in the folders of `path` (joined as in PATH). Raises `MosquittoMissing`."""
    found = shutil.which("mosquitto", path=path)
    if found is None:
        raise MosquittoMissing(
            "with_real=True starts a Mosquitto, and there is none on this machine. Debian, Ubuntu: apt-get install mosquitto; "
            f"macOS: brew install mosquitto. Without with_real the same test runs on the broker in memory. (Looked in {path})"
        )
    return found


@asynccontextmanager
async def mosquitto(program: str) -> AsyncIterator[int]:
    """Run it within the block; its port, on 127.0.0.1. Raises `MosquittoFailed`."""
    with tempfile.TemporaryDirectory(prefix="tars-mosquitto-") as folder:
        process, port = await _started(program, Path(folder))
        try:
            yield port
        finally:
            _end(process)


async def _started(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        port = _free_port()
        try:
            return await _start(program, folder, port), port
        except MosquittoFailed:  # somebody may have taken the port between the look and the start
            if attempt == _PORT_ATTEMPTS:
                raise
    raise AssertionError


async def _start(program: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    log, config = folder / "mosquitto.log", folder / "mosquitto.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        f"user {getpass.getuser()}",  # started by root it becomes somebody else, who cannot write here
        "log_dest stderr",
        "set_tcp_nodelay true",
        "max_queued_messages 0",
    ]
    config.write_text("\n".join([*lines, ""]))
    with log.open("wb") as said:
        process = subprocess.Popen([program, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=said, stderr=said)  # noqa: ASYNC220, S603 - it only forks; the program is Mosquitto
    complaint = ""
    try:
        with trio.move_on_after(START_TIMEOUT_S) as scope:
            while not complaint and not await _accepts(port):
                if process.poll() is not None:
                    complaint = f"ended with code {process.returncode} at its start"
                await trio.sleep(_LOOK_AGAIN_S)  # it tells nobody when it has opened its port
    except BaseException:
        _end(process)
        raise
    if scope.cancelled_caught:
        complaint = f"did not open port {port} within {START_TIMEOUT_S:g} s"
    if complaint:
        _end(process)
        raise MosquittoFailed(f"Mosquitto {complaint}:\n{log.read_text(errors='replace')}")
    return process


async def _accepts(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it is to be kept: SIGKILL, and it is gone in a moment."""
    process.kill()
    process.wait(START_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
