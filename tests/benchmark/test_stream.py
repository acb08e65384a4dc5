"""What is fed: every handler gets its part, only the repetitions are duplicates, and the window never stands still."""

from __future__ import annotations

import orjson
import pytest

from bench import stream
from bench.contract import EVENT_TYPE, FILTERS, HANDLERS, Reading
from bench.packets import Cutter, read_publish
from tars.actors.contracts import decode
from tars.actors.mqtt.topics import matches


def test_a_message_is_what_our_codec_and_a_strict_reader_of_the_contract_take() -> None:
    sent = stream.message(1234, qos=1)
    decoded = decode(sent.payload, Reading)

    assert decoded.envelope is not None
    assert EVENT_TYPE == decoded.envelope.type
    assert Reading("sensor-234", 1234 / 7, "degrees", 12, ok=True, last=False) == decoded.event


def test_every_topic_is_matched_by_exactly_one_filter_and_every_filter_gets_its_tenth() -> None:
    topics = [sent.topic for sent in stream.messages(0, 1000, qos=1)]
    matching = [[number for number, each in enumerate(FILTERS) if matches(each, topic)] for topic in topics]

    assert {1} == {len(each) for each in matching}
    assert dict.fromkeys(range(HANDLERS), 101) == {handler: matching.count([handler]) for handler in range(HANDLERS)}


def test_a_phase_ends_with_one_last_message_at_qos_1_for_each_handler() -> None:
    sent = stream.messages(0, 200, qos=0)

    assert 200 + HANDLERS == len(sent)
    assert [False] * 200 + [True] * HANDLERS == [orjson.loads(each.payload)["data"]["last"] for each in sent]
    assert [1] * HANDLERS == [each.qos for each in sent[200:]]


def test_over_phases_nothing_is_said_twice_but_the_repetitions() -> None:
    first, count = 0, 250
    payloads: list[bytes] = []
    expected = 0
    for _ in range(3):
        payloads += [(each.topic.encode() + each.payload) for each in stream.messages(first, count, qos=1)]
        expected += stream.fresh(first, count) + HANDLERS
        first += stream.numbers(count)

    assert expected == len(set(payloads))
    assert 3 * 2 == len(payloads) - expected


def test_a_repetition_is_the_same_message_on_the_same_topic() -> None:
    assert stream.message(49, qos=1) == stream.message(99, qos=1)
    assert stream.message(48, qos=1) != stream.message(98, qos=1)


def test_a_phase_is_its_packets_one_after_the_other() -> None:
    made = stream.phase(0, 300, qos=1, protocol="5")
    sent = list(Cutter().feed(made.data))

    assert 310 == len(sent) == len(made.ends) == made.acks
    assert len(made.data) == made.ends[-1]
    assert 297 == made.fresh
    assert [(number + 1).to_bytes(2, "big") for number in range(310)] == [read_publish(each, "5")[1] for each in sent]


def test_packet_ids_begin_anew_after_the_last_one_and_are_never_zero() -> None:
    made = stream.phase(0, 65_540, qos=1, protocol="3.1.1")
    numbers = [int.from_bytes(read_publish(each, "3.1.1")[1], "big") for each in Cutter().feed(made.data)]

    assert [65_534, 65_535, 1, 2] == numbers[65_533:65_537]
    assert 1 == min(numbers)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("window", [1, 20, 256, 65_535])
@pytest.mark.parametrize("first", [0, 100, 3200])
def test_the_window_is_kept_and_never_stands_still(qos: int, window: int, first: int) -> None:
    sent = stream.messages(first, 5000, qos=qos)
    before = [0]  # how many of the first n are acknowledged one day
    for each in sent:
        before.append(before[-1] + each.qos)
    for acked in range(before[-1]):
        may = min(stream.may_send(acked, qos=qos, window=window), len(sent))

        assert acked < before[may] or may == len(sent)
        assert before[may] <= acked + min(window, stream.WINDOW) + HANDLERS
