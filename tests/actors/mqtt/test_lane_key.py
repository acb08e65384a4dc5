"""Keys of lanes: what a text reads from a message, which lane that is, and what each lane may hold."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.in_flight import Delivery
from tars.actors.mqtt.lane_key import LaneKeyError, parse_lane_key
from tars.actors.mqtt.lanes import lane_of, water_level
from tars.actors.mqtt.topics import parse_template
from tars.actors.mqtt.transport import Inbound
from tars.actors.testing import event


def read(key: str, topic: str, payload: bytes = b"", template: str = "#") -> str:
    return parse_lane_key(key).of(parse_template(template))(Delivery(Inbound(topic, payload, 1), 1))


NAMES = st.sampled_from(["a", "b", "id", "data", "type", "ts", "source"])
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
DOCUMENTS = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner)).map(
    lambda value: orjson.dumps(value, default=str)
)
ENVELOPE = event("x", {"robot": "r2", "n": 7, "on": True, "part": {"id": "left"}, "many": [1], "none": None, "half": 0.5, "whole": 7.0})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{topic}", "fleet/r1/state"),
        ("{topic[0]}", "fleet"),
        ("{topic[1]}", "r1"),
        ("{topic[-1]}", "state"),
        ("{topic[3]}", ""),
        ("{topic[-4]}", ""),
        ("{who}", "r1"),
        ("{nobody}", ""),
        ("{data.robot}", "r2"),
        ("{data.n}", "7"),
        ("{data.half}", "0.5"),
        ("{data.whole}", "7"),
        ("{data.on}", "True"),
        ("{data.part.id}", "left"),
        ("{data.part}", ""),
        ("{data.many}", ""),
        ("{data.none}", ""),
        ("{data.missing}", ""),
        ("{data.robot.id}", ""),
        ("{who}/{data.n}", "r1/7"),
        ("robot {topic[1]}!", "robot r1!"),
    ],
)
def test_a_key_reads_topic_captures_and_fields(key: str, expected: str) -> None:
    assert expected == read(key, "fleet/r1/state", ENVELOPE, "fleet/{who}/+")


def test_the_levels_of_a_shared_subscription_are_those_of_the_topic() -> None:
    assert "r1" == read("{who}", "fleet/r1", template="$share/group/fleet/{who}")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"robot": "r3"}', "r3"), (b"[1]", ""), (b"\xff", ""), (b"", ""), (b'"text"', ""), (b'{"data": {"robot": "r4"}}', "")],
)
def test_without_an_envelope_the_document_is_the_event(payload: bytes, expected: str) -> None:
    assert expected == read("{data.robot}", "t", payload)


@given(st.binary() | DOCUMENTS, st.sampled_from(["{data.a}", "{data.a.b}", "{topic[2]}x{data.id}", "{x}{topic}"]), st.integers(1, 256))
def test_whatever_comes_has_a_lane(payload: bytes, key: str, lanes: int) -> None:
    lane = lane_of(read(key, "a/b", payload), lanes)

    assert lane in range(lanes)


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("", '"" is the same for every message'),
        ("robots", '"robots" is the same for every message'),
        ("{topic", "a brace without its partner"),
        ("topic}", "a brace without its partner"),
        ("{{topic}}", "a brace without its partner"),
        ("{}", "{} means nothing"),
        ("{topic[x]}", "{topic[x]} means nothing"),
        ("{topic.1}", "{topic.1} means nothing"),
        ("{topic[]}", "{topic[]} means nothing"),
        ("{data}", "{data} means nothing"),
        ("{data.}", "{data.} means nothing"),
        ("{a b}", "{a b} means nothing"),
        ("{robot.id}", "{robot.id} means nothing"),
    ],
)
def test_what_is_no_key_is_refused_with_what_is_one(key: str, complaint: str) -> None:
    with pytest.raises(LaneKeyError) as refusal:
        parse_lane_key(key)

    assert complaint in str(refusal.value)
    assert "{topic[1]}" in str(refusal.value)


def test_a_key_has_the_same_lane_in_every_process() -> None:
    assert [0, 1, 3, 7] == [lane_of(key, 8) for key in ("", "r1", "r2", "\udcff")]


def test_keys_spread_over_the_lanes() -> None:
    counts = [0] * 16
    for number in range(1600):
        counts[lane_of(f"robot{number}", 16)] += 1

    assert 60 <= min(counts) <= max(counts) <= 140


@pytest.mark.parametrize(
    ("held", "share", "level"),
    [
        ([100], 64, 64),
        ([100, 0, 0, 0], 64, 64),
        ([100, 100], 64, 32),
        ([190, 10], 64, 54),
        ([190, 10, 0, 0], 64, 54),
        ([8] * 32, 64, 2),
        ([1000, 1, 2, 3], 10, 4),
        ([5] * 8, 4, 1),
        ([3, 3], 6, 6),
    ],
)
def test_the_water_level_is_where_all_that_rises_above_it_cut_off_the_share_is_full(held: list[int], share: int, level: int) -> None:
    assert level == water_level(held, share)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=64), st.integers(1, 500))
def test_cut_to_the_water_level_they_hold_no_more_than_the_share_and_almost_all_of_it(held: list[int], share: int) -> None:
    level = water_level(held, share)
    kept = sum(min(each, level) for each in held)

    assert kept <= max(share, len(held))
    assert kept >= min(sum(held), share - len(held))
