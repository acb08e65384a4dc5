"""The harness itself: real processes, a phase small enough for a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from bench.__main__ import FLOOR, app, read_floor
from bench.child import PATIENCE_S, ROOT, Cores, Failed, child, cores
from bench.contenders import BY_NAME, QUICK
from bench.measuring import measure
from bench.scenario import Scenario, mosquitto_in
from bench.throughput import LEAST, MOST, how_many
from bench.usage import resident_bytes, ticks, usage

ENVIRONMENT = dict(os.environ)
ANYWHERE = Cores(None, None)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("way", [Scenario("blaster", 1), Scenario("mosquitto", 0)], ids=lambda way: way.name)
async def test_a_measurement_counts_what_was_handled_and_what_it_cost(name: str, way: Scenario) -> None:
    sample = await measure(BY_NAME[name], way, ANYWHERE, 0.01, ENVIRONMENT)

    assert (name, way.name, LEAST + 10) == (sample.contender, sample.scenario, sample.messages)
    assert 0 < sample.cpu_s
    assert 0 < sample.wall_s
    assert 1 << 20 < sample.rss_bytes


async def test_a_consumer_that_ends_fails_the_measurement_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('alas'); raise SystemExit(3)"]

    async with child("it", command, core=None, folder=tmp_path, environment=ENVIRONMENT) as it:
        with pytest.raises(Failed, match=r"(?s)it ended with code 3.*alas"):
            await it.words("ready")


async def test_a_program_that_is_not_there_fails_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="it does not start: no-such-program: No such file"):
        async with child("it", ["no-such-program"], core=None, folder=tmp_path, environment=ENVIRONMENT):
            pass


async def test_nothing_outlives_its_block(tmp_path: Path) -> None:
    async with child("it", ["sleep", "1000"], core=None, folder=tmp_path, environment=ENVIRONMENT) as it:
        process = it.process

    assert process.returncode is not None


def test_who_has_one_core_pins_nobody() -> None:
    assert Cores(None, None) == cores([0])
    assert Cores(3, 0) == cores([0, 1, 3])


@pytest.mark.parametrize(("per_cpu_s", "expected"), [(10_000.0, 20_000), (10.0, LEAST), (1e9, MOST)])
def test_a_phase_is_as_long_as_was_asked_within_limits(per_cpu_s: float, expected: int) -> None:
    assert expected == how_many(per_cpu_s, 2.0)


def test_usage_is_what_the_kernel_says_of_all_threads() -> None:
    used = usage(os.getpid())

    assert 0 < used.cpu_s
    assert 1 << 20 < used.rss_bytes


def test_the_texts_of_the_kernel_are_read_whatever_the_program_calls_itself() -> None:
    assert 5120 == resident_bytes("Name:\tx\nVmRSS:\t       5 kB\n")
    assert 30 == ticks("7 (a) b) S " + " ".join(["0"] * 10) + " 10 20 0 0 20 1")


async def test_a_machine_without_a_broker_says_how_to_get_one() -> None:
    await trio.lowlevel.checkpoint()

    with pytest.raises(Failed, match="apt-get install mosquitto"):
        mosquitto_in("/nowhere")


def test_the_floor_is_about_contenders_that_ci_can_measure() -> None:
    floor = read_floor(FLOOR.read_text(encoding="utf-8"))

    assert set(QUICK) == {floor.ours, floor.theirs}
    assert 0 < floor.floor


@pytest.mark.parametrize(
    "arguments",
    [
        ["throughput", "--only", "tarz"],
        ["throughput", "--via", "nowhere"],
        ["latency", "--only", "tarz"],
        ["costs", "--only", "nothing"],
    ],
    ids=" ".join,
)
def test_a_name_that_nobody_has_is_refused_before_a_report_is_overwritten(arguments: list[str], tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, [*arguments, "--results", str(tmp_path)])

    assert 2 == ended.exit_code
    assert f"'{arguments[2]}' is none of:" in " ".join(ended.output.split())
    assert not list(tmp_path.iterdir())


MEASURING = """
from pathlib import Path
import trio
from bench.__main__ import main
from bench.child import child

async def measure():
    async with child("sleep", ["sleep", "1000"], core=None, folder=Path("."), environment={}) as it:
        print("measuring", it.process.pid, flush=True)
        await trio.sleep_forever()

main()
trio.run(measure)
"""


@pytest.mark.parametrize("shell", ["", "trap '' INT;"], ids=["as usual", "SIGINT ignored, as for a background job"])
async def test_a_benchmark_that_is_told_to_end_takes_along_what_it_started(shell: str) -> None:
    command = ["sh", "-c", f'{shell} exec "$@"', "sh", sys.executable, "-c", MEASURING]
    async with child("it", command, core=None, folder=ROOT, environment=ENVIRONMENT) as it:
        (started,) = await it.words("measuring")
        it.process.terminate()
        with trio.fail_after(PATIENCE_S):
            await it.process.wait()

    with pytest.raises(ProcessLookupError):
        os.kill(int(started), 0)
