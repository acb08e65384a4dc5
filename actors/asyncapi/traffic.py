"""What a service hears and says, read off its config and its actors: one `Flow` for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from tars.actors.contracts import STANDARD, Envelope, Pair, TopicRegistry
from tars.actors.contracts.catalogue import CATALOGUE, Entry
from tars.actors.contracts.health import TOPIC_SYSTEM_KEEPALIVE_PREFIX, HealthPing, HeartbeatPayload
from tars.actors.declared import Declared
from tars.actors.definition import ActorDefinition, SubscriptionDefinition
from tars.actors.mqtt.health import HealthTopic
from tars.actors.mqtt.letter_topic import PREFIX
from tars.actors.mqtt.topics import Template, TopicError, parse_template, plain_filter
from tars.actors.service_config import ServiceConfig

SERVICE: Final = "service"
"""Who says what no actor of the author's says."""

Form = Literal["enveloped", "bare", "raw"]
"""`enveloped`: in the five fields; `bare`: as a JSON object; `raw`: any bytes."""


@attrs.frozen(kw_only=True)
class Flow:
    """One kind of message one way. `owner`: an actor's name, or `SERVICE`; `function`: what handles it, "" for none.

    `models`: the classes the data may have, ``dict`` where any object will do, ``bytes`` for raw, `Envelope`. `event_type` "" is unknown.
    """

    action: Literal["receive", "send"]
    owner: str
    function: str = ""
    template: Template
    qos: int
    retain: bool = False
    event_type: str = ""
    models: tuple[type[Any], ...]
    forms: tuple[Form, ...]
    summary: str = ""


def flows(
    config: ServiceConfig,
    definitions: Sequence[ActorDefinition],
    declared: Mapping[str, Sequence[Declared]],
    *,
    registry: TopicRegistry = STANDARD,
) -> list[Flow]:
    """Everything, in an order that depends on nothing but what it says. `declared`: by actor.

    Raises `UnknownEventType` for a declared event that has no topic.
    """
    found = [
        *_of_service(config),
        *(_heard(definition, each, registry) for definition in definitions for each in definition.subscriptions),
        *(_said(definition, each, registry) for definition in definitions for each in declared.get(definition.name, ())),
    ]
    strongest: dict[tuple[str, str], int] = {}
    for flow in found:
        at = (flow.action, flow.template.filter)
        strongest[at] = max(flow.qos, strongest.get(at, 0))
    # The service subscribes to a filter once, at the highest QoS anybody asks for.
    settled = [attrs.evolve(flow, qos=strongest[flow.action, flow.template.filter]) if flow.action == "receive" else flow for flow in found]
    return sorted(settled, key=_order)


def _of_service(config: ServiceConfig) -> Iterator[Flow]:
    if config.health.enabled:
        topic = HealthTopic(config.client_id, config.source).topic
        pair = HealthPing.PAIR
        summary = "How this service is: ready, degraded, reconnected or shutdown; the broker says lost for it when it vanishes."
        yield _sent(SERVICE, pair, Template(topic), (HealthPing,), "enveloped", summary)
    if config.heartbeat.enabled:
        topic = f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{config.client_id}"
        pair = HeartbeatPayload.PAIR
        yield _sent(SERVICE, pair, Template(topic), (HeartbeatPayload,), "bare", "A sign of life, whose confirmation by the broker counts.")
    if config.store.publish_dead_letters:
        pair = Pair("", f"{PREFIX}{config.client_id}")
        summary = "What this service could not handle, or not send, as it was; why, in the user properties."
        yield _sent(SERVICE, pair, Template(pair.topic), (bytes,), "raw", summary)


def _sent(owner: str, pair: Pair, template: Template, models: tuple[type[Any], ...], form: Form, summary: str = "") -> Flow:
    return Flow(
        action="send",
        owner=owner,
        template=template,
        qos=pair.qos,
        retain=pair.retain,
        event_type=pair.event_type,
        models=models,
        forms=(form,),
        summary=summary,
    )


def _heard(definition: ActorDefinition, each: SubscriptionDefinition, registry: TopicRegistry) -> Flow:
    pair = _pair_of(_as_written(definition, each), registry)
    return Flow(
        action="receive",
        owner=definition.name,
        function=each.attribute or each.function.__name__,
        template=each.template,
        qos=each.qos,
        event_type="" if pair is None or each.event_type is bytes else pair.event_type,
        models=(each.event_type,),
        forms=_read_as(each.event_type),
        summary=_first_line(each.function),
    )


def _said(definition: ActorDefinition, each: Declared, registry: TopicRegistry) -> Flow:
    topic = registry.pair_of(each.event_type).topic if each.topic is None else each.topic
    pair = Pair(each.event_type, topic, each.qos, each.retain)
    renamed = definition.topics.get(topic)
    template = parse_template(topic) if renamed is None else Template(renamed)
    entry = entry_of(each.event_type)
    known = entry.contracts if entry is not None else (dict,)
    return _sent(definition.name, pair, template, known if each.model is None else (each.model,), "enveloped")


def _read_as(model: type[Any]) -> tuple[Form, ...]:
    """As `tars.actors.contracts.decode` takes messages."""
    if model is bytes:
        return ("raw",)
    return ("enveloped",) if model is Envelope else ("enveloped", "bare")


def _as_written(definition: ActorDefinition, each: SubscriptionDefinition) -> Template:
    """The subscription's template as it stands in the code: a renamed topic carries the same events."""
    for written, topic in definition.topics.items():
        try:
            if parse_template(topic) == each.template:
                return parse_template(written)
        except TopicError:  # a topic that is published to may have braces in it
            continue
    return each.template


def _pair_of(template: Template, registry: TopicRegistry) -> Pair | None:
    """The pair all of whose topics, or one of them, the template means; none if it may mean another pair's, too."""
    wanted = plain_filter(template.filter)
    exact = next((pair for pair in registry.pairs if not pair.names and pair.topic == wanted), None)
    fitting = (pair for pair in registry.pairs if pair.names and "#" not in wanted and pair.holds(wanted))
    return exact or next(fitting, None)


def entry_of(event_type: str) -> Entry | None:
    """The catalogue's word on an event type."""
    return next((entry for chapter in CATALOGUE for entry in chapter.entries if entry.pair.event_type == event_type), None)


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ").strip()


def _order(flow: Flow) -> tuple[object, ...]:
    models = [(model.__module__, model.__qualname__) for model in flow.models]
    who = (flow.action, flow.owner, flow.function, flow.event_type)
    return (flow.template.filter, flow.template.names, who, models, flow.qos, flow.retain)
