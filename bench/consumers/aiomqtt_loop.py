"""aiomqtt on plain asyncio: the loop people write by hand.

Its API has no way to acknowledge after handling. This does it the way its users do, through paho's object in a private
attribute; without it aiomqtt acknowledges what nobody has looked at yet.
"""

from __future__ import annotations

import asyncio

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.consumers.work import CLIENT_ID, HOST, RECEIVE_MAXIMUM, Work, arguments, say_ready
from bench.contract import FILTERS


async def main(*, late: bool = True) -> None:
    """Until the broker or the benchmark ends it. `late`: acknowledge after handling."""
    port, protocol = arguments()
    properties = None
    if protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
    version = aiomqtt.ProtocolVersion.V5 if protocol == "5" else aiomqtt.ProtocolVersion.V311
    client = aiomqtt.Client(HOST, port, identifier=CLIENT_ID, protocol=version, properties=properties)
    paho = client._client  # noqa: SLF001 - see above
    paho.manual_ack_set(on=late)
    work = Work()
    async with client:
        for topic_filter in FILTERS:
            await client.subscribe(topic_filter, qos=1)
        say_ready()
        async for message in client.messages:
            payload = message.payload
            if isinstance(payload, bytes | bytearray):
                await work.do(message.topic.value, payload)
            if late:
                paho.ack(message.mid, message.qos)


if __name__ == "__main__":
    asyncio.run(main())
