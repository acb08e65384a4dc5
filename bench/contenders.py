"""Who takes part: how each is started, how it says that it is ready, and what one has to know about its figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from .child import python
from .contract import HANDLERS, filter_of
from .packets import Protocol


@attrs.frozen
class Contender:
    """`distributions` are what it stands on, for their versions. `ready` tells the line that says so."""

    name: str
    protocol: Protocol
    module: str
    distributions: tuple[str, ...]
    note: str
    ours: bool = False

    def command(self, folder: Path, port: int) -> list[str]:
        """What to run in `folder`; writes there what it needs."""
        if not self.ours:
            return python(self.module, port, self.protocol)
        config = folder / "service.toml"
        config.write_text(service_toml(port, self.protocol), encoding="utf-8")
        return python(self.module, config)

    @property
    def ready(self) -> Callable[[str], bool]:
        """Is this the line with which it says that its subscriptions stand?"""
        return (lambda line: "link_up" in line) if self.ours else (lambda line: line == "ready")


def service_toml(port: int, protocol: Protocol) -> str:
    """Our service's config: ten actors, everything else as it is by default."""
    actors = (
        f'[actors.k{number}]\nuse = "bench.consumers.tars_actors:Handler"\ntopics = {{"bench/in/+" = "{filter_of(number)}"}}\n'
        f"settings = {{number = {number}}}\n"
        for number in range(HANDLERS)
    )
    head = (
        'application = "tars.actors.service:application"\n\n'
        '[service]\nname = "bench-consumer"\n\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\nprotocol = "{protocol}"\n\n'
        '[log]\nlevel = "info"\nformat = "json"\n'
    )
    return "\n".join([head, *actors])


def _both(name: str, module: str, distributions: tuple[str, ...], note: str, *, ours: bool = False) -> tuple[Contender, ...]:
    return (
        Contender(f"{name} 5", "5", module, distributions, note, ours),
        Contender(f"{name} 3.1.1", "3.1.1", module, distributions, note, ours),
    )


ALL: Final = (
    *_both("tars", "tars.supervisor", ("tars", "trio", "trio-asyncio", "aiomqtt", "paho-mqtt"), "Ten actors, all defaults.", ours=True),
    *_both(
        "aiomqtt",
        "bench.consumers.aiomqtt_loop",
        ("aiomqtt", "paho-mqtt"),
        "Hand-written loop on asyncio. The API cannot acknowledge after handling: done through a private attribute.",
    ),
    Contender("gmqtt 5", "5", "bench.consumers.gmqtt_loop", ("gmqtt",), "A task for each message, unordered."),
    *_both(
        "FastStream",
        "bench.consumers.faststream_app",
        ("faststream", "zmqtt", "pydantic"),
        "AckPolicy.ACK, ten subscribers, access log off.",
    ),
    *_both("zmqtt", "bench.consumers.zmqtt_loop", ("zmqtt",), "auto_ack=False, a subscription and a task for each handler."),
)
BY_NAME: Final[Mapping[str, Contender]] = {contender.name: contender for contender in ALL}
QUICK: Final = ("tars 5", "aiomqtt 3.1.1")
"""Ours, and the hand-written loop in its faster mode."""
