"""Ours, crashing: an actor that fails at the first attempt of every message and handles the second, restarted without backoff.

Each crash and each message handled is a line with the moment, by the monotonic clock; after the last message of each handler, one says
how many of the allocator's blocks live, garbage collected.
"""

import time

import attrs

from bench.contract import Reading
from bench.costs_inside import living_blocks
from bench.pump import say
from tars.actors import Actor, Context, subscribe
from tars.actors.service import application as service
from tars.supervisor import NO_BACKOFF, Config, SupervisorSpec


class Crashes(Actor):
    """Law of the ladder: the message is kept, and the next incarnation gets it again."""

    @subscribe("bench/#")
    async def handle(self, event: Reading, ctx: Context) -> None:
        """The author's code, with a bug."""
        now_ns = time.monotonic_ns()
        if ctx.attempt > 1:
            say(f"handled {now_ns}")
            if event.last:
                say(f"blocks {living_blocks()}")
            return
        say(f"crashed {time.monotonic_ns()}")
        raise ZeroDivisionError("the bug")


def application(config: Config) -> SupervisorSpec:
    """The usual service, but for the handlers' backoff."""
    return attrs.evolve(_without_backoff(service(config)), reload=None)


def _without_backoff(spec: SupervisorSpec) -> SupervisorSpec:
    children = [_without_backoff(each) if isinstance(each, SupervisorSpec) else each for each in spec.children]
    return attrs.evolve(spec, children=children, backoff=NO_BACKOFF if spec.id == "handlers" else spec.backoff)
