"""A service whose children break when a test says so: the application of the configs in ``support.fault_stage``.

Laws: nothing of the tests is imported here; a copy of this file stands in the folder of the service, as an author's module
would. The tree is the one that every service runs, with a wire to trip around each start of a named child, and one child more
that blocks the event loop.

The environment says where the wires end, ``FAULTS=dedup:40001,one:40002,...``: at a ``Gate`` of the test. An incarnation that
the gate lets through crashes; whoever waits at the gate of ``loop`` blocks the loop, until the gate lets it through once more.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
import trio

from tars.actors.service import application as service_application
from tars.supervisor import BRUTAL, Backoff, ChildSpec, Config, SupervisorSpec

LOOP: Final = "loop"
_HOST: Final = "127.0.0.1"
_PATIENT: Final = 1000
"""Crashes that a supervisor allows in its period here: faults are far apart in life, not in a test."""
_SOON: Final = Backoff(initial_s=0.02, max_s=0.1)
"""... and what crashed is started again soon, for the same reason."""


class Crashed(Exception):
    """The test tripped the wire."""


def application(config: Config) -> SupervisorSpec:
    """A service's tree, with the wires."""
    pairs = (pair.split(":") for pair in os.environ["FAULTS"].split(","))
    ports = {name: int(port) for name, port in pairs}
    root = _wired(service_application(config), ports)
    blocker = ChildSpec("blocker", functools.partial(_blocker, ports[LOOP]), shutdown_s=BRUTAL)
    return attrs.evolve(root, children=[blocker, *root.children])


def _wired(spec: SupervisorSpec, ports: Mapping[str, int]) -> SupervisorSpec:
    children: list[ChildSpec | SupervisorSpec] = []
    for child in spec.children:
        if isinstance(child, SupervisorSpec):
            children.append(_wired(child, ports))
        elif child.id in ports:
            children.append(attrs.evolve(child, start=functools.partial(_until_tripped, child.start, ports[child.id])))
        else:
            children.append(child)
    return attrs.evolve(spec, children=children, max_restarts=_PATIENT, backoff=_SOON)


async def _until_tripped(start: Callable[..., Awaitable[Any]], port: int, *, task_status: trio.TaskStatus[Any]) -> None:
    """`start`, as it is; but it is cancelled, and crashes, when the gate lets it through."""
    crashes = False

    async def trip(wire: trio.SocketStream, scope: trio.CancelScope) -> None:
        nonlocal crashes
        await wire.receive_some(1)
        crashes = True
        scope.cancel()

    wire = await trio.open_tcp_stream(_HOST, port)
    try:
        async with wire, trio.open_nursery() as nursery:
            nursery.start_soon(trip, wire, nursery.cancel_scope)
            await start(task_status=task_status)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None  # as without the nursery
        raise
    if crashes:
        raise Crashed("the test says so")


async def _blocker(port: int, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    while True:
        async with await trio.open_tcp_stream(_HOST, port) as wire:
            await wire.receive_some(1)
        with socket.create_connection((_HOST, port)) as blocking:
            blocking.recv(1)  # nothing else happens in this process meanwhile
