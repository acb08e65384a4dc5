"""The same with a task for each request: many answers are on their way at a time. Nothing keeps an order, as with gmqtt."""

from __future__ import annotations

import asyncio

from bench.consumers.aiomqtt_answers import main

if __name__ == "__main__":
    asyncio.run(main(tasks=True))
