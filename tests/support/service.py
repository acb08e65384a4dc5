"""A whole service on the broker in memory, in virtual time: ``async with running(Echo) as world: ...``.

It is the tree that `wire` builds and a process would run, with differences. The store keeps its letters in memory, nobody watches
the event loop, and a durable dedup window is written in place: these work in threads, and the mock clock jumps while a thread
works. The heartbeat is off unless the config says otherwise, so that only what a test does happens.

Laws: every wait wakes on what happens, never polls, and gives up after `PATIENCE_S` of virtual time. Use it with the
``autojump_clock`` fixture.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import orjson
import trio
import trio.testing

from tars.actors.definition import ActorDefinition, define
from tars.actors.estate import Estate
from tars.actors.mqtt.dead_letter import DeadLetter, StoreItem, ToStore
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.memory_watch import Published
from tars.actors.mqtt.pulse import Pulse
from tars.actors.mqtt.recording import OpenWindow
from tars.actors.mqtt.transport import Transport
from tars.actors.mqtt.window_file import open_window
from tars.actors.service import rewire, wire
from tars.actors.service_config import ServiceConfig
from tars.actors.settings import (
    ActorSettings,
    BackoffTable,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
)
from tars.actors.testing import event as enveloped
from tars.actors.url import BrokerUrl
from tars.supervisor import (
    Changes,
    ChildSpec,
    Escalate,
    ExitReason,
    Mailbox,
    Overflow,
    RestartIntensityExceeded,
    Supervisor,
    SupervisorSpec,
    Unavailable,
    supervise,
    trap_exit,
)

T = TypeVar("T")
Tables = Mapping[str, Mapping[str, Any]]
Change = Callable[[Any], Any]

CLIENT: Final = "robot7"
"""The service's name, client id and source."""
HEALTH: Final = f"system/health/{CLIENT}"
PATIENCE_S: Final = 20_000.0
"""Virtual seconds; more than the longest park."""


@attrs.define(eq=False)
class Seen:
    """What actors of a test saw, in order; the test waits for it."""

    items: list[Any] = attrs.field(factory=list)
    _changed: Pulse = attrs.field(factory=Pulse, init=False)

    def add(self, item: Any) -> None:
        self.items.append(item)
        self._changed.beat()

    def count(self, item: Any) -> int:
        return self.items.count(item)

    async def until(self, count: int) -> list[Any]:
        """All there is, as soon as there are `count`."""
        with trio.fail_after(PATIENCE_S):
            while len(self.items) < count:
                await self._changed.wait()
        return self.items


@attrs.define(eq=False)
class MemoryStore:
    """The store's actor, without a disk. While `fault` says something it does not work, for that reason.

    `open_window` opens the durable dedup window, which is on disk all the same, as the journal is, if asked for.
    """

    letters: list[DeadLetter] = attrs.field(factory=list)
    fault: str | None = None
    open_window: OpenWindow = open_window
    journal: bool = False
    changed: Pulse = attrs.field(factory=Pulse, init=False)

    def fail(self, fault: str) -> None:
        self.fault = fault
        self.changed.beat()

    def mend(self) -> None:
        self.fault = None

    async def start(
        self,
        _state_dir: Path,
        mailbox: Mailbox[StoreItem],
        *,
        max_dead_letters: int,
        on_state: Callable[[str | None], None],
        last_call: Callable[[], None] = lambda: None,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """As `tars.actors.mqtt.store.store`."""
        request = trap_exit()
        task_status.started()
        async with mailbox.custody() as custody:
            while True:
                if self.fault is not None:
                    on_state(self.fault)
                    raise Unavailable(self.fault)
                on_state(None)
                if request.reason is ExitReason.SHUTDOWN:
                    last_call()
                for taken in custody.receive_nowait(max_dead_letters):
                    if isinstance(taken.item, ToStore):
                        self.letters.append(taken.item.letter)
                    custody.done(taken)
                    taken.item.on_stored()
                    self.changed.beat()
                if request.is_set():
                    return
                await _first_of(custody.wait, request.wait, self.changed.wait)

    async def until(self, count: int) -> list[DeadLetter]:
        """All letters, as soon as there are `count`."""
        with trio.fail_after(PATIENCE_S):
            while len(self.letters) < count:
                await self.changed.wait()
        return self.letters


async def _first_of(*waits: Callable[[], Any]) -> None:
    async def one(wait: Callable[[], Any], scope: trio.CancelScope) -> None:
        await wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        for wait in waits:
            nursery.start_soon(one, wait, nursery.cancel_scope)


@attrs.define(eq=False)
class World:
    """A running service and everything around it. `failure`: what the tree ended with, if it did."""

    broker: MemoryBroker
    store: MemoryStore
    events: list[Any] = attrs.field(factory=list)
    failure: BaseException | None = None
    estate: Estate = attrs.field(init=False)
    supervisor: Supervisor = attrs.field(init=False)
    transport: Transport = attrs.field(init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _happened: Pulse = attrs.field(factory=Pulse, init=False)
    _failure_is_expected: bool = attrs.field(default=False, init=False)

    # -- the world outside ------------------------------------------------------------------------

    async def deliver(
        self,
        topic: str,
        data: Mapping[str, Any] | bytes = b"",
        *,
        qos: int = 1,
        envelope: bool = True,
        message_id: str | None = None,
        envelope_id: str | None = None,
        retain: bool = False,
    ) -> str:
        """Publish as an outside client: `data` in an envelope, or as plain JSON, or bytes as they are. Returns the envelope's id."""
        envelope_id = envelope_id or f"e{next(self._numbers)}"
        if isinstance(data, bytes):
            payload = data
        else:
            payload = enveloped("test.event", dict(data), message_id=envelope_id) if envelope else orjson.dumps(data)
        properties = () if message_id is None else (("message-id", message_id),)
        self.broker.deliver(topic, payload, qos, retain=retain, user_properties=properties)
        await trio.lowlevel.checkpoint()
        return envelope_id

    async def published(self, topic: str, count: int = 1) -> list[Published]:
        """The first `count` publishes the broker took whose topic matches."""
        with trio.fail_after(PATIENCE_S):
            return await self.broker.wait_published(topic, count=count)

    def said(self, topic: str) -> list[Published]:
        """What the broker took on `topic` so far."""
        return [entry for entry in self.broker.published if entry.topic == topic]

    async def health(self, event: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th health message that says `event`."""
        with trio.fail_after(PATIENCE_S):
            found = await self.broker.wait_published(
                HEALTH, count=count, where=lambda entry: orjson.loads(entry.payload)["data"]["event"] == event
            )
        ping: dict[str, Any] = orjson.loads(found[-1].payload)["data"]
        return ping

    async def acked(self, count: int) -> tuple[int, ...]:
        """The first `count` packet ids the service acknowledged, as soon as there are as many."""
        with trio.fail_after(PATIENCE_S):
            return await self.broker.wait_acked(CLIENT, count)

    @property
    def unacked(self) -> list[str]:
        """The topics of what the service has been sent and has not acknowledged, in order."""
        return [entry.topic for entry in self.broker.unacked(CLIENT).values()]

    # -- the service ------------------------------------------------------------------------------

    def emit(self, event: Any) -> None:
        self.events.append(event)
        self._happened.beat()

    async def event(self, cls: type[T], where: Callable[[T], bool] = lambda _: True, *, count: int = 1) -> T:
        """The `count`-th event of this class for which `where` is true, also if it has happened already."""
        with trio.fail_after(PATIENCE_S):
            while len(found := self.events_of(cls, where)) < count:
                await self._happened.wait()
        return found[count - 1]

    def events_of(self, cls: type[T], where: Callable[[T], bool] = lambda _: True) -> list[T]:
        """Every such event so far, in order."""
        return [each for each in self.events if isinstance(each, cls) and where(each)]

    async def up(self) -> None:
        """Return when the link is up."""
        with trio.fail_after(PATIENCE_S):
            await self.estate.link.wait_up()

    async def quiet(self) -> None:
        """Return when nobody has anything to do before the clock moves."""
        await trio.testing.wait_all_tasks_blocked()

    async def settled(self) -> None:
        """Return when everything delivered so far is settled, and what was QoS 1 is acknowledged."""
        with trio.fail_after(PATIENCE_S):
            while True:
                await self.quiet()
                await self.estate.table.wait_empty()
                await self.broker.wait_until(lambda: not self.broker.unacked(CLIENT) and not self.broker.sessions[CLIENT].queued)
                await self.quiet()
                if not len(self.estate.table):
                    return

    async def reload(self, *uses: Any, config: Tables | None = None, actors: Tables | None = None) -> Changes:
        """Go on with these actors and tables, given as to `running`, as SIGHUP would."""
        with trio.fail_after(PATIENCE_S):
            spec = rewire(self.estate, *_read(uses, config or {}, actors or {}), transport=self.transport)
            return await self.supervisor.reconfigure(_adapted(spec, self.store, {}))

    async def stop(self) -> None:
        """Stop the service as SIGTERM would; returns when nothing of it runs."""
        with trio.fail_after(PATIENCE_S):
            await self.supervisor.stop()
            await self.ended.wait()

    async def over(self) -> BaseException:
        """What the tree fails with. A test that does not ask fails with it."""
        self._failure_is_expected = True
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()
        assert self.failure is not None
        return self.failure

    async def run(self, spec: SupervisorSpec, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        """Run the tree; what it fails with is kept for `over`."""
        try:
            await supervise(spec, self.emit, chance=lambda: 0.0, task_status=task_status)
        except (Escalate, RestartIntensityExceeded, BaseExceptionGroup) as failure:
            self.failure = failure
        finally:
            self.ended.set()

    async def finish(self) -> None:
        if not self.ended.is_set():
            await self.stop()
        if self.failure is not None and not self._failure_is_expected:
            raise self.failure


@asynccontextmanager
async def running(
    *uses: Any,
    config: Tables | None = None,
    actors: Tables | None = None,
    broker: MemoryBroker | None = None,
    transport: Callable[[MemoryBroker], Transport] = MemoryTransport,
    store: MemoryStore | None = None,
    state_dir: Path | None = None,
    ports: Mapping[str, Change] | None = None,
    up: bool = True,
) -> AsyncIterator[World]:
    """Run a service of these actors (classes or functions, each named like it, in lower case).

    `config` and `actors`: the tables of the config that are not as by default, the latter by actor. `ports`: by the id of a
    child, what gives its ports from those it would have: how a fault gets in. `up`: wait for the link. With a `state_dir` the
    store is the real one, on disk, and replays come from it: not for virtual time, which jumps while a thread works.
    """
    world = World(broker or MemoryBroker(), store or MemoryStore())
    if state_dir is not None:
        config = {**(config or {}), "service": {**(config or {}).get("service", {}), "state_dir": state_dir}}
    world.transport = transport(world.broker)
    service = wire(*_read(uses, config or {}, actors or {}), transport=world.transport, emit=world.emit)
    world.estate = service.estate
    spec = _adapted(service.spec, None if state_dir is not None else world.store, ports or {})
    async with trio.open_nursery() as nursery:
        world.supervisor = await nursery.start(functools.partial(world.run, spec))
        try:
            if up:
                await world.up()
            yield world
        finally:
            with trio.CancelScope(shield=True):
                await world.finish()


def _read(uses: Sequence[Any], config: Tables, actors: Tables) -> tuple[ServiceConfig, list[ActorDefinition]]:
    """What a file with these tables comes to."""
    settings = {use.__name__.lower(): _actor_settings(actors.get(use.__name__.lower(), {}), use) for use in uses}
    definitions = [
        define(name, use, settings=settings[name].settings, topics=settings[name].topics) for use, name in zip(uses, settings, strict=True)
    ]
    return _config(config, settings), definitions


def _actor_settings(table: Mapping[str, Any], use: Any) -> ActorSettings:
    return ActorSettings(use=f"test:{use.__qualname__}", **{**table, "overflow": Overflow(table.get("overflow", "dead_letter"))})


def _config(tables: Tables, actors: Mapping[str, ActorSettings]) -> ServiceConfig:
    mqtt = dict(tables.get("mqtt", {}))
    backoff = BackoffTable(**mqtt.pop("backoff", {}))
    return ServiceConfig(
        service=ServiceSettings(**{"name": CLIENT, **tables.get("service", {})}),
        mqtt=MqttSettings(backoff=backoff, **mqtt),
        broker=BrokerSettings(),
        health=HealthSettings(**tables.get("health", {})),
        heartbeat=HeartbeatSettings(**{"enabled": False, **tables.get("heartbeat", {})}),
        dedup=DedupSettings(**tables.get("dedup", {})),
        store=StoreSettings(**tables.get("store", {})),
        actors=actors,
        url=BrokerUrl("memory"),
        protocol="3.1.1" if mqtt.get("protocol") == "3.1.1" else "5",
        client_id=CLIENT,
        source=CLIENT,
    )


def _adapted(spec: SupervisorSpec, store: MemoryStore | None, ports: Mapping[str, Change]) -> SupervisorSpec:
    """The same tree, with the store in memory (None: on disk), without the watch, and with the ports a test wants."""
    children: list[ChildSpec | SupervisorSpec] = []
    for child in spec.children:
        if isinstance(child, SupervisorSpec):
            children.append(_adapted(child, store, ports))
        elif child.id == "store" and store is not None:
            assert isinstance(child.start, functools.partial)
            children.append(attrs.evolve(child, start=functools.partial(store.start, *child.start.args, **child.start.keywords)))
        elif child.id == "journal" and store is not None:
            if store.journal:
                children.append(attrs.evolve(child, start=functools.partial(child.start, elsewhere=at_once)))
        elif child.id == "recording" and store is not None:
            children.append(attrs.evolve(child, start=functools.partial(child.start, open_window=store.open_window, elsewhere=at_once)))
        elif child.id != "watch" and (child.id != "replay" or store is None):
            children.append(_with_ports(child, ports[child.id]) if child.id in ports else child)
    return attrs.evolve(spec, children=children)


async def at_once(work: Callable[[], T]) -> T:
    """What would be done in a thread is done here: the mock clock would not wait for it."""
    await trio.lowlevel.checkpoint()
    return work()


def _with_ports(child: ChildSpec, change: Change) -> ChildSpec:
    assert isinstance(child.start, functools.partial)
    return attrs.evolve(child, start=functools.partial(child.start.func, *map(change, child.start.args), **child.start.keywords))
