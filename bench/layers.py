"""Stacks, folded, into a table of layers: where a message's time goes. Pure.

Law: time belongs to the innermost frame that has a name here, so that what a library does for a layer counts as the layer's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

Table: TypeAlias = tuple[tuple[str, re.Pattern[str]], ...]

OURS: Final[Table] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("log: names on the lines of a handler", r"log_scope\.py"),
        ("handler: the author's code", r"tars_a\w+\.py|consumers/work\.py|bench/pump\.py"),
        ("decode: JSON", r"decode_json|Delivery\.document"),
        ("decode: envelope and contract", r"cattrs generated|contracts/\w+\.py|_decode \(actors"),
        ("dedup: what was done", r"mqtt/window\.py|mqtt/recorder\.py|_settled \(actors/estate"),
        ("dedup: the key", r"mqtt/keys\.py"),
        ("dedup: the actor", r"mqtt/dedup\.py"),
        ("dispatch", r"mqtt/(dispatcher|topics|box|requests)\.py"),
        ("settle: in-flight table", r"mqtt/(in_flight|pulse)\.py"),
        ("settle: failure ladder", r"mqtt/(ladder|ledger|retained|letters|health|journal\w*)\.py"),
        ("hand-over: mailboxes", r"supervisor/(mailbox|custody)\.py"),
        ("handler: the actor's loop", r"mqtt/(handl\w+|author_code)\.py|Context\.__init__"),
        ("answer: ctx.publish", r"mqtt/(context|outgoing)\.py|attrs generated methods tars\.actors\.mqtt\.outgoing|Outbound"),
        ("connection: receive, send, acknowledge", r"mqtt/connection\.py"),
        ("socket: read", r"Socket\._fill|Socket\.recv|_sock_recv"),
        (
            "packets out: built and written",
            r"aiomqtt_packets|Traffic\.(publish|ack|write|_send|_next_id)|Link\.(ack|publish|write\w*|_write)|Socket\.\w*(send|queue)",
        ),
        ("packets in: cut out of the stream", r"aiomqtt_(sieve|traffic)|actors\.mqtt\.transport"),
        ("paho", r"paho/"),
        ("trio: cancel scopes", r"CancelScope|Deadlines"),
        ("trio: wake-ups", r"ParkingLot|Event\.set|reschedule"),
        ("asyncio on trio", r"trio_asyncio|asyncio/|aiomqtt/"),
        ("trio: scheduler and clock", r"trio/"),
    )
)
GMQTT: Final[Table] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("handler: the author's code", r"Handler\.handle|bench/pump\.py"),
        ("dedup", r"Window\.repeats"),
        ("dispatch", r"Table\.find"),
        ("decode: JSON, envelope and contract", r"Work\.do|Answers\.(to|of)|cattrs generated|attrs generated methods bench"),
        ("a task for each message", r"ensure_future|create_task|run_coroutine_or_function|is_coroutine|iscoroutine|inspect\.py|WeakSet"),
        (
            "PUBACK, or answer, built and written",
            r"send_command|_send_puback|write_data|Transport\.write|gmqtt/mqtt/package|Client\.publish",
        ),
        ("socket: read", r"_read_ready|StreamReader"),
        ("packets cut out of the stream, properties", r"gmqtt/"),
        ("asyncio: loop", r"asyncio/|selectors\.py"),
    )
)
OTHER: Final = "other"
_IN_THE_LOOP: Final = re.compile(r"\brun \(trio/_core/_run\.py|BaseEventLoop\.run_forever")


def layers(folded: Iterable[str], table: Table = OURS) -> list[tuple[str, float]]:
    """Parts of the main thread's time (0..1), the largest first. `folded`: lines ``frame;frame;frame COUNT``, outermost first."""
    found: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        if _IN_THE_LOOP.search(stack):  # other threads wait, and a sampler does not always see that
            found[layer_of(stack.split(";"), table)] += int(count)
    total = found.total()
    return [(name, count / total) for name, count in found.most_common()]


def layer_of(stack: list[str], table: Table = OURS) -> str:
    """The layer of the innermost frame that belongs to one."""
    for frame in reversed(stack):
        for name, pattern in table:
            if pattern.search(frame):
                return name
    return OTHER


def as_text(parts: Iterable[tuple[str, float]], per_cpu_s: float) -> str:
    """As a table, with microseconds for each message at `per_cpu_s` messages per CPU-second."""
    lines = [f"| {name} | {part:.1%} | {part * 1e6 / per_cpu_s:.1f} |" for name, part in parts]
    return "\n".join([f"{per_cpu_s:,.0f} messages per CPU-second\n", "| layer | part | µs per message |", "|---|---:|---:|", *lines]) + "\n"
