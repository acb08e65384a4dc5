"""What was measured on, and with: a report without it says nothing. Names no host, no user and no folder."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs

from .child import ROOT, Cores


@attrs.frozen
class Machine:
    """`load` is the one-minute load average before and after: on a quiet machine it begins near 0."""

    processor: str
    cores_available: int
    pinned: Cores
    system: str
    python: str
    mosquitto: str
    commit: str
    versions: dict[str, str]
    load: tuple[float, ...]


def describe(available: Sequence[int], pinned: Cores, distributions: Sequence[str], mosquitto: str) -> Machine:
    """Look at this machine; `mosquitto` is the broker's program."""
    return Machine(
        processor=processor(_text(Path("/proc/cpuinfo"))),
        cores_available=len(available) or os.cpu_count() or 0,
        pinned=pinned,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        mosquitto=_first_line([mosquitto, "-h"]),
        commit=_first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]),
        versions={name: _version(name) for name in sorted(set(distributions))},
        load=(load(),),
    )


def load() -> float:
    """Processes that wanted a CPU in the last minute."""
    return round(os.getloadavg()[0], 2)


def processor(cpuinfo: str) -> str:
    """The first "model name" in the text of /proc/cpuinfo."""
    named = (line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name"))
    return next(named, platform.machine())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _first_line(command: Sequence[str]) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return ended.stdout.strip().partition("\n")[0] or "unknown"
