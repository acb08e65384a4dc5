"""README.md promises commands: they are the ones CI runs, the recipes repeat, and its examples can be read."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import sys
import tomllib
from pathlib import Path

import orjson
import pytest
import trio
from paho.mqtt.enums import MQTTProtocolVersion

from support.broker import free_port
from support.peer import Peer
from support.process import service

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def two_commands() -> tuple[str, str]:
    run, test = (block.strip() for block in blocks(section("Two commands"), "sh"))
    return run, test


def test_the_sections_stand_in_the_order_a_reader_needs_them() -> None:
    expected = [
        "Two commands",
        "A service in ten lines",
        "Commands",
        "What is guaranteed",
        "What is not",
        "On a real broker",
        "Layout",
        "Developing",
    ]

    assert expected == re.findall(r"^## (.*)$", README, re.MULTILINE)


def test_there_are_two_commands_of_one_line_each_the_main_job_and_the_tests() -> None:
    run, test = two_commands()

    assert "\n" not in run + test
    assert run.endswith("python -m tars.supervisor config/router.toml")
    assert test.endswith("python -m pytest")


def test_ci_runs_the_test_command_verbatim() -> None:
    _, test = two_commands()
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]

    assert 1 == lines.count(test)


def test_the_recipes_are_the_same_two_commands() -> None:
    recipes = (ROOT / "justfile").read_text(encoding="utf-8").replace("{{config}}", "config/router.toml").replace(" {{args}}", "")
    lines = [line.strip() for line in recipes.splitlines()]

    for command in two_commands():
        assert command in lines


@pytest.mark.parametrize("file", ["justfile", ".ci/run"])
def test_what_the_readme_calls_a_check_is_what_is_checked(file: str) -> None:
    row = re.search(r"^\| check \| (.*) \|$", README, re.MULTILINE)
    assert row is not None
    lines = [line.strip().removeprefix("check ") for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]

    assert [] == [command for command in re.findall(r"`([^`]+)`", row[1]) if command not in lines]


@pytest.mark.parametrize("name", ["config/router.toml", "config/mosquitto.conf", "compose.yml", "justfile", ".ci/run", ".ci/setup"])
def test_the_files_it_names_exist(name: str) -> None:
    assert name in README
    assert (ROOT / name).is_file()


def test_the_service_in_ten_lines_has_ten_lines_and_a_config_that_runs_it() -> None:
    text = section("A service in ten lines")
    (code,), (config,) = blocks(text, "python"), blocks(text, "toml")
    tree, settings = ast.parse(code), tomllib.loads(config)
    handlers = [node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]

    assert 10 >= len([line for line in code.splitlines() if line.strip()])
    assert [f"climate:{name}" for name in handlers] == [actor["use"] for actor in settings["actors"].values()]


async def test_the_service_in_ten_lines_runs_as_it_stands(tmp_path: Path) -> None:
    """The code and the config of the README, on another port; the embedded broker speaks MQTT 3.1.1."""
    text = section("A service in ten lines")
    (code,), (config,) = blocks(text, "python"), blocks(text, "toml")
    table, port = tomllib.loads(config), free_port()
    table["mqtt"]["url"] = f"mqtt://127.0.0.1:{port}"
    (tmp_path / "climate.py").write_text(code)
    async with service(tmp_path, {**table, "log": {"format": "json"}}, "climate") as child:
        await child.event("link_up")
        async with Peer(port, protocol=MQTTProtocolVersion.MQTTv311) as peer:
            await peer.subscribe("alarms/heat")
            await peer.publish("sensors/cellar/temp", b'{"celsius": 12.5}')
            await peer.publish("sensors/kitchen/temp", b'{"celsius": 31}')
            (alarm,) = await peer.received(1)
            envelope = orjson.loads(alarm.payload)

            assert ("alarm.heat", "climate", {"room": "kitchen"}) == (envelope["type"], envelope["source"], envelope["data"])
        child.signal(signal.SIGTERM)

        assert 0 == await child.exited()


async def test_what_the_readme_publishes_to_the_service_in_ten_lines_arrives_where_it_listens(tmp_path: Path) -> None:
    text = section("A service in ten lines")
    (code,), (config,), (_, listen, publish) = blocks(text, "python"), blocks(text, "toml"), blocks(text, "sh")
    (_, sub, _, topic_filter), (_, pub, *rest) = shlex.split(listen), shlex.split(publish)
    table, port = tomllib.loads(config), free_port()
    table["mqtt"]["url"] = f"mqtt://127.0.0.1:{port}"
    (tmp_path / "climate.py").write_text(code)
    async with service(tmp_path, {**table, "log": {"format": "json"}}, "climate") as child:
        await child.event("link_up")
        async with Peer(port, protocol=MQTTProtocolVersion.MQTTv311) as peer:
            await peer.subscribe(topic_filter)
            tars = [sys.executable, "-c", "from tars.supervisor.cli import main; main()"]
            environment = {key: value for key, value in os.environ.items() if not key.startswith("MQTT_")}
            ended = await trio.run_process([*tars, pub, *rest], cwd=tmp_path, env=environment, capture_stdout=True)
            (alarm,) = await peer.received(1)

            assert ("sub", "pub", 0) == (sub, pub, ended.returncode)
            assert "alarm.heat" == orjson.loads(alarm.payload)["type"]


@pytest.mark.parametrize("script", [".ci/run", ".ci/setup"])
def test_the_scripts_are_executable_and_stop_at_the_first_failure(script: str) -> None:
    path = ROOT / script

    assert path.stat().st_mode & 0o111
    assert re.search(r"^set -eu", path.read_text(encoding="utf-8"), re.MULTILINE)
