"""Stacks, folded, into a table of layers: where a message's time goes. Pure.

Law: time belongs to the innermost frame that has a name here, so that what a library does for a layer counts as the layer's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

LAYERS: Final = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("log: names on the lines of a handler", r"log_scope\.py"),
        ("handler: the author's code", r"tars_actors\.py|consumers/work\.py|bench/pump\.py"),
        ("decode: JSON", r"decode_json|Delivery\.document"),
        ("decode: envelope and contract", r"cattrs generated|contracts/\w+\.py|_decode \(actors"),
        ("dedup: what was done", r"mqtt/window\.py|mqtt/recorder\.py|_settled \(actors/estate"),
        ("dedup: the key", r"mqtt/keys\.py"),
        ("dedup: the actor", r"mqtt/dedup\.py"),
        ("dispatch", r"mqtt/(dispatcher|topics|box|requests)\.py"),
        ("settle: in-flight table", r"mqtt/(in_flight|pulse)\.py"),
        ("settle: failure ladder", r"mqtt/(ladder|ledger|retained|letters|health|journal\w*)\.py"),
        ("hand-over: mailboxes", r"supervisor/(mailbox|custody)\.py"),
        ("handler: the actor's loop", r"mqtt/(handler|context)\.py"),
        ("connection: receive and acknowledge", r"mqtt/connection\.py"),
        ("ack: PUBACK written", r"Client\.ack |_send_puback|_packet_queue|loop_write|_packet_write|Link\._write|Link\.ack|Socket\.send"),
        ("paho: our on_message", r"Link\._on_message|actors\.mqtt\.transport"),
        ("paho: MQTT 5 properties", r"paho/mqtt/properties\.py"),
        ("paho: its own topic matcher", r"paho/mqtt/matcher\.py"),
        ("paho: PUBLISH decoded and handled", r"decode_publish|mqtt/_packet\.py|_handle_publish|_handle_on_message|MQTTMessage"),
        ("socket: read", r"Socket\._fill|Socket\.recv|_sock_recv"),
        ("paho: packets cut out of the stream", r"paho/"),
        ("trio: cancel scopes", r"CancelScope|Deadlines"),
        ("trio: wake-ups", r"ParkingLot|Event\.set|reschedule"),
        ("asyncio on trio", r"trio_asyncio|asyncio/|aiomqtt/"),
        ("trio: scheduler and clock", r"trio/"),
    )
)
OTHER: Final = "other"
_IN_THE_LOOP: Final = re.compile(r"\brun \(trio/_core/_run\.py")


def layers(folded: Iterable[str]) -> list[tuple[str, float]]:
    """Parts of the main thread's time (0..1), the largest first. `folded`: lines ``frame;frame;frame COUNT``, outermost first."""
    found: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        if _IN_THE_LOOP.search(stack):  # other threads wait, and a sampler does not always see that
            found[layer_of(stack.split(";"))] += int(count)
    total = found.total()
    return [(name, count / total) for name, count in found.most_common()]


def layer_of(stack: list[str]) -> str:
    """The layer of the innermost frame that belongs to one."""
    for frame in reversed(stack):
        for name, pattern in LAYERS:
            if pattern.search(frame):
                return name
    return OTHER


def as_text(parts: Iterable[tuple[str, float]], per_cpu_s: float) -> str:
    """As a table, with microseconds for each message at `per_cpu_s` messages per CPU-second."""
    lines = [f"| {name} | {part:.1%} | {part * 1e6 / per_cpu_s:.1f} |" for name, part in parts]
    return "\n".join([f"{per_cpu_s:,.0f} messages per CPU-second\n", "| layer | part | µs per message |", "|---|---:|---:|", *lines]) + "\n"
