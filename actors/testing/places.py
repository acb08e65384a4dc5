"""Where a service under test finds its broker: in memory, or a real Mosquitto. Law: the test cannot tell the two apart."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

import attrs
import trio

from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.transport import ConnectSettings, Link, LinkLost, Outbound, Transport

from .cable import cable_to
from .clock import real_time, virtual_time
from .mosquitto import mosquitto, mosquitto_in, search_path
from .recorder import Recorder

Cut: TypeAlias = Callable[[], None]


@attrs.frozen(eq=False)
class Wire:
    """One service's way to the broker. `fence`: a topic of its own that nobody else subscribes; "" where none is needed."""

    url: str
    transport: Transport
    cut: Cut
    fence: str = ""


class Place(Protocol):
    """A broker, and a client of the test's own."""

    @property
    def memory(self) -> MemoryBroker | None:
        """The broker, if it is in memory."""
        ...

    def clock(self) -> AbstractContextManager[None]:
        """Sets trio's clock for it."""
        ...

    def wire(self, client_id: Callable[[], str]) -> AbstractAsyncContextManager[Wire]:
        """A new way to it, for the service whose client id `client_id` will tell."""
        ...

    async def publish(self, message: Outbound) -> None:
        """As an outside client; returns when the broker has it. Raises ValueError, LinkLost."""
        ...

    async def reached(self, recorder: Recorder, client_id: str) -> None:
        """Return when everything published so far has reached that service, which is connected."""
        ...


@attrs.frozen(eq=False)
class MemoryPlace:
    """The broker in memory."""

    memory: MemoryBroker

    def clock(self) -> AbstractContextManager[None]:
        """See `Place`."""
        return virtual_time()

    @asynccontextmanager
    async def wire(self, client_id: Callable[[], str]) -> AsyncIterator[Wire]:
        """See `Place`."""

        def cut() -> None:
            session = self.memory.sessions.get(client_id())
            if session is not None and session.connected:
                self.memory.drop_link(client_id())

        yield Wire("mqtt://memory", MemoryTransport(self.memory), cut)

    async def publish(self, message: Outbound) -> None:
        """See `Place`."""
        self.memory.deliver(message.topic, message.payload, message.qos, retain=message.retain, user_properties=message.user_properties)
        await trio.lowlevel.checkpoint()

    async def reached(self, recorder: Recorder, client_id: str) -> None:  # noqa: ARG002 - the broker itself can be asked
        """See `Place`. Nothing waits in the session, and nothing is unacknowledged."""
        await self.memory.wait_until(lambda: not self.memory.unacked(client_id) and not self.memory.sessions[client_id].queued)


@attrs.define(eq=False)
class RealPlace:
    """A Mosquitto on `port`, and `link`, the test's own connection to it."""

    port: int
    link: Link
    memory: MemoryBroker | None = None
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False)

    def clock(self) -> AbstractContextManager[None]:
        """See `Place`."""
        return real_time()

    @asynccontextmanager
    async def wire(self, client_id: Callable[[], str]) -> AsyncIterator[Wire]:  # noqa: ARG002 - each service has a port of its own
        """See `Place`."""
        async with cable_to(self.port) as cable:
            yield Wire(f"mqtt://127.0.0.1:{cable.port}", AiomqttTransport(), cable.cut, f"$tars-test/{cable.port}")

    async def publish(self, message: Outbound) -> None:
        """See `Place`."""
        if message.qos == 0:
            self.link.publish(message)
            await self.link.flush()
            return
        confirmed = trio.Event()
        self.link.publish(message, lambda _: confirmed.set())
        await confirmed.wait()

    async def reached(self, recorder: Recorder, client_id: str) -> None:  # noqa: ARG002 - what is sent last tells
        """See `Place`. A broker keeps the order of one client's messages: when the last is there, all are."""
        if not recorder.fenced:
            return  # it subscribes nothing
        payload = b"%d" % next(self._numbers)
        await self.publish(Outbound(recorder.fence, payload))
        while payload not in recorder.fences:
            await recorder.changed.wait()


@asynccontextmanager
async def place(*, with_real: bool, memory: MemoryBroker | None) -> AsyncIterator[Place]:
    """A broker for a test, and the clock that goes with it. Raises `MosquittoMissing`, `MosquittoFailed`."""
    if not with_real:
        found = MemoryPlace(memory or MemoryBroker())
        with found.clock():
            yield found
        return
    program = mosquitto_in(search_path())
    with real_time():
        async with mosquitto(program) as port, AiomqttTransport().connect(_ours(port)) as link, trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(_listen, link))
            yield RealPlace(port, link)
            nursery.cancel_scope.cancel()


def _ours(port: int) -> ConnectSettings:
    return ConnectSettings("127.0.0.1", port, "tars-test", session_expiry_s=0)


async def _listen(link: Link) -> None:
    """So that a lost connection is noticed: nothing else of it comes this way."""
    try:
        while True:
            await link.receive()
    except LinkLost as lost:
        raise RuntimeError(f"the test's own connection is gone: {lost}") from lost
