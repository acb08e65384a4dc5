"""`concurrency` and `key` in a config: what is wrong with them is told at the start, with the key of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest

from tars.actors import Actor, Context, subscribe
from tars.actors.contracts import Between, Envelope
from tars.actors.definition import define
from tars.actors.lane_key_check import key_problems
from tars.actors.loading import load_actors
from tars.actors.service_config import read_service_config
from tars.supervisor import Config, ConfigError

SAME = "is the same for every message of this actor, which would leave one lane with all the work"
SERVICE = '[service]\nname = "s"\n[mqtt]\nurl = "mqtt://host"\n'


@attrs.frozen
class Arm:
    side: str


@attrs.frozen
class Pose:
    robot_id: str
    arm: Arm
    joints: list[float] = attrs.field(factory=list)
    extra: dict[str, Any] = attrs.field(factory=dict)
    load_kg: Annotated[float, Between(0, 10)] = 0.0
    other: Arm | None = None
    tag: str | int = ""


class Typed(Actor):
    @subscribe("fleet/{robot}/pose")
    async def on_pose(self, event: Pose) -> None: ...

    @subscribe("fleet/+/map/#")
    async def on_map(self, event: bytes) -> None: ...


@subscribe("fleet/{robot}/pose")
async def typed(event: Pose) -> None: ...


@subscribe("$share/group/fleet/{robot}/pose")
async def loose(event: dict[str, Any], ctx: Context) -> None: ...


@subscribe("fleet/{robot}/pose")
async def whole(event: Envelope) -> None: ...


@subscribe("one")
async def one(event: bytes) -> None: ...


@subscribe("fleet/#")
async def open_ended(event: bytes) -> None: ...


@subscribe("one")
@subscribe("two")
async def two(event: bytes) -> None: ...


@pytest.mark.parametrize(
    ("use", "key"),
    [
        (typed, "{robot}"),
        (typed, "{topic[1]}"),
        (typed, "{topic[-2]}"),
        (typed, "{data.robot_id}/{data.arm.side}"),
        (typed, "{data.other.side}"),
        (typed, "{data.extra.anything}"),
        (typed, "{data.load_kg}"),
        (typed, "{data.tag}"),
        (loose, "{robot}"),
        (loose, "{data.anything.at.all}"),
        (whole, "{data.anything}"),
        (Typed, "{topic}"),
        (Typed, "{topic[1]}"),
        (typed, "{topic[-3]}/{robot}"),
        (one, "{data.x}"),
        (open_ended, "{topic}"),
        (open_ended, "{topic[1]}"),
        (open_ended, "{topic[-1]}"),
        (two, "{topic}"),
    ],
)
def test_these_are_keys(use: Any, key: str) -> None:
    assert [] == key_problems(key, define("a", use))


@pytest.mark.parametrize(
    ("use", "key", "problems"),
    [
        (typed, "{topic[3]}", ['{topic[3]}: "fleet/+/pose" has the levels 0 to 2']),
        (typed, "{topic[-4]}", ['{topic[-4]}: "fleet/+/pose" has the levels 0 to 2']),
        (loose, "{topic[3]}", ['{topic[3]}: "$share/group/fleet/+/pose" has the levels 0 to 2']),
        (typed, "{robto}", ['{robto}: "fleet/+/pose" captures no such level; did you mean "robot"?']),
        (typed, "{robot_id}", ['{robot_id}: "fleet/+/pose" captures no such level; the field of the event is {data.robot_id}']),
        (Typed, "{robot}", ['{robot}: "fleet/+/map/#" captures no such level']),
        (typed, "{data.robotid}", ["{data.robotid}: Pose has no field 'robotid'; did you mean \"robot_id\"?"]),
        (typed, "{data.arm.sid}", ["{data.arm.sid}: arm has no field 'sid'; did you mean \"side\"?"]),
        (typed, "{data.other.sid}", ["{data.other.sid}: other has no field 'sid'; did you mean \"side\"?"]),
        (typed, "{data.robot_id.n}", ["{data.robot_id.n}: robot_id has no fields, it is a str"]),
        (typed, "{data.load_kg.n}", ["{data.load_kg.n}: load_kg has no fields, it is a float"]),
        (typed, "{data.joints.0}", ["{data.joints.0}: joints has no fields, it is a list"]),
        (typed, "{data.arm}", ["{data.arm}: arm is an Arm; a key is made of strings, numbers, true and false"]),
        (typed, "{data.other}", ["{data.other}: other is an Arm; a key is made of strings, numbers, true and false"]),
        (typed, "{data.joints}", ["{data.joints}: joints is a list; a key is made of strings, numbers, true and false"]),
        (typed, "{data.extra}", ["{data.extra}: extra is a dict; a key is made of strings, numbers, true and false"]),
        (typed, "{topic[0]}", [f'"{{topic[0]}}" {SAME}']),
        (
            open_ended,
            "{topic[0]}",
            ['"{topic[0]}" is the same for every message of this actor, which would leave one lane with all the work'],
        ),
        (one, "{topic}", [f'"{{topic}}" {SAME}']),
        (typed, "{topic[1]", ['there is a brace without its partner in "{topic[1]"']),
    ],
)
def test_these_are_not_for_this_actor(use: Any, key: str, problems: list[str]) -> None:
    found = key_problems(key, define("a", use))

    assert problems == [each.partition("; expected")[0] for each in found]


def lines(tmp_path: Path, toml: str, before: str = SERVICE) -> list[str]:
    """The report on a file."""
    file = tmp_path / "service.toml"
    file.write_text(before + toml)
    config = Config.load(file, {})
    load_actors(config, read_service_config(config).actors)
    with pytest.raises(ConfigError) as refused:
        config.finish()
    return list(refused.value.lines)


USE = f'use = "{__name__}:typed"\n'


@pytest.mark.parametrize(
    ("actor", "problem"),
    [
        ("concurrency = 4", "actors.a.key: is missing, but concurrency is 4; messages with the same key are handled in order"),
        ('concurrency = 4\nkey = "{nobody}"', 'actors.a.key: {nobody}: "fleet/+/pose" captures no such level'),
        ('key = "{nobody}"', 'actors.a.key: {nobody}: "fleet/+/pose" captures no such level'),
        ("key = 3", "actors.a.key: expected a string"),
        ('concurrency = 0\nkey = "{topic}"', "actors.a.concurrency: expected an integer between 1 and 256"),
        ('concurrency = 257\nkey = "{topic}"', "actors.a.concurrency: expected an integer between 1 and 256"),
        ('concurrency = "4"\nkey = "{topic}"', "actors.a.concurrency: expected an integer"),
        ('concurrency = 65\nkey = "{topic}"', "actors.a.concurrency: must be <= 64, the actor's share of the messages under way"),
        ('concurrency = 129\nmailbox = 256\nkey = "{topic}"', "actors.a.concurrency: must be <= 128, the actor's share"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, actor: str, problem: str) -> None:
    (line,) = lines(tmp_path, f"[actors.a]\n{USE}{actor}\n")

    assert line.startswith(problem)


def test_a_key_is_looked_at_also_where_the_rest_of_its_table_is_wrong(tmp_path: Path) -> None:
    found = lines(tmp_path, f'[actors.a]\n{USE}mailbox = 0\nkey = "{{nobody}}"\n')

    assert ["actors.a.mailbox", "actors.a.key"] == [line.partition(":")[0] for line in found]


def test_the_name_of_an_actor_is_one_step_of_a_path(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, f'[actors."a/0"]\n{USE}')

    assert line == 'actors."a/0": must be a name without "/": it is a step of paths in the tree'
