"""gmqtt: the callback is a coroutine, and `optimistic_acknowledgement=False` acknowledges when it has returned 0.

That exists under MQTT 5 only. Each message is a task of its own: nothing keeps their order, and nothing bounds them but the
broker's window.
"""

from __future__ import annotations

import asyncio

import gmqtt

from bench.consumers.work import CLIENT_ID, HOST, RECEIVE_MAXIMUM, Work, arguments, say_ready
from bench.contract import FILTERS


async def main() -> None:
    """Until the benchmark ends it."""
    port, _ = arguments()
    work = Work()

    async def on_message(_client: object, topic: str, payload: bytes, _qos: int, _properties: object) -> int:
        await work.do(topic, payload)
        return 0

    subscribed = asyncio.Event()

    def on_subscribe(_client: object, _packet_id: int, _codes: object, _properties: object) -> None:
        subscribed.set()

    client = gmqtt.Client(CLIENT_ID, clean_session=True, optimistic_acknowledgement=False, receive_maximum=RECEIVE_MAXIMUM)
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    await client.connect(HOST, port, version=gmqtt.constants.MQTTv50)
    client.subscribe([gmqtt.Subscription(topic_filter, qos=1) for topic_filter in FILTERS])
    await subscribed.wait()
    say_ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
