"""FastStream's MQTT broker: ten subscribers, the envelope as a pydantic model, acknowledged after the handler.

Its access log, two lines for every message, is off.
"""

from __future__ import annotations

import asyncio

import pydantic
from faststream import AckPolicy
from faststream.mqtt import MQTTBroker

from bench.consumers.work import CLIENT_ID, HOST, Handler, Window, arguments, say_ready
from bench.contract import FILTERS, Reading


class Data(pydantic.BaseModel):  # type: ignore[misc]  # unknown to mypy: not installed where this is checked
    """`Reading`, as pydantic has it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    sensor: str
    value: float
    unit: str
    seq: int
    ok: bool
    last: bool


class Envelope(pydantic.BaseModel):  # type: ignore[misc]  # unknown to mypy: not installed where this is checked
    """The wire's five fields."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    id: str
    type: str
    ts: float
    source: str
    data: Data


async def main() -> None:
    """Until the broker or the benchmark ends it."""
    port, protocol = arguments()
    window = Window()
    version = "5.0" if protocol == "5" else "3.1.1"
    broker = MQTTBroker(f"mqtt://{HOST}:{port}", client_id=CLIENT_ID, version=version, logger=None, ack_policy=AckPolicy.ACK)
    for number, topic_filter in enumerate(FILTERS):
        subscribe(broker, topic_filter, Handler(number), window)
    await broker.start()
    say_ready()
    await asyncio.Event().wait()


def subscribe(broker: MQTTBroker, topic_filter: str, handler: Handler, window: Window) -> None:
    """One handler."""

    async def on_message(envelope: Envelope) -> None:
        data = envelope.data
        if not window.repeats((topic_filter, envelope.type, envelope.id, data.seq)):
            await handler.handle(Reading(data.sensor, data.value, data.unit, data.seq, data.ok, data.last))

    broker.subscriber(topic_filter, qos=1)(on_message)


if __name__ == "__main__":
    asyncio.run(main())
