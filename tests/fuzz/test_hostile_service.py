"""A running service under hostile payloads: it stays up, its memory is bounded, and every payload is handled or a dead letter.

HOSTILE says how many; `just soak-fuzz` sends a million. Sent, handled and dead are compared payload by payload.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import orjson
import pytest
from trio.testing import MockClock

from support.hostile import ForgetfulBroker, Hostile, Memory
from support.service import World, running
from tars.actors import Actor, Context, subscribe
from tars.actors.contracts import DecodeError, Envelope, decode
from tars.actors.contracts.camera import CameraCaptureRequest
from tars.actors.contracts.llm import LLMRequest
from tars.actors.contracts.movement import MovementCommand
from tars.actors.contracts.stt import FinalTranscript
from tars.actors.mqtt.events import DeadLettered, SequenceFilled, SequenceGap
from tars.actors.mqtt.sequence import MAX_STREAMS
from tars.supervisor.log import LogSettings, configure
from tars.supervisor.render import render

HOSTILE: Final = int(os.environ.get("HOSTILE", "3000"))
SEED: Final = 7
BATCH: Final = 250
TOPICS: Final = 5_000
"""So many topics of their own: more than the matcher remembers."""

LINE_BYTES: Final = 4_000
"""A line of the log never holds a payload, however large one is."""
GROWTH: Final = Memory(blocks=2_500, rss_bytes=64 * 1024 * 1024)
"""What the process may hold more at the end than before, however many there were. The large ones leave holes in the heap."""

READERS: Final[dict[str, Any]] = {
    "in/transcript": FinalTranscript,
    "in/request": LLMRequest,
    "in/move": MovementCommand,
    "in/capture": CameraCaptureRequest,
    "in/envelope": Envelope,
    "in/table": dict,
    "in/raw": bytes,
    "flood/+": dict,
}
"""A payload is read in every way there is."""
PLAIN: Final = tuple(READERS)[:-1]


def victim(handled: list[tuple[str, str]]) -> type[Actor]:
    """An actor that notes the topic and the message id of what it handles."""

    def reader(topic: str, cls: Any) -> Any:
        async def on_message(_self: Actor, _event: Any, ctx: Context) -> None:
            handled.append((ctx.topic, ctx.message_id))

        on_message.__annotations__ = {"_event": cls, "ctx": Context}
        return subscribe(topic)(on_message)

    return type("Victim", (Actor,), {f"on_{at}": reader(topic, cls) for at, (topic, cls) in enumerate(READERS.items())})


@attrs.define(eq=False)
class Attack:
    """Sends batches, and judges each as soon as it is settled."""

    world: World
    handled: list[tuple[str, str]]
    hostile: Hostile = attrs.field(factory=lambda: Hostile(SEED))
    chance: random.Random = attrs.field(factory=lambda: random.Random(SEED))
    sums: Counter[str] = attrs.field(factory=Counter)

    async def batch(self, size: int, topic_of: Callable[[], str]) -> None:
        dead: Counter[tuple[str, bytes]] = Counter()
        alive: Counter[str] = Counter()
        ids: set[str] = set()
        for _ in range(size):
            topic, payload = topic_of(), self.hostile.next()
            message_id = f"n{self.hostile.made}" if self.chance.random() < 0.5 else None
            if reads(topic, payload):
                alive[topic] += 1
                ids |= {message_id} if message_id else set()
            else:
                dead[topic, payload] += 1
            await self.world.deliver(topic, payload, qos=self.chance.randrange(2), message_id=message_id)
        await self.world.settled()
        self.judge(dead, alive, ids)
        self.sums += Counter(sent=size, handled=len(self.handled), dead=len(self.world.store.letters))
        for seen in (self.handled, self.world.store.letters, self.world.events):
            seen.clear()

    def judge(self, dead: Counter[tuple[str, bytes]], alive: Counter[str], ids: set[str]) -> None:
        letters = self.world.store.letters

        assert dead == Counter((letter.topic, letter.payload) for letter in letters)
        assert alive == Counter(topic for topic, _ in self.handled)
        assert len(self.handled) == len(set(self.handled))
        assert ids <= {message_id for _, message_id in self.handled}
        assert {"undecodable"} >= {letter.why.value for letter in letters}
        assert [] == [event for event in self.world.events if not isinstance(event, (DeadLettered, SequenceGap, SequenceFilled))]
        assert max((len(orjson.dumps(render(event)[2])) for event in self.world.events), default=0) < LINE_BYTES

    def any_topic(self) -> str:
        return f"flood/{self.chance.randrange(TOPICS * 4)}" if self.chance.random() < 0.1 else self.chance.choice(PLAIN)


def reads(topic: str, payload: bytes) -> bool:
    """Is it a message of this topic?"""
    try:
        decode(payload, READERS.get(topic, dict))
    except DecodeError:
        return False
    return True


@pytest.fixture
def _log() -> Iterator[None]:
    """Logs as a service does, at info. What the tests print otherwise, every line of it, pytest keeps in the memory that is measured."""
    configured = configure(LogSettings(), io.StringIO())
    yield
    configured.close()


@pytest.mark.usefixtures("_log")
async def test_it_stays_up_within_its_memory_and_every_payload_is_handled_or_a_dead_letter(
    autojump_clock: MockClock,  # noqa: ARG001 - virtual time
    capsys: pytest.CaptureFixture[str],
) -> None:
    handled: list[tuple[str, str]] = []
    broker = ForgetfulBroker()
    flood = itertools.count()
    async with running(victim(handled), broker=broker, config={"dedup": {"max_entries": 1000}}) as world:
        attack = Attack(world, handled)
        world.events.clear()
        for _ in range(0, TOPICS, BATCH):  # fills what may be remembered: topics, ids
            await attack.batch(BATCH, lambda: f"flood/{next(flood)}")
        for number in range(MAX_STREAMS):
            world.estate.sequences.see(f"count/{number}", lambda: {"seq": 1}, 0.0)
        attack.sums.clear()
        before, began_s = Memory.now(), time.perf_counter()
        for start in range(0, HOSTILE, BATCH):
            await attack.batch(min(BATCH, HOSTILE - start), attack.any_topic)
        took_s, grown = time.perf_counter() - began_s, Memory.now().since(before)
        await world.deliver("in/transcript", {"text": "are you there?"})
        await world.settled()

        assert ["in/transcript"] == [topic for topic, _ in handled]
        assert (HOSTILE, HOSTILE) == (attack.sums["sent"], attack.sums["handled"] + attack.sums["dead"])
        assert min(attack.sums["handled"], attack.sums["dead"]) > HOSTILE // 10  # or it proves nothing
        assert (0, []) == (broker.count["stray acks"], world.unacked)
        assert grown.blocks < GROWTH.blocks
        assert grown.rss_bytes < GROWTH.rss_bytes
    if HOSTILE > 3000:
        with capsys.disabled():
            print(f"\n{dict(attack.sums)} in {took_s:.0f} s; {grown}")  # noqa: T201 - the figures of a soak are its result
