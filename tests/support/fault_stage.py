"""Where the rows of the fault table play: a broker, a proxy, a service as a process behind it, and a client outside.

The service has actors that answer and may be held, with two keys each, and ``probe``. Everything
that is sent has a number, and `check` is the verdict of a verifier that knows only what the client sent and got, and what the
handlers wrote down.

Law: a wait is for a thing, and ends within a patience. The service's session stands at the broker before it first connects.
"""

from __future__ import annotations

import functools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import attrs
import trio

import support.echo
import support.faulty
from support.broker import Mosquitto
from support.fault_verdict import Permission, Seen, Tally, actor_of, judgement
from support.faulty import LOOP
from support.process import CLIENT, HEALTH, PATIENCE_S, Child, Gate, config, echo_actor, gated, started, toml
from support.proxy import Proxy, proxied
from support.verifier import Number, journal
from support.verifier_client import Outside, distinct, outside

MESSAGES: Final = int(os.environ.get("FAULT_MESSAGES", "0"))
"""At least so many for each fault; 0: each fault strikes once at each moment."""
ACTORS: Final = tuple("abcdefghijklmnop") if MESSAGES else ("one", "two")
"""Under durable dedup each has one message at a time, confirmed and recorded before the next: speed is in their number."""
PROBE: Final = "probe"
KEYS: Final = tuple(f"{actor}{index}" for actor in ACTORS for index in range(2))
WIRES: Final = (*ACTORS, "dedup", "dispatcher", "store", LOOP)
CONNECTION: Final = "root/service/link/connection"
BROKER: Final = ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
WINDOW: Final = 50
"""What the client has unconfirmed at a time, in full flow."""
OPEN: Final = 200
"""What it has unanswered at a time: with what it says again after a broker's restart no more than the service's Receive Maximum. What is
more the broker queues, and Mosquitto 2.0.11 lets a new message overtake such a queue (`test_mosquitto_keeps`)."""


@attrs.define(eq=False, kw_only=True)
class Stage:
    """See the module. `again`: what the failure ladder tries once more.

    `unsettled`: what a process that died had taken and not yet settled, as far as its log tells.
    """

    folder: Path
    environ: Mapping[str, str]
    broker: Mosquitto
    proxy: Proxy
    client: Outside
    gate: Gate
    wires: dict[str, Gate]
    nursery: trio.Nursery
    child: Child | None = None
    again: set[Number] = attrs.field(factory=set)
    unsettled: set[Number] = attrs.field(factory=set)
    rejected: list[Number] = attrs.field(factory=list)
    rejected_again: set[Number] = attrs.field(factory=set)
    numbers_in_all: int = 0
    tally: Tally = attrs.field(factory=Tally)
    struck: int = 0
    began_at: float = attrs.field(factory=trio.current_time)
    lasts_s: float = 0.0
    """How long the fault that strikes next lasts, at least, where a fault has a length."""
    pauses: bool = False
    flows: int = 0
    ups: int = 0
    trouble: int = 0
    downs: int = 0
    health: str = ""
    _settled: set[Number] = attrs.field(factory=set)
    _lines_read: int = 0
    _next: Counter[str] = attrs.field(factory=Counter)
    _offset_bytes: int = 0

    @property
    def written(self) -> Path:
        return self.folder / "journal"

    @property
    def backend(self) -> Path:
        """While this file is not there, the backend of messages that need it is away."""
        return self.folder / "backend"

    @property
    def service(self) -> Child:
        """The process that runs."""
        assert self.child is not None
        return self.child

    # -- the service ----------------------------------------------------------------------------------

    async def start(self) -> Child:
        """Start the process; it need not be connected yet."""
        child: Child = await self.nursery.start(self._life)
        self.child, self.ups, self.trouble, self._lines_read = child, 0, 0, 0
        return child

    async def _life(self, *, task_status: trio.TaskStatus[Child]) -> None:
        async with started(self.folder, self.folder / "service.toml", self.environ) as child:
            task_status.started(child)
            await child.ends()

    async def up(self) -> None:
        """Return when a link is up that was not when the fault struck. A process that does not run is started."""
        child = self.child or await self.start()
        await child.event("link_up", count=self.ups + 1)

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.service.signal(signal.SIGTERM)
        return await self.over()

    async def over(self) -> int:
        """The exit code, when the process has ended. Notes what it left behind."""
        code = await self.service.exited()
        self.unsettled |= set(journal(self.written, "taken", self._offset_bytes)) - self._settled_so_far()
        self.child = None
        return code

    def strikes(self) -> None:
        """Remember how things are just before the fault."""
        if self.child is not None:
            self.ups, self.downs, self.trouble = self._count("link_up"), self._count("link_down"), self._trouble()

    async def finish(self, count: int) -> None:
        """Return when handlers have finished so many since the last check. Polls: the file tells nobody."""
        with trio.fail_after(PATIENCE_S):
            while True:
                if len(journal(self.written, "done", self._offset_bytes)) >= count:
                    return
                await trio.sleep(0.002)

    async def link_fails(self) -> None:
        """Return when the link went down, or an attempt at one failed, since `strikes`."""
        await self.service.until(lambda: self._trouble() > self.trouble, "failure of the link")

    def _trouble(self) -> int:
        return self._count("link_down") + self._count("child_exited", actor=CONNECTION)

    def _count(self, event: str, **values: object) -> int:
        return len(self.service.events(event, **values))

    def link_is_up(self) -> bool:
        """As far as the log tells."""
        return self._count("link_up") > self._count("link_down")

    def link_stayed(self) -> bool:
        """Since `strikes`."""
        return self._count("link_down") == self.downs

    # -- messages -----------------------------------------------------------------------------------------

    def send(self, key: str, *, held: bool = False, away: bool = False, rejected: bool = False, fails: bool = False) -> Number:
        """The next message of a key."""
        seq = self._next[key]
        self._next[key] += 1
        self.numbers_in_all += 1
        number = (key, seq)
        more = {"hold": held, "fail": fails, "reject": rejected, "needs": str(self.backend) if away else ""}
        self.client.number(key, seq, prefix=f"in/{actor_of((key, seq))}", message_id=f"{key}-{seq}", **more)
        if away or fails:
            self.again.add(number)
        if rejected:
            self.client.unanswered.discard(number)
            self.rejected.append(number)
        return number

    async def probe(self) -> None:
        """Send a message behind all others, and wait for its answer: then they have arrived at their actors."""
        number = self.send(PROBE)
        await self.client.until(lambda: number not in self.client.unanswered, "answer to the probe")
        await self.service.until(lambda: number in self._settled_so_far(), "word that the probe is settled")

    async def flow(self, count: int) -> None:
        """Send so many without a break, except while `pauses`; now and then one that fails once, or is rejected."""
        self.flows = count
        for index in range(count):
            await self.client.until(self._has_room, "room")
            self.flows -= 1
            self.send(KEYS[index % len(KEYS)], fails=index % 50 == 21, rejected=index % 50 == 42)

    def _flows_on(self, left: int) -> bool:
        return self.flows < left

    def _has_room(self) -> bool:
        return not self.pauses and self.client.unconfirmed < WINDOW and len(self.client.unanswered) < OPEN

    async def all_is_done(self) -> None:
        """Return when everything is answered and settled."""
        while left := self.flows:
            await self.client.until(functools.partial(self._flows_on, left), "message of the flow")
        await self.client.confirmed()
        await self.client.answered()
        sent = set(self.client.sent)
        await self.service.until(lambda: len(self._settled_so_far()) >= len(sent) and sent <= self._settled, "word that all is settled")

    def _settled_so_far(self) -> set[Number]:
        """Of the numbers since the last check, those of which some process said that they are settled."""
        lines = self.service.lines
        for line in lines[self._lines_read :]:
            if line["event"] == "message_settled":
                key, _, seq = line["message_id"].rpartition("-")
                self._settled.add((key, int(seq)))
        self._lines_read = len(lines)
        return self._settled

    # -- the verdict ----------------------------------------------------------------------------------------

    def check(self, permission: Permission) -> None:
        """Judge what was sent since the last check."""
        taken, finished = (journal(self.written, step, self._offset_bytes) for step in ("taken", "done"))
        before = self.rejected_again.difference(self.client.sent)
        taken = [number for number in taken if number not in before]
        seen = Seen(self.client.sent, set(self.rejected), taken, finished, distinct(self.client.on("out/")), self.again)
        found = judgement(seen, permission)
        self.tally += found.tally
        if found.wrong:
            raise AssertionError("\n".join(found.wrong))
        self._forget()

    def may_be_rejected_again(self) -> None:
        """What was rejected since the last check is in no dedup window: if its acknowledgement is lost, it comes and is rejected again."""
        found = set(self.rejected).intersection(self.client.sent)
        self.again |= found
        self.rejected_again |= found

    def _forget(self) -> None:
        self.health = next((each.data["event"] for each in reversed(self.client.on(HEALTH))), self.health)
        self.client.sent.clear()
        self.client.came.clear()
        for what in (self.again, self.unsettled, self._settled):
            what.clear()
        self._offset_bytes = self.written.stat().st_size
        self.service.forget(lambda line: line["level"] == "debug" and line["event"] != "child_started")
        self._lines_read = len(self.service.lines)

    async def says(self, health: Collection[str]) -> None:
        """Return when the last the service said of its health is one of these.

        A machine that gave the process no turn for a second has spoilt its health until it ends; that a log line says.
        """

        def last() -> str:
            return next((each.data["event"] for each in reversed(self.client.on(HEALTH))), self.health)

        with trio.move_on_after(PATIENCE_S):
            while True:
                if last() in health or (last() == "degraded" and self._count("loop_free")):
                    return
                await trio.sleep(0.002)  # the message and the line come by different ways, and either may be the last
        said = [each.data for each in self.client.on(HEALTH)]
        raise AssertionError(f"no health {health} within {PATIENCE_S:g} s: before {self.health!r}, then {said}")

    async def is_whole(self) -> None:
        """Return when every child that ever started runs."""
        child = self.service

        def down() -> list[str]:
            runs: dict[str, bool] = {}
            for line in child.lines:
                if line["event"] in {"child_started", "child_exited"}:
                    runs[line["actor"]] = line["event"] == "child_started"
            return [path for path, is_up in runs.items() if not is_up]

        await child.until(lambda: not down(), "whole tree")


@asynccontextmanager
async def staged(folder: Path, *, persistent: bool, heartbeat: Mapping[str, float]) -> AsyncIterator[Stage]:
    """A stage on which no service runs yet."""
    _furnish(folder)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Mosquitto(BROKER, persistent=persistent))
        proxy = await stack.enter_async_context(proxied(broker.port))
        gate = await stack.enter_async_context(gated())
        wires = {name: await stack.enter_async_context(gated()) for name in WIRES}
        await _leave_a_session(broker.port)
        client = await stack.enter_async_context(outside(broker.port, "out/#", HEALTH))
        (folder / "service.toml").write_text(toml(_config(proxy.port, folder / "journal", gate, heartbeat)))
        nursery = await stack.enter_async_context(trio.open_nursery())
        environ = {"FAULTS": ",".join(f"{name}:{wire.port}" for name, wire in wires.items())}
        yield Stage(
            folder=folder,
            environ=environ,
            broker=broker,
            proxy=proxy,
            client=client,
            gate=gate,
            wires=wires,
            nursery=nursery,
        )
        nursery.cancel_scope.cancel()


def _furnish(folder: Path) -> None:
    folder.mkdir()
    for module in (support.echo, support.faulty):
        copyfile(str(module.__file__), folder / f"{module.__name__.rpartition('.')[2]}.py")
    (folder / "journal").touch()


def _config(port: int, written: Path, gate: Gate, heartbeat: Mapping[str, float]) -> dict[str, Any]:
    tables = {
        "application": "faulty:application",
        "service": {"name": CLIENT, "state_dir": "state"},
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}", "backoff": {"initial_s": 0.02, "max_s": 0.1}, "connect_timeout_s": 1.0},
        "dedup": {"durable": True, "ttl_s": 300.0},
        "heartbeat": dict(heartbeat) or {"interval_s": 30.0, "deadline_s": 20.0},  # a machine may be slow
    }
    actors = {name: echo_actor(written, gate, topic=f"in/{name}/{{key}}", overflow_after_s=60.0) for name in (*ACTORS, PROBE)}
    return config(port, tables, actors)


async def _leave_a_session(port: int) -> None:
    """What an earlier life of the service left at the broker: messages that come now wait for it."""
    with trio.fail_after(PATIENCE_S):
        async with outside(port, *(f"in/{name}/+" for name in (*ACTORS, PROBE)), client_id=CLIENT):
            pass
