"""The actors of the services that tests kill: each writes down what it took and what it finished, and answers.

Law: nothing of the tests is imported here. A copy of this file stands in the folder of a service that runs as a process
of its own, as an author's module would.

The journal gets one line per step, appended whole: ``PID taken KEY SEQ`` before anything else is done with a message, and
``PID done KEY SEQ`` when the outbox has its answer. A message with ``"hold": true`` waits between the two, at the test's
gate (see `tests/support/process.py`), until the gate lets it through. One with ``"fail": true`` fails at its first attempt,
one with ``"needs": FILE`` finds its backend away while there is no such file, one with ``"reject": true`` is rejected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tars.actors import Actor, Context, Reject, subscribe
from tars.supervisor import Unavailable

AWAY_S: Final = 0.05
"""After so long the backend is asked for again."""


@attrs.frozen
class EchoSettings:
    """`journal`: the file. `gate_port`: where held messages wait. `reply`: first level of the answers' topic, "" for none."""

    journal: str
    gate_port: int = 0
    reply: str = "out"
    qos: int = 1


class Echo(Actor):
    """Answers ``in/KEY`` on ``out/KEY`` with the same data."""

    settings: EchoSettings

    @subscribe("in/{key}", qos=1)
    async def on_message(self, event: dict[str, Any], ctx: Context) -> None:
        write(self.settings.journal, "taken", event)
        if event.get("fail") and ctx.attempt == 1:
            raise RuntimeError("the handler's own bug")
        if event.get("reject"):
            raise Reject("it says so itself")
        if event.get("needs") and not await trio.Path(event["needs"]).exists():
            raise Unavailable("the backend is away", retry_after_s=AWAY_S)
        if event.get("hold"):
            await wait_at_gate(self.settings.gate_port)
        if self.settings.reply:
            topic = f"{self.settings.reply}/{ctx.params['key']}"
            qos = 1 if self.settings.qos else 0
            await ctx.publish("test.reply", event, topic=topic, qos=qos, correlation_id=f"{event['key']}-{event['seq']}")
        write(self.settings.journal, "done", event)


def write(journal: str, step: str, event: dict[str, Any]) -> None:
    """One line, in one write: a process that is killed leaves whole lines."""
    with Path(journal).open("ab", buffering=0) as file:
        file.write(f"{os.getpid()} {step} {event['key']} {event['seq']}\n".encode())


async def wait_at_gate(port: int) -> None:
    """Return when the gate lets us through, or is gone."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.receive_some(1)
