"""Links to the broker in memory that are not quite right: ``running(actor, transport=links(lambda number, link: Mine(link)))``.

A test says what each connection, counted from 1, gives its service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import attrs

from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.transport import ConnectSettings, Link, Transport

Made: TypeAlias = Callable[[int, Link], Any]  # a Link, as far as the service can see


class Around:
    """What a subclass does not do itself, the link it stands around does."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)


@attrs.define
class _Links:
    broker: MemoryBroker
    made: Made
    count: int = 0

    @asynccontextmanager
    async def connect(self, settings: ConnectSettings) -> AsyncIterator[Link]:
        async with MemoryTransport(self.broker).connect(settings) as link:
            self.count += 1
            yield self.made(self.count, link)


def links(made: Made) -> Callable[[MemoryBroker], Transport]:
    """For `running`: what connects to its broker."""
    return lambda broker: _Links(broker, made)


def silent_at(number: int) -> Callable[[MemoryBroker], Transport]:
    """For `running`: its broker falls silent right after the CONNACK of that connection, until it is thawed."""

    def transport(broker: MemoryBroker) -> Transport:
        def made(count: int, link: Link) -> Link:
            if count == number:
                broker.freeze()
            return link

        return _Links(broker, made)

    return transport
