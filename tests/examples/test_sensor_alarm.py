"""examples/sensor_alarm: its own tests pass, and its two services run as processes on a real Mosquitto, end to end."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.broker import Mosquitto
from support.peer import Peer
from support.process import started, toml

EXAMPLE = Path(__file__).parents[2] / "examples" / "sensor_alarm"
FILES = sorted(each.name for each in EXAMPLE.iterdir() if each.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copyfile(EXAMPLE / name, tmp_path / name)
    (tmp_path / "temp").write_text("21500\n")
    return tmp_path


def adapt(file: Path, port: int, settings: dict[str, Any]) -> Path:
    """The same config for the broker at `port`, with other settings, and a log that a test can read."""
    table = tomllib.loads(file.read_text())
    (actor,) = table["actors"].values()
    actor["settings"] = {**actor["settings"], **settings}
    table["mqtt"] = {"url": f"mqtt://127.0.0.1:{port}", "backoff": {"initial_s": 0.02, "max_s": 0.1}}
    table["log"] = {"level": "debug", "format": "json"}
    file.write_text(toml(table))
    return file


def test_its_own_tests_pass(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-W", "ignore:'AbstractChildWatcher':DeprecationWarning"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["sensor.toml", "alarm.toml"])
def test_its_configs_are_good(folder: Path, name: str) -> None:
    program = "from tars.supervisor.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "check", name], cwd=folder, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_its_readme_names_every_file() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")

    assert {*FILES} - {"README.md"} == set(re.findall(r"`(\w+\.(?:py|toml))`", text))


async def test_the_chain_of_processes_says_hot_ok_and_silent_over_kills_and_a_dead_broker(folder: Path) -> None:
    async with Mosquitto(persistent=True) as broker:
        sensor = adapt(folder / "sensor.toml", broker.port, {"file": str(folder / "temp")})
        alarm = adapt(folder / "alarm.toml", broker.port, {"silent_after_s": 2.0})
        async with Peer(broker.port) as peer:
            await peer.subscribe("alarms/cellar")
            async with started(folder, alarm) as watching, started(folder, sensor):
                await watching.event("link_up")
                await state(peer, 1, "ok")
                (folder / "temp").write_text("80000\n")
                await state(peer, 2, "hot")
                await watching.kill()
                (folder / "temp").write_text("20000\n")
                async with started(folder, alarm) as again:
                    await until(peer, "ok")
                    (folder / "temp").write_text("70000\n")
                    await until(peer, "hot")
                    await again.event("alarm_changed", room="cellar", state="hot")
                    again.signal(signal.SIGTERM)

                    assert 0 == await again.exited()
        async with started(folder, alarm) as late, started(folder, sensor) as reading:
            await reading.event("link_up")
            await late.event("alarm_changed", state="hot")
            broker.kill()
            await late.event("link_down")
            await broker.restart()
            await late.event("link_up", count=2)
            await reading.event("link_up", count=2)
            (folder / "temp").write_text("21000\n")
            await late.event("alarm_changed", state="ok")
            reading.signal(signal.SIGTERM)
            assert 0 == await reading.exited()
            await late.event("alarm_changed", state="silent")
        async with Peer(broker.port, "late") as peer:
            await peer.subscribe("alarms/cellar")
            (retained,) = await peer.received(1)

            assert ("silent", True) == (orjson.loads(retained.payload)["data"]["state"], retained.retain)


async def state(peer: Peer, count: int, expected: str) -> None:
    """The `count`-th alarm says `expected`."""
    alarms = await peer.received(count)

    assert expected == orjson.loads(alarms[-1].payload)["data"]["state"]


async def until(peer: Peer, expected: str) -> None:
    """The next alarms come until one says `expected`: an alarm that was killed may say again what it has said."""
    count = len(peer.seen)
    while True:
        count += 1
        alarms = await peer.received(count)
        if orjson.loads(alarms[-1].payload)["data"]["state"] == expected:
            return
