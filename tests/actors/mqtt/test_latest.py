"""The latest of each topic, bounded in number and in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.latest import Latest, bytes_of
from tars.actors.mqtt.transport import Inbound, Outbound

STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 12))))


@given(STEPS, st.integers(0, 4), st.integers(0, 20))
def test_it_keeps_to_both_bounds_and_keeps_the_newest(steps: list[tuple[str, int | None]], capacity: int, max_bytes: int) -> None:
    latest: Latest[str, tuple[str, int]] = Latest(capacity, max_bytes)
    alive: dict[str, int] = {}
    for key, size in steps:
        alive.pop(key, None)
        if size is None:
            latest.drop(key)
        else:
            latest.put(key, (key, size), size)
            if size <= max_bytes:
                alive[key] = size
        kept = latest.all()

        assert len(kept) <= capacity
        assert sum(size for _, size in kept) == latest.bytes_kept <= max_bytes
        # Whatever is missing was older than everything that is there.
        assert list(kept) == list(alive.items())[len(alive) - len(kept) :]
        alive = dict(kept)


def test_what_is_larger_than_all_of_it_may_be_is_not_kept_and_pushes_nobody_out() -> None:
    latest: Latest[str, str] = Latest(max_bytes=100)
    latest.put("a", "old", 40)
    latest.put("b", "b", 40)
    latest.put("a", "huge", 101)

    assert ("b",) == latest.all()
    assert "a" not in latest


@pytest.mark.parametrize("kind", [Inbound, Outbound])
def test_topic_payload_and_user_properties_count_in_bytes(kind: type[Inbound | Outbound]) -> None:
    assert 3 + 5 + 4 == bytes_of(kind("ä/", b"12345", user_properties=(("k", "v"), ("", "é"))))
