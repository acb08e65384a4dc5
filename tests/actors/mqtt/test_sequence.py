"""Gaps in `seq`: counted as they are, told in few lines; and what looks like one and is none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import structlog
import typer
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from typer.testing import CliRunner

from support.service import HEALTH, running
from tars.actors import subscribe
from tars.actors.contracts import decode_json
from tars.actors.mqtt.events import SequenceFilled, SequenceGap
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.sequence import MAX_HOLES, MAX_NAME_CHARS, MAX_QUIET_S, MAX_STREAMS, QUIET_S, Sequences
from tars.supervisor.log import LogSettings, configure, event_logger
from tars.supervisor.log_command import logs


@attrs.define(eq=False)
class Count:
    """Sequences, what they told, and the publisher."""

    told: list[Any] = attrs.field(factory=list)
    sequences: Sequences = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sequences = Sequences(self.told.append)

    def see(self, document: Any, *, topic: str = "t", now: float = 0.0) -> None:
        self.sequences.see(topic, lambda: document, now)

    def all(self, *numbers: int, now: float = 0.0) -> int:
        """Every number of one stream, in this order; how many are missing then."""
        for seq in numbers:
            self.see({"seq": seq}, now=now)
        return self.sequences.missing


def envelope(data: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "e", "type": "test.event", "ts": 1.5, "source": "s", "data": data, **fields}


@pytest.mark.parametrize(
    ("case", "numbers", "missing"),
    [
        ("none", (1, 2, 3), 0),
        ("from nought", (0, 1, 2), 0),
        ("begun in the middle", (700, 701), 0),
        ("one", (1, 3), 1),
        ("two in a row", (1, 4), 2),
        ("two gaps", (1, 3, 4, 7), 3),
        ("sent twice", (1, 2, 2, 2, 3), 0),
        ("an old one again", (1, 2, 3, 4, 3, 2, 5), 0),
        ("late", (1, 3, 2, 4), 0),
        ("late, of the middle of a gap", (1, 5, 3, 6), 2),
        ("late, twice", (1, 4, 2, 2), 1),
        ("late after the next gap", (1, 3, 5, 2, 4), 0),
        ("begun again at 1", (1, 2, 3, 4, 1, 2, 3), 0),
        ("begun again at 0", (0, 1, 2, 3, 0, 1, 2), 0),
        ("begun again at 0, and a gap", (0, 1, 2, 3, 0, 2), 1),
        ("begun again, and a gap", (1, 2, 3, 4, 1, 2, 4), 1),
        ("begun again, and one of what was missing before sent twice", (1, 2, 4, 1, 2, 3, 4, 3), 1),
        ("a gap, begun again, and a gap", (1, 3, 4, 1, 3), 2),
        ("the first one again", (1, 2, 3, 4, 1, 5, 6), 0),
        ("the first one again over a gap", (1, 2, 4, 1, 5, 3), 0),
        ("negative", (-3, -2, 0), 1),
        ("a long way", (1, 2**60), 2**60 - 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing(case: str, numbers: tuple[int, ...], missing: int) -> None:
    assert missing == Count().all(*numbers), case


FATES = st.lists(st.sampled_from(["come", "come", "drop", "again"]), max_size=60)


@given(st.integers(-5, 500), FATES, st.randoms(), st.integers(1, MAX_HOLES))
def test_whatever_the_order_and_the_drops_the_count_is_what_is_missing(first: int, fates: list[str], chance: Random, window: int) -> None:
    """If the lowest came first, none is late by more messages than gaps are remembered, and neither 0 nor 1 comes again."""
    came = [first]
    for seq, fate in enumerate(fates, first + 1):
        came += [seq] * (0 if fate == "drop" else 2 if fate == "again" and seq not in (0, 1) else 1)
    order = came[:1]
    for at in range(1, len(came), window):
        order += chance.sample(came[at : at + window], len(came[at : at + window]))

    assert max(came) - first + 1 - len(set(came)) == Count().all(*order)


@given(st.lists(st.integers(-3, 60)), st.lists(st.sampled_from("abc")))
def test_whatever_comes_is_told_to_the_last_number_and_never_less_than_none_is_missing(numbers: list[int], keys: list[str]) -> None:
    count = Count()
    for seq, key in zip(numbers, keys, strict=False):
        count.see({"seq": seq, "key": key})
        assert 0 <= count.sequences.missing
    count.sequences.tell_all(0.0)
    told = {each.key: each.missing_in_all for each in count.told if isinstance(each, SequenceGap)}

    assert count.sequences.missing <= sum(told.values())


# -- what counts together --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"seq": 1}, {"seq": 3}),
        ({"id": "a", "seq": 1}, {"id": "a", "seq": 3}),
        ({"id": 7, "seq": 1}, {"id": 7, "seq": 3}),
        ({"id": "a", "key": "k", "seq": 1}, {"id": "b", "key": "k", "seq": 3}),
        ({"seq": 1, "data": {"n": 1}}, {"seq": 3, "data": {"n": 2}}),
        (envelope({"seq": 1}), envelope({"seq": 3}, id="f", ts=2.5)),
        (envelope({"id": "a", "seq": 1}), envelope({"id": "a", "seq": 3})),
    ],
)
def test_one_stream(first: Any, second: Any) -> None:
    count = Count()
    count.see(first)
    count.see(second)

    assert 1 == count.sequences.missing


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"id": "a", "seq": 1}, {"id": "b", "seq": 3}),
        ({"id": "a", "key": "k", "seq": 1}, {"id": "a", "key": "l", "seq": 3}),
        (envelope({"seq": 1}), envelope({"seq": 3}, type="test.other")),
        (envelope({"seq": 1}), envelope({"seq": 3}, source="other")),
        (envelope({"seq": 1}), {"seq": 3}),
    ],
)
def test_two_streams(first: Any, second: Any) -> None:
    count = Count()
    count.see(first)
    count.see(second)

    assert (0, 2) == (count.sequences.missing, len(count.sequences))


def test_each_topic_counts_for_itself() -> None:
    count = Count()
    count.see({"seq": 1}, topic="a")
    count.see({"seq": 3}, topic="b")

    assert 0 == count.sequences.missing


@pytest.mark.parametrize(
    "document",
    [
        *(None, 1, [], "seq", {}, {"seq": None}, {"seq": "1"}, {"seq": 1.0}, {"seq": True}, {"seq": [1]}),
        *(envelope(None), envelope([]), envelope({"n": {"seq": 1}}), {"seq": 1, "key": "k" * MAX_NAME_CHARS}),
    ],
)
def test_what_has_no_number_of_a_stream_is_not_counted(document: Any) -> None:
    count = Count()
    count.see(document)

    assert (0, []) == (len(count.sequences), count.told)


def test_what_cannot_be_read_is_not_counted() -> None:
    count = Count()
    count.sequences.see("t", lambda: decode_json(b'{"seq":'), 0.0)

    assert (0, []) == (len(count.sequences), count.told)


def test_what_is_remembered_is_bounded_and_what_was_silent_for_longest_goes_and_is_told() -> None:
    count = Count()
    for seq in (1, 3, 5):
        count.see({"id": "old", "seq": seq})
    for number in range(MAX_STREAMS):
        count.see({"id": f"n{number}", "seq": 1})

    assert MAX_STREAMS == len(count.sequences)
    assert [SequenceGap("t", "old", 2, 3, 1, 1), SequenceGap("t", "old", 4, 5, 1, 2)] == count.told
    count.see({"id": "old", "seq": 9})

    assert 2 == count.sequences.missing  # a new count


def test_a_stream_that_is_not_silent_stays() -> None:
    count = Count()
    count.see({"id": "old", "seq": 1})
    for number in range(MAX_STREAMS - 1):
        count.see({"id": f"n{number}", "seq": 1})
    count.see({"id": "old", "seq": 2})
    count.see({"id": "one too many", "seq": 1})
    count.see({"id": "old", "seq": 4})

    assert 1 == count.sequences.missing


def test_the_holes_of_a_stream_are_bounded() -> None:
    count = Count()
    holes = 10 * MAX_HOLES
    count.all(*range(0, 2 * holes + 1, 2))

    assert holes == count.sequences.missing
    assert holes == count.all(1)  # too late to be taken back


def test_the_pieces_of_one_hole_are_bounded_too() -> None:
    count = Count()
    count.all(0, 100, *range(2, 100, 2))

    assert 50 - MAX_HOLES == count.all(*range(3, 100, 2))


# -- what is told ----------------------------------------------------------------------------------


def test_the_first_gap_is_told_at_once_and_the_next_ones_as_a_sum() -> None:
    count = Count()
    count.all(1, 3)
    count.all(5, 6, 9, now=QUIET_S - 0.1)

    assert [SequenceGap("t", "", 2, 3, 1, 1)] == count.told
    count.all(10, now=QUIET_S)

    assert [SequenceGap("t", "", 4, 9, 3, 4)] == count.told[1:]


def test_a_publisher_whose_numbers_are_not_counted_by_topic_is_told_of_less_and_less_often() -> None:
    count = Count()
    count.all(*range(0, 1000, 100))  # a gap at each message, and nothing told but the first
    for second in range(86_400):
        count.see({"seq": 1000 + second * 100}, now=float(second))

    told = len(count.told)
    count.see({"seq": 10**9}, now=86_400 + 2 * MAX_QUIET_S)
    count.see({"seq": 2 * 10**9}, now=86_400 + 2 * MAX_QUIET_S + QUIET_S)  # it had stopped: told as soon as at first

    assert told + 2 == len(count.told)
    assert 1 + 9 + 86_400 // MAX_QUIET_S >= told > 86_400 // MAX_QUIET_S


def test_at_the_end_nothing_stays_untold() -> None:
    count = Count()
    count.all(1, 3, 5)
    count.sequences.tell_all(1.0)
    count.sequences.tell_all(2.0)

    assert [SequenceGap("t", "", 2, 3, 1, 1), SequenceGap("t", "", 4, 5, 1, 2)] == count.told


def test_that_all_came_in_the_end_is_told_once_to_whoever_was_told_of_the_gap() -> None:
    count = Count()
    count.all(1, 4, 2, 3, 3)

    assert [SequenceGap("t", "", 2, 4, 2, 2), SequenceFilled("t", "")] == count.told


def test_what_came_late_is_not_set_against_the_next_gap() -> None:
    count = Count()
    count.all(1, 4, 2)
    count.all(6, now=QUIET_S)

    assert [SequenceGap("t", "", 2, 4, 2, 2), SequenceGap("t", "", 5, 6, 1, 2)] == count.told


def test_what_came_late_before_anybody_was_told_is_not_told() -> None:
    count = Count()
    count.all(1, 3)
    count.all(5, 4, now=1.0)
    count.sequences.tell_all(2.0)

    assert [SequenceGap("t", "", 2, 3, 1, 1)] == count.told


# -- in a service ----------------------------------------------------------------------------------


@subscribe("in/#", qos=1)
async def reader(_event: dict[str, Any]) -> None:
    """Another actor on the same topic: what comes is counted once, however many read it."""


@subscribe("in/a", qos=1)
async def other(_payload: bytes) -> None:
    """Takes the bytes as they are."""


@pytest.mark.parametrize("with_id", [True, False])
async def test_a_service_counts_what_came_the_first_time(_virtual: MockClock, *, with_id: bool) -> None:
    async with running(reader, other) as world:
        for seq in (1, 2, 2, 5, 1, 5):  # what is sent again under its id is a repetition, and no publisher that begins again
            await world.deliver("in/a", {"id": "q", "seq": seq}, envelope_id="q", message_id=f"m{seq}" if with_id else None)
            await world.settled()
        await world.deliver("in/a", {"id": "q", "seq": 6}, envelope_id="q", qos=0)
        await world.settled()

        assert [SequenceGap("in/a", "q", 3, 5, 2, 2)] == world.events_of(SequenceGap)
        assert 2 == world.estate.sequences.missing
        assert [] == [entry for entry in world.said(HEALTH) if b"degraded" in entry.payload]  # the fault is not the service's


async def test_what_is_retained_is_old_and_not_counted(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.deliver("in/a", b'{"seq":1}', 1, retain=True)
    async with running(reader, broker=broker) as world:
        await world.settled()
        await world.deliver("in/a", {"seq": 9})
        await world.settled()

        assert (0, 1) == (world.estate.sequences.missing, len(world.estate.sequences))


async def test_a_message_without_a_number_is_not_read_before_its_handler_does(_virtual: MockClock) -> None:
    async with running(other) as world:
        await world.deliver("in/a", b'{"text":"seq"', message_id="m")
        await world.deliver("in/a", b'{"seq":', message_id="n")
        await world.settled()

        assert 0 == len(world.estate.sequences)


async def test_none_is_untold_when_the_service_ends(_virtual: MockClock) -> None:
    async with running(reader) as world:
        for seq in (1, 3, 5, 7):
            await world.deliver("in/a", {"seq": seq})
        await world.settled()
        await world.stop()

        assert [SequenceGap("in/a", "", 2, 3, 1, 1), SequenceGap("in/a", "", 4, 7, 2, 3)] == world.events_of(SequenceGap)


def test_a_gap_is_a_warning_that_tars_logs_finds(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    log = configure(LogSettings(file=file), io.StringIO())
    tell = event_logger(structlog.get_logger())
    gap = SequenceGap("llm/stream", "q", 2, 4, 2, 2)
    tell(gap)
    tell(SequenceFilled("llm/stream", "q"))
    log.close()
    command = typer.Typer()
    command.command()(logs)
    said = CliRunner().invoke(command, [str(file), "--event", "sequence_*", "--level", "warning", "--json"]).output
    (line,) = [json.loads(text) for text in said.splitlines()]
    del line["ts"]

    assert {"level": "warning", "event": "sequence_gap", **attrs.asdict(gap)} == line
