"""A value is taken only if JSON says exactly what the type says; and what leaves is what would be taken."""

import dataclasses
import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NewType
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.contracts import MAX_DEPTH, DecodeError, EncodeError, contract, decode_json, encode, prepare, structure, unstructure
from tars.actors.contracts.llm import LLMRequest
from tars.actors.contracts.stt import FinalTranscript

Volts = NewType("Volts", float)


class Gait(enum.StrEnum):
    WALK = "walk"
    RUN = "run"


class Old(str, enum.Enum):  # noqa: UP042 - what authors still write, and cattrs treats otherwise
    WALK = "walk"


class Level(enum.IntEnum):
    LOW = 1


class Plain(enum.Enum):
    ONE = 1
    YES = "yes"


@attrs.frozen
class Node:
    name: str
    children: "list[Node]" = attrs.field(factory=list)
    parent: "Node | None" = None


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@attrs.frozen
class Validated:
    even: int = attrs.field(default=0)

    @even.validator
    def _is_even(self, _: Any, value: int) -> None:
        if value % 2:
            raise ValueError("odd numbers make the motor stutter")


def holder(annotation: Any) -> Any:
    """A class of one field."""
    return attrs.make_class("Holder", {"field": attrs.field(type=annotation)}, frozen=True)


TAKEN: list[tuple[Any, Any, Any]] = [
    (int, 1, 1),
    (int, -(2**63), -(2**63)),
    (float, 1, 1.0),
    (float, 1.5, 1.5),
    (bool, True, True),
    (str, "", ""),
    (None, None, None),
    (Any, {"a": [1]}, {"a": [1]}),
    (object, "x", "x"),
    (dict, {"a": 1}, {"a": 1}),
    (list, [1, "a"], [1, "a"]),
    (list[int], [1, 2], [1, 2]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (Sequence[str], ["a"], ["a"]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, int], {"1": 1500, "-2": 0}, {1: 1500, -2: 0}),
    (dict[int, list[float]], {"7": [1, 2.5]}, {7: [1.0, 2.5]}),
    (dict[Gait, int], {"walk": 1}, {Gait.WALK: 1}),
    (dict[Literal["a", "b"], int], {"a": 1}, {"a": 1}),
    (Gait, "run", Gait.RUN),
    (Old, "walk", Old.WALK),
    (Level, 1, Level.LOW),
    (Plain, "yes", Plain.YES),
    (list[Gait], ["walk"], [Gait.WALK]),
    (Literal["a", 1], 1, 1),
    (int | None, None, None),
    (Gait | None, "walk", Gait.WALK),
    (dict | str | None, {"a": 1}, {"a": 1}),
    (dict | str | None, "a", "a"),
    (dict | str | None, None, None),
    (int | float, 1, 1),
    (int | float, 1.5, 1.5),
    (str | list[int], [1], [1]),
    (Point | str, {"x": 1}, Point(1.0)),
    (Volts, 5, 5.0),
    (Point, {"x": 1, "y": 2.5}, Point(1.0, 2.5)),
    (datetime, "2025-11-06T12:00:00+00:00", datetime(2025, 11, 6, 12, tzinfo=UTC)),
    (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
    (Node, {"name": "a", "children": [{"name": "b"}], "parent": {"name": "c"}}, Node("a", [Node("b")], Node("c"))),
]


@pytest.mark.parametrize(("annotation", "json", "value"), TAKEN, ids=lambda part: repr(part)[:40])
def test_what_the_type_says_is_taken_and_comes_back(annotation: Any, json: Any, value: Any) -> None:
    cls = holder(annotation)

    event = structure(cls, {"field": json})

    assert value == event.field
    assert type(value) is type(event.field)
    assert event == structure(cls, decode_json(encode(event)))


REFUSED: list[tuple[Any, Any, str]] = [
    (int, True, "expected int, found bool True @ $.field"),
    (int, 1.0, "expected int, found float 1.0"),
    (int, "1", "expected int, found str '1'"),
    (int, None, "expected int, found null"),
    (float, True, "expected a finite float, found bool True"),
    (float, "1.5", "found str '1.5'"),
    (float, float("nan"), "found float nan"),
    (float, float("inf"), "found float inf"),
    (float, 10**400, "found int of 1329 bits"),
    (bool, 1, "expected bool, found int 1"),
    (bool, "false", "expected bool, found str 'false'"),
    (str, 1, "expected str, found int 1"),
    (str, ["a"], "found list of 1"),
    (None, 0, "expected null, found int 0"),
    (list[int], "12", "expected an array, found str '12'"),
    (list[int], {"0": 1}, "expected an array, found dict of 1"),
    (list[int], [1, True], "expected int, found bool True @ $.field[1]"),
    (tuple[int, ...], 7, "expected an array"),
    (dict[str, int], [["a", 1]], "expected an object, found list of 1"),
    (dict[str, int], {"a": "1"}, "expected int, found str '1' @ $.field['a']"),
    (dict[int, int], {"01": 1}, "expected int, found str '01'"),
    (dict[int, int], {"1.0": 1}, "found str '1.0'"),
    (dict[int, int], {" 1": 1}, "found str ' 1'"),
    (dict[int, int], {"٣": 1}, "found str '٣'"),
    (dict[int, int], {"9" * 5000: 1}, "expected int, found str '9999"),
    (Gait, "fly", "expected one of 'walk', 'run', found str 'fly'"),
    (Gait, "WALK", "found str 'WALK'"),
    (Old, "run", "expected one of 'walk'"),
    (Level, True, "expected one of 1, found bool True"),
    (Level, 1.0, "expected one of 1, found float 1.0"),
    (Plain, [1], "expected one of 1, 'yes', found list of 1"),
    (Literal["a", 1], True, "expected one of 'a', 1, found bool True"),
    (Literal["a", 1], {}, "found dict of 0"),
    (int | None, "x", "found str 'x'"),
    (dict | str | None, 3, "expected dict or str or null, found int 3"),
    (dict | str | None, True, "found bool True"),
    (Volts, "5", "expected a finite float, found str '5'"),
    (Point, {"x": 1, "z": 2}, "unknown fields 'z' @ $.field"),
    (Point, [1, 2], "expected an object, found list of 2"),
    (datetime, "yesterday", "expected an ISO 8601 time, found str 'yesterday'"),
    (datetime, 5, "expected an ISO 8601 time, found int 5"),
    (UUID, "1", "expected a UUID, found str '1'"),
    (bytes, "x", "expected bytes, which JSON cannot carry"),
    (bytes, 1000, "which JSON cannot carry"),
    (Node, {"name": "a", "children": [{"name": "b", "children": [{"name": 1}]}]}, "@ $.field.children[0].children[0].name"),
    (Validated, {"even": 3}, "ValueError: odd numbers make the motor stutter @ $.field"),
]


@pytest.mark.parametrize(("annotation", "json", "words"), REFUSED, ids=lambda part: repr(part)[:40])
def test_anything_else_is_refused_with_path_expected_and_found(annotation: Any, json: Any, words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        structure(holder(annotation), {"field": json})

    assert words in caught.value.detail


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [(int, {int}), (bool, {bool}), (str, {str}), (float, {int, float}), (dict, {dict}), (list, {list}), (int | None, {int, type(None)})],
    ids=repr,
)
@given(value=ANY_JSON)
def test_a_field_takes_exactly_its_own_kind_of_json_value(annotation: Any, kinds: set[type], value: Any) -> None:
    fits = type(value) in kinds and (type(value) is not float or abs(value) < float("inf"))
    try:
        taken = structure(holder(annotation), {"field": value}).field
    except DecodeError:
        assert not fits
    else:
        assert fits
        assert value == taken


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(DecodeError) as caught:
        structure(FinalTranscript, {"lang": 1, "confidence": 2, "is_final": "yes", "who": "me"})

    for path in ("$.text", "$.lang", "$.confidence", "$.is_final", "'who'"):
        assert path in caught.value.detail


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (set, "set"),
        (list[set[int]], "set"),
        (tuple[int, str], "tuple"),
        (holder(frozenset[int]), "frozenset"),
        (holder(int | bool | Level), "look the same in JSON"),
        (holder(Point | Node), "look the same in JSON"),
        (holder(complex), "complex"),
    ],
)
def test_a_type_that_is_not_for_the_wire_is_refused_when_it_is_prepared(cls: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        prepare(cls)


@pytest.mark.parametrize("cls", [FinalTranscript, dict, bytes, Node, Point])
def test_what_a_handler_may_be_annotated_with_can_be_prepared(cls: type) -> None:
    prepare(cls)


def test_enums_and_int_keys_leave_as_plain_strings_and_values() -> None:
    cls = attrs.make_class(
        "Frame", {"gait": attrs.field(type=Gait), "old": attrs.field(type=Old), "channels": attrs.field(type=dict[int, int])}
    )

    data = unstructure(cls(Gait.WALK, Old.WALK, {1: 1500}))

    assert {"gait": "walk", "old": "walk", "channels": {"1": 1500}} == data
    assert [str, str, dict] == [type(value) for value in data.values()]


def test_free_form_data_may_hold_events_enums_times_and_int_keys() -> None:
    data = {"p": Point(1.0), "n": [Node("a")], "g": Gait.RUN, "t": datetime(2025, 1, 2, tzinfo=UTC), 7: UUID(int=0), "x": (1, None)}

    assert {
        "p": {"x": 1.0, "y": 0.0},
        "n": [{"name": "a", "children": [], "parent": None}],
        "g": "run",
        "t": "2025-01-02T00:00:00+00:00",
        "7": "00000000-0000-0000-0000-000000000000",
        "x": [1, None],
    } == decode_json(encode(data))


def nested(levels: int) -> dict[str, Any]:
    inner: Any = 1
    for _ in range(levels - 1):
        inner = [inner]
    return {"a": inner}


def looped() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": float("nan")}]}, r"expected a finite number at \['a'\]\[1\]\['b'\], found float nan"),
        ({"a": float("inf")}, "found float inf"),
        ({"a": {1, 2}}, r"expected a JSON value at \['a'\], found set"),
        ({"a": b"x"}, "found bytes"),
        ({(1, 2): 3}, "expected a key of str or int, found tuple of 2"),
        ({True: 1}, "expected a key of str or int, found bool True"),
        ({"a": 2**64}, "64-bit"),
        ({"a": "\ud800"}, "UTF-8"),
        ({"a": "x" * (17 << 20)}, "bytes, at most"),
        (nested(MAX_DEPTH + 1), f"{MAX_DEPTH} levels"),
        (looped(), f"{MAX_DEPTH} levels"),
        (None, "expected an attrs instance or a dict, found null"),
        ([1], "expected an attrs instance or a dict, found list of 1"),
        ("text", "expected an attrs instance or a dict, found str 'text'"),
        (LLMRequest(id="1", text="x", params={"t": float("nan")}), "found float nan"),
        (LLMRequest(id="1", text=None), r"as LLMRequest: expected str, found null @ \$.text"),  # type: ignore[arg-type]
        (FinalTranscript(text="x", ts=float("inf")), r"found float inf @ \$.ts"),
    ],
    ids=lambda part: repr(part)[:40],
)
def test_what_the_other_end_would_refuse_is_never_sent(value: Any, words: str) -> None:
    with pytest.raises(EncodeError, match=words):
        encode(value)


def test_what_is_nested_as_deep_as_allowed_is_sent_and_read() -> None:
    assert nested(MAX_DEPTH) == decode_json(encode(nested(MAX_DEPTH)))


def test_contract_refuses_types_it_cannot_read() -> None:
    class Late:
        text: "str"

    with pytest.raises(TypeError, match="Late: @contract reads the types"):
        contract(Late)
