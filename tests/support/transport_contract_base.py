"""What the transport contract stands on: the other end of the wire as an interface, and how the tests look at a link.

Law: nothing here knows an implementation.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest
import trio

from support.peer import Seen
from tars.actors.mqtt.transport import ConnectSettings, Inbound, Link, Outbound, Transport

SOON_S = 5.0
"""A limit for what should take milliseconds; only a failing test waits for it."""
CYCLES = 50


class ContractBroker(Protocol):
    """A broker, and another client of it, as the contract needs them."""

    refused: str
    """A filter whose subscription is refused; publishing to the topic of that name is as well."""
    max_packet_bytes: int
    """The largest packet it takes; it says so in its CONNACK (MQTT 5)."""

    def settings(self, client_id: str, protocol: str) -> ConnectSettings:
        """How to connect to it."""
        ...

    def cable(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, over a cable that `cut` cuts."""
        ...

    def wrong_password(self, settings: ConnectSettings) -> ConnectSettings:
        """The same with credentials it refuses."""
        ...

    def nobody(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, to a place where nobody listens."""
        ...

    def silent(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, to somebody who takes the connection and never says a word."""
        ...

    def weak(self, settings: ConnectSettings) -> ConnectSettings:
        """The same, to a broker that takes and grants QoS 0 only; it says so in its CONNACK (MQTT 5)."""
        ...

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 1,
        *,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
        expires_s: int | None = None,
        count: int = 1,
    ) -> None:
        """The other client publishes; returns when the broker has it. `count` > 1: that many, with b"-0", b"-1"… appended."""
        ...

    async def subscribe(self, topic_filter: str) -> None:
        """The other client subscribes at QoS 1."""
        ...

    async def received(self, count: int) -> list[Seen]:
        """The first `count` messages the other client got, as soon as there are as many."""
        ...

    async def take_over(self, client_id: str) -> None:
        """A second client connects with that id."""
        ...

    def cut(self) -> None:
        """End the connections over `cable` without a goodbye, as a pulled plug would."""
        ...

    def freeze(self) -> None:
        """It hears nothing and says nothing, until it is killed."""
        ...

    def kill(self) -> None:
        """It is gone at once; nothing is said to anybody."""
        ...


async def receive_all(link: Link, count: int) -> list[Inbound]:
    """At least `count` messages, in order."""
    messages: list[Inbound] = []
    with trio.fail_after(SOON_S):
        while len(messages) < count:
            messages += await link.receive()
    return messages


async def confirmed(link: Link, message: Outbound) -> int:
    """Publish at QoS 1 and wait for the code of its confirmation."""
    codes: list[int] = []
    done = trio.Event()

    def on_confirmed(code: int) -> None:
        codes.append(code)
        done.set()

    link.publish(message, on_confirmed)
    with trio.fail_after(SOON_S):
        await done.wait()

    (code,) = codes
    return code


def open_files() -> int:
    """How many file descriptors this process has; what only waits to be collected does not count."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def live_asyncio_tasks() -> list[object]:
    """Tasks of any asyncio loop that are not done, wherever they are."""
    gc.collect()
    return [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]


async def connect_and_leave(transport: Transport, settings: ConnectSettings) -> None:
    """One whole connection, with nothing in it."""
    async with transport.connect(settings):
        pass


class ContractFixtures:
    """What every part of the contract is run with. The inheriting class gives `transport` and `broker`."""

    @pytest.fixture(params=["5", "3.1.1"])
    def protocol(self, request: pytest.FixtureRequest) -> str:
        version: str = request.param
        return version

    @pytest.fixture
    def settings(self, broker: ContractBroker, protocol: str) -> ConnectSettings:
        return broker.settings("robot7", protocol)
