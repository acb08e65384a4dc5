"""FastStream's MQTT broker: ten subscribers, the envelope as a pydantic model, acknowledged after the handler."""

from __future__ import annotations

import asyncio

from faststream.mqtt import MQTTBroker

from bench.consumers.faststream_broker import Envelope, Strict, make_broker, serve
from bench.consumers.work import Handler, Window
from bench.contract import FILTERS


class Data(Strict):
    """`Reading`, as pydantic has it."""

    sensor: str
    value: float
    unit: str
    seq: int
    ok: bool
    last: bool


async def main() -> None:
    """Until the benchmark ends it."""
    broker, window = make_broker(), Window()
    for number, topic_filter in enumerate(FILTERS):
        subscribe(broker, topic_filter, Handler(number), window)
    await serve(broker)


def subscribe(broker: MQTTBroker, topic_filter: str, handler: Handler, window: Window) -> None:
    """One handler."""

    async def on_message(envelope: Envelope[Data]) -> None:
        data = envelope.data
        if not window.repeats((topic_filter, envelope.type, envelope.id, data.seq)):
            await handler.handle(data)

    broker.subscriber(topic_filter, qos=1)(on_message)


if __name__ == "__main__":
    asyncio.run(main())
