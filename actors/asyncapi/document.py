"""The whole AsyncAPI 3.0 document, from a service's config and its flows. Pure: the same values give the same document."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from tars.actors.mqtt.health import HealthTopic
from tars.actors.mqtt.topics import plain_filter
from tars.actors.service_config import ServiceConfig

from .addresses import address
from .naming import Names
from .payloads import Components, messages_of
from .traffic import SERVICE, Flow

_BINDING: Final = "0.2.0"
_BROKER: Final = "broker"
_WILL: Final = 'health.status, with data {"ok": false, "event": "lost"}'
_ABOUT: Final = (
    "What this service hears and says over MQTT, as its config and its actors have it. Of what its actors publish, it holds what "
    "they declare. Every event is JSON in an envelope of five fields unless a message says otherwise."
)


def document(config: ServiceConfig, flows: Sequence[Flow], *, version: str) -> dict[str, Any]:
    """The document, as values for JSON. `version`: of the service's interface. No credentials are in it, only that there are some."""
    components = Components.of(flows, with_properties=config.protocol == "5")
    schemes = _security(config)
    channels, operations = _channels(flows, components)
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:tars:{config.service.name}",
        "info": {"title": config.service.name, "version": version, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {_BROKER: _server(config, schemes)},
        "channels": dict(sorted(channels.items())),
        "operations": dict(sorted(operations.items())),
        "components": components.document() | ({"securitySchemes": schemes} if schemes else {}),
    }


# -- the broker -----------------------------------------------------------------------------------


def _server(config: ServiceConfig, schemes: dict[str, Any]) -> dict[str, Any]:
    host = f"[{config.url.host}]" if ":" in config.url.host else config.url.host
    server: dict[str, Any] = {
        "host": f"{host}:{config.url.port}",
        "protocol": "secure-mqtt" if config.url.tls else "mqtt",
        "protocolVersion": "5.0" if config.protocol == "5" else config.protocol,
    }
    if config.broker.embedded:
        server["description"] = "Runs inside the service, for trying out: at most once across a lost link."
    if schemes:
        server["security"] = [{"$ref": f"#/components/securitySchemes/{name}"} for name in schemes]
    binding: dict[str, Any] = {
        "clientId": config.client_id,
        "cleanSession": False,
        "keepAlive": config.mqtt.keepalive_s,
    }
    if config.protocol == "5":
        binding["sessionExpiryInterval"] = config.mqtt.session_expiry_s
    will = HealthTopic(config.client_id, config.source, enabled=config.health.enabled).will()
    if will is not None:
        binding["lastWill"] = {"topic": will.topic, "qos": will.qos, "retain": will.retain, "message": _WILL}
    return {**server, "bindings": {"mqtt": {**binding, "bindingVersion": _BINDING}}}


def _security(config: ServiceConfig) -> dict[str, Any]:
    schemes: dict[str, Any] = {}
    if config.mqtt.tls is not None and config.mqtt.tls.cert_file is not None:
        schemes["certificate"] = {"type": "X509", "description": "A client certificate."}
    if config.url.username is not None or config.url.password is not None:
        schemes["userPassword"] = {"type": "userPassword", "description": "User name and password of the CONNECT."}
    return schemes


# -- channels and operations ----------------------------------------------------------------------


def _channels(flows: Sequence[Flow], components: Components) -> tuple[dict[str, Any], dict[str, Any]]:
    """One channel for each set of topics, whoever hears or says there; one operation for each flow."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    channel_names, operation_names = Names(), Names()
    by_filter = sorted(flows, key=lambda flow: plain_filter(flow.template.filter))
    for topics, grouped in groupby(by_filter, key=lambda flow: plain_filter(flow.template.filter)):
        there = list(grouped)
        key, channel = _channel(topics, there, components, channel_names)
        channels[key] = channel
        for flow in there:
            name = operation_names.of(flow, _operation_name(flow, key, there))
            operations[name] = _operation(flow, key, components)
    return channels, operations


def _channel(topics: str, there: Sequence[Flow], components: Components, names: Names) -> tuple[str, dict[str, Any]]:
    # Handlers may call the levels of one filter differently, or not at all: the first who names the most of them is quoted.
    where = address(max((flow.template for flow in there), key=lambda template: len(template.names)))
    keys = sorted({components.messages[message] for flow in there for message in messages_of(flow)})
    channel: dict[str, Any] = {"address": where.text}
    if where.parameters:
        channel["parameters"] = {name: {"description": words} for name, words in sorted(where.parameters.items())}
    channel["messages"] = {key: {"$ref": f"#/components/messages/{key}"} for key in keys}
    return names.of(topics, where.text), channel


def _operation_name(flow: Flow, channel: str, there: Sequence[Flow]) -> str:
    alike = [other for other in there if (other.owner, other.action) == (flow.owner, flow.action)]
    words = [flow.owner, flow.action, channel]
    if len(alike) > 1:
        words.append(flow.function or flow.event_type)
    return ".".join(word for word in words if word)


def _operation(flow: Flow, channel: str, components: Components) -> dict[str, Any]:
    operation: dict[str, Any] = {"action": flow.action, "channel": {"$ref": f"#/channels/{channel}"}}
    if flow.summary:
        operation["summary"] = flow.summary
    operation["tags"] = [{"name": flow.owner if flow.owner == SERVICE else f"actor:{flow.owner}"}]
    binding: dict[str, Any] = {"qos": flow.qos, "bindingVersion": _BINDING}
    if flow.action == "send":
        binding["retain"] = flow.retain
    operation["bindings"] = {"mqtt": dict(sorted(binding.items()))}
    operation["messages"] = [{"$ref": f"#/channels/{channel}/messages/{components.messages[each]}"} for each in messages_of(flow)]
    if flow.action == "receive":
        operation["x-mqtt-filter"] = flow.template.filter
    return operation
