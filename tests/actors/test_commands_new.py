"""``tars new``: what it writes runs and passes at once; it overwrites nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import attrs
import orjson
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from support.broker import free_port
from support.cli import call
from support.peer import Peer
from support.process import started
from tars.actors.commands.skeleton import skeleton

NAME = "door-bell"
FILES = ["README.md", "door-bell.toml", "door_bell.py", "test_door_bell.py"]


@attrs.frozen
class Made:
    """A service that ``tars new`` wrote into `folder`, and what it said."""

    folder: Path
    said: str


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Made:
    folder = tmp_path / "new" / NAME
    said = call(capsys, "new", NAME, "--dir", folder)

    assert (0, "") == (said.code, said.err)
    return Made(folder, said.out)


def test_it_writes_an_actor_a_config_a_test_and_a_readme_and_says_so(made: Made) -> None:
    assert FILES == sorted(each.name for each in made.folder.iterdir())
    assert all(str(made.folder / file) in made.said for file in FILES)
    assert f"cd {made.folder} && tars run {NAME}.toml" in made.said


@pytest.mark.parametrize("name", ["a", NAME, "a-name-of-forty-characters-and-not-one-more"[:40]])
def test_the_comments_of_its_readme_stand_below_each_other(name: str) -> None:
    lines = [line for line in skeleton(name)["README.md"].splitlines() if "  # " in line]

    assert 5 == len(lines)
    assert 1 == len({line.index("  # ") for line in lines})


async def test_what_it_wrote_runs_on_the_embedded_broker(made: Made) -> None:
    config, port = made.folder / f"{NAME}.toml", free_port()
    config.write_text(config.read_text().replace(":1883", f":{port}").replace("[log]", '[log]\nformat = "json"'))
    async with started(made.folder, config) as child:
        await child.event("link_up")
        async with Peer(port, protocol=MQTTProtocolVersion.MQTTv311) as peer:
            await peer.subscribe("door-bell/greeting")
            await peer.publish("door-bell/front/visitor", b'{"name": "Ada"}')
            (greeting,) = await peer.received(1)
        child.signal(signal.SIGTERM)

        assert 0 == await child.exited()
        assert {"text": "Hello, Ada!", "door": "front"} == orjson.loads(greeting.payload)["data"]
    assert (made.folder / "var" / f"{NAME}.log").is_file()


@pytest.mark.parametrize("with_real", [False, True])
def test_its_tests_pass_in_memory_and_on_a_real_broker(made: Made, with_real: bool) -> None:
    file = made.folder / "test_door_bell.py"
    file.write_text(file.read_text().replace("with_real = False", f"with_real = {with_real}"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-W", "ignore:'AbstractChildWatcher':DeprecationWarning"],
        cwd=made.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_what_is_there_is_not_overwritten(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    (made.folder / "door_bell.py").write_text("mine")
    said = call(capsys, "new", NAME, "--dir", made.folder)

    assert (2, "") == (said.code, said.out)
    assert f"tars new: {made.folder}: door_bell.py, door-bell.toml, test_door_bell.py, README.md are there already\n" == said.err
    assert "mine" == (made.folder / "door_bell.py").read_text()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    said = call(capsys, "new", NAME, "--dir", tmp_path / "file")

    assert (1, f"tars new: {tmp_path / 'file'}: file exists\n") == (said.code, said.err)


@pytest.mark.parametrize(
    "name", ["", "Door", "1st", "a b", "../a", "a/b", "-a", "a-", "a--b", "é", "a.b", "class", "x" * 41, "json", "tars"]
)
def test_a_name_that_cannot_be_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = call(capsys, "new", f"--dir={tmp_path / 'a'}", "--", name)

    assert (2, "", 1) == (said.code, said.out, len(said.err.splitlines()))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("name", "class_name"), [("bell", "Bell"), ("door-bell", "DoorBell"), ("a2_b-c", "A2BC")])
def test_the_class_is_named_after_the_service(name: str, class_name: str) -> None:
    files = skeleton(name)

    assert f"class {class_name}(Actor):" in files[f"{name.replace('-', '_')}.py"]
    assert f'use = "{name.replace("-", "_")}:{class_name}"' in files[f"{name}.toml"]
