"""What a process has used, seen from outside: Linux's /proc. The same for every consumer, whatever it is written with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import attrs

_NANOSECONDS: Final = 1_000_000_000


@attrs.frozen
class Usage:
    """CPU of all its living threads since it began, user and system; memory resident now."""

    cpu_s: float
    rss_bytes: int


def usage(pid: int, proc: Path = Path("/proc")) -> Usage:
    """Read it. Threads that have ended are not in it; none of our consumers ends one in the middle of a phase.

    Raises OSError when the process has gone, or where there is no /proc: the benchmark needs Linux.
    """
    folder = proc / str(pid)
    on_cpu_ns = sum(int(file.read_text().split()[0]) for file in folder.glob("task/*/schedstat"))
    cpu_s = on_cpu_ns / _NANOSECONDS if on_cpu_ns else ticks((folder / "stat").read_text()) / os.sysconf("SC_CLK_TCK")
    return Usage(cpu_s, resident_bytes((folder / "status").read_text()))


def ticks(stat: str) -> int:
    """User and system time in the text of /proc/PID/stat, usually in 1/100 s: for kernels without schedstat."""
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])


def resident_bytes(status: str) -> int:
    """VmRSS in the text of /proc/PID/status."""
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
