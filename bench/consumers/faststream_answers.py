"""FastStream's MQTT broker, answering: publish the answer, wait until it is confirmed, acknowledge the request."""

from __future__ import annotations

import asyncio

from bench.consumers.answering import Answers
from bench.consumers.faststream_broker import Envelope, Strict, make_broker, serve
from bench.contract import ASK_FILTER


class Data(Strict):
    """`Question`, as pydantic has it."""

    client: int
    seq: int


async def main() -> None:
    """Until the benchmark ends it."""
    broker, answers = make_broker(), Answers()

    async def on_question(envelope: Envelope[Data]) -> None:
        answer = answers.of(envelope.type, envelope.id, envelope.data.client, envelope.data.seq)
        if answer is not None:
            topic, payload = answer
            await broker.publish(payload, topic, qos=1)

    broker.subscriber(ASK_FILTER, qos=1)(on_question)
    await serve(broker)


if __name__ == "__main__":
    asyncio.run(main())
