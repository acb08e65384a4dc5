"""A service as an AsyncAPI 3.0 document: every document is valid, and says what the service hears and says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from support.asyncapi import found, problems, refusals
from tars.actors import Actor, Context, every, publishes, subscribe
from tars.actors.asyncapi import document, flows
from tars.actors.commands.asyncapi import described
from tars.actors.contracts import Envelope, UnknownEventType, decode_json, encode, wrap_now
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.declared import declared_by
from tars.actors.definition import define
from tars.actors.service_config import ServiceConfig
from tars.actors.settings import (
    ActorSettings,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
    TlsTable,
)
from tars.actors.url import parse_mqtt_url

ROUTER = Path(__file__).parents[2] / "config" / "router.toml"


@attrs.frozen
class Temperature:
    """How warm it is, in ``celsius``."""

    celsius: float
    taken_by: Sensor | None = None


@attrs.frozen
class Sensor:
    serial: int


@attrs.frozen
class Heat:
    room: str


@subscribe("sensors/{room}/temp")
@publishes("alarm.heat", Heat, topic="alarms/{room}", retain=True)
async def climate(event: Temperature, ctx: Context) -> None:
    """Sound the alarm when it is hot.

    Not twice.
    """


@subscribe("door/#", qos=0)
async def raw(event: bytes) -> None: ...


@subscribe("+/x/{a}/+")
async def wild(event: dict[str, Any]) -> None: ...


@subscribe("$share/workers/jobs/+")
async def shared(event: Envelope) -> None: ...


@subscribe("stt/final")
async def hears(event: FinalTranscript) -> None: ...


@every(1.0)
async def clock(ctx: Context) -> None: ...


class Talker(Actor):
    """Two handlers of one topic, and two kinds of answer."""

    @subscribe("in", qos=0)
    async def first(self, event: Temperature) -> None: ...

    @publishes("character.update")
    @publishes("tts.say")
    @subscribe("in", qos=1)
    async def second(self, event: dict[str, Any]) -> None: ...


def config(url: str = "mqtt://broker", *, protocol: Any = "5", heard: bool = False, **tables: Any) -> ServiceConfig:
    """A service that does not speak for itself unless it is `heard`."""
    settled = ServiceConfig(
        service=ServiceSettings("robot7"),
        mqtt=MqttSettings(),
        broker=BrokerSettings(),
        health=HealthSettings(enabled=heard),
        heartbeat=HeartbeatSettings(enabled=heard),
        dedup=DedupSettings(),
        store=StoreSettings(),
        actors={},
        url=parse_mqtt_url(url),
        protocol=protocol,
        client_id="robot7",
        source="robot7",
    )
    return attrs.evolve(settled, **tables)


def made(*uses: Any, of: ServiceConfig | None = None, topics: dict[str, str] | None = None) -> dict[str, Any]:
    """The document of these actors, each named as in its code; it is valid."""
    names = [use.__name__.lower() for use in uses]
    definitions = [define(name, use, topics=topics) for name, use in zip(names, uses, strict=True)]
    declared = {name: declared_by(use) for name, use in zip(names, uses, strict=True)}
    settled = config() if of is None else of
    settled = attrs.evolve(settled, actors={name: ActorSettings("some:thing", topics=topics or {}) for name in names})
    whole = document(settled, flows(settled, definitions, declared), version="1.2.3")

    assert [] == problems(whole)
    return whole


def channel_of(whole: dict[str, Any], address: str) -> dict[str, Any]:
    (channel,) = [each for each in whole["channels"].values() if each["address"] == address]
    assert isinstance(channel, dict)
    return channel


def spoken(whole: dict[str, Any]) -> set[tuple[str, str, int, bool | None]]:
    """Action, address, QoS and retain flag of each operation."""
    return {
        (each["action"], found(whole, each["channel"]["$ref"])["address"], binding["qos"], binding.get("retain"))
        for each in whole["operations"].values()
        for binding in [each["bindings"]["mqtt"]]
    }


def messages_of(whole: dict[str, Any], operation: str) -> list[str]:
    return [each["$ref"].rpartition("/")[2] for each in whole["operations"][operation]["messages"]]


# -- the checker ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "change", "why"),
    [
        ("#/info", lambda at: at.pop("version"), "'version' is a required property"),
        ("#/channels/stt.final", lambda at: at.update(topic="x"), "$.channels['stt.final']: "),
        ("#/operations/hears.receive.stt.final", lambda at: at.update(action="publish"), "$.operations['hears.receive.stt.final']: "),
        ("#/operations/hears.receive.stt.final/bindings/mqtt", lambda at: at.update(qos=3), "$.operations['hears.receive.stt.final']: "),
        ("#/components/schemas", lambda at: at.pop("Sensor"), "#/components/schemas/Sensor leads nowhere"),
        ("#/channels/sensors.room.temp", lambda at: at.pop("parameters"), "its address names ['room'], its parameters []"),
        (
            "#/operations/hears.receive.stt.final",
            lambda at: at.update(channel={"$ref": "#/channels/alarms.room"}),
            "is not its channel's",
        ),
        (
            "#/components/messages/stt.final",
            lambda at: at["examples"][0]["payload"]["data"].pop("text"),
            "stt.final: an example is refused: 'text' is a required property",
        ),
    ],
)
def test_the_checker_finds_what_is_wrong(at: str, change: Callable[[Any], object], why: str) -> None:
    whole = json.loads(json.dumps(made(climate, hears)))
    change(found(whole, at))

    assert any(why in problem for problem in problems(whole))


# -- the router -----------------------------------------------------------------------------------


def test_the_router_s_document_is_valid_and_says_all_it_hears_and_says() -> None:
    whole = described(ROUTER, {}, version="1")

    assert [] == problems(whole)
    assert {
        *(("receive", each, 1, None) for each in ("stt/final", "llm/stream", "llm/response", "llm/cancel", "wake/event", "tts/status")),
        ("receive", "movement/status", 0, None),
        ("receive", "system/health/tars-stt", 1, None),
        ("receive", "system/health/tars-tts", 1, None),
        *(("send", each, 1, False) for each in ("tts/say", "llm/request", "llm/cancel", "movement/test", "system/keepalive/tars-router")),
        ("send", "system/health/router", 1, True),
        ("send", "system/health/tars-router", 1, True),
    } == spoken(whole)


# -- who and where --------------------------------------------------------------------------------


def test_a_service_without_actors_says_only_how_it_is() -> None:
    whole = made(of=config(heard=True))

    assert {("send", "system/health/robot7", 1, True), ("send", "system/keepalive/robot7", 1, False)} == spoken(whole)
    assert ["health.status"] == messages_of(whole, "service.send.system.health.robot7")
    assert ["system.keepalive.bare"] == messages_of(whole, "service.send.system.keepalive.robot7")
    will = whole["servers"]["broker"]["bindings"]["mqtt"]["lastWill"]
    assert ("system/health/robot7", 1, True) == (will["topic"], will["qos"], will["retain"])


def test_dead_letters_that_are_published_are_any_bytes_on_their_topic() -> None:
    whole = made(of=config(store=StoreSettings(publish_dead_letters=True)))

    assert {("send", "system/dead-letter/robot7", 1, False)} == spoken(whole)
    assert 1 == len(messages_of(whole, "service.send.system.dead-letter.robot7"))


def test_a_service_that_says_nothing_and_hears_nothing_has_a_document_too() -> None:
    whole = made(clock)

    assert ({}, {}) == (whole["channels"], whole["operations"])
    assert ("3.0.0", "urn:tars:robot7", "robot7", "1.2.3") == (
        whole["asyncapi"],
        whole["id"],
        whole["info"]["title"],
        whole["info"]["version"],
    )


@pytest.mark.parametrize(
    ("of", "host", "protocol", "version", "security"),
    [
        (config("mqtt://host"), "host:1883", "mqtt", "5.0", []),
        (config("mqtt://host:7", protocol="3.1.1"), "host:7", "mqtt", "3.1.1", []),
        (config("mqtts://me:hunter2%40@host"), "host:8883", "secure-mqtt", "5.0", ["userPassword"]),
        (config("mqtts://[::1]", mqtt=MqttSettings(tls=TlsTable(ca_file=Path("ca")))), "[::1]:8883", "secure-mqtt", "5.0", []),
        (
            config("mqtts://hunter2@host", mqtt=MqttSettings(url="mqtts://hunter2@host", tls=TlsTable(cert_file=Path("hunter2")))),
            "host:8883",
            "secure-mqtt",
            "5.0",
            ["certificate", "userPassword"],
        ),
    ],
)
def test_the_broker_is_there_and_how_to_get_in_but_no_credential(
    of: ServiceConfig, host: str, protocol: str, version: str, security: Sequence[str]
) -> None:
    whole = made(raw, of=of)
    server = whole["servers"]["broker"]

    assert (host, protocol, version) == (server["host"], server["protocol"], server["protocolVersion"])
    assert [{"$ref": f"#/components/securitySchemes/{name}"} for name in security] == server.get("security", [])
    assert "hunter2" not in json.dumps(whole)


def test_user_properties_are_there_where_the_protocol_has_them() -> None:
    with_them, without = made(hears), made(hears, of=config(protocol="3.1.1"))

    assert {"message-id", "causation-id"} == set(found(with_them, "#/components/schemas/UserProperties/properties"))
    assert "UserProperties" not in json.dumps(without)
    assert "sessionExpiryInterval" not in json.dumps(without)


# -- topics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "address", "parameters", "topic_filter"),
    [
        (climate, "sensors/{room}/temp", ["room"], "sensors/+/temp"),
        (raw, "door/{rest}", ["rest"], "door/#"),
        (wild, "{level1}/x/{a}/{level4}", ["a", "level1", "level4"], "+/x/+/+"),
        (shared, "jobs/{level2}", ["level2"], "$share/workers/jobs/+"),
        (hears, "stt/final", [], "stt/final"),
    ],
)
def test_a_wildcard_is_a_parameter_and_the_filter_stands_beside_it(
    use: Any, address: str, parameters: list[str], topic_filter: str
) -> None:
    whole = made(use)
    channel = channel_of(whole, address)

    assert parameters == list(channel.get("parameters", {}))
    assert [topic_filter] == [each["x-mqtt-filter"] for each in whole["operations"].values() if each["action"] == "receive"]


def test_a_parameter_gets_another_name_where_its_own_is_taken_or_not_ascii() -> None:
    @subscribe("{rest}/{größe}/#")
    async def it(event: bytes) -> None: ...

    assert ["level2", "rest", "rest_"] == list(channel_of(made(it), "{rest}/{level2}/{rest_}")["parameters"])


def test_the_same_topics_are_one_channel_whatever_their_handlers_call_a_level() -> None:
    @subscribe("a/+")
    async def one(event: bytes) -> None: ...

    @subscribe("a/{x}", qos=0)
    async def two(event: Temperature) -> None: ...

    @subscribe("$share/g/a/+", qos=0)
    async def three(event: bytes) -> None: ...

    whole = made(one, two, three)

    assert ["Temperature", "Temperature.bare", "raw"] == list(channel_of(whole, "a/{x}")["messages"])
    assert {"one.receive.a.x": 1, "two.receive.a.x": 1, "three.receive.a.x": 0} == {
        name: each["bindings"]["mqtt"]["qos"] for name, each in whole["operations"].items()
    }


def test_a_renamed_topic_is_where_it_is_and_carries_what_it_carried() -> None:
    whole = made(hears, topics={"stt/final": "robot7/{x}/final"})

    assert ["stt.final", "stt.final.bare"] == list(channel_of(whole, "robot7/{x}/final")["messages"])


def test_braces_that_are_part_of_a_topic_are_no_parameter() -> None:
    @publishes("tts.say")
    @subscribe("in")
    async def it(event: bytes) -> None: ...

    whole = made(it, topics={"tts/say": "a{b}"})

    assert ("send", "a%7Bb%7D", 1, False) in spoken(whole)


# -- messages -------------------------------------------------------------------------------------


def test_an_event_is_read_in_an_envelope_and_bare_as_the_codec_does() -> None:
    whole = made(hears)
    bare = decode_json(encode(FinalTranscript(text="hello")))
    enveloped = decode_json(encode(wrap_now("stt.final", {"text": "hello"}, source="me")))

    assert ["stt.final", "stt.final.bare"] == messages_of(whole, "hears.receive.stt.final")
    assert ([], []) == (refusals(whole, "stt.final", enveloped), refusals(whole, "stt.final.bare", bare))
    assert [] != refusals(whole, "stt.final", bare)
    assert [] != refusals(whole, "stt.final.bare", enveloped)
    assert [] != refusals(whole, "stt.final", {**attrs.asdict(wrap_now("stt.final", {"txt": "hello"}, source="me"))})
    assert 2 == sum("examples" in each for each in whole["components"]["messages"].values())


def test_any_object_is_read_as_a_dict_and_an_envelope_as_an_envelope() -> None:
    whole = made(wild, shared)
    envelope = attrs.asdict(wrap_now("a.b", {"c": 1}, source="me"))

    assert ["envelope", "object.bare"] == messages_of(whole, "wild.receive.level1.x.a.level4")
    assert ["envelope"] == messages_of(whole, "shared.receive.jobs.level2")
    assert ([], []) == (refusals(whole, "envelope", envelope), refusals(whole, "object.bare", {"a": 1}))
    assert [] != refusals(whole, "object.bare", envelope)


def test_a_raw_message_is_any_bytes() -> None:
    assert {
        "raw": {
            "name": "raw",
            "summary": "Any bytes.",
            "contentType": "application/octet-stream",
            "headers": {"$ref": "#/components/schemas/UserProperties"},
        }
    } == made(raw)["components"]["messages"]


def test_a_model_of_an_author_s_has_its_schema_with_its_parts_and_docstring() -> None:
    schemas = made(climate)["components"]["schemas"]

    assert {"Envelope", "Heat", "Sensor", "Temperature", "UserProperties"} == set(schemas)
    assert "How warm it is, in `celsius`." == schemas["Temperature"]["description"]
    assert {"anyOf": [{"$ref": "#/components/schemas/Sensor"}, {"type": "null"}], "default": None} == schemas["Temperature"]["properties"][
        "taken_by"
    ]


def test_two_models_of_one_name_are_two_schemas() -> None:
    other = attrs.make_class("Temperature", {"kelvin": attrs.field(type=float)})

    @subscribe("kelvin")
    async def second(event: other) -> None: ...  # type: ignore[valid-type]

    second.__annotations__["event"] = other
    whole = made(climate, second)

    assert {"kelvin"} == set(whole["components"]["schemas"]["Temperature"]["properties"])
    assert {"celsius", "taken_by"} == set(whole["components"]["schemas"]["Temperature-2"]["properties"])
    assert [] == refusals(whole, "Temperature.bare", {"kelvin": 1.0})


def test_what_is_declared_is_sent_with_its_retain_flag_and_from_where() -> None:
    whole = made(climate)
    operation = whole["operations"]["climate.send.alarms.room"]

    assert {
        "action": "send",
        "channel": {"$ref": "#/channels/alarms.room"},
        "tags": [{"name": "actor:climate"}],
        "bindings": {"mqtt": {"bindingVersion": "0.2.0", "qos": 1, "retain": True}},
        "messages": [{"$ref": "#/channels/alarms.room/messages/alarm.heat"}],
    } == operation
    assert "Sound the alarm when it is hot." == whole["operations"]["climate.receive.sensors.room.temp"]["summary"]


def test_what_the_registry_knows_needs_neither_topic_nor_class() -> None:
    whole = made(Talker)

    assert ["tts.say"] == messages_of(whole, "talker.send.tts.say")
    assert ["character.update", "character.update-2"] == messages_of(whole, "talker.send.character.update")
    assert {"talker.receive.in.first", "talker.receive.in.second"} == {name for name in whole["operations"] if "receive" in name}
    assert {1} == {whole["operations"][f"talker.receive.in.{each}"]["bindings"]["mqtt"]["qos"] for each in ("first", "second")}


def test_an_event_nobody_knows_the_topic_of_is_an_error() -> None:
    @publishes("alarm.heat")
    @subscribe("in")
    async def it(event: bytes) -> None: ...

    with pytest.raises(UnknownEventType):
        made(it)


# -- always the same ------------------------------------------------------------------------------


def test_the_order_of_actors_in_the_config_changes_nothing() -> None:
    uses = [climate, raw, wild, shared, hears, Talker]

    assert json.dumps(made(*uses)) == json.dumps(made(*reversed(uses)))
