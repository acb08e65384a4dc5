"""FastStream's MQTT broker, answering: publish the answer, wait until it is confirmed, acknowledge the request."""

from __future__ import annotations

import asyncio

import pydantic
from faststream import AckPolicy
from faststream.mqtt import MQTTBroker

from bench.consumers.answering import Answers
from bench.consumers.work import CLIENT_ID, HOST, arguments, say_ready
from bench.contract import ASK_FILTER


class Data(pydantic.BaseModel):  # type: ignore[misc]  # unknown to mypy: not installed where this is checked
    """`Question`, as pydantic has it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    client: int
    seq: int


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
    answers = Answers()
    version = "5.0" if protocol == "5" else "3.1.1"
    broker = MQTTBroker(f"mqtt://{HOST}:{port}", client_id=CLIENT_ID, version=version, logger=None, ack_policy=AckPolicy.ACK)

    async def on_question(envelope: Envelope) -> None:
        answer = answers.of(envelope.type, envelope.id, envelope.data.client, envelope.data.seq)
        if answer is not None:
            topic, payload = answer
            await broker.publish(payload, topic, qos=1)

    broker.subscriber(ASK_FILTER, qos=1)(on_question)
    await broker.start()
    say_ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
