"""The two trees of a `Connector`, wired from the actors of a service. Read it beside `tars.actors.service`."""

from __future__ import annotations

import functools
from typing import Any, Final

from tars.supervisor import ChildSpec, Strategy, SupervisorSpec

from .connector_estate import ConnectorEstate, Entry, Options
from .connector_parts import bury
from .contracts import STANDARD
from .contracts.health import TOPIC_SYSTEM_KEEPALIVE_PREFIX
from .mqtt.behaviour import Behaviour, Method
from .mqtt.connection import connection
from .mqtt.connection_ports import Ports
from .mqtt.context import Context, Voice
from .mqtt.dispatcher import DispatchPorts, dispatcher
from .mqtt.handler import handler
from .mqtt.handler_ports import HandlerPorts
from .mqtt.heartbeat import Beats, heartbeat
from .mqtt.transport import ConnectSettings, TlsSettings, Transport

GOODBYE_S: Final = 3.0
"""What the link may take beyond its drain: the last publishes, the DISCONNECT."""
CALLBACK_GRACE_S: Final = 1.0
"""A callback in progress had the drain to finish in; then it has this long, and is cancelled."""


def callback_tree(estate: ConnectorEstate) -> SupervisorSpec:
    """Who takes the dead letters stands first, and stops last; callbacks come and go."""
    return SupervisorSpec("callbacks", [ChildSpec("letters", functools.partial(bury, estate.to_store))])


def callback_child(estate: ConnectorEstate, entry: Entry) -> ChildSpec:
    """A service's handler, with two subscriptions: the callback's, and the marker behind which somebody waits."""

    async def passed(_instance: Any, marker: bytes, _ctx: Context) -> None:
        entry.passed(marker)

    methods = {
        entry.route.id: Method(entry.route, bytes, entry.calls.call),
        entry.marker.id: Method(entry.marker, bytes, passed),
    }
    source = estate.options.status.source
    ports = HandlerPorts(
        box=entry.box,
        behaviour=Behaviour(make=_no_instance, methods=methods),
        voice=Voice(entry.box.path, source, STANDARD, {}, estate.outbox, estate.table, estate.filters, estate.requests),
        table=estate.table,
        letters=estate.letters,
        drain=estate.drain,
        health=estate.health,
        emit=estate.tell,
    )
    return ChildSpec(entry.box.name, functools.partial(handler, ports), shutdown_s=CALLBACK_GRACE_S)


def link_tree(estate: ConnectorEstate, transport: Transport) -> SupervisorSpec:
    """Reconnection is a restart of `link`, with backoff, without end."""
    options = estate.options
    to_dispatch = DispatchPorts(
        table=estate.table,
        arrivals=estate.arrivals,
        admitted=estate.arrivals,  # no dedup in between: the table itself knows what comes again in this session
        matcher=estate.matcher,
        boxes=estate.boxes,
        requests=estate.requests,
        reply_filters=estate.filters.replies,
        letters=estate.letters,
        emit=estate.tell,
        hold=estate.early.hold,
    )
    ports = Ports(
        transport=transport,
        settings=connect_settings(options),
        table=estate.table,
        arrivals=estate.arrivals,
        outbox=estate.outbox,
        urgent=estate.urgent,
        state=estate.link,
        filters=estate.filters,
        requests=estate.requests,
        health=estate.health,
        health_topic=options.status,
        drain=estate.drain,
        letters=estate.letters,
        emit=estate.tell,
        drain_s=min(CALLBACK_GRACE_S, options.drain_s),  # the connector itself has waited before
        inbound_qos0=options.mqtt.inbound_qos0,
        acks_in_order=options.mqtt.ack_order == "arrival",
    )
    link = [ChildSpec("connection", functools.partial(connection, ports), shutdown_s=ports.drain_s + GOODBYE_S)]
    if options.heartbeat.enabled:
        beats = Beats(
            topic=keepalive_topic(options.client_id),
            urgent=estate.urgent,
            state=estate.link,
            interval_s=options.heartbeat.interval_s,
            deadline_s=options.heartbeat.deadline_s,
        )
        link.append(ChildSpec("heartbeat", functools.partial(heartbeat, beats)))
    return SupervisorSpec(
        "link",
        [
            ChildSpec("dispatcher", functools.partial(dispatcher, to_dispatch)),
            SupervisorSpec("broker", link, strategy=Strategy.ONE_FOR_ALL, backoff=options.mqtt.backoff.policy),
        ],
        strategy=Strategy.REST_FOR_ONE,
    )


def keepalive_topic(client_id: str) -> str:
    """Where the beats go."""
    return f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{client_id}"


def connect_settings(options: Options) -> ConnectSettings:
    """The CONNECT, with the Will on the status topic."""
    mqtt, url = options.mqtt, options.url
    tls = None
    if url.tls:
        files = mqtt.tls
        paths = () if files is None else (files.ca_file, files.cert_file, files.key_file)
        tls = TlsSettings(*(None if path is None else str(path) for path in paths))
    return ConnectSettings(
        host=url.host,
        port=url.port,
        client_id=options.client_id,
        protocol="3.1.1" if mqtt.protocol == "3.1.1" else "5",
        username=url.username,
        password=url.password,
        tls=tls,
        keepalive_s=mqtt.keepalive_s,
        session_expiry_s=mqtt.session_expiry_s,
        receive_maximum=mqtt.receive_maximum,
        connect_timeout_s=mqtt.connect_timeout_s,
        will=options.status.will(),
    )


def _no_instance() -> None:
    """A callback is a function: nothing is made for it."""
