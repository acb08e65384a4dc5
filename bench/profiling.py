"""Where a consumer's CPU time goes: py-spy looks at it while it has work to do."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from .child import Cores, Failed, child
from .contenders import Contender
from .measuring import running
from .scenario import Scenario
from .throughput import WARM_UP, how_many

SAMPLES_PER_S: Final = 400
_MORE_THAN_ENOUGH: Final = 1.2


@attrs.frozen
class Profile:
    """`folded` stacks, and what was handled meanwhile. The sampler stops the service for every look: the rate is too low."""

    folded: list[str]
    per_cpu_s: float


async def profile(contender: Contender, scenario: Scenario, seconds: float, cores: Cores, environment: Mapping[str, str]) -> Profile:
    """Look for so long. Raises `Failed`, also when py-spy may not look (it wants to be root, or ptrace_scope 0)."""
    with tempfile.TemporaryDirectory(prefix="tars-bench-") as place:
        folder = Path(place)
        file = folder / "stacks"
        looks = ["py-spy", "record", "--format", "raw", "--nolineno", "--rate", str(SAMPLES_PER_S), "--duration", f"{seconds:.0f}"]
        async with running(contender, scenario, cores, environment) as run:
            warm = await run.phase(WARM_UP)
            looks += ["--output", str(file), "--pid", str(run.consumer.process.pid)]
            async with child("py-spy", looks, core=cores.feeder, folder=folder, environment=_with_own_programs(environment)) as spy:
                sample = await run.phase(how_many(warm.per_s, seconds * _MORE_THAN_ENOUGH))
                with trio.move_on_after(seconds):
                    await spy.process.wait()
        if not file.exists():
            raise Failed("py-spy has seen nothing: it wants to be root, or kernel.yama.ptrace_scope to be 0")
        return Profile(file.read_text(encoding="utf-8").splitlines(), sample.per_cpu_s)


def _with_own_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, in which programs of this Python's environment are found first."""
    return {**environment, "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])}
