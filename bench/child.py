"""A process that speaks in lines, pinned to a core.

Law: nothing outlives its block, and who waits for a line of a process that has ended, or takes too long, gets everything
it said in the error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

ROOT: Final = Path(__file__).parent.parent
PATIENCE_S: Final = 120.0
"""For any one line. A phase that takes longer is a hang."""
KEPT_LINES: Final = 20
KEPT_CHARS: Final = 300


class Failed(Exception):
    """A process did not start, ended, or did not say in time what was waited for."""


@attrs.define(eq=False)
class Child:
    """See `child`."""

    name: str
    process: trio.Process
    _said: deque[str] = attrs.field(factory=lambda: deque(maxlen=KEPT_LINES))
    _rest: bytes = b""
    _lines: deque[str] = attrs.field(factory=deque)

    async def tell(self, line: str) -> None:
        """A command."""
        if self.process.stdin is not None:
            await self.process.stdin.send_all(f"{line}\n".encode())

    async def line(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is `wanted`; others are passed over. Raises `Failed`."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                while self._lines:
                    line = self._lines.popleft()
                    self._said.append(line[:KEPT_CHARS])
                    if wanted(line):
                        return line
                await self._read()
        raise self._failed(f"did not say within {PATIENCE_S:g} s what was waited for")

    async def words(self, first: str) -> list[str]:
        """What follows `first` in the next line that begins with it. Raises `Failed`."""
        return (await self.line(lambda line: line.split(" ", 1)[0] == first)).split()[1:]

    async def _read(self) -> None:
        data = await self.process.stdout.receive_some(65_536) if self.process.stdout is not None else b""
        if not data:
            raise self._failed(f"ended with code {await self.process.wait()}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(line.decode(errors="replace") for line in lines)

    def _failed(self, how: str) -> Failed:
        return Failed("\n".join([f"{self.name} {how}; it said last:", *self._said]))


@asynccontextmanager
async def child(
    name: str, command: Sequence[str], *, core: int | None, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Child]:
    """Run `command` in `folder`, on `core` only where there is a way to say so; kill it at the end of the block. Raises `Failed`."""
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"},
        )
    except OSError as error:
        raise Failed(f"{name} does not start: {command[0]}: {error.strerror}") from error
    try:
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        yield Child(name, process)
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@attrs.frozen
class Cores:
    """Where the consumer and everything that feeds it run; None: wherever the system likes."""

    consumer: int | None
    feeder: int | None


def cores(available: Sequence[int]) -> Cores:
    """The last core for the consumer, the first for the feeder (and for interrupts); with one core nobody is pinned."""
    if len(available) < 2:
        return Cores(None, None)
    return Cores(max(available), min(available))


def available_cores() -> list[int]:
    """Those this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
