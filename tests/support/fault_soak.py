"""What a soak of the fault table measured: a line for people, a line of JSON, and a table of those.

    python -m support.fault_soak var/soak-faults.jsonl         # the table, in Markdown

Law: a soak that failed has its line, too, and says so in it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from support.broker import mosquitto_path
from support.fault_verdict import Tally

REPOSITORY: Final = Path(__file__).parents[2]
_CPU_FACTS: Final = Path("/proc/cpuinfo")
_HEAD: Final = (
    "fault",
    "strikes",
    "messages",
    "answers",
    "lost",
    "out of order",
    "handled twice",
    "of these permitted",
    "answered twice",
    "commit",
)


@attrs.frozen
class Measured:
    """One fault. `strikes`: how often it struck. `failed`: in words, why the soak ended before its time; "" if it did not."""

    fault: str
    tally: Tally
    strikes: int
    took_s: float
    failed: str = ""

    def line(self) -> str:
        """For people."""
        tally = self.tally
        return (
            f"{self.fault}: {tally.messages} messages, {tally.answers} answers, {self.strikes} strikes; lost {tally.lost}, "
            f"out of order {tally.reordered}, handled twice {tally.twice} (permitted {tally.twice - tally.not_permitted}), "
            f"answered twice {tally.answered_twice}; {self.took_s:.0f} s{'; FAILED' if self.failed else ''}"
        )

    def append_to(self, file: Path) -> None:
        """A line of JSON, with the facts about the machine."""
        record = {**attrs.asdict(self), **facts()}
        with file.open("ab") as stream:
            stream.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def facts() -> dict[str, str]:
    """Where it was measured."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    version = subprocess.run([mosquitto_path(), "-h"], capture_output=True, text=True, check=False).stdout
    models = [line.partition(":")[2].strip() for line in _cpu_facts() if line.startswith("model name")]
    return {
        "commit": described.stdout.strip(),
        "machine": f"{os.cpu_count()} x {models[0] if models else platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "broker": version.partition("\n")[0].removesuffix(" (see https://mosquitto.org)").strip(),
    }


def _cpu_facts() -> list[str]:
    return _CPU_FACTS.read_text().splitlines() if _CPU_FACTS.exists() else []


def table(lines: list[bytes]) -> str:
    """The newest record of each fault as a row of Markdown, in the order of the file; below it where they were measured."""
    newest = {record["fault"]: record for record in map(orjson.loads, lines)}
    rows = [_HEAD, ("---", *("--:" for _ in _HEAD[1:-1]), "---"), *map(_row, newest.values())]
    places = dict.fromkeys(f"{record['machine']}; Python {record['python']}; {record['broker']}" for record in newest.values())
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *places])


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    tally = Tally(**record["tally"])
    numbers = (
        record["strikes"],
        tally.messages,
        tally.answers,
        tally.lost,
        tally.reordered,
        tally.twice,
        tally.twice - tally.not_permitted,
        tally.answered_twice,
    )
    name = f"{record['fault']} (FAILED)" if record["failed"] else record["fault"]
    return (name, *map(str, numbers), record["commit"])


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_bytes().splitlines()))  # noqa: T201 - that is what it is for
