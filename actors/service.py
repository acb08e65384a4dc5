"""An MQTT service, wired: from the config to the tree that runs. Read it top to bottom to see who knows whom.

    root                one_for_one
    ├── store           dead letters on disk
    ├── journal         which messages are in hand, for the next process
    ├── recording       the dedup window on disk; only if durable
    ├── watch           notices a blocked event loop
    └── service         rest_for_one
        ├── broker      only if embedded
        ├── handlers    one_for_one, one child per actor in the config; with lanes, a supervisor of them
        ├── pipeline    rest_for_one: dedup, dispatcher
        ├── link        one_for_all: connection, heartbeat      up when handlers are ready, stops before them
        └── replay      dead letters that were asked for again

The link starts when everything behind it can take messages and stops first; it drains. A link failure restarts
the link only. Mailboxes, the in-flight table and the ledgers belong to the `estate` and outlive every incarnation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import structlog

from tars.supervisor import BRUTAL, Backoff, ChildSpec, Config, Strategy, SupervisorSpec, watch_loop
from tars.supervisor.render import event_logger

from .actor_tree import actor_spec
from .contracts.health import TOPIC_SYSTEM_KEEPALIVE_PREFIX
from .definition import ActorDefinition
from .estate import Estate
from .loading import apply_environment, load_actors
from .mqtt.aiomqtt_transport import AiomqttTransport
from .mqtt.connection import connection
from .mqtt.connection_ports import Ports
from .mqtt.dedup import DedupPorts, dedup
from .mqtt.dispatcher import DispatchPorts, dispatcher
from .mqtt.embedded import embedded_broker
from .mqtt.health import HealthTopic
from .mqtt.heartbeat import Beats, heartbeat
from .mqtt.journaling import journaling
from .mqtt.recording import recording
from .mqtt.replay import ReplayPorts, replay
from .mqtt.store import store
from .mqtt.transport import ConnectSettings, TlsSettings, Transport
from .service_config import ServiceConfig, read_service_config

_DISK: Final = Backoff(max_s=5.0)
"""Of what needs the disk: nothing may be acknowledged before it works, so room that is back is noticed soon."""
GOODBYE_S: Final = 3.0
"""What the link may take beyond `drain_s`: the actors' `stopping`, the last publishes, the DISCONNECT."""


def application(config: Config) -> SupervisorSpec:
    """What ``application = "tars.actors.service:application"`` names. Raises `ConfigError` with every mistake."""
    settings, definitions = _read(config)
    return wire(settings, definitions, transport=AiomqttTransport()).spec


def _read(config: Config) -> tuple[ServiceConfig, Sequence[ActorDefinition]]:
    apply_environment(config)
    settings = read_service_config(config)
    definitions = load_actors(config, settings.actors)
    config.finish()
    return settings, definitions


@attrs.frozen(eq=False)
class Service:
    """The tree and what it works on. Tests and tools look at `estate`; the process runs `spec`."""

    spec: SupervisorSpec
    estate: Estate


def wire(
    config: ServiceConfig,
    definitions: Sequence[ActorDefinition],
    *,
    transport: Transport,
    emit: Callable[[Any], None] | None = None,
) -> Service:
    """Build a service; nothing runs yet. `emit` gets the MQTT side's events, by default the log."""
    estate = Estate.make(config, definitions, emit or event_logger(structlog.get_logger()))
    return Service(_tree(config, definitions, estate, transport), estate)


def rewire(estate: Estate, config: ServiceConfig, definitions: Sequence[ActorDefinition], *, transport: Transport) -> SupervisorSpec:
    """Bring a running service's estate in line with another config; returns what to reconfigure its tree to, at once."""
    estate.adapt(config, definitions)
    return _tree(config, definitions, estate, transport)


def _reload(estate: Estate, transport: Transport, config: Config) -> SupervisorSpec:
    """The tree of another config, on the same estate. Raises `ConfigError`, and nothing has changed then."""
    settings, definitions = _read(config)
    return rewire(estate, settings, definitions, transport=transport)


def _tree(config: ServiceConfig, definitions: Sequence[ActorDefinition], estate: Estate, transport: Transport) -> SupervisorSpec:
    """Each `made_from` names what a child must be restarted for when it changes; all else it reads off the estate."""
    service = SupervisorSpec(
        "service",
        [
            *_broker(config),
            SupervisorSpec("handlers", [actor_spec(config, definition, estate) for definition in definitions]),
            SupervisorSpec("pipeline", _pipeline(estate), strategy=Strategy.REST_FOR_ONE),
            SupervisorSpec("link", _link(config, estate, transport), strategy=Strategy.ONE_FOR_ALL, backoff=config.mqtt.backoff.policy),
            _replay(config, estate),
        ],
        strategy=Strategy.REST_FOR_ONE,
    )
    state = [_store(config, estate), _journal(config, estate), *_recording(config, estate)]
    return SupervisorSpec("root", [*state, _watch(estate), service], reload=functools.partial(_reload, estate, transport))


def _store(config: ServiceConfig, estate: Estate) -> ChildSpec:
    start = functools.partial(
        store,
        config.service.state_dir,
        estate.to_store,
        max_dead_letters=config.store.max_dead_letters,
        on_state=functools.partial(estate.health.report, "store"),
        last_call=estate.last_call,
    )
    return ChildSpec("store", start, backoff=_DISK, made_from=(config.service.state_dir, config.store))


def _journal(config: ServiceConfig, estate: Estate) -> ChildSpec:
    state_dir = config.service.state_dir
    return ChildSpec("journal", functools.partial(journaling, state_dir, estate.journal), made_from=state_dir)


def _recording(config: ServiceConfig, estate: Estate) -> list[ChildSpec]:
    if not config.dedup.durable:
        return []
    on_state = functools.partial(estate.health.report, "dedup window")
    start = functools.partial(recording, config.service.state_dir, estate.recorder, on_state=on_state)
    return [ChildSpec("recording", start, backoff=_DISK, made_from=config.service.state_dir)]


def _watch(estate: Estate) -> ChildSpec:
    return ChildSpec("watch", functools.partial(watch_loop, estate.loop_state), shutdown_s=BRUTAL, made_from="watch")


def _broker(config: ServiceConfig) -> list[ChildSpec]:
    if not config.broker.embedded:
        return []
    place = (config.url.host, config.url.port)
    return [ChildSpec("broker", functools.partial(embedded_broker, *place), made_from=place)]


def _pipeline(estate: Estate) -> list[ChildSpec]:
    to_dedup = DedupPorts(
        table=estate.table,
        window=estate.window,
        usable=estate.recorder.usable,
        arrivals=estate.arrivals,
        admitted=estate.admitted,
        letters=estate.letters,
        sequences=estate.sequences,
    )
    to_dispatch = DispatchPorts(
        table=estate.table,
        arrivals=estate.arrivals,
        admitted=estate.admitted,
        matcher=estate.matcher,
        boxes=estate.boxes,
        lanes=estate.lanes,
        requests=estate.requests,
        reply_filters=estate.filters.replies,
        letters=estate.letters,
        emit=estate.emit,
        alarm=estate.alarm,
    )
    return [
        ChildSpec("dedup", functools.partial(dedup, to_dedup), made_from="dedup"),
        ChildSpec("dispatcher", functools.partial(dispatcher, to_dispatch), made_from="dispatcher"),
    ]


def _link(config: ServiceConfig, estate: Estate, transport: Transport) -> list[ChildSpec]:
    health_topic = HealthTopic(config.client_id, config.source, enabled=config.health.enabled)
    settings = connect_settings(config, health_topic)
    ports = Ports(
        transport=transport,
        settings=settings,
        table=estate.table,
        arrivals=estate.arrivals,
        outbox=estate.outbox,
        urgent=estate.urgent,
        dead_letters=estate.letter_topic.waiting,
        state=estate.link,
        filters=estate.filters,
        requests=estate.requests,
        health=estate.health,
        health_topic=health_topic,
        drain=estate.drain,
        letters=estate.letters,
        emit=estate.emit,
        drain_s=config.service.drain_s,
        inbound_qos0=config.mqtt.inbound_qos0,
        acks_in_order=config.mqtt.ack_order == "arrival",
    )
    made_from = (attrs.evolve(settings, will=None), health_topic, ports.drain_s, ports.inbound_qos0, ports.acks_in_order)
    stops_in_s = config.service.drain_s + GOODBYE_S
    link = [ChildSpec("connection", functools.partial(connection, ports), shutdown_s=stops_in_s, made_from=made_from)]
    if config.heartbeat.enabled:
        beats = Beats(
            topic=f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{config.client_id}",
            urgent=estate.urgent,
            state=estate.link,
            interval_s=config.heartbeat.interval_s,
            deadline_s=config.heartbeat.deadline_s,
        )
        link.append(ChildSpec("heartbeat", functools.partial(heartbeat, beats), made_from=(config.heartbeat, config.client_id)))
    return link


def _replay(config: ServiceConfig, estate: Estate) -> ChildSpec:
    ports = ReplayPorts(
        table=estate.table,
        actors=estate.actors,
        admitted=estate.admitted,
        outbox=estate.outbox,
        to_store=estate.to_store,
        under_way=estate.replays,
        emit=estate.emit,
    )
    return ChildSpec("replay", functools.partial(replay, config.service.state_dir, ports), made_from=config.service.state_dir)


def connect_settings(config: ServiceConfig, health_topic: HealthTopic) -> ConnectSettings:
    """The CONNECT of this config."""
    tls = None
    if config.url.tls:
        files = config.mqtt.tls
        paths = {name: str(path) for name, path in attrs.asdict(files).items() if path is not None} if files is not None else {}
        tls = TlsSettings(**paths)
    return ConnectSettings(
        host=config.url.host,
        port=config.url.port,
        client_id=config.client_id,
        protocol=config.protocol,
        username=config.url.username,
        password=config.url.password,
        tls=tls,
        keepalive_s=config.mqtt.keepalive_s,
        session_expiry_s=config.mqtt.session_expiry_s,
        receive_maximum=config.mqtt.receive_maximum,
        connect_timeout_s=config.mqtt.connect_timeout_s,
        will=health_topic.will(),
    )
