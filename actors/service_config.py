"""A service's whole config, read: every table, the environment over it, and what the tables must keep between them.

Law: every mistake is noted in the `Config`, none is raised, so that one report holds them all; hence nothing read here
means anything before ``config.finish()`` has passed. A password is in no repr and no message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from tars.supervisor.config import Config
from tars.supervisor.environment import Override, boolean, integer, number, text
from tars.supervisor.problem import Mismatch

from .settings import (
    ActorSettings,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
)
from .url import BrokerUrl, parse_mqtt_url

Protocol: TypeAlias = Literal["5", "3.1.1"]

EMBEDDED_URL: Final = BrokerUrl("127.0.0.1")
"""Where the embedded broker listens unless ``mqtt.url`` says otherwise."""


def _at_least(lowest: float) -> Callable[[str], float]:
    """A number with the lowest value that the variable always had; the file may go lower."""

    def parse(found: str) -> float:
        value = number(found)
        if value < lowest:
            raise Mismatch(f"a number >= {lowest:g}", value)
        return value

    return parse


ENVIRONMENT: Final = (
    Override("MQTT_URL", "mqtt.url", text),
    Override("MQTT_URL", "broker.embedded", lambda _: False),  # somebody else's broker is meant
    Override("MQTT_CLIENT_ID", "mqtt.client_id", text),
    Override("MQTT_SOURCE_NAME", "service.source", text),
    Override("MQTT_KEEPALIVE", "mqtt.keepalive_s", integer),
    Override("MQTT_ENABLE_HEALTH", "health.enabled", boolean),
    Override("MQTT_ENABLE_HEARTBEAT", "heartbeat.enabled", boolean),
    Override("MQTT_HEARTBEAT_INTERVAL", "heartbeat.interval_s", number),
    Override("MQTT_DEDUPE_TTL", "dedup.ttl_s", number),
    Override("MQTT_DEDUPE_MAX_ENTRIES", "dedup.max_entries", integer),
    Override("MQTT_RECONNECT_MIN_DELAY", "mqtt.backoff.initial_s", _at_least(0.1)),
    Override("MQTT_RECONNECT_MAX_DELAY", "mqtt.backoff.max_s", _at_least(0.5)),
)
"""The environment variables that replace values of the file."""


@attrs.frozen(kw_only=True)
class ServiceConfig:
    """Every table, and what they come to together.

    `url` is the broker's, also when it is embedded; `protocol` is what "auto" means here; `client_id` is the service's
    name unless set, `source` the client id unless set.
    """

    service: ServiceSettings
    mqtt: MqttSettings
    broker: BrokerSettings
    health: HealthSettings
    heartbeat: HeartbeatSettings
    dedup: DedupSettings
    store: StoreSettings
    actors: Mapping[str, ActorSettings]
    url: BrokerUrl
    protocol: Protocol
    client_id: str
    source: str


def read_service_config(config: Config) -> ServiceConfig:
    """Claim every table but ``[log]``, apply `ENVIRONMENT`, and note every mistake in `config`. Raises nothing."""
    config.override(*ENVIRONMENT)
    service = config.table("service", ServiceSettings)
    mqtt = config.table("mqtt", MqttSettings)
    broker = config.table("broker", BrokerSettings)
    dedup = config.table("dedup", DedupSettings)
    actors = config.tables("actors", ActorSettings)
    if not actors and isinstance(config.raw.get("actors", {}), dict):
        config.problem("actors", 'there is none; expected at least one [actors.NAME] with use = "package.module:Object"')
    embedded = isinstance(broker, BrokerSettings) and broker.embedded
    _check_service(config, service)
    _check_dedup(config, dedup)
    _check_mqtt(config, mqtt, embedded=embedded)
    _check_actors(config, mqtt, actors)
    url = _url(config, mqtt, required=isinstance(broker, BrokerSettings) and not embedded)
    _check_tls(config, mqtt, url, embedded=embedded)
    name = service.name if isinstance(service, ServiceSettings) else ""
    client_id = (mqtt.client_id if isinstance(mqtt, MqttSettings) else None) or name
    found = ServiceConfig(
        service=service,
        mqtt=mqtt,
        broker=broker,
        health=config.table("health", HealthSettings),
        heartbeat=config.table("heartbeat", HeartbeatSettings),
        dedup=dedup,
        store=config.table("store", StoreSettings),
        actors=MappingProxyType(actors),
        url=url or EMBEDDED_URL,
        protocol=_protocol(mqtt, embedded=embedded),
        client_id=client_id,
        source=(service.source if isinstance(service, ServiceSettings) else None) or client_id,
    )
    for key, value in (
        ("mqtt.url", found.url.redacted),
        ("mqtt.client_id", found.client_id),
        ("mqtt.protocol", found.protocol),
        ("service.source", found.source),
    ):
        config.comes_to(key, value)
    return found


# -- what tables must keep between them. One with mistakes is no instance of its class, and is passed over. ---------------


def _check_service(config: Config, service: ServiceSettings) -> None:
    if isinstance(service, ServiceSettings) and service.drain_s >= service.stop_deadline_s:
        limit = f"service.stop_deadline_s ({service.stop_deadline_s:g}), when the process is ended"
        config.problem("service.drain_s", f"must be less than {limit}; found {service.drain_s:g}")


def _check_dedup(config: Config, dedup: DedupSettings) -> None:
    if not isinstance(dedup, DedupSettings):
        return
    if dedup.durable and dedup.ttl_s == 0:
        config.problem("dedup.durable", "means nothing without dedup.ttl_s")
    if dedup.ttl_s > 0 and dedup.max_entries == 0:
        config.problem("dedup.max_entries", "must be > 0 while dedup.ttl_s is; ttl_s = 0 switches deduplication off")


def _check_mqtt(config: Config, mqtt: MqttSettings, *, embedded: bool) -> None:
    if not isinstance(mqtt, MqttSettings):
        return
    if embedded and mqtt.protocol == "5":
        config.problem("mqtt.protocol", 'the embedded broker speaks MQTT 3.1.1 only; take "auto", or another broker')
    backoff = mqtt.backoff
    if backoff.max_s < backoff.initial_s:
        config.problem("mqtt.backoff.max_s", f"must be >= mqtt.backoff.initial_s ({backoff.initial_s:g}); found {backoff.max_s:g}")


def share_of(actor: ActorSettings, receive_maximum: int, actors: int) -> int:
    """What one of so many actors may hold of the receive window for long: all of them hung together leave some."""
    return max(1, min(actor.mailbox, receive_maximum // (actors + 1)))


def _check_actors(config: Config, mqtt: MqttSettings, actors: Mapping[str, ActorSettings]) -> None:
    for name, actor in actors.items():
        if "/" in name:
            config.problem(("actors", name), 'must be a name without "/": it is a step of paths in the tree')
        if not isinstance(actor, ActorSettings) or actor.concurrency == 1:
            continue
        if actor.key is None:
            why = 'messages with the same key are handled in order, one at a time: "{topic}", "{topic[1]}", "{data.FIELD}" ...'
            config.problem(("actors", name, "key"), f"is missing, but concurrency is {actor.concurrency}; {why}")
        share = share_of(actor, mqtt.receive_maximum, len(actors)) if isinstance(mqtt, MqttSettings) else actor.concurrency
        if share < actor.concurrency:
            what = f"mailbox = {actor.mailbox}, mqtt.receive_maximum = {mqtt.receive_maximum} in {len(actors) + 1} parts, one to spare"
            problem = f"must be <= {share}, the actor's share of the messages under way ({what}); found {actor.concurrency}"
            config.problem(("actors", name, "concurrency"), problem)


def _url(config: Config, mqtt: MqttSettings, *, required: bool) -> BrokerUrl | None:
    if required and not config.has("mqtt.url"):
        config.problem("mqtt.url", 'is missing; expected "mqtt://host:1883", or [broker] embedded = true to try things out')
    return parse_mqtt_url(mqtt.url) if isinstance(mqtt, MqttSettings) and mqtt.url is not None else None


def _check_tls(config: Config, mqtt: MqttSettings, url: BrokerUrl | None, *, embedded: bool) -> None:
    if embedded and url is not None and url.tls:
        config.problem("mqtt.url", "the embedded broker speaks no TLS; expected mqtt://")
    tls = mqtt.tls if isinstance(mqtt, MqttSettings) else None
    if tls is None:
        return
    if embedded or (url is not None and not url.tls):
        config.problem("mqtt.tls", "is used with an mqtts:// url only" + (", and the embedded broker speaks no TLS" if embedded else ""))
    if tls.key_file is not None and tls.cert_file is None:
        config.problem("mqtt.tls.key_file", "means nothing without mqtt.tls.cert_file")
    for key, path in attrs.asdict(tls).items():
        if path is not None and not path.is_file():
            config.problem(("mqtt", "tls", key), f"there is no file {path}")


def _protocol(mqtt: MqttSettings, *, embedded: bool) -> Protocol:
    asked = mqtt.protocol if isinstance(mqtt, MqttSettings) else "auto"
    if asked == "auto":
        return "3.1.1" if embedded else "5"
    return asked
