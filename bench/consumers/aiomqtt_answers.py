"""aiomqtt on plain asyncio, answering: publish the answer, wait until it is confirmed, acknowledge the request."""

from __future__ import annotations

import asyncio
import socket

import aiomqtt

from bench.consumers.answering import Answers
from bench.consumers.work import CLIENT_ID, HOST, arguments, say_ready
from bench.contract import ASK_FILTER


async def main() -> None:
    """Until the broker or the benchmark ends it."""
    port, _ = arguments()
    at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # else an answer waits for the broker's delayed ACK: 40 ms
    client = aiomqtt.Client(HOST, port, identifier=CLIENT_ID, protocol=aiomqtt.ProtocolVersion.V311, socket_options=at_once)
    paho = client._client  # noqa: SLF001 - as in aiomqtt_loop
    paho.manual_ack_set(on=True)
    answers = Answers()
    async with client:
        await client.subscribe(ASK_FILTER, qos=1)
        say_ready()
        async for message in client.messages:
            payload = message.payload
            answer = answers.to(message.topic.value, payload) if isinstance(payload, bytes | bytearray) else None
            if answer is not None:
                await client.publish(*answer, qos=1)
            paho.ack(message.mid, message.qos)


if __name__ == "__main__":
    asyncio.run(main())
