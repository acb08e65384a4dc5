"""The short way to read a document says yes only where the long way does, and to the same value."""

from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tars.actors.contracts import DecodeError, Envelope, structure
from tars.actors.contracts.quick import quick_reader


def _anything(_instance: Any, _field: Any, _value: Any) -> None:
    """A validator: its class has no short way."""


@attrs.frozen
class Short:
    text: str
    whole: int
    real: float
    sure: bool
    maybe: str | None
    perhaps: float | None
    free: Any
    thing: dict[str, Any]


@attrs.frozen
class Long:
    text: str = attrs.field(validator=_anything)
    whole: int
    real: float
    sure: bool
    maybe: str | None
    perhaps: float | None
    free: Any
    thing: dict[str, Any]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([2**53, 2**53 + 1, -(2**60)])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=4
)
RIGHT = {
    "text": st.text(max_size=3),
    "whole": st.integers(),
    "real": st.floats() | st.integers(),
    "sure": st.booleans(),
    "maybe": st.none() | st.text(max_size=3),
    "perhaps": st.none() | st.floats() | st.integers(),
    "free": VALUES,
    "thing": st.dictionaries(st.text(max_size=2), VALUES, max_size=2),
}
SPOILT = st.builds(
    lambda document, name, value: {**document, name: value}, st.fixed_dictionaries(RIGHT), st.sampled_from([*RIGHT, "more"]), VALUES
)
SHORTENED = st.builds(lambda document, name: {key: document[key] for key in document if key != name}, SPOILT, st.sampled_from([*RIGHT]))
GOOD: dict[str, Any] = {"text": "a", "whole": 1, "real": 1.0, "sure": True, "maybe": None, "perhaps": None, "free": [], "thing": {}}


def outcome(cls: type[Any], document: object) -> str:
    try:
        return repr(attrs.astuple(structure(cls, document), recurse=False))
    except DecodeError as error:
        return str(error).replace("Long", "Short")


@given(st.fixed_dictionaries(RIGHT) | SPOILT | SHORTENED | VALUES)
@example({**GOOD, "real": 3})
@example({**GOOD, "real": True})
@example({**GOOD, "real": float("nan")})
@example({**GOOD, "perhaps": float("inf")})
@example({**GOOD, "perhaps": 2**53 + 1})
@example({**GOOD, "whole": True})
@example({**GOOD, "maybe": 1})
def test_both_ways_come_to_the_same(document: object) -> None:
    assert outcome(Long, document) == outcome(Short, document)


def test_a_good_document_never_sees_the_long_way_and_a_bad_one_does() -> None:
    asked: list[object] = []
    read = quick_reader(Short, lambda value, _: asked.append(value))

    assert Short(**GOOD) == read(GOOD, Short)
    assert read({**GOOD, "text": 1}, Short) is None
    assert [{**GOOD, "text": 1}] == asked


@attrs.frozen
class Computed:
    text: str

    def __attrs_post_init__(self) -> None:
        """More is done than to take what is there."""


@attrs.frozen
class Private:
    _text: str


@attrs.frozen
class Nested:
    inner: Short


@attrs.frozen
class Either:
    number: int | float


def _upper(text: str) -> str:
    return text.upper()


@attrs.frozen
class Converted:
    text: str = attrs.field(converter=_upper)


@pytest.mark.parametrize("cls", [Long, Computed, Private, Nested, Either, Converted, dict, int])
def test_where_there_is_more_to_it_than_scalars_there_is_no_short_way(cls: Any) -> None:
    def long_way(value: Any, _: Any) -> Any:
        return value

    assert long_way is quick_reader(cls, long_way)


def test_an_envelope_has_it() -> None:
    def long_way(value: Any, _: Any) -> Any:
        return value

    assert long_way is not quick_reader(attrs.resolve_types(Envelope), long_way)
