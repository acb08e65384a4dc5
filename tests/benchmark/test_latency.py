"""Latencies run from when a request was due, and say how many were never answered. A flood waits for answers, and counts them."""

from __future__ import annotations

import os

import orjson
import pytest

from bench import measuring
from bench.child import Cores
from bench.clients import Asking, request, told
from bench.contenders import ANSWERING, Contender
from bench.contract import ASK_FILTER, ASKED, CLIENTS, Question, ask_topic
from bench.latency import Waits, as_text, measure, read_waits
from bench.packets import Cutter, read_publish
from bench.scenario import REQUESTS
from bench.throughput import LEAST
from tars.actors.contracts import decode
from tars.actors.mqtt.topics import matches

MS = 1_000_000


def answer(number: int, handled_ns: int) -> bytes:
    return orjson.dumps({"id": "x", "data": {"seq": number, "handled_ns": handled_ns}})


def test_a_request_is_an_envelope_on_its_clients_topic() -> None:
    (sent,) = Cutter().feed(request(23))
    topic, _, payload = read_publish(sent, "3.1.1")
    decoded = decode(payload, Question)

    assert ask_topic(23 % CLIENTS) == topic
    assert matches(ASK_FILTER, topic)
    assert decoded.envelope is not None
    assert ASKED == decoded.envelope.type
    assert Question(3, 23) == decoded.event


def test_a_latency_runs_from_when_the_request_was_due() -> None:
    asking = Asking([0, 10 * MS])
    asking.note(100, answer(100, 2 * MS), 5 * MS)
    asking.note(100, answer(101, 11 * MS), 40 * MS)

    assert [1.0, 2.0, 2.0, 2.0] == asking.result()["handling_ms"]
    assert [5.0, 30.0, 30.0, 30.0] == asking.result()["reply_ms"]


def test_only_the_first_answer_counts_and_none_of_an_earlier_series() -> None:
    asking = Asking([0, 0])
    asking.note(100, answer(99, MS), MS)
    asking.note(100, answer(100, 2 * MS), 3 * MS)
    asking.note(100, answer(100, 9 * MS), 9 * MS)

    assert {"asked": 2, "answered": 1, "handling_ms": [2.0] * 4, "reply_ms": [3.0] * 4} == asking.result()


def test_where_nothing_was_answered_there_is_nothing_to_say_but_that() -> None:
    assert {"asked": 1, "answered": 0, "handling_ms": [], "reply_ms": []} == Asking([0]).result()


def test_the_table_has_the_median_of_the_rounds_and_what_part_was_answered() -> None:
    found = [
        read_waits("tars 5", 1000, '{"asked":100,"answered":100,"handling_ms":[1,2,3,4],"reply_ms":[2,3,4,5]}', 0.008),
        read_waits("tars 5", 1000, '{"asked":100,"answered":50,"handling_ms":[3,4,5,6],"reply_ms":[4,5,6,7]}', 0.005),
        Waits("gmqtt 5", 1000, 100, 0, 0.0, (), ()),
    ]

    assert [
        "| 1,000 | handling | tars 5 | 2.00 | 3.00 | 4.00 | 5.00 | 75.0% | 90 |",
        "| 1,000 | handling | gmqtt 5 | - | - | - | - | 0.0% | 0 |",
        "| 1,000 | reply | tars 5 | 3.00 | 4.00 | 5.00 | 6.00 | 75.0% | 90 |",
        "| 1,000 | reply | gmqtt 5 | - | - | - | - | 0.0% | 0 |",
    ] == as_text(found).splitlines()[4:]


def test_a_steady_pace_waits_for_nobody() -> None:
    count, pace = told("ask 100 0.5")

    assert 50 == count
    assert [0, 10 * MS, 490 * MS] == [pace.due_ns(number, answered=0, now_ns=0) for number in (0, 1, 49)]


def test_a_flood_has_so_many_unanswered_at_any_time() -> None:
    count, pace = told("flood 5000 250")

    assert 5000 == count
    assert [7, 7, None] == [pace.due_ns(number, answered=0, now_ns=7) for number in (0, 249, 250)]
    assert [9, None] == [pace.due_ns(number, answered=1, now_ns=9) for number in (250, 251)]


def test_the_clients_are_told_what_they_know() -> None:
    with pytest.raises(ValueError, match="ask RATE SECONDS, or flood COUNT WINDOW, not 'sing'"):
        told("sing")


@pytest.mark.parametrize("contender", [each for each in ANSWERING if each.name in {"tars 5", "aiomqtt 3.1.1"}], ids=lambda each: each.name)
async def test_a_flood_is_answered_to_the_last_and_costs_something(contender: Contender) -> None:
    sample = await measuring.measure(contender, REQUESTS, Cores(None, None), 0.01, dict(os.environ))

    assert (contender.name, "mosquitto, requests", LEAST) == (sample.contender, sample.scenario, sample.messages)
    assert 0 < sample.cpu_s
    assert 0 < sample.wall_s
    assert 1 << 20 < sample.rss_bytes


@pytest.mark.parametrize("contender", [each for each in ANSWERING if each.name in {"tars 5", "aiomqtt 3.1.1"}], ids=lambda each: each.name)
async def test_every_request_of_a_series_is_answered(contender: Contender) -> None:

    (waits,) = await measure(contender, [100], 0.3, Cores(None, None), dict(os.environ))

    assert (30, 30) == (waits.asked, waits.answered)
    assert list(waits.reply_ms) == sorted(waits.reply_ms)
    assert waits.handling_ms[0] < waits.reply_ms[0]
    assert waits.cpu_us > 0
