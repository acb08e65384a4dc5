"""What ``tars new`` writes: a service that runs and whose test passes as it stands. Pure.

Law: it uses only what an author may use, and each file is short enough to be read before it is changed.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from string import Template
from types import MappingProxyType
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_LONGEST_NAME: Final = 40

_MODULE: Final = Template('''"""$name: greets whoever comes to a door."""

import attrs
from tars.actors import Actor, Context, subscribe


@attrs.frozen
class Visitor:
    """What comes in: as JSON, with or without an envelope around it. Unknown fields are refused."""

    name: str


@attrs.frozen
class Settings:
    """[actors.$module.settings] of $name.toml."""

    greeting: str = "Hello"


class $cls(Actor):
    """Every restart makes a new one, so a failure returns it to a known state."""

    settings: Settings

    def __init__(self) -> None:
        self.visits = 0

    @subscribe("$name/{door}/visitor", qos=1)
    async def on_visitor(self, visitor: Visitor, ctx: Context) -> None:
        """The message is acknowledged when this has returned and the broker has confirmed the greeting."""
        self.visits += 1
        ctx.log.info("greeted", visits=self.visits)
        text = f"{self.settings.greeting}, {visitor.name}!"
        await ctx.publish("$name.greeting", {"text": text, "door": ctx.params["door"]}, topic="$name/greeting")
''')

_CONFIG: Final = Template("""# $name. `tars check $name.toml` shows every setting there is, and what it is.

application = "tars.actors.service:application"

[service]
name = "$name"

[mqtt]
url = "mqtt://127.0.0.1:1883"       # mqtts:// for TLS; user:password@ before the host, percent-encoded

[broker]
embedded = true                     # for trying out; false, or MQTT_URL in the environment, for a real broker

[log]
level = "info"
file = "var/$name.log"

[actors.$module]
use = "$module:$cls"

[actors.$module.settings]
greeting = "Hello"
""")

_TEST: Final = Template('''"""The service of $name.toml, whole, on a broker of the test's own."""

from pathlib import Path

from tars.actors.testing import Why, in_virtual_time, running

from $module import Visitor

CONFIG = Path(__file__).with_name("$name.toml")
with_real = False  # True: the same tests on a Mosquitto, started for each; it has to be installed


@in_virtual_time
async def test_a_visitor_is_greeted() -> None:
    async with running(CONFIG, with_real=with_real) as service:
        await service.deliver("$name/front/visitor", Visitor("Ada"))
        (greeting,) = await service.wait_published("$name/greeting")

    assert greeting.data == {"text": "Hello, Ada!", "door": "front"}


@in_virtual_time
async def test_a_visitor_without_a_name_is_a_dead_letter() -> None:
    async with running(CONFIG, with_real=with_real) as service:
        await service.deliver_raw("$name/front/visitor", {"nam": "Ada"})
        (letter,) = await service.wait_dead_letters()

    assert letter.why is Why.UNDECODABLE
    assert service.published == []
''')

_README: Final = Template("""# $name

An MQTT service on tars. In this folder:

```sh
tars check $name.toml  # the tree that would run, and every setting
tars run $name.toml  # Ctrl-C stops it; it brings its own broker
tars sub $name.toml '$name/#'  # in another terminal: what travels
tars pub $name.toml $name.visitor '{"name": "Ada"}' --topic $name/front/visitor
tars logs var/$name.log  # what happened; --crashes, --story ID
python -m pytest  # its tests, in virtual time, without a broker
```

`$module.py` is the actor, `$name.toml` its config, `test_$module.py` its test.
""")

_FILES: Final[Mapping[str, Template]] = MappingProxyType(
    {"$module.py": _MODULE, "$name.toml": _CONFIG, "test_$module.py": _TEST, "README.md": _README}
)


def skeleton(name: str) -> dict[str, str]:
    """File name → text of a service called `name`. Raises ValueError, which says what a name may be."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ValueError(f'a name has lower-case letters, digits, "-" and "_" between them, at most {_LONGEST_NAME}; found "{name}"')
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise ValueError(f'"{module}" is a word of Python, and cannot be a module\'s name')
    words = {"name": name, "module": module, "cls": "".join(part.capitalize() for part in module.split("_"))}
    files = {Template(file).substitute(words): text.substitute(words) for file, text in _FILES.items()}
    return {**files, "README.md": _aligned(files["README.md"])}


def _aligned(text: str) -> str:
    """Its lines of shell with their comments below each other, however long the name in them is."""
    calls = [line.partition("  # ") for line in text.splitlines()]
    column = max(len(call) for call, mark, comment in calls if mark)
    return "".join(f"{call.ljust(column)}{mark}{comment}\n" if mark else f"{call}\n" for call, mark, comment in calls)
