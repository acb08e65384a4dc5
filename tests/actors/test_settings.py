"""The service's config: defaults, ranges, the environment, what the tables keep between them, and no password in sight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tars.actors.service_config import EMBEDDED_URL, ServiceConfig, read_service_config
from tars.actors.settings import (
    ActorSettings,
    BackoffTable,
    BrokerSettings,
    DedupSettings,
    HealthSettings,
    HeartbeatSettings,
    MqttSettings,
    ServiceSettings,
    StoreSettings,
    TlsTable,
)
from tars.actors.url import BrokerUrl
from tars.supervisor import Backoff, Config, ConfigError, Overflow

SERVICE = "[service]\nname = 'router'\n"
URL = "[mqtt]\nurl = 'mqtt://host'\n"
ACTOR = "[actors.echo]\nuse = 'package.module:Object'\n"
EMBEDDED = "[broker]\nembedded = true\n"
GOOD = SERVICE + ACTOR + URL


def read(tmp_path: Path, toml: str, environ: Mapping[str, str] | None = None) -> tuple[Config, ServiceConfig]:
    path = tmp_path / "service.toml"
    path.write_text(toml, encoding="utf-8")
    config = Config.load(path, environ or {})
    return config, read_service_config(config)


def good(tmp_path: Path, toml: str, environ: Mapping[str, str] | None = None) -> ServiceConfig:
    config, service = read(tmp_path, toml, environ)
    config.finish()
    return service


def report(tmp_path: Path, toml: str, environ: Mapping[str, str] | None = None) -> list[str]:
    config, _ = read(tmp_path, toml, environ)
    with pytest.raises(ConfigError) as caught:
        config.finish()
    return list(caught.value.lines)


def test_a_short_file_gives_every_default(tmp_path: Path) -> None:
    service = good(tmp_path, GOOD)

    expected = ServiceConfig(
        service=ServiceSettings("router", None, Path("var/router"), 5.0, 9.0),
        mqtt=MqttSettings("mqtt://host", None, "auto", 60, 3600, 256, 10.0, 1000, 10_000, "settled", None, BackoffTable(0.5, 30.0, 2.0)),
        broker=BrokerSettings(embedded=False),
        health=HealthSettings(enabled=True),
        heartbeat=HeartbeatSettings(enabled=True, interval_s=5.0, deadline_s=2.0),
        dedup=DedupSettings(30.0, 100_000, durable=False),
        store=StoreSettings(10_000),
        actors={"echo": ActorSettings("package.module:Object", 64, Overflow.DEAD_LETTER, 1.0, 30.0, 3, 5, 30.0, 1, None, {}, {})},
        url=BrokerUrl("host", 1883),
        protocol="5",
        client_id="router",
        source="router",
    )

    assert expected == service
    assert Backoff(0.5, 30.0, 2.0, jitter=1.0) == service.mqtt.backoff.policy


def test_every_key_can_be_set(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    service = good(
        tmp_path,
        f"""
        [service]
        name = "r"
        source = "s"
        state_dir = "elsewhere"
        drain_s = 1
        stop_deadline_s = 2
        [mqtt]
        url = "mqtts://u:p%40@host"
        client_id = "c"
        protocol = "3.1.1"
        keepalive_s = 1
        session_expiry_s = 0
        receive_maximum = 65535
        connect_timeout_s = 0.5
        outbox = 1
        inbound_qos0 = 1
        ack_order = "arrival"
        [mqtt.tls]
        ca_file = "{tmp_path}/ca.pem"
        cert_file = "{tmp_path}/cert.pem"
        key_file = "{tmp_path}/key.pem"
        [mqtt.backoff]
        initial_s = 1
        max_s = 1
        factor = 1
        [broker]
        embedded = false
        [health]
        enabled = false
        [heartbeat]
        enabled = false
        interval_s = 1
        deadline_s = 3
        [dedup]
        ttl_s = 0
        max_entries = 0
        durable = false
        [store]
        max_dead_letters = 1
        publish_dead_letters = true
        [actors."front door"]
        use = "a:b"
        concurrency = 2
        key = "{{topic}}"
        mailbox = 2
        overflow = "drop_newest"
        overflow_after_s = 0
        handler_timeout_s = 0.1
        max_attempts = 1
        max_failures_in_a_row = 1
        park_s = 1
        topics = {{ "a/{{b}}" = "c/{{b}}" }}
        settings = {{ depth = {{ x = 1 }} }}
        """,
    )

    tls = TlsTable(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")

    assert ServiceSettings("r", "s", Path("elsewhere"), 1.0, 2.0) == service.service
    assert MqttSettings("mqtts://u:p%40@host", "c", "3.1.1", 1, 0, 65_535, 0.5, 1, 1, "arrival", tls, BackoffTable(1, 1, 1)) == service.mqtt
    assert (BrokerUrl("host", 8883, "u", "p@", tls=True), "3.1.1", "c", "s") == (
        service.url,
        service.protocol,
        service.client_id,
        service.source,
    )
    assert (HealthSettings(enabled=False), HeartbeatSettings(enabled=False, interval_s=1, deadline_s=3)) == (
        service.health,
        service.heartbeat,
    )
    assert (DedupSettings(0, 0), StoreSettings(1, publish_dead_letters=True)) == (service.dedup, service.store)
    assert {
        "front door": ActorSettings(
            "a:b", 2, Overflow.DROP_NEWEST, 0.0, 0.1, 1, 1, 1.0, 2, "{topic}", topics={"a/{b}": "c/{b}"}, settings={"depth": {"x": 1}}
        )
    } == service.actors


@pytest.mark.parametrize(
    ("toml", "environ", "expected"),
    [
        ("", {"MQTT_URL": "mqtt://other:1"}, {"url": BrokerUrl("other", 1), "protocol": "5"}),
        (EMBEDDED, {}, {"url": BrokerUrl("host"), "protocol": "3.1.1", "broker": BrokerSettings(embedded=True)}),
        (EMBEDDED, {"MQTT_URL": ""}, {"protocol": "3.1.1"}),
        (EMBEDDED, {"MQTT_URL": "mqtt://other"}, {"url": BrokerUrl("other"), "protocol": "5", "broker": BrokerSettings()}),
        ("", {"MQTT_CLIENT_ID": "c"}, {"client_id": "c", "source": "c"}),
        ("", {"MQTT_CLIENT_ID": "c", "MQTT_SOURCE_NAME": "s"}, {"client_id": "c", "source": "s"}),
        ("", {"MQTT_ENABLE_HEALTH": "off"}, {"health": HealthSettings(enabled=False)}),
        ("", {"MQTT_ENABLE_HEALTH": "No"}, {"health": HealthSettings(enabled=False)}),
        ("[health]\nenabled = false\n", {"MQTT_ENABLE_HEALTH": "1"}, {"health": HealthSettings()}),
        ("", {"MQTT_ENABLE_HEARTBEAT": "0"}, {"heartbeat": HeartbeatSettings(enabled=False)}),
        ("", {"MQTT_HEARTBEAT_INTERVAL": "1"}, {"heartbeat": HeartbeatSettings(interval_s=1.0)}),
        ("", {"MQTT_DEDUPE_TTL": "2.5", "MQTT_DEDUPE_MAX_ENTRIES": "7"}, {"dedup": DedupSettings(2.5, 7)}),
        ("", {"MQTT_DEDUPE_TTL": "0", "MQTT_DEDUPE_MAX_ENTRIES": "0"}, {"dedup": DedupSettings(0.0, 0)}),
    ],
)
def test_the_environment_beats_the_file(tmp_path: Path, toml: str, environ: dict[str, str], expected: dict[str, object]) -> None:
    service = good(tmp_path, GOOD + toml, environ)

    assert expected == {name: getattr(service, name) for name in expected}


def test_the_environment_reaches_the_mqtt_table(tmp_path: Path) -> None:
    environ = {"MQTT_KEEPALIVE": "30", "MQTT_RECONNECT_MIN_DELAY": "0.1", "MQTT_RECONNECT_MAX_DELAY": "5.0"}
    mqtt = good(tmp_path, GOOD, environ).mqtt

    assert (30, BackoffTable(0.1, 5.0)) == (mqtt.keepalive_s, mqtt.backoff)


def test_the_embedded_broker_needs_no_url(tmp_path: Path) -> None:
    service = good(tmp_path, SERVICE + ACTOR + EMBEDDED)

    assert (EMBEDDED_URL, "3.1.1", "mqtt://127.0.0.1:1883") == (service.url, service.protocol, service.url.redacted)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (ACTOR + URL, "service.name: is missing; expected a string"),
        ("[service]\nname = 'a/b'\n" + ACTOR + URL, "service.name: expected a name of letters, digits"),
        ("[service]\nname = '..'\n" + ACTOR + URL, "service.name: expected a name of letters, digits"),
        (SERVICE + "source = ''\n" + ACTOR + URL, "service.source: "),
        (SERVICE + "drain_s = 9\n" + ACTOR + URL, "service.drain_s: must be less than service.stop_deadline_s (9)"),
        (SERVICE + "drain_s = -1\n" + ACTOR + URL, "service.drain_s: expected a number >= 0, found -1"),
        (SERVICE + ACTOR, 'mqtt.url: is missing; expected "mqtt://host:1883", or [broker] embedded = true'),
        (SERVICE + ACTOR + "[mqtt]\nurl = ''\n", "mqtt.url: expected mqtt://host:port, or mqtts:// for TLS; before the host goes"),
        (SERVICE + ACTOR + "[mqtt]\nurl = 'ws://host'\n", 'mqtt.url: the scheme "ws" is not supported'),
        (SERVICE + URL, "actors: there is none; expected at least one [actors.NAME]"),
        (SERVICE + URL + "[actors]\n", "actors: there is none; expected at least one [actors.NAME]"),
        ("actors = 3\n" + SERVICE + URL, "actors: expected a table, found 3 (an integer)"),
        (GOOD + "client_id = ''\n", "mqtt.client_id: expected a string that can be a part of topics"),
        (GOOD + "client_id = 'a+'\n", "mqtt.client_id: expected a string that can be a part of topics"),
        (GOOD + "protocol = 5\n", 'mqtt.protocol: expected one of "auto", "5", "3.1.1", found 5 (an integer)'),
        (GOOD + "protocol = '5'\n" + EMBEDDED, "mqtt.protocol: the embedded broker speaks MQTT 3.1.1 only"),
        (GOOD + "keepalive_s = 0\n", "mqtt.keepalive_s: expected an integer between 1 and 3600"),
        (GOOD + "session_expiry_s = -1\n", "mqtt.session_expiry_s: expected an integer between 0 and"),
        (GOOD + "receive_maximum = 0\n", "mqtt.receive_maximum: expected an integer between 1 and 65535"),
        (GOOD + "receive_maximum = 65536\n", "mqtt.receive_maximum: expected an integer between 1 and 65535"),
        (GOOD + "connect_timeout_s = 0\n", "mqtt.connect_timeout_s: expected a number > 0"),
        (GOOD + "outbox = 0\n", "mqtt.outbox: expected an integer >= 1"),
        (GOOD + "inbound_qos0 = 0\n", "mqtt.inbound_qos0: expected an integer >= 1"),
        (GOOD + "ack_order = 'fifo'\n", 'mqtt.ack_order: expected one of "settled", "arrival"'),
        (GOOD + "keepalive = 3\n", 'mqtt.keepalive: unknown key; did you mean "keepalive_s"?'),
        (GOOD + "[mqtt.backoff]\nmax_s = 0.1\n", "mqtt.backoff.max_s: must be >= mqtt.backoff.initial_s (0.5); found 0.1"),
        (GOOD + "[mqtt.backoff]\nfactor = 0.5\n", "mqtt.backoff.factor: expected a number >= 1"),
        (GOOD + "[mqtt.tls]\n", "mqtt.tls: is used with an mqtts:// url only"),
        (SERVICE + ACTOR + "[mqtt.tls]\n" + EMBEDDED, "mqtt.tls: is used with an mqtts:// url only, and the embedded broker speaks no TLS"),
        (SERVICE + ACTOR + EMBEDDED + "[mqtt]\nurl = 'mqtts://host'\n", "mqtt.url: the embedded broker speaks no TLS; expected mqtt://"),
        (SERVICE + ACTOR + "[mqtt]\nurl = 'mqtts://h'\ntls.ca_file = 'no/such.pem'\n", "mqtt.tls.ca_file: there is no file no/such.pem"),
        (GOOD + "[heartbeat]\ninterval_s = 0.5\n", "heartbeat.interval_s: expected a number >= 1"),
        (GOOD + "[heartbeat]\ndeadline_s = 0\n", "heartbeat.deadline_s: expected a number > 0"),
        (GOOD + "[dedup]\ndurable = true\nttl_s = 0\n", "dedup.durable: means nothing without dedup.ttl_s"),
        (GOOD + "[dedup]\nttl_s = -1\n", "dedup.ttl_s: expected a number >= 0"),
        (GOOD + "[dedup]\nmax_entries = 0\n", "dedup.max_entries: must be > 0 while dedup.ttl_s is"),
        (GOOD + "[store]\nmax_dead_letters = 0\n", "store.max_dead_letters: expected an integer >= 1"),
        (GOOD + "[broker]\nembedded = 'true'\n", "broker.embedded: expected true or false"),
        (GOOD + "[brocker]\nembedded = true\n", 'brocker: unknown table; did you mean "broker"?'),
        (GOOD + "[actors.a]\n", "actors.a.use: is missing; expected a string"),
        (GOOD + "[actors.a]\nuse = 'a:b'\nmailbox = 0\n", "actors.a.mailbox: expected an integer >= 1"),
        (GOOD + "[actors.a]\nuse = 'a:b'\noverflow = 'drop'\n", "actors.a.overflow: expected one of"),
        (GOOD + "[actors.a]\nuse = 'a:b'\nhandler_timeout_s = 0\n", "actors.a.handler_timeout_s: expected a number >= 0.001"),
        (GOOD + "[actors.a]\nuse = 'a:b'\nmax_attempts = 0\n", "actors.a.max_attempts: expected an integer >= 1"),
        (GOOD + "[actors.a]\nuse = 'a:b'\ntopics = { a = 1 }\n", "actors.a.topics.a: expected a string"),
        (GOOD + "[actors.a]\nuse = 'a:b'\nsettings = 1\n", "actors.a.settings: expected a table"),
    ],
)
def test_a_mistake_is_one_line_of_the_report(tmp_path: Path, toml: str, line: str) -> None:
    (only,) = report(tmp_path, toml)

    assert only.startswith(line)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"MQTT_ENABLE_HEALTH": "maybe"}, "health.enabled (from the environment variable MQTT_ENABLE_HEALTH): expected one of 1, true"),
        ({"MQTT_KEEPALIVE": "60.0"}, "mqtt.keepalive_s (from the environment variable MQTT_KEEPALIVE): expected an integer"),
        ({"MQTT_KEEPALIVE": "3601"}, "mqtt.keepalive_s (from the environment variable MQTT_KEEPALIVE): expected an integer between"),
        (
            {"MQTT_RECONNECT_MIN_DELAY": "2", "MQTT_RECONNECT_MAX_DELAY": "1"},
            "mqtt.backoff.max_s (from the environment variable MQTT_RECONNECT_MAX_DELAY): must be >= mqtt.backoff.initial_s",
        ),
        (
            {"MQTT_RECONNECT_MAX_DELAY": "0.2"},
            "mqtt.backoff.max_s (from the environment variable MQTT_RECONNECT_MAX_DELAY): expected a number >= 0.5, found 0.2 (a float)",
        ),
        ({"MQTT_URL": "host:1883"}, "mqtt.url (from the environment variable MQTT_URL): expected mqtt://"),
        ({"MQTT_CLIENT_ID": "#"}, "mqtt.client_id (from the environment variable MQTT_CLIENT_ID): expected a string"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path, environ: dict[str, str], line: str) -> None:
    (only,) = report(tmp_path, GOOD, environ)

    assert only.startswith(line)


def test_mistakes_of_all_tables_stand_in_one_report(tmp_path: Path) -> None:
    lines = report(
        tmp_path,
        """
        [service]
        drain_s = "5"
        [mqtt]
        url = "http://host"
        [broker]
        embedded = 1
        [dedup]
        durable = "yes"
        [heartbeat]
        interval_s = 0
        [actors.a]
        use = 3
        """,
    )

    assert {
        "service.name",
        "service.drain_s",
        "mqtt.url",
        "broker.embedded",
        "dedup.durable",
        "heartbeat.interval_s",
        "actors.a.use",
    } == {line.partition(":")[0] for line in lines}


@pytest.mark.parametrize("url", ["mqtt://u:hunter2@host", "mqtt://u:hunter2 @host", "http://u:hunter2@host", "mqtt://u:hunter2/@host"])
def test_a_password_is_in_no_repr_and_no_report(tmp_path: Path, url: str) -> None:
    config, service = read(tmp_path, GOOD + EMBEDDED, {"MQTT_URL": url})
    settings = ActorSettings("a:b", settings={"password": "hunter2"})

    assert "hunter2" not in f"{service!r} {service.mqtt!r} {service.url!r} {settings!r} {config.error()}"
