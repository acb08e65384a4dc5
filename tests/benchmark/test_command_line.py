"""The command line of the benchmark: how it ends where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.child import ROOT

FAILING = """
from bench.__main__ import app, run_app
from bench.child import Failed

@app.command()
def naked():
    raise Failed("it needs a thing: get one")

@app.command()
def grouped():
    raise ExceptionGroup("of a nursery", [ExceptionGroup("of another", [Failed("it needs a thing: get one")])])

run_app()
"""
WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None  # as if it were not installed
from bench.__main__ import run_app
run_app()
"""
WITHOUT_PEERS = """
import importlib.metadata
real = importlib.metadata.version
def version(name):
    if name in ("faststream", "gmqtt"):
        raise importlib.metadata.PackageNotFoundError(name)
    return "1.0" if name in ("zmqtt", "pydantic") else real(name)
importlib.metadata.version = version  # as if these two were not installed
from bench.__main__ import run_app
run_app()
"""
PLAIN = "from bench.__main__ import run_app; run_app()"


def ran(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / ".src"), str(ROOT)]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["naked", "grouped"])
def test_what_cannot_be_measured_is_one_sentence_and_exit_code_1(command: str) -> None:
    ended = ran(FAILING, command)

    assert (1, "", "bench: it needs a thing: get one\n") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["throughput", "--cpu-s", "0.1", "--only", "tars 5", "--via", "blaster, QoS 1"], ["report.json", "report.md"]),
        (["lanes", "--seconds", "0.1", "--wait-ms", "1"], ["lanes.json", "lanes.md"]),
    ],
    ids=["throughput", "lanes"],
)
def test_without_matplotlib_there_is_all_but_the_pictures(arguments: list[str], written: list[str], tmp_path: Path) -> None:
    ended = ran(WITHOUT_MATPLOTLIB, *arguments, "--rounds", "1", "--results", str(tmp_path))

    assert (0, written) == (ended.returncode, sorted(path.name for path in tmp_path.iterdir())), ended.stderr
    assert (tmp_path / written[1]).read_text(encoding="utf-8") == ended.stdout.removesuffix("\n")
    assert "no pictures were drawn: they need matplotlib" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        (["throughput", "--cpu-s", "0.1", "--only", "tars 5", "--via", "blaster, QoS 1"], "report.json"),
        (["latency", "--seconds", "0.1", "--only", "tars 5"], "latency.json"),
        (["lanes", "--seconds", "0.1", "--wait-ms", "1"], "lanes.json"),
    ],
    ids=["throughput", "latency", "lanes"],
)
def test_a_report_is_not_overwritten_when_nothing_could_be_measured(arguments: list[str], report: str, tmp_path: Path) -> None:
    (tmp_path / report).write_text("of yesterday")

    ended = ran(PLAIN, *arguments, "--rounds", "1", "--results", str(tmp_path), LOG_LEVEL="no level: nothing starts")

    assert (1, "") == (ended.returncode, ended.stdout)
    assert "bench: nothing could be measured: the reports are left as they were" == ended.stderr.splitlines()[-1]
    assert "FAILED: " in ended.stderr
    assert ["of yesterday"] == [path.read_text() for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        ("throughput --rounds 1 --cpu-s 0.1", ("gmqtt 5, FastStream 5, FastStream 3.1.1 ", "gmqtt, faststream")),
        ("latency --rounds 1 --seconds 0.1", ("gmqtt 5, FastStream 5 ", "gmqtt, faststream")),
        ("profile --seconds 1", ("gmqtt 5 ", "gmqtt")),
    ],
)
def test_a_peer_that_is_not_installed_is_one_sentence_before_anything_is_measured(
    command: str, lacking: tuple[str, str], tmp_path: Path
) -> None:
    ended = ran(WITHOUT_PEERS, *command.split(), "--results", str(tmp_path))

    who, what = lacking
    assert (1, "", []) == (ended.returncode, ended.stdout, list(tmp_path.iterdir()))
    assert ended.stderr.startswith(f"bench: {who}cannot take part: not installed here: {what}. `sh .ci/setup-bench` ")
    assert 1 == ended.stderr.count("\n")


def test_who_is_not_asked_to_take_part_need_not_be_installed(tmp_path: Path) -> None:
    chosen = ("--only", "tars 5", "--via", "blaster, QoS 1", "--rounds", "1", "--cpu-s", "0.1")

    ended = ran(WITHOUT_PEERS, "throughput", *chosen, "--results", str(tmp_path))

    assert 0 == ended.returncode
    assert (tmp_path / "report.md").exists()
