"""``tars asyncapi`` as a shell calls it: what it prints, that it is always the same, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.asyncapi import problems
from support.cli import call
from tars.actors.commands.asyncapi import described

ROUTER = Path(__file__).parents[2] / "config" / "router.toml"

MODULE = '''
import attrs
from tars.actors import publishes, subscribe


@attrs.frozen
class Temperature:
    celsius: float
    unit: "str" = "C"


@publishes("alarm.heat"{topic})
@subscribe("sensors/{{room}}/temp")
async def on_temperature(event: Temperature) -> None:
    """Too warm?"""
'''
CONFIG = """
application = "tars.actors.service:application"
service.name = "climate"
mqtt.url = "mqtts://me:hunter2@broker.example"
actors.climate.use = "climate:on_temperature"
"""


def service(folder: Path, *, topic: str = ', topic="alarms/heat"', config: str = CONFIG) -> Path:
    """A service in a folder of its own; the path of its config."""
    (folder / "climate.py").write_text(MODULE.format(topic=topic))
    path = folder / "climate.toml"
    path.write_text(config)
    return path


def tars(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``tars ARGUMENTS`` in `folder`, in a process of its own: it imports a module of that folder."""
    program = [sys.executable, "-c", "from tars.supervisor.cli import main; main()", *arguments]
    return subprocess.run(program, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def test_the_document_of_a_config_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    plain, asked = call(capsys, "asyncapi", ROUTER), call(capsys, "asyncapi", ROUTER, "--json", "--version", "2.0")
    printed = json.loads(plain.out)

    assert (0, "") == (plain.code, plain.err)
    assert json.loads(asked.out) == {**printed, "info": {**printed["info"], "version": "2.0"}}
    assert described(ROUTER, {}, version=printed["info"]["version"])["channels"] == printed["channels"]
    assert [] == problems(printed)


def test_a_service_of_an_author_s_is_described_without_its_password_and_always_in_the_same_words(tmp_path: Path) -> None:
    path = service(tmp_path)
    first, second = (tars(tmp_path, "asyncapi", path.name, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    printed = json.loads(first.stdout)

    assert (0, "", 0, "") == (first.returncode, first.stderr, second.returncode, second.stderr)
    assert first.stdout == second.stdout
    assert [] == problems(printed)
    assert {"celsius", "unit"} == set(printed["components"]["schemas"]["Temperature"]["properties"])
    assert "broker.example:8883" == printed["servers"]["broker"]["host"]
    assert "hunter2" not in first.stdout
    assert not (tmp_path / "var").exists()


def test_the_environment_goes_before_the_file_and_its_password_is_not_shown_either(tmp_path: Path) -> None:
    path = service(tmp_path)
    ended = tars(tmp_path, "asyncapi", path.name, MQTT_URL="mqtt://you:hunter3@other:7", MQTT_CLIENT_ID="robot9")
    printed = json.loads(ended.stdout)

    assert ("other:7", "mqtt") == (printed["servers"]["broker"]["host"], printed["servers"]["broker"]["protocol"])
    assert "system/health/robot9" in {each["address"] for each in printed["channels"].values()}
    assert "hunter" not in ended.stdout


@pytest.mark.parametrize(
    ("config", "topic", "said"),
    [
        (CONFIG, "", 'climate.toml: @publishes("alarm.heat") needs a topic: Unknown event type'),
        (CONFIG.replace("climate:on", "climate:in"), ', topic="a"', 'climate.toml: actors.climate.use: "climate" has no "in_temperature"'),
        (CONFIG.replace("actors.climate.use", "[actors]\n#"), "", "climate.toml: actors: there is none"),
        (CONFIG.replace("mqtts://me:hunter2@", "http://me:hunter2@"), "", 'climate.toml: mqtt.url: the scheme "http" is not supported'),
        (CONFIG + "x = 1", ', topic="a"', "climate.toml: x: unknown key"),
        ("=", "", "climate.toml: not TOML"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, config: str, topic: str, said: str) -> None:
    path = service(tmp_path, topic=topic, config=config)
    ended = tars(tmp_path, "asyncapi", path.name)

    assert (2, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith(f"tars asyncapi: {said}")
    assert 1 == len(ended.stderr.splitlines())
    assert "hunter2" not in ended.stderr


def test_a_file_that_is_not_there_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    ended = call(capsys, "asyncapi", "none.toml")

    assert (2, "", "tars asyncapi: none.toml: no such file\n") == (ended.code, ended.out, ended.err)
