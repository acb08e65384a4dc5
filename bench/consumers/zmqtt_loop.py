"""zmqtt: one subscription and one task for each handler, as its documentation shows; acknowledged by hand after handling.

It asks for no Receive Maximum: when it does, and the broker overshoots (Mosquitto 2.0.11 does), it disconnects.
"""

from __future__ import annotations

import asyncio

import zmqtt

from bench.consumers.work import CLIENT_ID, HOST, Work, arguments, say_ready
from bench.contract import FILTERS


async def main() -> None:
    """Until the broker or the benchmark ends it."""
    port, protocol = arguments()
    work = Work()
    version = "5.0" if protocol == "5" else "3.1.1"
    async with zmqtt.create_client(HOST, port, client_id=CLIENT_ID, version=version) as client:
        subscriptions = [client.subscribe(topic_filter, qos=zmqtt.QoS.AT_LEAST_ONCE, auto_ack=False) for topic_filter in FILTERS]
        for subscription in subscriptions:
            await subscription.start()
        say_ready()
        await asyncio.gather(*(consume(subscription, work) for subscription in subscriptions))


async def consume(subscription: zmqtt.Subscription, work: Work) -> None:
    """One handler's messages, one after the other."""
    async for message in subscription:
        await work.do(message.topic, message.payload)
        await message.ack()


if __name__ == "__main__":
    asyncio.run(main())
