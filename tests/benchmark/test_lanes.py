"""The benchmark of lanes: what is measured, and what a row says of it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from bench.child import Cores, Failed
from bench.contenders import waiting_service
from bench.lanes import Run, as_text, by_keys, dead_letters, measure, possible, rows


async def test_a_measurement_handles_every_message_and_more_lanes_take_less_time() -> None:
    one, eight = [await measure(5.0, lanes, 0.1, Cores(None, None), dict(os.environ)) for lanes in (1, 8)]

    assert (1, 8, one.messages) == (one.concurrency, eight.concurrency, eight.messages)
    assert one.wall_s >= one.messages * 0.005
    assert eight.wall_s < one.wall_s / 2
    assert 0 < eight.cpu_s


def test_what_is_acknowledged_sooner_than_it_can_have_waited_is_no_figure() -> None:
    honest = Run(2.0, 4, 1_000, 0.5, 0.1)

    assert honest is possible(honest)

    with pytest.raises(Failed, match="4 lanes cannot have waited"):
        possible(Run(2.0, 4, 1_000, 0.4, 0.1))


def test_the_config_gives_the_actor_its_lanes() -> None:
    actor = tomllib.loads(waiting_service(1883, 16, 0.002))["actors"]["waits"]

    assert (16, "{data.sensor}", {"wait_s": 0.002}) == (actor["concurrency"], actor["key"], actor["settings"])


@pytest.mark.parametrize(("lanes", "least"), [(1, 1.0), (2, 0.9), (8, 0.8), (32, 0.6)])
def test_the_keys_spread_so_that_much_of_the_ideal_is_left(lanes: int, least: float) -> None:
    assert least <= by_keys(lanes) <= 1.0


def test_a_row_compares_with_one_lane_of_the_same_wait() -> None:
    found = [Run(2.0, 1, 100, 1.0, 0.1), Run(2.0, 1, 100, 0.5, 0.1), Run(2.0, 4, 450, 1.0, 0.5), Run(10.0, 4, 100, 1.0, 0.5)]

    first, second = rows(found)

    assert (1, 150.0, 1.0, 1.0) == (first.concurrency, first.per_s.median, first.times, first.of_ideal)
    assert (4, 450.0, 3.0, 0.75, 0.5) == (second.concurrency, second.per_s.median, second.times, second.of_ideal, second.busy)


def test_the_table_has_a_line_for_each_number_of_lanes() -> None:
    lines = as_text([Run(2.0, 1, 400, 1.0, 0.1), Run(2.0, 2, 1500, 2.0, 1.0)]).splitlines()

    assert "## A handler that waits 2 ms" in lines
    assert lines[-2].startswith("| 1 | 400 | 400 to 400 | 1.0 | 100% | 100% | 10% |")
    assert lines[-1].startswith("| 2 | 750 | 750 to 750 | 1.9 | 94% | ")


def test_a_service_that_never_opened_its_store_has_set_nothing_aside(tmp_path: Path) -> None:
    assert [] == dead_letters(tmp_path)
