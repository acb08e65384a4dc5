"""A service as a process of its own, through the command line, and what a test may do to it.

    async with service(tmp_path, broker.port) as child:      # python -m tars.supervisor service.toml, in tmp_path
        await child.event("link_up")
        child.signal(signal.SIGTERM)
        assert 0 == await child.exited()

Laws. A wait is for a line of the service's log, for its end, or for a handler at the `Gate`; never for a length of time.
A service that ends while somebody waits for its lines fails that wait with everything it said. Nothing outlives the block.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import orjson
import trio

import support.echo
from tars.actors.mqtt.pulse import Pulse

PATIENCE_S: Final = float(os.environ.get("TEST_PATIENCE_S", "20"))
"""How long a wait may take. A soak on a machine that does other things besides needs more than a test."""
CLIENT: Final = "robot7"
"""The service's name, client id and source, unless a test says otherwise."""
HEALTH: Final = f"system/health/{CLIENT}"

Tables = Mapping[str, Any]


# -- the config -----------------------------------------------------------------------------------


def config(port: int, tables: Tables | None = None, actors: Tables | None = None) -> dict[str, Any]:
    """A config for the broker at `port`: quick to reconnect, verbose; `tables` are laid over it, table by table."""
    base: dict[str, Any] = {
        "application": "tars.actors.service:application",
        "service": {"name": CLIENT},
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}", "backoff": {"initial_s": 0.02, "max_s": 0.1}},
        "log": {"level": "debug", "format": "json"},
        "actors": dict(actors or {}),
    }
    for name, table in (tables or {}).items():
        base[name] = {**base[name], **table} if isinstance(base.get(name), dict) else table
    return base


def echo_actor(journal: Path, gate: Gate | None = None, *, topic: str = "in/{key}", reply: str = "out", **more: Any) -> dict[str, Any]:
    """``[actors.NAME]`` for an `Echo` that listens to `topic`."""
    settings = {"journal": str(journal), "gate_port": gate.port if gate else 0, "reply": reply}
    return {"use": "echo:Echo", "topics": {"in/{key}": topic}, "settings": settings, **more}


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A table as TOML: strings, numbers, booleans and tables; what JSON writes of those, TOML reads."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"[{'.'.join(map(_quoted, path))}]"] if path else []
    lines += [f"{_quoted(key)} = {orjson.dumps(value).decode()}" for key, value in plain.items()]
    inner = [toml(value, (*path, key)) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join([*lines, "", *inner])


def _quoted(key: str) -> str:
    return orjson.dumps(key).decode()


# -- the gate -------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Gate:
    """Where handlers of another process wait for the test. `waiting` of them are there now; `arrived` came in all."""

    port: int = 0
    waiting: int = 0
    arrived: int = 0
    _is_open: trio.Event = attrs.field(factory=trio.Event)
    _changed: Pulse = attrs.field(factory=Pulse)

    def open(self) -> None:
        """Let everybody through, from now on."""
        self._is_open.set()

    def shut(self) -> None:
        """The end of `open`: hold those that come from now on."""
        self._is_open = trio.Event()

    def let_through(self) -> None:
        """Let those through that wait now, and hold those that come later."""
        self._is_open.set()
        self._is_open = trio.Event()

    async def holds(self, count: int) -> None:
        """Return when `count` handlers wait."""
        with trio.fail_after(PATIENCE_S):
            while self.waiting < count:
                await self._changed.wait()

    async def arrives(self, count: int) -> None:
        """Return when `count` have come in all."""
        with trio.fail_after(PATIENCE_S):
            while self.arrived < count:
                await self._changed.wait()

    async def hold(self, stream: trio.SocketStream) -> None:
        """One handler: until the gate is open, or the handler is gone."""
        self.waiting += 1
        self.arrived += 1
        self._changed.beat()
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(_gone, stream, nursery.cancel_scope)
                await self._is_open.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.waiting -= 1
            self._changed.beat()


async def _gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.receive_some(1)
    scope.cancel()


@asynccontextmanager
async def gated() -> AsyncIterator[Gate]:
    """A gate that is shut."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    gate = Gate(listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, gate.hold, [listener])
        yield gate
        nursery.cancel_scope.cancel()


# -- the process ----------------------------------------------------------------------------------


@attrs.define(eq=False)
class Child:
    """A running service. `lines`: its log so far, each as a dict; `stderr`: what it said there."""

    process: trio.Process
    lines: list[dict[str, Any]] = attrs.field(factory=list)
    stderr: str = ""
    _stdout: list[str] = attrs.field(factory=list)
    _over: bool = False
    _changed: Pulse = attrs.field(factory=Pulse)

    @property
    def stdout(self) -> str:
        """All it wrote there, `forget` aside."""
        return "".join(self._stdout)

    def forget(self, needless: Callable[[dict[str, Any]], bool]) -> None:
        """Drop lines that nobody will ask for, so that a long life needs no more memory than a short one."""
        self.lines = [line for line in self.lines if not needless(line)]
        self._stdout.clear()

    async def event(self, name: str, *, count: int = 1, **values: object) -> dict[str, Any]:
        """The `count`-th line of that event with these values, also if it is there already."""
        with trio.move_on_after(PATIENCE_S):
            while len(found := self.events(name, **values)) < count and not self._over:
                await self._changed.wait()
        if len(found) < count:
            state = "the service ended" if self._over else f"{PATIENCE_S:g} s passed"
            raise AssertionError(f"{state} without {count} x {name} {values}:\n{self.stdout[-6000:]}\n{self.stderr}")
        return found[count - 1]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds; it is asked again with each of its lines."""
        with trio.move_on_after(PATIENCE_S):
            while not condition() and not self._over:
                await self._changed.wait()
        if not condition():
            raise AssertionError(f"no {what}:\n{self.stdout[-6000:]}\n{self.stderr}")

    async def ends(self) -> None:
        """Return when it has ended, however long that takes."""
        while not self._over:
            await self._changed.wait()

    def events(self, name: str, **values: object) -> list[dict[str, Any]]:
        """Every such line so far."""
        wanted = {"event": name, **values}
        return [line for line in self.lines if wanted.items() <= line.items()]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exited(self) -> int:
        """The exit code (-9 after SIGKILL), when everything it said has been read."""
        with trio.fail_after(PATIENCE_S):
            while not self._over:
                await self._changed.wait()
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.exited()

    async def read(self) -> None:
        """Read what it says until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_stderr)
            stdout = self.process.stdout
            assert stdout is not None
            rest = b""
            async for chunk in stdout:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._add(line)
        self._over = True
        self._changed.beat()

    def _add(self, line: bytes) -> None:
        self._stdout.append(line.decode() + "\n")
        self.lines.append(orjson.loads(line))
        self._changed.beat()

    async def _read_stderr(self) -> None:
        stderr = self.process.stderr
        assert stderr is not None
        async for chunk in stderr:
            self.stderr += chunk.decode()


@asynccontextmanager
async def service(folder: Path, table: Tables, name: str = "service") -> AsyncIterator[Child]:
    """Run a service with this config (see `config`) in `folder`, with `support.echo` beside it as the module ``echo``."""
    shutil.copyfile(support.echo.__file__, folder / "echo.py")
    file = folder / f"{name}.toml"
    file.write_text(toml(table))
    async with started(folder, file) as child:
        yield child


@asynccontextmanager
async def started(folder: Path, file: Path, environ: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """Run the service of the config `file` in `folder`; `environ` is laid over this process's, without its MQTT_ and LOG_ variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MQTT_", "LOG_"))}
    command = [sys.executable, "-m", "tars.supervisor", str(file)]
    process = await trio.lowlevel.open_process(
        command, cwd=folder, env={**kept, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child = Child(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.read)
            yield child
            if process.poll() is None:
                process.kill()
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()
