"""An actor for tests of lanes: it does with each message what the message says, and writes down when, and in which lane."""

from __future__ import annotations

import math
from typing import Any

import attrs
import trio

from support.service import Seen, World
from tars.actors import Actor, Context, subscribe
from tars.supervisor import current

PATH = "root/service/handlers/work"


class Broken(Exception):
    """What it fails with."""


@attrs.frozen
class Step:
    """Message `n` of `key` has begun, or ended (handled or not), in `lane`, at `at` (trio time)."""

    what: str  # "begin", "done", "failed"
    key: str
    n: int
    lane: str
    at: float


@attrs.define(eq=False)
class Work:
    """What the actor ``work`` saw. A message: ``{"n": its number, "s": seconds it takes, "fails": attempts that fail}``."""

    seen: Seen = attrs.field(factory=Seen)
    gate: trio.Event = attrs.field(factory=trio.Event)  # what says ``hold`` waits for it
    answers: bool = False

    def actor(self) -> type[Actor]:
        """Its class, to be run under a config of the test's."""
        work = self

        class Work(Actor):
            @subscribe("work/{key}", qos=1)
            async def on_work(self, event: dict[str, Any], ctx: Context) -> None:
                await work._do(ctx.params["key"], event, ctx)

        return Work

    async def _do(self, key: str, event: dict[str, Any], ctx: Context) -> None:
        me = current()
        lane = me.path.removeprefix(PATH) if me is not None else ""

        def note(what: str) -> None:
            self.seen.add(Step(what, key, event["n"], lane, trio.current_time()))

        note("begin")
        ended = "failed"
        try:
            if event.get("hold"):
                await self.gate.wait()
            await trio.sleep(event.get("s", 0.0))
            if ctx.attempt <= event.get("fails", 0):
                raise Broken(event["n"])
            if self.answers:
                await ctx.publish("test.done", {"n": event["n"]}, topic="done")
            ended = "done"
        finally:
            note(ended)

    # -- looking ----------------------------------------------------------------------------------

    @property
    def steps(self) -> list[Step]:
        return list(self.seen.items)

    def handled(self, key: str | None = None) -> list[int]:
        """The numbers of the messages that were handled, in order; of one key or of all."""
        return [step.n for step in self.steps if step.what == "done" and key in (None, step.key)]

    def lanes(self, key: str) -> set[str]:
        """The lanes that have had messages of this key, as "/0" ...; "" where there are none."""
        return {step.lane for step in self.steps if step.key == key}

    @property
    def most_at_once(self) -> int:
        """How many messages were in hand at a time."""
        return max_at_once(self.steps)

    async def held(self, count: int) -> None:
        """Return when so many messages have begun."""
        while sum(step.what == "begin" for step in self.steps) < count:
            await self.seen.until(len(self.seen.items) + 1)


def max_at_once(steps: list[Step]) -> int:
    level = most = 0
    for step in steps:
        level += 1 if step.what == "begin" else -1
        most = max(most, level)
    return most


async def send(world: World, *messages: tuple[str, int], **says: Any) -> None:
    """Deliver messages, each (key, n)."""
    for key, n in messages:
        await world.deliver(f"work/{key}", {"n": n, **says})


def keys_in(lanes: int, lane_of: Any) -> list[str]:
    """One key for each of so many lanes, in the order of the lanes."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < lanes and number < math.inf:
        found.setdefault(lane_of(f"k{number}", lanes), f"k{number}")
        number += 1
    return [found[lane] for lane in range(lanes)]
