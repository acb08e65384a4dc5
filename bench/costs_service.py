"""What a service costs that runs as a process of its own, seen from outside: its start, doing nothing, millions of messages, crashes.

Law: like everywhere here, a figure is thrown away unless every message was handled.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from .child import ROOT, Child, Failed, python
from .contenders import BY_NAME, counting_service
from .contract import HANDLERS
from .costs import Cost, Point, growth, one
from .costs_setting import NO_HEARTBEAT, Setting, flat, kept
from .scenario import QUICK, mosquitto, source
from .statistics import spread
from .throughput import phase
from .usage import usage

START_S: Final = 0.5
IDLE_CPU_MS: Final = 5.0
"""Per second: half a percent of a core, most of it the heartbeat that looks after the link."""
IDLE_RSS_MB: Final = 60.0
CRASH_MS: Final = 5.0
PHASE: Final = 20_000
"""Messages between two looks at the memory."""
TOLD_EVERY: Final = 500_000
SMALL_WINDOW: Final = "\n[dedup]\nmax_entries = 10000\n"
"""By default it is as large as 30 s of messages, up to 100 000: on a slow machine memory would tell of the rate."""
WINDOW: Final = 100_000
"""Messages after which the dedup window has long been full."""
CRASHES: Final = 500
LEAST_MESSAGES: Final = 2 * WINDOW
LEAST_CRASHES: Final = 3 * CRASHES
"""Less gives no line."""
IMPORT: Final = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
ROUTER: Final = ROOT / "config" / "router.toml"


@asynccontextmanager
async def _router(setting: Setting, folder: Path, port: int, *, options: Sequence[str] = ()) -> AsyncIterator[Child]:
    """The router, just begun."""
    more = {"MQTT_URL": f"mqtt://127.0.0.1:{port}", "LOG_LEVEL": "info"}
    command, *rest = python("tars.supervisor", ROUTER)
    as_told = attrs.evolve(setting, environment={**setting.environment, **more})
    async with as_told.service("the router", [command, *options, *rest], folder) as router:
        yield router


async def start(setting: Setting) -> list[Cost]:
    """From the call to the first connection with every subscription granted: `config/router.toml`, a real broker.

    Every module's bytecode is there, as an installation or an earlier start has left it; what the first start of all costs, is told.
    """
    with setting.folder() as folder:
        there = with_bytecode(setting, folder / "bytecode")
        async with mosquitto(setting.cores, folder, setting.environment) as port:
            first_s, _ = await _start(there, folder, port)
            starts = [await _start(there, folder, port) for _ in range(setting.rounds)]
            async with _router(there, folder, port, options=("-X", "importtime")) as router:
                imported = Counter[str]()
                line = ""
                while "link_up" not in line:
                    line = await router.line(lambda _: True)
                    if found := IMPORT.match(line):
                        imported[_package(found[2])] += int(found[1])
    longest = ", ".join(f"{name} {microseconds / 1000:.0f} ms" for name, microseconds in imported.most_common(8))
    wall_s, cpu_s = zip(*starts, strict=True)
    return [
        Cost("start of the router to ready, on the clock", spread(wall_s), "s", START_S),
        Cost("start of the router to ready, processor", spread(cpu_s), "s", START_S, f"imports, slowed down by measuring them: {longest}"),
        Cost("the first start of all, on the clock", one(first_s), "s", note="it compiles every module, the libraries' too"),
    ]


def with_bytecode(setting: Setting, folder: Path) -> Setting:
    """The first process writes bytecode to `folder`, the others read it, whatever the environment says of that."""
    environment = {name: value for name, value in setting.environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return attrs.evolve(setting, environment={**environment, "PYTHONPYCACHEPREFIX": str(folder)})


async def _start(setting: Setting, folder: Path, port: int) -> tuple[float, float]:
    """Seconds on the clock, and of processor."""
    began_s = time.perf_counter()
    async with _router(setting, folder, port) as router:
        await router.line(lambda line: "link_up" in line)
        return time.perf_counter() - began_s, usage(router.process.pid).cpu_s


def _package(module: str) -> str:
    return ".".join(module.split(".")[: 2 if module.startswith("tars.") else 1])


async def idle(setting: Setting) -> list[Cost]:
    """A router that nobody talks to."""
    with setting.folder() as folder:
        async with mosquitto(setting.cores, folder, setting.environment) as port, _router(setting, folder, port) as router:
            await router.line(lambda line: "link_up" in line)
            await trio.sleep(1.0)  # what a start leaves to do is not idling
            began_s, before = time.perf_counter(), usage(router.process.pid)
            await trio.sleep(setting.idle_s)
            after, took_s = usage(router.process.pid), time.perf_counter() - began_s
    return [
        Cost("idle router, processor per second", one((after.cpu_s - before.cpu_s) * 1e3 / took_s), "ms", IDLE_CPU_MS),
        Cost("idle router, memory", one(after.rss_bytes / 1e6), "MB", IDLE_RSS_MB),
    ]


async def messages(setting: Setting) -> list[Cost]:
    """Different messages from the blaster, QoS 1, through ten actors. Raises `Failed`."""
    if setting.messages < LEAST_MESSAGES:
        raise Failed(f"{setting.messages:,} messages are too few to see growth: at least {LEAST_MESSAGES:,}")
    contender, points = BY_NAME["tars 5"], []
    with setting.folder() as folder:
        async with source(QUICK, setting.cores, folder, setting.environment) as feed:
            file = folder / "service.toml"
            file.write_text(counting_service(feed.port, "5") + NO_HEARTBEAT + SMALL_WINDOW, encoding="utf-8")
            command = python("tars.supervisor", file)
            async with setting.service(contender.name, command, folder) as consumer:
                await consumer.line(contender.ready)
                for number in range(1, setting.messages // PHASE + 1):
                    sample = await phase(contender, QUICK, feed, consumer, PHASE)
                    points.append(Point(number * PHASE, sample.rss_bytes))
                    if number * PHASE % TOLD_EVERY == 0:
                        setting.tell(
                            f"{number * PHASE:,} messages: {sample.rss_bytes / 1e6:.1f} MB, {sample.per_cpu_s:,.0f} per CPU-second"
                        )
    late = [each for each in points if each.count >= WINDOW]
    first, full, last = (f"{each.size / 1e6:.1f}" for each in (points[0], late[0], late[-1]))
    note = f"{first} MB at first, {full} with the dedup window full, {last} at last"
    return [flat(f"memory gained over {setting.messages:,} messages, the dedup window full", growth(late), note)]


async def crashes(setting: Setting) -> list[Cost]:
    """An actor's crash, to its next incarnation having the message in hand again; the log, with its traceback, on. Raises `Failed`."""
    if setting.restarts < LEAST_CRASHES:
        raise Failed(f"{setting.restarts:,} restarts are too few to see growth: at least {LEAST_CRASHES:,}")
    with setting.folder() as folder:
        async with source(QUICK, setting.cores, folder, setting.environment) as feed:
            file = folder / "service.toml"
            file.write_text(_crashing(feed.port) + NO_HEARTBEAT, encoding="utf-8")
            command = python("tars.supervisor", file)
            async with setting.service("crashes", command, folder) as consumer:
                await consumer.line(lambda line: "link_up" in line)
                waits_ms, points, blocks = [], [], []
                for number in range(1, setting.restarts // CRASHES + 1):
                    await feed.feeder.tell(f"load {CRASHES} 1")
                    (fresh,) = await feed.feeder.words("loaded")
                    await feed.feeder.tell("go")
                    for _ in range(int(fresh) + HANDLERS):
                        (crashed_ns,) = await consumer.words("crashed")
                        (handled_ns,) = await consumer.words("handled")
                        waits_ms.append((int(handled_ns) - int(crashed_ns)) / 1e6)
                    (living,) = await consumer.words("blocks")
                    await feed.feeder.words("acked")
                    points.append(Point(number * CRASHES, usage(consumer.process.pid).rss_bytes))
                    blocks.append(Point(number * CRASHES, int(living)))
    note = f"from {points[0].size / 1e6:.1f} to {points[-1].size / 1e6:.1f} MB"
    how = "the log with its traceback on, no backoff"
    return [
        Cost("service: crash to the next message handled", spread(waits_ms), "ms", CRASH_MS, how),
        flat(f"service: memory gained over {setting.restarts:,} restarts", growth(points), note),
        kept("service: blocks kept for each restart", growth(blocks) / setting.restarts, setting.restarts),
    ]


def _crashing(port: int) -> str:
    return (
        'application = "bench.consumers.tars_crashes:application"\n\n'
        f'[service]\nname = "bench-consumer"\n\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n\n'
        '[dedup]\nmax_entries = 1000\n\n[log]\nlevel = "info"\nformat = "json"\n\n'
        '[actors.crashes]\nuse = "bench.consumers.tars_crashes:Crashes"\nmailbox = 128\noverflow = "block"\n'
    )
