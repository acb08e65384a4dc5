"""An actor's part of the tree: one handler actor, or a supervisor of its lanes.

    handlers
    ├── climate         an actor with one lane
    └── robots          one with concurrency = 4: one_for_one, all asked to stop at once
        ├── 0
        ├── 1
        ├── 2
        └── 3

Law: a lane is a handler actor like any other, with a mailbox, an instance and a budget of its own. Only its name tells it.
"""

from __future__ import annotations

import functools
from typing import Final

import trio

from tars.supervisor import ChildSpec, SupervisorSpec

from .behaviour import behaviour_of
from .contracts import STANDARD
from .definition import ActorDefinition
from .estate import Estate
from .mqtt.box import ActorBox
from .mqtt.context import Voice
from .mqtt.handler import handler
from .mqtt.handler_ports import HandlerPorts
from .mqtt.lanes import Lanes
from .mqtt.permission import Permission
from .service_config import ServiceConfig

HANDLER_GRACE_S: Final = 1.0
"""A handler had the drain to finish in; once asked it has this long."""
LANES_GRACE_S: Final = 2 * HANDLER_GRACE_S
"""All lanes of an actor are gone by then, or one hangs in a thread: the actors beside it, and a reload, wait no longer."""


def actor_spec(config: ServiceConfig, definition: ActorDefinition, estate: Estate) -> ChildSpec | SupervisorSpec:
    """The child of ``handlers`` for one ``[actors.NAME]``. `made_from` names what it must be restarted for when it changes."""
    lanes, actor = estate.arranged(definition.name), config.actors[definition.name]
    voice = Voice(lanes.path, config.source, STANDARD, definition.topics, estate.outbox, estate.table, estate.filters, estate.requests)
    made_from = (actor.use, actor.topics, actor.settings, config.source, lanes)
    children = [
        ChildSpec(
            box.name.rpartition("/")[2],
            functools.partial(_lane, lanes, _ports(box, definition, voice, estate), estate),
            shutdown_s=HANDLER_GRACE_S,
            made_from=made_from,
        )
        for box in lanes.boxes
    ]
    if lanes.key is None:
        return children[0]
    return SupervisorSpec(definition.name, children, stops_together=True, shutdown_s=LANES_GRACE_S, made_from=lanes)


async def _lane(lanes: Lanes, ports: HandlerPorts, estate: Estate, *, task_status: trio.TaskStatus[None]) -> None:
    estate.enter(lanes)
    await handler(ports, task_status=task_status)


def _ports(box: ActorBox, definition: ActorDefinition, voice: Voice, estate: Estate) -> HandlerPorts:
    return HandlerPorts(
        box=box,
        behaviour=behaviour_of(definition, box.subscriptions),
        voice=voice,
        permission=Permission(box, estate.filters, estate.emit),
        table=estate.table,
        letters=estate.letters,
        drain=estate.drain,
        health=estate.health,
        journal=estate.journal,
        recorder=estate.recorder,
        emit=estate.emit,
    )
