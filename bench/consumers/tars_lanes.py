"""Ours, waiting: one actor whose handler does nothing but wait for something outside, as one that asks a database does."""

import attrs
import trio

from bench.contract import Reading
from tars.actors import Actor, subscribe


@attrs.frozen
class Wait:
    """How long the outside takes."""

    wait_s: float


class Waiter(Actor):
    """Its state belongs to the keys of its lane; here it has none."""

    settings: Wait

    @subscribe("bench/+/+")
    async def handle(self, _event: Reading) -> None:
        """The author's code."""
        await trio.sleep(self.settings.wait_s)
