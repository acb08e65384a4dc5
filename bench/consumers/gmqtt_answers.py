"""gmqtt, answering. Its `publish` returns before the answer is confirmed, and offers nothing to wait for."""

from __future__ import annotations

import asyncio

import gmqtt

from bench.consumers.answering import Answers
from bench.consumers.work import CLIENT_ID, HOST, RECEIVE_MAXIMUM, arguments, say_ready
from bench.contract import ASK_FILTER


async def main() -> None:
    """Until the benchmark ends it."""
    port, _ = arguments()
    answers = Answers()
    subscribed = asyncio.Event()
    client = gmqtt.Client(CLIENT_ID, clean_session=True, optimistic_acknowledgement=False, receive_maximum=RECEIVE_MAXIMUM)

    async def on_message(_client: object, topic: str, payload: bytes, _qos: int, _properties: object) -> int:
        answer = answers.to(topic, payload)
        if answer is not None:
            client.publish(*answer, qos=1)
        return 0

    def on_subscribe(_client: object, _packet_id: int, _codes: object, _properties: object) -> None:
        subscribed.set()

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    await client.connect(HOST, port, version=gmqtt.constants.MQTTv50)
    client.subscribe([gmqtt.Subscription(ASK_FILTER, qos=1)])
    await subscribed.wait()
    say_ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
