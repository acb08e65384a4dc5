"""The heap of rows: whatever is put, moved and dropped, the lowest comes first, and what has left is let go."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.supervisor.lowest import Lowest

COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 8), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("take"), st.just(0), st.integers(0, 5)),
    ),
    max_size=200,
)


@given(COMMANDS)
def test_it_is_a_table_that_answers_lowest_key_first_and_first_put_first_among_equals(commands: list[tuple[str, int, int]]) -> None:
    heap: Lowest[int] = Lowest()
    model: dict[int, int] = {}  # insertion order is the order of the puts
    for word, item, key in commands:
        match word:
            case "put":
                heap.put(item, key)
                if model.get(item) != key:
                    model.pop(item, None)
                    model[item] = key
            case "drop":
                heap.drop(item)
                model.pop(item, None)
            case _:
                expected = [each for each, _ in sorted(model.items(), key=lambda entry: entry[1]) if model[each] <= key]

                assert expected == list(heap.take_up_to(key))

                model = {each: at for each, at in model.items() if at > key}
        lowest = min(model, key=lambda each: model[each], default=None)

        assert heap.first() == (None if lowest is None else (model[lowest], lowest))
        assert len(heap) == len(model)


def test_what_is_out_of_date_never_makes_up_more_than_half() -> None:
    heap: Lowest[str] = Lowest()
    heap.put("first", 0)
    for key in range(1, 10_000):
        heap.put("moves", key)

    assert len(vars(heap)["_heap"]) < 30


class Item:
    """Something whose end can be seen."""


@pytest.mark.parametrize("key", [1, 9])
def test_what_is_dropped_is_let_go_at_once(key: float) -> None:
    heap: Lowest[object] = Lowest()
    heap.put("stays", 5)
    item = Item()
    seen = weakref.ref(item)
    heap.put(item, key)
    heap.drop(item)
    del item
    gc.collect()

    assert seen() is None
