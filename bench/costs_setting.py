"""What every measurement of a cost gets: where it runs, how often, how long."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Final

import attrs

from .child import Child, Cores, child
from .costs import Cost, one

FLAT_MB: Final = 2.0
"""What memory may seem to gain over a whole run: the allocator's pages, not a leak of anything that is counted in thousands."""

KEPT_BLOCKS: Final = 1.0
"""For one restart. Resident memory shows a leak of 200 bytes each at the earliest; this, of anything. Not less, because what is held
differs from moment to moment by 3 000 blocks or so, whatever the number of restarts (trio forgets old deadlines by the thousand)."""

NO_HEARTBEAT: Final = "\n[heartbeat]\nenabled = false\n"
"""More of a config. A blaster that encodes answers nobody, and takes no second connection; a machine that is busy may be as slow."""


@attrs.frozen
class Setting:
    """`messages` and `restarts` are those of the long runs; `rounds`, of what is short; `idle_s`, how long nothing is done."""

    cores: Cores
    environment: Mapping[str, str]
    tell: Callable[[str], None]
    messages: int
    restarts: int
    rounds: int
    idle_s: float

    def service(self, name: str, command: Sequence[str], folder: Path) -> AbstractAsyncContextManager[Child]:
        """Run what is measured, where it is to run."""
        return child(name, command, core=self.cores.consumer, folder=folder, environment=self.environment)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A place for the files of one measurement."""
        with tempfile.TemporaryDirectory(prefix="tars-bench-") as place:
            yield Path(place)


def flat(name: str, gained_bytes: float, note: str) -> Cost:
    """Memory that must not grow."""
    return Cost(name, one(gained_bytes / 1e6), "MB", FLAT_MB, note)


def kept(name: str, blocks: float, count: int) -> Cost:
    """Objects that must not be kept, in the allocator's blocks for each of `count`."""
    return Cost(name, one(blocks), "blocks", KEPT_BLOCKS, f"counted over {count:,}, garbage collected")
