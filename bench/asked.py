"""A service that answers, and its clients, through Mosquitto: for both ways to measure requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from .child import Child, Cores, child, python
from .contenders import Contender
from .scenario import mosquitto


@asynccontextmanager
async def asked(contender: Contender, cores: Cores, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[tuple[Child, Child]]:
    """The service and the clients (see `bench.clients`), both ready. Raises `Failed`."""
    async with mosquitto(cores, folder, environment) as port:
        command = contender.command(folder, port)
        async with (
            child(contender.name, command, core=cores.consumer, folder=folder, environment=environment) as service,
            child("the clients", python("bench.clients", port), core=cores.feeder, folder=folder, environment=environment) as clients,
        ):
            await service.line(contender.ready)
            await clients.words("connected")
            yield service, clients
