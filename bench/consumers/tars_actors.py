"""Ours: ten actors in a service that `python -m tars.supervisor` runs from a TOML file which the benchmark writes.

Everything is as it is by default: decoding, the dedup window, dispatch, one mailbox and one task for each actor, QoS 1
acknowledged when the handler has returned, heartbeat, health, the store, the log at "info".
"""

import attrs

from bench.consumers.work import say_last
from bench.contract import Reading
from tars.actors import Actor, subscribe


@attrs.frozen
class Number:
    """Which of the ten."""

    number: int


class Handler(Actor):
    """The config gives each its filter."""

    settings: Number

    def __init__(self) -> None:
        self.count = 0

    @subscribe("bench/in/+")
    async def handle(self, event: Reading) -> None:
        """The author's code."""
        if event.last:
            say_last(self.settings.number, self.count)
            self.count = 0
        else:
            self.count += 1
