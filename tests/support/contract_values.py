"""Hypothesis strategies for the values of a contract, made from its annotations."""

import types
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from hypothesis import strategies as st

from tars.actors.contracts import Between
from tars.actors.contracts.movement import MoveArmParams


def events(cls: type) -> st.SearchStrategy[Any]:
    """Any instance of a contract."""
    fields = {field.name: values(field.type) for field in attrs.fields(cls)}
    if cls is MoveArmParams:  # at least one joint
        fields["port_main"] = st.floats(1, 100)
    return st.builds(cls, **fields)


def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line per kind of type
    """Any value of a field's type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of(*map(values, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is Annotated:
        between = next(extra for extra in annotation.__metadata__ if isinstance(extra, Between))
        return numbers(get_args(annotation)[0], between.at_least, between.at_most)
    if get_origin(annotation) is tuple:
        return st.lists(values(get_args(annotation)[0]), max_size=2).map(tuple)
    if get_origin(annotation) is dict:
        keys, items = get_args(annotation)
        return st.dictionaries(values(keys), json_values() if items is Any else values(items), max_size=2)
    if attrs.has(annotation):
        return events(annotation)
    if annotation in (int, float):
        return numbers(annotation, None, None)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    scalars = {str: texts(), bool: st.booleans(), types.NoneType: st.none(), datetime: st.datetimes(timezones=st.none() | st.just(UTC))}
    return scalars[annotation]


def numbers(kind: type, low: float | None, high: float | None) -> st.SearchStrategy[Any]:
    """What JSON carries of ints and floats, within a range."""
    if kind is int:
        return st.integers(-(2**63) if low is None else int(low), 2**63 - 1 if high is None else int(high))
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def texts() -> st.SearchStrategy[str]:
    """Strings without lone surrogates."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value, small."""
    return st.recursive(
        st.one_of(st.none(), st.booleans(), numbers(int, None, None), numbers(float, None, None), texts()),
        lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts(), inner, max_size=2)),
        max_leaves=3,
    )
