"""aiomqtt on plain asyncio, answering: publish the answer, wait until it is confirmed, acknowledge the request."""

from __future__ import annotations

import asyncio
import socket

import aiomqtt

from bench.consumers.answering import Answers
from bench.consumers.work import CLIENT_ID, HOST, RECEIVE_MAXIMUM, arguments, say_ready
from bench.contract import ASK_FILTER


async def main(*, tasks: bool = False) -> None:
    """Until the broker or the benchmark ends it. `tasks`: one for each request, instead of one request after the other."""
    port, _ = arguments()
    at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # else an answer waits for the broker's delayed ACK: 40 ms
    client = aiomqtt.Client(
        HOST,
        port,
        identifier=CLIENT_ID,
        protocol=aiomqtt.ProtocolVersion.V311,
        socket_options=at_once,
        max_inflight_messages=RECEIVE_MAXIMUM,
    )
    client.pending_calls_threshold = RECEIVE_MAXIMUM  # no warning for every task that waits
    paho = client._client  # noqa: SLF001 - as in aiomqtt_loop
    paho.manual_ack_set(on=True)
    answers = Answers()

    async def on_question(message: aiomqtt.Message) -> None:
        payload = message.payload
        answer = answers.to(message.topic.value, payload) if isinstance(payload, bytes | bytearray) else None
        if answer is not None:
            await client.publish(*answer, qos=1)
        paho.ack(message.mid, message.qos)

    async with client, asyncio.TaskGroup() as group:
        await client.subscribe(ASK_FILTER, qos=1)
        say_ready()
        async for message in client.messages:
            if tasks:
                group.create_task(on_question(message))
            else:
                await on_question(message)


if __name__ == "__main__":
    asyncio.run(main())
