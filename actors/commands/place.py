"""Which broker a command means: a URL, or the one of a service's config; and one connection to it.

Law: a command is nobody's service. It has a client id of its own, drawn for each call, a session that ends with the
connection, and no will.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import attrs
import trio
import typer

from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport
from tars.actors.mqtt.health import HealthTopic
from tars.actors.mqtt.transport import ConnectSettings, Link, LinkLost, LinkRefused, TlsSettings
from tars.actors.service import connect_settings
from tars.actors.service_config import read_service_config
from tars.actors.url import UrlError, parse_mqtt_url
from tars.supervisor import Config, ConfigError
from tars.supervisor.restart import leaves
from tars.supervisor.streams import INTERRUPTED
from tars.supervisor.terminal import refuse

T = TypeVar("T")
Protocol: TypeAlias = Literal["auto", "5", "3.1.1"]

CONNECT_TIMEOUT_S: Final = 5.0
"""Of one attempt at a URL."""
WRONG_CALL: Final = 2
FAILED: Final = 1
_OTHER_PROTOCOL: Final = 0x84
"""The broker speaks another version of MQTT."""

PlaceArgument: TypeAlias = Annotated[str, typer.Argument(metavar="BROKER", help="A URL, mqtt:// or mqtts://, or a service's TOML.")]
ProtocolOption: TypeAlias = Annotated[Protocol, typer.Option("--protocol", help="auto: of a URL 5, or else 3.1.1; of a config its own.")]


@attrs.frozen
class Place:
    """A broker, and who a command is there. `url` holds no credentials; `fall_back`: try MQTT 3.1.1 if 5 is refused."""

    settings: ConnectSettings
    source: str
    url: str
    fall_back: bool


def find(command: str, named: str, protocol: Protocol, environ: Mapping[str, str]) -> Place:
    """What BROKER means. Ends the command with exit code 2 when it means nothing."""
    client_id = f"tars-{command}-{uuid.uuid4().hex[:12]}"
    try:
        place = _of_url(named, client_id) if "://" in named else _of_config(Path(named), client_id, environ)
    except UrlError as error:
        refuse(command, f"the broker's URL: {error}", WRONG_CALL)
    except ConfigError as error:
        refuse(command, str(error), WRONG_CALL)
    if protocol == "auto":
        return place
    return attrs.evolve(place, settings=attrs.evolve(place.settings, protocol=protocol), fall_back=False)


def _of_url(named: str, client_id: str) -> Place:
    url = parse_mqtt_url(named)
    settings = ConnectSettings(
        url.host,
        url.port,
        client_id,
        username=url.username,
        password=url.password,
        tls=TlsSettings() if url.tls else None,
        session_expiry_s=0,
        connect_timeout_s=CONNECT_TIMEOUT_S,
    )
    return Place(settings, client_id, url.redacted, fall_back=True)


def _of_config(path: Path, client_id: str, environ: Mapping[str, str]) -> Place:
    config = Config.load(path, environ)
    service = read_service_config(config)
    if not config.clean:
        raise config.error()
    settings = connect_settings(service, HealthTopic(client_id, client_id, enabled=False))
    return Place(
        attrs.evolve(settings, client_id=client_id, session_expiry_s=0, will=None),
        client_id,
        service.url.redacted,
        fall_back=False,
    )


def speak(command: str, place: Place, job: Callable[[Link], Awaitable[T]]) -> T:
    """Connect once and do `job`. Ends the command with one line and exit code 1 when the broker is not there, or says no."""
    try:
        return trio.run(until_ctrl_c, partial(_speak, place, job))
    except LinkRefused as error:
        refuse(command, f"{place.url}: {error}{f' ({error.hint})' if error.hint else ''}", FAILED)
    except LinkLost as error:
        refuse(command, f"{place.url}: {error}", FAILED)
    except ValueError as error:  # settings, or a message, that no packet can hold
        refuse(command, str(error), WRONG_CALL)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BaseExceptionGroup as group:
        found = leaves(group)
        if all(isinstance(each, KeyboardInterrupt) for each in found):
            raise typer.Exit(INTERRUPTED) from None
        if all(isinstance(each, BrokenPipeError) for each in found):
            raise BrokenPipeError from None
        raise


async def until_ctrl_c(job: Callable[[], Awaitable[T]]) -> T:
    """`job`, cancelled by the first Ctrl-C; KeyboardInterrupt then, and at once on the second.

    trio's own way raises wherever the code happens to be. In a callback that asyncio runs it is taken for the
    callback's error, and the connection waits for ever for what the callback should have said.
    """
    token = trio.lowlevel.current_trio_token()
    interrupted = False

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        token.run_sync_soon(scope.cancel)

    with trio.CancelScope() as scope, _hearing_ctrl_c(interrupt):
        return await job()
    raise KeyboardInterrupt


@contextmanager
def _hearing_ctrl_c(interrupt: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where no signal is heard
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _speak(place: Place, job: Callable[[Link], Awaitable[T]]) -> T:
    transport = AiomqttTransport()
    met = False
    try:
        async with transport.connect(place.settings) as link:
            met = True
            return await job(link)
    except (LinkRefused, LinkLost) as error:
        if met or not place.fall_back or not _may_speak_another(error):
            raise
    async with transport.connect(attrs.evolve(place.settings, protocol="3.1.1")) as link:
        return await job(link)


def _may_speak_another(error: LinkRefused | LinkLost) -> bool:
    """A broker that knows MQTT 3.1.1 only says so, or, as the embedded one does, just hangs up."""
    return error.code == _OTHER_PROTOCOL if isinstance(error, LinkRefused) else not isinstance(error.__cause__, OSError)
