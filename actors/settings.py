"""The config of an MQTT service: one frozen class for each table.

Law: every key has its default and range here and nowhere else. What tables must keep between them is
`tars.actors.service_config`'s. Times in seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from tars.supervisor.backoff import Backoff
from tars.supervisor.mailbox import Overflow
from tars.supervisor.problem import Mismatch
from tars.supervisor.structure import within

from .mqtt.topics import TopicError, validate_topic
from .url import parse_mqtt_url

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# -- validators -----------------------------------------------------------------------------------


def _is_name(_instance: object, _attribute: object, value: str) -> None:
    if _NAME.fullmatch(value) is None:  # it becomes a folder, and a level of topics
        raise Mismatch("a name of letters, digits, '_', '.' and '-', beginning with a letter or digit", value)


def _fits_a_topic(_instance: object, _attribute: object, value: str | None) -> None:
    if value is None:
        return
    try:
        validate_topic(value)
    except TopicError:
        raise Mismatch("a string that can be a part of topics: not empty, without '+', '#' and U+0000", value) from None


def _leads_to_a_broker(_instance: object, _attribute: object, value: str | None) -> None:
    if value is not None:
        parse_mqtt_url(value)  # `UrlError` says what is wrong, without the credentials


# -- tables ---------------------------------------------------------------------------------------


@attrs.frozen
class ServiceSettings:
    """``[service]``. `source` None: the client id. `stop_deadline_s` belongs to the runtime, which checks its range."""

    name: str = attrs.field(validator=_is_name)
    source: str | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.min_len(1)))
    state_dir: Path = attrs.field(default=attrs.Factory(lambda self: Path("var") / self.name, takes_self=True))
    drain_s: float = attrs.field(default=5.0, validator=within(ge=0))
    stop_deadline_s: float = 9.0


@attrs.frozen
class TlsTable:
    """``[mqtt.tls]``: PEM files. Without `ca_file` the system's store decides whom to trust."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@attrs.frozen
class BackoffTable:
    """``[mqtt.backoff]``: how long to wait before the next attempt to connect, with full jitter."""

    initial_s: float = attrs.field(default=0.5, validator=within(gt=0))
    max_s: float = attrs.field(default=30.0, validator=within(gt=0))
    factor: float = attrs.field(default=2.0, validator=within(ge=1))

    @property
    def policy(self) -> Backoff:
        """The same, in the runtime's terms."""
        return Backoff(self.initial_s, self.max_s, self.factor)


@attrs.frozen
class MqttSettings:
    """``[mqtt]``. What `url`, `client_id` and `protocol` come to stands in `ServiceConfig`."""

    url: str | None = attrs.field(default=None, repr=False, validator=_leads_to_a_broker)
    client_id: str | None = attrs.field(default=None, validator=_fits_a_topic)
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: int = attrs.field(default=60, validator=within(ge=1, le=3600))
    session_expiry_s: int = attrs.field(default=3600, validator=within(ge=0, le=4_294_967_295))
    receive_maximum: int = attrs.field(default=256, validator=within(ge=1, le=65_535))
    connect_timeout_s: float = attrs.field(default=10.0, validator=within(gt=0))
    outbox: int = attrs.field(default=1000, validator=within(ge=1))
    inbound_qos0: int = attrs.field(default=10_000, validator=within(ge=1))
    ack_order: Literal["settled", "arrival"] = "settled"
    tls: TlsTable | None = None
    backoff: BackoffTable = attrs.field(factory=BackoffTable)


@attrs.frozen
class BrokerSettings:
    """``[broker]``."""

    embedded: bool = False


@attrs.frozen
class HealthSettings:
    """``[health]``."""

    enabled: bool = True


@attrs.frozen
class HeartbeatSettings:
    """``[heartbeat]``. A beat waits up to `deadline_s` for its confirmation; the next is never sent before that."""

    enabled: bool = True
    interval_s: float = attrs.field(default=5.0, validator=within(ge=1))
    deadline_s: float = attrs.field(default=2.0, validator=within(gt=0))


@attrs.frozen
class DedupSettings:
    """``[dedup]``. `ttl_s` 0 switches it off.

    `durable`: the window survives the process. An actor then begins a message when the one before is recorded, so that a death
    of the process repeats one message of each actor at most; that is some thousand messages a second for one actor.
    """

    ttl_s: float = attrs.field(default=30.0, validator=within(ge=0))
    max_entries: int = attrs.field(default=100_000, validator=within(ge=0))
    durable: bool = False


@attrs.frozen
class StoreSettings:
    """``[store]``. `publish_dead_letters`: each also goes to ``system/dead-letter/{client_id}``; the facts need MQTT 5."""

    max_dead_letters: int = attrs.field(default=10_000, validator=within(ge=1))
    publish_dead_letters: bool = False


@attrs.frozen
class ActorSettings:
    """``[actors.NAME]``. `topics` and `settings` are raw: the actor's definition decides what may stand there.

    `concurrency`: messages it may handle at a time, those with the same `key` one after the other (`mqtt.lane_key`).
    """

    use: str
    mailbox: int = attrs.field(default=64, validator=within(ge=1))
    overflow: Overflow = Overflow.DEAD_LETTER
    overflow_after_s: float = attrs.field(default=1.0, validator=within(ge=0))
    handler_timeout_s: float = attrs.field(default=30.0, validator=within(ge=0.001))
    max_attempts: int = attrs.field(default=3, validator=within(ge=1))
    max_failures_in_a_row: int = attrs.field(default=5, validator=within(ge=1))
    park_s: float = attrs.field(default=30.0, validator=within(gt=0))
    concurrency: int = attrs.field(default=1, validator=within(ge=1, le=256))
    key: str | None = None
    topics: dict[str, str] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict, repr=False)
