"""The same loop as its documentation shows it: aiomqtt acknowledges when a message comes in, before the loop has seen it.

Not the same work: what is in its queue when the process dies is lost. It is here because it is what most people run.
"""

from __future__ import annotations

import asyncio

from bench.consumers.aiomqtt_loop import main

if __name__ == "__main__":
    asyncio.run(main(late=False))
