"""Who takes part: how each is started, how it says that it is ready, and what one has to know about its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import attrs

from .child import Failed, python
from .contract import HANDLERS, filter_of
from .packets import Protocol
from .scenario import Scenario


@attrs.frozen
class Contender:
    """`distributions` are what it stands on, for their versions. `config` writes the file that a service of ours is run from."""

    name: str
    protocol: Protocol
    module: str
    distributions: tuple[str, ...]
    note: str
    config: Callable[[int, Protocol], str] | None = None

    def command(self, folder: Path, port: int) -> list[str]:
        """What to run in `folder`; writes there what it needs."""
        if self.config is None:
            return python(self.module, port, self.protocol)
        file = folder / "service.toml"
        file.write_text(self.config(port, self.protocol), encoding="utf-8")
        return python(self.module, file)

    @property
    def ready(self) -> Callable[[str], bool]:
        """Is this the line with which it says that its subscriptions stand?"""
        return (lambda line: line == "ready") if self.config is None else (lambda line: "link_up" in line)


def counting_service(port: int, protocol: Protocol) -> str:
    """Our service's config for throughput: ten actors, everything else as it is by default."""
    actors = (
        f'[actors.k{number}]\nuse = "bench.consumers.tars_actors:Handler"\ntopics = {{"bench/in/+" = "{filter_of(number)}"}}\n'
        f"settings = {{number = {number}}}\n"
        for number in range(HANDLERS)
    )
    return "\n".join([_service(port, protocol), *actors])


def answering_service(port: int, protocol: Protocol) -> str:
    """For latency: one actor that answers."""
    return f'{_service(port, protocol)}\n[actors.answers]\nuse = "bench.consumers.tars_answers:Answers"\n'


def waiting_service(port: int, concurrency: int, wait_s: float) -> str:
    """For lanes: one actor that waits, its share of the window large enough for all of them, and nothing set aside as too slow."""
    return (
        f'{_service(port, "5")}\n[actors.waits]\nuse = "bench.consumers.tars_lanes:Waiter"\nmailbox = 128\noverflow = "block"\n'
        f'concurrency = {concurrency}\nkey = "{{data.sensor}}"\nsettings = {{wait_s = {wait_s}}}\n'
    )


def _service(port: int, protocol: Protocol) -> str:
    return (
        'application = "tars.actors.service:application"\n\n'
        '[service]\nname = "bench-consumer"\n\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\nprotocol = "{protocol}"\n\n'
        '[log]\nlevel = "info"\nformat = "json"\n'
    )


_OURS: Final = ("tars", "trio", "trio-asyncio", "aiomqtt", "paho-mqtt")
_BY_HAND: Final = "Hand-written loop on asyncio. The API cannot acknowledge after handling: done through a private attribute."
_AIOMQTT: Final = ("aiomqtt", "paho-mqtt")
_FASTSTREAM: Final = ("faststream", "zmqtt", "pydantic")
_LATE: Final = "AckPolicy.ACK, ten subscribers, access log off."
_ANSWERS: Final = "One actor that publishes its answer; all defaults."
_ZMQTT: Final = "auto_ack=False, a subscription and a task for each handler."

ALL: Final = (
    Contender("tars 5", "5", "tars.supervisor", _OURS, "Ten actors, all defaults.", counting_service),
    Contender("tars 3.1.1", "3.1.1", "tars.supervisor", _OURS, "Ten actors, all defaults.", counting_service),
    Contender("aiomqtt 5", "5", "bench.consumers.aiomqtt_loop", _AIOMQTT, _BY_HAND),
    Contender("aiomqtt 3.1.1", "3.1.1", "bench.consumers.aiomqtt_loop", _AIOMQTT, _BY_HAND),
    Contender("aiomqtt 3.1.1 early", "3.1.1", "bench.consumers.aiomqtt_early", _AIOMQTT, "Acknowledges before handling: another work."),
    Contender("gmqtt 5", "5", "bench.consumers.gmqtt_loop", ("gmqtt",), "A task for each message, unordered."),
    Contender("FastStream 5", "5", "bench.consumers.faststream_app", _FASTSTREAM, _LATE),
    Contender("FastStream 3.1.1", "3.1.1", "bench.consumers.faststream_app", _FASTSTREAM, _LATE),
    Contender("zmqtt 5", "5", "bench.consumers.zmqtt_loop", ("zmqtt",), _ZMQTT),
    Contender("zmqtt 3.1.1", "3.1.1", "bench.consumers.zmqtt_loop", ("zmqtt",), _ZMQTT),
)
BY_NAME: Final[Mapping[str, Contender]] = {contender.name: contender for contender in ALL}
QUICK: Final = ("tars 5", "aiomqtt 3.1.1")
"""Ours, and the hand-written loop in its faster mode."""

ANSWERING: Final = (
    Contender("tars 5", "5", "tars.supervisor", _OURS, _ANSWERS, answering_service),
    Contender("tars 3.1.1", "3.1.1", "tars.supervisor", _OURS, _ANSWERS, answering_service),
    Contender("aiomqtt 3.1.1", "3.1.1", "bench.consumers.aiomqtt_answers", _AIOMQTT, "Publishes, waits for the PUBACK, acknowledges."),
    Contender(
        "aiomqtt 3.1.1 tasks", "3.1.1", "bench.consumers.aiomqtt_answers_tasks", _AIOMQTT, "The same, a task for each request, unordered."
    ),
    Contender("gmqtt 5", "5", "bench.consumers.gmqtt_answers", ("gmqtt",), "Does not wait for the PUBACK of its answer."),
    Contender("FastStream 5", "5", "bench.consumers.faststream_answers", _FASTSTREAM, "Publishes, waits for the PUBACK, acknowledges."),
)
"""Those that answer requests."""


def taking_part(scenario: Scenario) -> tuple[Contender, ...]:
    """Who does the work of `scenario`."""
    return ANSWERING if scenario.requests else ALL


def check_installed(chosen: Iterable[Contender]) -> None:
    """Raises `Failed` where what one of `chosen` stands on is not here: a report that lacks somebody is easily taken for a whole one."""
    lacking = {each.name: lacks for each in chosen if (lacks := [name for name in each.distributions if not _is_installed(name)])}
    if lacking:
        packages = ", ".join(dict.fromkeys(name for names in lacking.values() for name in names))
        raise Failed(
            f"{', '.join(lacking)} cannot take part: not installed here: {packages}. `sh .ci/setup-bench` makes an environment that has "
            "them all; then it is `.venv-bench/bin/python -m bench`"
        )


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
