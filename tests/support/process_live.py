"""A wired service in this process, on the real transport and a real broker: ``async with live(tmp_path, config(...), Echo) as service:``.

It is the tree that a process would run, from the same kind of config; only the actors are the test's own classes and
functions, so that they may share events with it.

Law: a wait is for an event of the service, which may have happened already, and gives up after `PATIENCE_S`.
"""

from __future__ import annotations

import functools
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from support.process import PATIENCE_S, Tables, toml
from tars.actors.definition import define
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.pulse import Pulse
from tars.actors.mqtt.store_db import read_dead_letters
from tars.actors.mqtt.transport import Transport
from tars.actors.service import Service, wire
from tars.actors.service_config import read_service_config
from tars.supervisor import Config, Supervisor, supervise
from tars.supervisor.log import LogSettings, configure

T = TypeVar("T")


@attrs.define(eq=False)
class Live:
    """A running service. `events`: the tree's and the MQTT side's, in order."""

    state_dir: Path
    events: list[Any] = attrs.field(factory=list)
    service: Service = attrs.field(init=False)
    supervisor: Supervisor = attrs.field(init=False)
    _happened: Pulse = attrs.field(factory=Pulse, init=False)

    def emit(self, event: Any) -> None:
        self.events.append(event)
        self._happened.beat()

    def events_of(self, cls: type[T], where: Callable[[T], bool] = lambda _: True) -> list[T]:
        """Every such event so far, in order."""
        return [each for each in self.events if isinstance(each, cls) and where(each)]

    async def event(self, cls: type[T], where: Callable[[T], bool] = lambda _: True, *, count: int = 1) -> T:
        """The `count`-th event of this class for which `where` is true."""
        with trio.move_on_after(PATIENCE_S):
            while len(self.events_of(cls, where)) < count:
                await self._happened.wait()
        found = self.events_of(cls, where)
        if len(found) < count:
            raise AssertionError(f"no {count} of {cls.__name__} within {PATIENCE_S:g} s, but {self.events[-30:]}")
        return found[count - 1]

    async def settled(self) -> None:
        """Return when nothing that has arrived is in flight."""
        with trio.fail_after(PATIENCE_S):
            await self.service.estate.table.wait_empty()

    def dead_letters(self) -> list[Any]:
        """What the store holds on disk."""
        return [letter for _, letter in read_dead_letters(self.state_dir)]

    async def stop(self) -> None:
        """Stop as SIGTERM would."""
        with trio.fail_after(PATIENCE_S):
            await self.supervisor.stop()


@asynccontextmanager
async def live(
    folder: Path,
    table: Tables,
    *uses: Any,
    transport: Transport | None = None,
    up: bool = True,
    orderly: bool = True,
) -> AsyncIterator[Live]:
    """Run a service of these actors, each named like its class or function, in lower case. `up`: wait for the link.

    `orderly`: stop it in the end as SIGTERM would; otherwise it is cancelled.

    `table` is the config (see `support.process.config`); what it says of actors may leave out `use`.
    """
    names = [use.__name__.lower() for use in uses]
    actors = {name: {"use": "test:it", **table["actors"].get(name, {})} for name in names}
    state_dir = folder / "state"
    file = folder / "live.toml"
    file.write_text(toml({**table, "service": {**table["service"], "state_dir": str(state_dir)}, "actors": actors}))
    read = Config.load(file, {})
    read.raw.pop("application")
    read.raw.pop("log")
    settings = read_service_config(read)
    read.finish()
    definitions = [
        define(name, use, settings=settings.actors[name].settings, topics=settings.actors[name].topics)
        for name, use in zip(names, uses, strict=True)
    ]
    world = Live(state_dir)
    log = configure(LogSettings(level="info", format="json"), io.StringIO())
    try:
        world.service = wire(settings, definitions, transport=transport or AiomqttTransport(), emit=world.emit)
        async with trio.open_nursery() as nursery:
            world.supervisor = await nursery.start(functools.partial(supervise, world.service.spec, world.emit))
            try:
                if up:
                    with trio.fail_after(PATIENCE_S):
                        await world.service.estate.link.wait_up()
                yield world
            finally:
                if orderly:
                    with trio.CancelScope(shield=True):
                        await world.stop()
                nursery.cancel_scope.cancel()
    finally:
        log.close()
