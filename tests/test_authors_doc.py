"""docs/authors.md keeps its word: its files make a folder whose tests pass, whose configs are good, whose service runs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import orjson
import pytest
import trio
from paho.mqtt.enums import MQTTProtocolVersion

from support.broker import free_port
from support.peer import Peer
from support.process import started
from tars.actors import Context, subscribe
from tars.actors.mqtt.dead_letter import Why
from tars.actors.settings import ActorSettings
from tars.actors.testing import Running, Unfulfilled, in_virtual_time, running
from tars.supervisor import Overflow

PAGE = Path(__file__).parent.parent / "docs" / "authors.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def call(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MQTT_", "LOG_"))}
    return subprocess.run(command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=60)


def tars(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return call(folder, sys.executable, "-c", "from tars.supervisor.cli import main; main()", *arguments, **variables)


def shell_line(beginning: str) -> list[str]:
    """The arguments of the one line in a shell block that begins so."""
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    (line,) = [line for line in lines if line.startswith(beginning)]
    return shlex.split(line, comments=True)[1:]


def text_blocks() -> list[list[str]]:
    return [block.splitlines() for block in re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]


def first_cells(heading: str) -> list[str]:
    """What stands in the first column of the table that has this heading, or that follows this sentence."""
    (table,) = re.findall(rf"{re.escape(heading)}[^\n]*\n(?:\n?)((?:\|.*\n)+)", TEXT)
    return [row.split("|")[1].strip() for row in table.splitlines()]


def test_every_example_has_a_name_and_is_run() -> None:
    assert len(re.findall(r"^```(?:python|toml)$", TEXT, re.MULTILINE)) == len(FILES)


def test_the_tests_on_the_page_pass(folder: Path) -> None:
    done = call(folder, sys.executable, "-m", "pytest", "-q", "-W", "error", "-W", "ignore:'AbstractChildWatcher':DeprecationWarning")

    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{sum(code.count('def test_') for code in FILES.values()) + 1} passed" in done.stdout  # one of them twice: with_real


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".toml")])
def test_the_configs_are_good(folder: Path, name: str) -> None:
    done = tars(folder, "check", name)

    assert (0, "") == (done.returncode, done.stderr)


def test_check_shows_where_a_setting_comes_from_as_the_page_says(folder: Path) -> None:
    shown, _ = text_blocks()
    done = tars(folder, "check", "pump.toml", PUMP_LITRES_PER_S="3")
    said = [re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()]

    assert "PUMP_LITRES_PER_S=3 tars check pump.toml" in TEXT
    assert [] == [line for line in shown if re.split(r" {2,}", line) not in said], done.stdout


def test_the_options_are_all_there_are_with_their_defaults() -> None:
    table = tomllib.loads(FILES["options.toml"])["actors"]["thermostat"]
    defaults = {each.name: each.default for each in attrs.fields(ActorSettings) if each.name not in {"use", "key", "topics", "settings"}}

    assert {**defaults, "overflow": "dead_letter"} == {key: table[key] for key in table if key in defaults}
    assert re.search(r"^# key = ", FILES["options.toml"], re.MULTILINE)  # by default there is none, which TOML cannot say
    assert {each.value for each in Overflow} == set(re.findall(r'"(\w+)"', re.findall(r"^overflow = .*$", TEXT, re.MULTILINE)[0]))


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    named = [name for cell in first_cells("| reason |") for name in re.findall(r"`(\w+)`", cell)]

    assert set() == {each.value for each in Why} - set(named)


@pytest.mark.parametrize("heading", ["| to say |", "| to look at |", "| to wait for |"])
def test_what_the_tables_name_a_service_under_test_has(heading: str) -> None:
    names = {name for cell in first_cells(heading) for name in re.findall(r"(?:`|with )(\w+)(?=[(`])", cell)} - {"running", "async"}

    assert len(names) > 2
    assert set() == {name for name in names if not hasattr(Running, name)}


def test_every_way_to_wait_and_to_look_is_in_a_table() -> None:
    public = {
        name
        for name in vars(Running) | vars(Running.__mro__[1])
        if name.startswith(("wait_", "deliver")) or name in {"settled", "published"}
    }

    assert set() == {name for name in public if f"`{name}" not in TEXT}


def test_what_ctx_says_is_all_it_says() -> None:
    (listed,) = re.findall(r"It says `([^`]*)`", TEXT)
    facts = {name for name in Context.__init__.__code__.co_names if not name.startswith("_")}

    assert {*listed.split()} >= {"topic", "params", "envelope", "qos", "retain", "duplicate", "attempt", "message_id"} & facts
    assert all(hasattr(Context, name) or name in facts for name in listed.split())


@in_virtual_time
async def test_a_wait_in_vain_says_what_stands_on_the_page() -> None:
    @subscribe("sensors/{room}/temp")
    async def climate(_event: bytes, ctx: Context) -> None:
        await ctx.publish("alarm.heat", {"room": ctx.params["room"]}, topic="alarms/heat")

    async def waits() -> None:
        async with running(climate) as service:
            await service.deliver_raw("sensors/kitchen/temp", b"hot")
            await service.wait_published("alarms/cold")

    with pytest.raises(Unfulfilled) as said:
        await waits()

    assert text_blocks()[1] == str(said.value).splitlines()


async def test_the_first_service_runs_and_is_spoken_to_as_the_page_says(folder: Path) -> None:
    file, port = folder / "climate.toml", free_port()
    file.write_text(FILES["climate.toml"].replace(":1883", f":{port}").replace("[log]", '[log]\nformat = "json"'))
    async with started(folder, file) as child:
        await child.event("link_up")
        async with Peer(port, protocol=MQTTProtocolVersion.MQTTv311) as peer:
            await peer.subscribe("alarms/#")
            said = await trio.to_thread.run_sync(tars, folder, *shell_line("tars pub climate.toml"))
            (alarm,) = await peer.received(1)
        child.signal(signal.SIGTERM)

        assert 0 == await child.exited()
    shown = await trio.to_thread.run_sync(tars, folder, *shell_line("tars logs var/climate.log --crashes"))

    assert (0, 0) == (said.returncode, shown.returncode), said.stderr + shown.stderr
    assert {"room": "kitchen"} == orjson.loads(alarm.payload)["data"]


def test_the_options_of_logs_exist(tmp_path: Path) -> None:
    known = tars(tmp_path, "logs", "--help", COLUMNS="200", TERM="dumb").stdout
    named = {option for line in re.findall(r"^tars logs .*$", TEXT, re.MULTILINE) for option in re.findall(r"--[a-z]+", line)}

    assert len(named) > 3
    assert set() == {option for option in named if option not in known}


def test_asyncapi_says_what_the_pump_publishes_and_where(folder: Path) -> None:
    done = tars(folder, "asyncapi", "pump.toml")

    assert (0, "") == (done.returncode, done.stderr)
    assert "garden/north/pump" in done.stdout
    assert "seconds" in done.stdout


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)

    assert [] == [link for link in links if link.startswith("#") and link[1:] not in anchors]
    assert [] == [link for link in links if not link.startswith("#") and not (PAGE.parent / link.partition("#")[0]).is_file()]
