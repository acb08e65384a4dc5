"""Two commands at one instant, on the real tree: one of the outcomes that the model allows must come of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import trio

from .model_play import Seen
from .model_race import LATER_S, Act, Ask, Outcome, Race, in_a_race
from .model_real import Real
from .model_shapes import Group
from .sim_world import Sim

MOST_APART: Final = 6
"""By how many checkpoints one of the two may come after the other."""
MOST_TRIES: Final = 1000
"""After so many other orders of events the model gives up looking for one that explains what came."""


async def check_race(world: Sim, race: Race, tree: Group) -> None:
    """AssertionError says what came of it on `tree` that the model does not allow. A scenario for `sim`."""
    async with trio.open_nursery() as nursery:
        real = Real(world, tree, nursery)
        found = await real.replay(race.before)
        if not found:
            actual = await come(real, race)
            found = "\n".join([*real.laws.broken, *real.world.faults]) or unexplained(real, race, actual)
        nursery.cancel_scope.cancel()
    if found:
        raise AssertionError(found)


async def come(real: Real, race: Race) -> Outcome:
    """Let it come, and look."""
    real.laws.one_by_one = False
    real.answers += ["" for act in race.acts if isinstance(act, Ask)]
    for act in race.acts:
        real.nursery.start_soon(do, real, act, real.world.random.randrange(MOST_APART))
    looks: list[Seen] = []
    for later_s in LATER_S:
        await trio.sleep_until(race.at + later_s)
        await real.world.settle()
        stopping = [path for path, supervisor in real.supervisors.items() if supervisor.is_stopping]
        looks.append(in_a_race(real.seen(race.outcomes[0][0].letters, stopping)))
    return tuple(looks)


async def do(real: Real, act: Act, steps: int) -> None:
    """`steps` checkpoints into the instant."""
    supervisor = real.supervisors[act.path] if isinstance(act, Ask) else None
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    if isinstance(act, Ask):
        assert supervisor is not None
        real.world.note("--", act.verb, act.path, act.child)
        await real.operate(act.number, act.verb, supervisor, act.path, act.child)
    elif (life := real.lives.get(act.path)) is not None:
        real.world.note("--", act.ending.word.value, act.path)
        life.order(act.ending)


def unexplained(real: Real, race: Race, actual: Outcome) -> str:
    """How it differs from the nearest outcome that the model allows; "" when it is one of them."""
    nearest: Sequence[str] | None = None
    for outcome in itertools.chain(race.outcomes, itertools.islice(race.more(), MOST_TRIES)):
        wrong = [line for expected, seen in zip(outcome, actual, strict=True) for line in real.differences(expected, seen)]
        if not wrong:
            return ""
        nearest = wrong if nearest is None or len(wrong) < len(nearest) else nearest
    return f"after {race.acts} at once: no order of events explains it; the nearest differs in\n" + "\n".join(nearest or ())
