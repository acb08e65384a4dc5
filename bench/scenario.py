"""How messages reach a consumer: from the blaster, or through a real Mosquitto. Both speak `bench.pump`'s lines."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import attrs
import trio

from .child import Child, Cores, Failed, child, python

START_TIMEOUT_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.005
_SBIN: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


@attrs.frozen
class Scenario:
    """`via` whom, and at which `qos` the messages are sent; everybody subscribes at QoS 1. `requests`: each wants an answer."""

    via: Literal["blaster", "mosquitto"]
    qos: Literal[0, 1]
    requests: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.via}, requests" if self.requests else f"{self.via}, QoS {self.qos}"


REQUESTS: Final = Scenario("mosquitto", 1, requests=True)
ALL: Final = (Scenario("blaster", 1), Scenario("mosquitto", 1), Scenario("blaster", 0), Scenario("mosquitto", 0), REQUESTS)
QUICK: Final = Scenario("blaster", 1)


@attrs.frozen
class Source:
    """Where a consumer connects to, and whom to command."""

    port: int
    feeder: Child


@asynccontextmanager
async def source(scenario: Scenario, cores: Cores, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Source]:
    """Have it run within the block. Raises `Failed`."""
    if scenario.via == "blaster":
        async with child("the blaster", python("bench.blaster"), core=cores.feeder, folder=folder, environment=environment) as blaster:
            (port,) = await blaster.words("listening")
            yield Source(int(port), blaster)
        return
    async with mosquitto(cores, folder, environment) as number:
        command = python("bench.feeder", number)
        async with child("the feeder", command, core=cores.feeder, folder=folder, environment=environment) as feeder:
            await feeder.words("connected")
            yield Source(number, feeder)


@asynccontextmanager
async def mosquitto(cores: Cores, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[int]:
    """A Mosquitto that queues without limit and lets a 3.1.1 client have as many messages as the blaster does; its port."""
    program = mosquitto_in(search_path(environment))
    port = _free_port()
    lines = (
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        f"user {getpass.getuser()}",  # started by root it becomes somebody else, who cannot read here
        "set_tcp_nodelay true",
        "max_inflight_messages 256",
        "max_queued_messages 0",
        "log_type error",
    )
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([*lines, ""]), encoding="utf-8")
    async with child("mosquitto", [program, "-c", str(config)], core=cores.feeder, folder=folder, environment=environment):
        with trio.move_on_after(START_TIMEOUT_S) as starting:
            while not await _accepts(port):  # noqa: ASYNC110 - there is no event to wait for
                await trio.sleep(_LOOK_AGAIN_S)  # it tells nobody when it has opened its port
        if starting.cancelled_caught:
            raise Failed(f"mosquitto did not open port {port} within {START_TIMEOUT_S:g} s")
        yield port


def search_path(environment: Mapping[str, str]) -> str:
    """Where `mosquitto_in` is to look. Debian puts it in /usr/sbin, which is not on everybody's PATH."""
    return os.pathsep.join([environment.get("PATH", ""), *_SBIN])


def mosquitto_in(path: str) -> str:
    """The program, in the folders of `path`. Raises `Failed`."""
    found = shutil.which("mosquitto", path=path)
    if found is None:
        raise Failed("the benchmark needs a Mosquitto: apt-get install mosquitto, or brew install mosquitto")
    return found


async def _accepts(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
