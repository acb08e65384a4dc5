"""From a name to an object, and what a person is told when it leads nowhere."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tars.actors.loading import LoadError, load_actors, load_object
from tars.actors.service_config import read_service_config
from tars.supervisor import Config, ConfigError

ROBOT = """
from typing import Any

import attrs

from tars.actors.actor import Actor, subscribe

@attrs.frozen
class Settings:
    limit: int = 3

class Robot(Actor):
    settings: Settings

    @subscribe("a")
    async def on_a(self, event: bytes) -> None: ...

    class Arm: ...

@subscribe("b")
async def on_b(event: int) -> None: ...
"""

Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Package]:
    """Makes an importable package, of a name never seen before, from texts of its modules."""

    def make(**modules: str) -> str:
        name = f"robot_{uuid.uuid4().hex}"
        folder = tmp_path / name
        folder.mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        return name

    sys.path.insert(0, str(tmp_path))
    yield make
    sys.path.remove(str(tmp_path))


def refused(name: str) -> str:
    with pytest.raises(LoadError) as caught:
        load_object(name)
    return str(caught.value)


def test_a_name_leads_to_its_object(package: Package) -> None:
    name = package(parts=ROBOT)
    robot = load_object(f"{name}.parts:Robot")

    assert isinstance(robot, type)
    assert ("Robot", "Arm") == (robot.__name__, getattr(load_object(f"{name}.parts:Robot.Arm"), "__name__", ""))


@pytest.mark.parametrize("name", ["", "os", "os.path", ":join", "os:", "os.path:join()", "os path:join", "../os:path", "a:b:c", ".os:path"])
def test_what_is_no_name_is_refused(name: str) -> None:

    assert f'expected "package.module:Object", found "{name}"' == refused(name)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("no_such_package_anywhere", 'there is no module "no_such_package_anywhere" (looked in the current folder and in '),
        ("no_such_package_anywhere.parts", 'there is no module "no_such_package_anywhere" ('),
        ("{name}.prats", 'there is no module "{name}.prats"; did you mean "parts"? (looked in'),
        ("{name}.parts.deeper", 'there is no module "{name}.parts.deeper" ('),
    ],
)
def test_a_module_that_is_not_there_is_told_so(package: Package, module: str, why: str) -> None:
    name = package(parts=ROBOT)

    assert refused(f"{module.format(name=name)}:Robot").startswith(why.format(name=name))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Robto", '"{name}.parts" has no "Robto"; did you mean "Robot"?'),
        ("zzz", '"{name}.parts" has no "zzz"'),
        ("Robot.Amr", '"{name}.parts.Robot" has no "Amr"; did you mean "Arm"?'),
    ],
)
def test_an_object_that_is_not_in_its_module_is_told_so(package: Package, path: str, why: str) -> None:
    name = package(parts=ROBOT)

    assert why.format(name=name) == refused(f"{name}.parts:{path}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\nimport numpyy\n", "ModuleNotFoundError: No module named 'numpyy' ({file}, line 2)"),
        ("from os import joyn\n", "ImportError: cannot import name 'joyn' from 'os'"),
        ("x = 1\ny = nope\n", "NameError: name 'nope' is not defined ({file}, line 2)"),
        ("{{}}['a']\n", "KeyError: 'a' ({file}, line 1)"),
        ("raise RuntimeError('mqtt://u:hunter2@host')\n", "RuntimeError: mqtt://***@host ({file}, line 1)"),
        ("from tars.actors.actor import subscribe\nsubscribe('a/#/b')\n", "TopicError: filter 'a/#/b'"),
        ("def f(:\n", "SyntaxError: invalid syntax (parts.py, line 1)"),
    ],
)
def test_what_fails_inside_a_module_is_told_with_its_place(package: Package, tmp_path: Path, text: str, why: str) -> None:
    name = package(parts=text.replace("{{}}", "{}"))
    file = tmp_path / name / "parts.py"

    assert refused(f"{name}.parts:Robot").startswith(f'"{name}.parts" cannot be imported: {why.format(file=file)}')


def test_a_failure_deeper_down_is_told_where_it_is(package: Package, tmp_path: Path) -> None:
    name = package(deeper="import numpyy\n")
    (tmp_path / name / "parts.py").write_text(f"import {name}.deeper\n")

    assert refused(f"{name}.parts:Robot").endswith(f"No module named 'numpyy' ({tmp_path / name / 'deeper.py'}, line 1)")


def load(tmp_path: Path, toml: str) -> Config:
    path = tmp_path / "service.toml"
    path.write_text("[service]\nname = 'r'\n[broker]\nembedded = true\n" + toml, encoding="utf-8")
    return Config.load(path, {})


def test_the_actors_of_a_config_are_loaded_and_defined_in_its_order(package: Package, tmp_path: Path) -> None:
    name = package(parts=ROBOT)
    use = f"use = '{name}.parts:Robot'\n"
    config = load(tmp_path, f"[actors.z]\n{use}settings = {{ limit = 4 }}\n[actors.a]\n{use}topics = {{ a = 'b' }}\n")
    definitions = load_actors(config, read_service_config(config).actors)
    config.finish()

    assert ["z:a", "a:b"] == [subscription.id for each in definitions for subscription in each.subscriptions]
    assert 4 == definitions[0].make().settings.limit  # type: ignore[attr-defined]
    assert "file" == config.provenance["actors.z.settings.limit"].kind


def test_mistakes_of_all_actors_stand_in_one_report(package: Package, tmp_path: Path) -> None:
    name = package(parts=ROBOT)
    config = load(
        tmp_path,
        f"""
        [actors.a]
        use = "{name}.parts:Robot"
        settings = {{ limit = "4" }}
        [actors.b]
        use = "{name}.parts:on_b"
        [actors.c]
        use = "{name}.parts:Robto"
        [actors.d]
        use = 3
        [actors.e]
        use = "{name}.parts:Robot"
        """,
    )
    definitions = load_actors(config, read_service_config(config).actors)
    with pytest.raises(ConfigError) as caught:
        config.finish()

    assert ["actors.a.settings.limit", "actors.b.use", "actors.c.use", "actors.d.use"] == sorted(
        line.partition(": ")[0] for line in caught.value.lines
    )
    assert "e" == definitions[-1].name


def test_an_actor_beside_the_config_is_found_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "robot.py").write_text(ROBOT)
    (tmp_path / "app.py").write_text(
        "from tars.actors.loading import load_object\n"
        "from tars.supervisor import SupervisorSpec\n"
        "def application(config):\n"
        "    return SupervisorSpec(load_object('robot:Robot').__name__, [])\n"
    )
    (tmp_path / "service.toml").write_text('application = "app:application"\n')
    check = (sys.executable, "-c", "from tars.supervisor.cli import main; main()", "check", "service.toml")
    ended = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ("", 0) == (ended.stderr, ended.returncode)
    assert ended.stdout.startswith("Robot  supervisor")
