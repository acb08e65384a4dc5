"""An MQTT service, wired: from the config to the tree that runs. Read it top to bottom to see who knows whom.

    root                one_for_one
    ├── store           dead letters on disk
    ├── watch           notices a blocked event loop
    └── service         rest_for_one
        ├── broker      only if embedded
        ├── handlers    one_for_one, one child per actor in the config
        ├── pipeline    rest_for_one: dedup, dispatcher
        └── link        one_for_all: connection, heartbeat      last up (handlers are ready), first to stop

The link starts when everything behind it can take messages and stops first; it drains. A link failure restarts
the link only. Mailboxes, the in-flight table and the ledgers are made here once and outlive every incarnation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import structlog
import trio

from tars.supervisor import BRUTAL, Backoff, ChildSpec, Config, LoopBlocked, LoopFree, Mailbox, Strategy, SupervisorSpec, watch_loop
from tars.supervisor.render import event_logger

from .contracts import STANDARD
from .contracts.health import TOPIC_SYSTEM_KEEPALIVE_PREFIX
from .definition import ActorDefinition
from .loading import apply_environment, load_actors
from .mqtt.aiomqtt_transport import AiomqttTransport
from .mqtt.behaviour import Behaviour, Method, Tick
from .mqtt.box import ActorBox
from .mqtt.connection import Ports, connection
from .mqtt.context import Context, Voice
from .mqtt.dead_letter import ToStore, Why
from .mqtt.dedup import DedupPorts, dedup
from .mqtt.dispatcher import DispatchPorts, dispatcher, evicted
from .mqtt.drain import Drain
from .mqtt.embedded import embedded_broker
from .mqtt.handler import HandlerPorts, handler
from .mqtt.health import Health, HealthTopic
from .mqtt.heartbeat import Beats, heartbeat
from .mqtt.in_flight import Delivery, InFlight, Work
from .mqtt.ledger import Ledger
from .mqtt.letters import Letters
from .mqtt.link_state import Filters, LinkState
from .mqtt.outgoing import Outgoing
from .mqtt.requests import Requests
from .mqtt.store import store
from .mqtt.subscription import Subscription
from .mqtt.topics import Matcher
from .mqtt.transport import ConnectSettings, TlsSettings, Transport
from .mqtt.window import DoneWindow
from .service_config import ServiceConfig, read_service_config
from .settings import ActorSettings

GOODBYE_S: Final = 3.0
"""What the link may take beyond `drain_s`: the actors' `stopping`, the last publishes, the DISCONNECT."""
HANDLER_GRACE_S: Final = 1.0
"""A handler had the drain to finish in; once asked it has this long."""


def application(config: Config) -> SupervisorSpec:
    """What ``application = "tars.actors.service:application"`` names. Raises `ConfigError` with every mistake."""
    apply_environment(config)
    settings = read_service_config(config)
    definitions = load_actors(config, settings.actors)
    config.finish()
    return wire(settings, definitions, transport=AiomqttTransport()).spec


@attrs.frozen(eq=False, kw_only=True)
class Service:
    """The tree and what it owns. Tests and tools look at the parts; the process runs `spec`."""

    spec: SupervisorSpec
    table: InFlight
    arrivals: Mailbox[Delivery]
    admitted: Mailbox[Delivery]
    outbox: Mailbox[Outgoing]
    urgent: Mailbox[Outgoing]
    letters: Mailbox[ToStore]
    boxes: Mapping[str, ActorBox]
    link: LinkState
    health: Health
    window: DoneWindow


def wire(
    config: ServiceConfig,
    definitions: Sequence[ActorDefinition],
    *,
    transport: Transport,
    emit: Callable[[Any], None] | None = None,
) -> Service:
    """Build the tree of a service; nothing runs yet. `emit` gets the MQTT side's events, by default the log."""
    emit = emit or event_logger(structlog.get_logger())
    window = DoneWindow(config.dedup.ttl_s, config.dedup.max_entries)
    table = InFlight(functools.partial(_settled, window, structlog.get_logger()))
    arrivals: Mailbox[Delivery] = Mailbox(math.inf)
    admitted: Mailbox[Delivery] = Mailbox(math.inf)
    to_store: Mailbox[ToStore] = Mailbox(math.inf)
    letters = Letters(to_store, table, emit)
    outbox: Mailbox[Outgoing] = Mailbox(config.mqtt.outbox, on_evicted=functools.partial(_unsent, letters))
    urgent: Mailbox[Outgoing] = Mailbox(math.inf)
    health, link, drain, requests = Health(), LinkState(), Drain(), Requests()
    subscriptions = [_subscription(definition.name, each) for definition in definitions for each in definition.subscriptions]
    filters = Filters(_strongest(subscriptions))
    boxes = {definition.name: _box(config, definition, subscriptions, table, letters) for definition in definitions}
    matcher: Matcher[Subscription] = Matcher()
    for subscription in subscriptions:
        matcher.add(subscription.template.filter, subscription)

    def handler_of(definition: ActorDefinition) -> ChildSpec:
        actor = config.actors[definition.name]
        voice = Voice(boxes[definition.name].path, config.source, STANDARD, definition.topics, outbox, table, filters, requests)
        ports = HandlerPorts(
            box=boxes[definition.name],
            behaviour=_behaviour(definition, boxes[definition.name].subscriptions),
            voice=voice,
            table=table,
            letters=letters,
            drain=drain,
            health=health,
            emit=emit,
            handler_timeout_s=actor.handler_timeout_s,
            max_attempts=actor.max_attempts,
        )
        return ChildSpec(definition.name, functools.partial(handler, ports), shutdown_s=HANDLER_GRACE_S)

    connection_ports = Ports(
        transport=transport,
        settings=_connect_settings(config),
        table=table,
        arrivals=arrivals,
        outbox=outbox,
        urgent=urgent,
        state=link,
        filters=filters,
        health=health,
        health_topic=HealthTopic(config.client_id, config.source, enabled=config.health.enabled),
        drain=drain,
        letters=letters,
        emit=emit,
        drain_s=config.service.drain_s,
        inbound_qos0=config.mqtt.inbound_qos0,
        acks_in_order=config.mqtt.ack_order == "arrival",
    )
    beats = Beats(
        topic=f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{config.client_id}",
        urgent=urgent,
        state=link,
        interval_s=config.heartbeat.interval_s,
        deadline_s=config.heartbeat.deadline_s,
    )
    dedup_ports = DedupPorts(table=table, window=window, arrivals=arrivals, admitted=admitted, letters=letters)
    dispatch_ports = DispatchPorts(
        table=table,
        admitted=admitted,
        matcher=matcher,
        boxes=boxes,
        requests=requests,
        reply_filters=filters.replies,
        letters=letters,
        emit=emit,
    )
    store_start = functools.partial(
        store,
        config.service.state_dir,
        to_store,
        max_dead_letters=config.store.max_dead_letters,
        on_state=functools.partial(health.report, "store"),
        last_call=functools.partial(_last_call, outbox, boxes),
    )

    watch = ChildSpec("watch", functools.partial(watch_loop, functools.partial(_loop_state, emit, health)), shutdown_s=BRUTAL)
    broker = [ChildSpec("broker", functools.partial(embedded_broker, config.url.host, config.url.port))] if config.broker.embedded else []
    handlers = SupervisorSpec("handlers", [handler_of(definition) for definition in definitions])
    pipeline = SupervisorSpec(
        "pipeline",
        [
            ChildSpec("dedup", functools.partial(dedup, dedup_ports)),
            ChildSpec("dispatcher", functools.partial(dispatcher, dispatch_ports)),
        ],
        strategy=Strategy.REST_FOR_ONE,
    )
    link_children = [ChildSpec("connection", functools.partial(connection, connection_ports), shutdown_s=config.service.drain_s + GOODBYE_S)]
    if config.heartbeat.enabled:
        link_children.append(ChildSpec("heartbeat", functools.partial(heartbeat, beats)))
    backoff = config.mqtt.backoff
    link_group = SupervisorSpec(
        "link",
        link_children,
        strategy=Strategy.ONE_FOR_ALL,
        backoff=Backoff(initial_s=backoff.initial_s, max_s=backoff.max_s, factor=backoff.factor),
    )
    service = SupervisorSpec("service", [*broker, handlers, pipeline, link_group], strategy=Strategy.REST_FOR_ONE)
    return Service(
        spec=SupervisorSpec("root", [ChildSpec("store", store_start), watch, service]),
        table=table,
        arrivals=arrivals,
        admitted=admitted,
        outbox=outbox,
        urgent=urgent,
        letters=to_store,
        boxes=boxes,
        link=link,
        health=health,
        window=window,
    )


def _settled(window: DoneWindow, log: Any, delivery: Delivery) -> None:  # noqa: ANN401 - structlog's loggers have no static type
    """Recorded done before it is acknowledged: a redelivery in between is recognised."""
    if delivery.recorded and delivery.succeeded:
        window.record(delivery.key, delivery.succeeded, trio.current_time())
    log.debug("message_settled", topic=delivery.inbound.topic, message_id=delivery.message_id, given=len(delivery.given))


def _loop_state(emit: Callable[[Any], None], health: Health, state: LoopBlocked | LoopFree) -> None:
    """While it is blocked nothing can be published: health tells afterwards, until the next restart of the process."""
    emit(state)
    if isinstance(state, LoopFree):
        health.report("event loop", f"was blocked for {state.blocked_s:.1f} s at {state.where}")


def _unsent(letters: Letters, outgoing: Outgoing, reason: str) -> None:
    """What a delivery said is said again when the broker redelivers it; the rest would be lost."""
    if not outgoing.repeatable:
        letters.outbound(outgoing, Why.DISCARDED, reason)


def _last_call(outbox: Mailbox[Outgoing], boxes: Mapping[str, ActorBox]) -> None:
    """The process ends, all actors but the store are gone: nothing that is still queued vanishes."""
    outbox.close("the service stopped before it could be sent")
    for box in boxes.values():
        box.mailbox.evict("discarded", oldest_first=True)


def _subscription(actor: str, definition: Any) -> Subscription:  # noqa: ANN401
    return Subscription(definition.id, actor, _path(actor), definition.template, definition.qos)


def _path(actor: str) -> str:
    return f"root/service/handlers/{actor}"


def _strongest(subscriptions: Sequence[Subscription]) -> dict[str, int]:
    """Each filter once, at the highest QoS anyone asks for."""
    strongest: dict[str, int] = {}
    for each in subscriptions:
        strongest[each.template.filter] = max(each.qos, strongest.get(each.template.filter, 0))
    return strongest


def _box(
    config: ServiceConfig, definition: ActorDefinition, subscriptions: Sequence[Subscription], table: InFlight, letters: Letters
) -> ActorBox:
    actor: ActorSettings = config.actors[definition.name]
    mailbox: Mailbox[Work] = Mailbox(math.inf, on_evicted=evicted(table, letters))  # a burst is no event: see dispatcher
    return ActorBox(
        name=definition.name,
        path=_path(definition.name),
        subscriptions=tuple(each for each in subscriptions if each.actor == definition.name),
        mailbox=mailbox,
        ledger=Ledger(actor.max_failures_in_a_row, actor.park_s),
        share=max(1, min(actor.mailbox, config.mqtt.receive_maximum // 2)),
        overflow=actor.overflow.value,
        overflow_after_s=actor.overflow_after_s,
    )


def _behaviour(definition: ActorDefinition, subscriptions: Sequence[Subscription]) -> Behaviour:
    """The author's class in the handler actor's terms."""
    by_id = {subscription.id: subscription for subscription in subscriptions}
    return Behaviour(
        make=definition.make,
        methods={
            each.id: Method(by_id[each.id], each.event_type, _caller(each, takes_event=True), is_async=each.is_async)
            for each in definition.subscriptions
        },
        ticks=tuple(Tick(each.id, each.every_s, _async(_caller(each, takes_event=False), is_async=each.is_async)) for each in definition.ticks),
        started=definition.started,
        stopping=definition.stopping,
    )


def _caller(definition: Any, *, takes_event: bool) -> Callable[..., Any]:  # noqa: ANN401
    """``call(instance, [event,] ctx)`` for a function that may not want `ctx`, or the instance."""
    wants_ctx = definition.wants_ctx

    def call(instance: Any, *rest: Any) -> Any:  # noqa: ANN401
        function = definition.bind(instance)
        arguments = rest if wants_ctx else rest[:1] if takes_event else ()
        return function(*arguments)

    return call


def _async(call: Callable[..., Any], *, is_async: bool) -> Callable[[Any, Context], Any]:
    if is_async:
        return call

    async def in_thread(instance: Any, ctx: Context) -> None:  # noqa: ANN401
        await trio.to_thread.run_sync(call, instance, ctx)

    return in_thread


def _connect_settings(config: ServiceConfig) -> ConnectSettings:
    tls = None
    if config.url.tls:
        files = config.mqtt.tls
        paths = {name: str(path) for name, path in attrs.asdict(files).items() if path is not None} if files is not None else {}
        tls = TlsSettings(**paths)
    health = HealthTopic(config.client_id, config.source, enabled=config.health.enabled)
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
        will=health.will(),
    )
