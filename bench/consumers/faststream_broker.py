"""What both FastStream consumers need: the envelope as a pydantic model, the broker, and a start."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

import pydantic
from faststream import AckPolicy
from faststream.mqtt import MQTTBroker

from bench.consumers.work import CLIENT_ID, HOST, arguments, say_ready


class Strict(pydantic.BaseModel):  # type: ignore[misc]  # unknown to mypy: not installed where this is checked
    """Refuses fields it does not know, as all consumers do."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


DataT = TypeVar("DataT")


class Envelope(Strict, Generic[DataT]):
    """The wire's five fields."""

    id: str
    type: str
    ts: float
    source: str
    data: DataT


def make_broker() -> MQTTBroker:
    """Acknowledges after the handler. Its access log, two lines for every message, is off."""
    port, protocol = arguments()
    version = "5.0" if protocol == "5" else "3.1.1"
    return MQTTBroker(f"mqtt://{HOST}:{port}", client_id=CLIENT_ID, version=version, logger=None, ack_policy=AckPolicy.ACK)


async def serve(broker: MQTTBroker) -> None:
    """Until the benchmark ends it."""
    await broker.start()
    say_ready()
    await asyncio.Event().wait()
