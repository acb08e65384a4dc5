"""What can be measured inside one process, without a broker: dispatch, a filtered-out log line, many actors, crashes.

    python -m bench.costs_inside NAME COUNT     prints "measured " and JSON: numbers by their names

Every measurement has a process of its own, so that nobody inherits another's heap. Law: durations of work are processor time.
"""

from __future__ import annotations

import gc
import io
import itertools
import os
import sys
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson
import structlog
import trio

from tars.actors.mqtt.topics import Matcher
from tars.supervisor import NO_BACKOFF, ChildSpec, Mailbox, Supervisor, SupervisorSpec, supervise
from tars.supervisor.events import ChildStarted
from tars.supervisor.log import LogSettings, configure, event_logger

from .pump import say
from .usage import usage

Figures = dict[str, list[float]]

TOPICS: Final = 20_000
"""More than the matcher's cache holds: each is looked up in the trie."""
CACHED: Final = 1_000
RSS_EVERY: Final = 200
"""Restarts between two looks at the memory."""


def dispatch(filters: int) -> Figures:
    """Nanoseconds to find who gets a message, with 1 and with so many filters: topics not seen lately, and seen ones."""
    few, many = _Lookup(1), _Lookup(filters)
    found: Figures = {"fresh_1_ns": [], "fresh_ns": [], "cached_1_ns": [], "cached_ns": []}
    for _ in range(5):  # alternating: what disturbs the machine disturbs both
        found["fresh_1_ns"].append(few.fresh_ns())
        found["fresh_ns"].append(many.fresh_ns())
        found["cached_1_ns"].append(few.cached_ns())
        found["cached_ns"].append(many.cached_ns())
    return found


class _Lookup:
    def __init__(self, filters: int) -> None:
        self._matcher: Matcher[int] = Matcher()
        for number in range(filters):
            self._matcher.add(f"site/k{number}/+", number)
        self._topics = [f"site/k{number % filters}/device-{number}" for number in range(TOPICS)]
        self._few = self._topics[:CACHED] * (TOPICS // CACHED)

    def fresh_ns(self) -> float:
        return self._ns(self._topics)

    def cached_ns(self) -> float:
        self._ns(self._few[:CACHED])
        return self._ns(self._few)

    def _ns(self, topics: list[str]) -> float:
        match = self._matcher.match
        began_ns = time.process_time_ns()
        for topic in topics:
            match(topic)
        return (time.process_time_ns() - began_ns) / len(topics)


def log(calls: int) -> Figures:
    """Nanoseconds of a call to the log below its level, of an empty call, of a filtered-out event, and of a line that is written.

    `filtered`: by the logger that a module has; `bound`: by one with values bound to it. Finding the method is part of the call.
    """
    written = configure(LogSettings(level="info", format="json"), io.StringIO())
    try:
        logger = structlog.get_logger()
        bound = structlog.get_logger().bind(actor="root/service/handlers/echo")
        found: Figures = {name: [] for name in ("empty_ns", "filtered_ns", "bound_ns", "written_ns", "event_ns")}
        for _ in range(5):
            found["empty_ns"].append(_debug_ns(_Silent(), calls))
            found["filtered_ns"].append(_debug_ns(logger, calls))
            found["bound_ns"].append(_debug_ns(bound, calls))
            found["written_ns"].append(_info_ns(logger, calls // 100))
            found["event_ns"].append(_event_ns(calls // 10))
        return found
    finally:
        written.close()


class _Silent:
    """What a call costs by itself."""

    def debug(self, _event: str, **_values: object) -> None:
        """Nothing."""


def _debug_ns(logger: Any, calls: int) -> float:
    began_ns = time.process_time_ns()
    for number in range(calls):
        logger.debug("message_settled", topic="site/kitchen/temperature", number=number)
    return (time.process_time_ns() - began_ns) / calls


def _info_ns(logger: Any, calls: int) -> float:
    began_ns = time.process_time_ns()
    for number in range(calls):
        logger.info("message_settled", topic="site/kitchen/temperature", number=number)
    return (time.process_time_ns() - began_ns) / calls


def _event_ns(calls: int) -> float:
    emit, event = event_logger(structlog.get_logger()), ChildStarted("root/service/handlers/echo", 1, 0.0)
    began_ns = time.process_time_ns()
    for _ in range(calls):
        emit(event)
    return (time.process_time_ns() - began_ns) / calls


def actors(count: int) -> Figures:
    """Seconds until so many actors have started: under one supervisor from its spec, and one by one; with a service's log."""
    written = configure(LogSettings(level="info", format="json"), io.StringIO())
    try:
        return trio.run(_start_many, count)
    finally:
        written.close()


async def _start_many(count: int) -> Figures:
    emit = event_logger(structlog.get_logger())
    found: Figures = {}
    for name in ("static", "dynamic"):
        children = [ChildSpec(str(number), _idle) for number in range(count)]
        began_s, used_s = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            supervisor: Supervisor = await nursery.start(supervise, SupervisorSpec("root", children if name == "static" else []), emit)
            if name == "dynamic":
                for child in children:
                    await supervisor.start_child(child)
            found[f"{name}_cpu_s"] = [time.process_time() - used_s]
            found[f"{name}_s"] = [time.perf_counter() - began_s]
            await supervisor.stop()
    return found


async def _idle(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def _forget(_event: object) -> None:
    """An `Emit` that keeps nothing."""


def restarts(count: int) -> Figures:
    """An actor that crashes with every message, so many times, without backoff.

    Milliseconds from each crash to the next message in hand (see `_percentiles`), processor time of a crash and all that
    follows it, the memory every `RSS_EVERY` restarts, and `living_blocks` after half of them and at the end.
    """
    return trio.run(_crash_often, count)


async def _crash_often(count: int) -> Figures:
    gc.collect()
    mailbox: Mailbox[int] = Mailbox(count)
    crashed_s, waits_ms = [0.0], array("d", bytes(8 * count))  # of its full size from the beginning
    seen, over = itertools.count(), trio.Event()
    memory: Figures = {"count": [], "rss_bytes": [], "blocks": []}

    async def crash(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with mailbox.receive_batch(1) as batch:
            now_s = time.perf_counter()
            for item in batch:
                batch.done(item)
            number = next(seen)
            if number:
                waits_ms[number - 1] = (now_s - crashed_s[0]) * 1e3
            if number % RSS_EVERY == 0:
                memory["count"].append(number)
                memory["rss_bytes"].append(usage(os.getpid()).rss_bytes)
            if number in (count // 2, count):
                memory["blocks"].append(living_blocks())
            if number >= count:
                over.set()
                await trio.sleep_forever()
            mailbox.send_nowait(number)
            crashed_s[0] = time.perf_counter()
            raise ZeroDivisionError(f"message {number}")

    spec = SupervisorSpec("root", [ChildSpec("crash", crash)], max_restarts=count + 1, period_s=0.01, backoff=NO_BACKOFF)
    mailbox.send_nowait(0)
    async with trio.open_nursery() as nursery:
        used_s = time.process_time()
        supervisor: Supervisor = await nursery.start(supervise, spec, _forget)
        await over.wait()
        cpu_ms = (time.process_time() - used_s) * 1e3 / count
        await supervisor.stop()
    return {"wait_ms": _percentiles(waits_ms), "cpu_ms": [cpu_ms], **memory}


def living_blocks() -> int:
    """Blocks that Python's allocator has given out, garbage collected: what is kept by a reference somebody holds, and nothing else."""
    gc.collect()
    return sys.getallocatedblocks()


def _percentiles(values: Sequence[float]) -> list[float]:
    """Lowest, median, 99 %, highest."""
    ordered = sorted(values)
    return [ordered[0], ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]


MEASUREMENTS: Final[Mapping[str, Callable[[int], Figures]]] = MappingProxyType(
    {"dispatch": dispatch, "log": log, "actors": actors, "restarts": restarts}
)


if __name__ == "__main__":
    say(f"measured {orjson.dumps(MEASUREMENTS[sys.argv[1]](int(sys.argv[2]))).decode()}")
