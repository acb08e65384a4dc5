"""``async with running("service.toml") as service: ...``: the tree that the process would run, the store on a disk included.

With three differences: its transport is listened to, and leads to a broker of the test's own; nobody watches the event
loop, since the clock may be virtual; and nobody looks for replays of dead letters.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio

from tars.actors.actor import Actor
from tars.actors.contracts import seal
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.transport import Outbound
from tars.actors.service import wire
from tars.supervisor import Escalate, RestartIntensityExceeded, Supervisor, SupervisorSpec, leaves, supervise

from .places import Place, place
from .reading import read
from .recorder import Recorder
from .running import Running
from .watched import Heard

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_QUICK: Final[Mapping[str, Any]] = MappingProxyType({"initial_s": 0.05, "max_s": 0.2})
"""``[mqtt.backoff]`` where a test really has to wait for it."""


@asynccontextmanager
async def running(
    *what: str | os.PathLike[str] | type[Actor] | Callable[..., Any],
    config: Mapping[str, Any] = _NOTHING,
    environ: Mapping[str, str] = _NOTHING,
    retained: Mapping[str, object] = _NOTHING,
    with_real: bool = False,
    broker: MemoryBroker | None = None,
    beside: Running | None = None,
) -> AsyncIterator[Running]:
    """Run a service: the one of a config file, or one of these actors, each called like its class or function in lower case.

    It is connected and subscribed when the block begins, and stopped as by SIGTERM at its end.

    `config`: tables laid over the file's, key by key, such as ``{"actors": {"alarm": {"max_attempts": 1}}}``. `environ`: the
    environment it sees, nothing of the real one. `retained`: what the broker holds for new subscribers, by topic: a contract or
    dict, which gets an envelope, or bytes. `with_real`: on a Mosquitto started for this test instead of the broker in memory.
    `broker`: one in memory, with limits of your own. `beside`: another service, on whose broker this one runs.

    Raises `ConfigError` (every mistake of the config), `MosquittoMissing`, and what the service gave up with, if nobody asked.
    """
    if (with_real or broker is not None) and beside is not None:
        raise TypeError("running(beside=...) runs on the other's broker, whichever that is; leave out with_real and broker")
    if with_real and broker is not None:
        raise TypeError("running() takes with_real=True or a broker in memory, not both")
    try:
        async with AsyncExitStack() as around:
            found = beside.place if beside is not None else await around.enter_async_context(place(with_real=with_real, memory=broker))
            for topic, data in retained.items():
                await found.publish(_retained(topic, data))
            service = await around.enter_async_context(_wired(found, what, config, environ))
            async with trio.open_nursery() as nursery:
                service.supervisor = await nursery.start(functools.partial(_run, service))
                try:
                    await service.wait_up()
                    yield service
                finally:
                    with trio.CancelScope(shield=True):
                        if not service.is_over:
                            await service.stop()
            if service.failure is not None and not service.failure_is_expected:
                raise service.failure
    except BaseExceptionGroup as group:
        # A failed assert in the block came through our nurseries; pytest shows it as it was raised.
        found_in = leaves(group)
        if len(found_in) > 1:
            raise
        raise found_in[0] from found_in[0].__cause__


@asynccontextmanager
async def _wired(found: Place, what: tuple[object, ...], config: Mapping[str, Any], environ: Mapping[str, str]) -> AsyncIterator[Running]:
    heard, client_id = Heard(), ""
    with tempfile.TemporaryDirectory(prefix="tars-state-") as state_dir:
        async with found.wire(lambda: client_id) as way:
            own: dict[str, Any] = {"service": {"state_dir": state_dir}, "mqtt": {"url": way.url}}
            if found.memory is None:
                own["mqtt"]["backoff"] = dict(_QUICK)
            settings, definitions = read(what, config, environ, own)
            client_id = settings.client_id
            recorder = Recorder(way.transport, way.fence, heard.beat.beat)
            service = wire(settings, definitions, transport=recorder, emit=heard.emit)
            yield Running(
                place=found,
                recorder=recorder,
                estate=service.estate,
                state_dir=Path(state_dir),
                client_id=client_id,
                heard=heard,
                cut_link=way.cut,
                spec=_unwatched(service.spec),
            )


async def _run(service: Running, *, task_status: trio.TaskStatus[Supervisor]) -> None:
    try:
        await supervise(service.spec, service.heard.emit, chance=lambda: 0.0, task_status=task_status)
    except (Escalate, RestartIntensityExceeded, BaseExceptionGroup) as failure:
        service.failure = failure
    finally:
        service.has_ended()


def _unwatched(spec: SupervisorSpec) -> SupervisorSpec:
    """Without those who look in a thread each second, of which an hour of virtual time has many: nobody asks a test for a replay."""
    children = [_without(child, "replay") if isinstance(child, SupervisorSpec) else child for child in spec.children]
    return _without(attrs.evolve(spec, children=children), "watch")


def _without(spec: SupervisorSpec, name: str) -> SupervisorSpec:
    return attrs.evolve(spec, children=[child for child in spec.children if child.id != name])


def _retained(topic: str, data: object) -> Outbound:
    if isinstance(data, bytes):
        return Outbound(topic, data, retain=True)
    return Outbound(topic, seal("test.event", data, source="test")[1], retain=True)
