"""What a cost is judged by, and the cable that the benchmark pulls."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import attrs
import pytest
import trio

from bench.child import Cores, Failed
from bench.costs import Cost, Point, as_text, growth, one
from bench.costs_inside import dispatch, log
from bench.costs_run import ALL, run
from bench.costs_service import with_bytecode
from bench.costs_setting import Setting
from bench.relay import relay
from bench.statistics import Spread, spread

PATIENCE_S = 20.0
MOST_TIMES = 3.0
"""What 10 000 filters may cost of what one does. Measured: 1.15. A list that is searched would be at thousands."""
MOST_LOG_CALLS = 15.0
"""What a filtered-out line may cost in calls of a function that does nothing. Measured: 6; a line that is written, 64."""
MOST_BOUND_CALLS = 3.0
"""The same by a logger with values bound to it. Measured: 1."""
MOST_EVENT_PART = 0.5
"""What a filtered-out event may cost of a line that is written. Measured: 0.15; rendered for nothing, 0.9."""


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 100), (50, 100), (100, 100)], 0),
        ([(0, 0), (10, 90), (20, 100), (60, 100), (100, 100)], 0),
        ([(0, 0), (20, 20), (60, 60), (100, 100)], 100),
    ],
    ids=["steady", "only the beginning", "a leak"],
)
def test_growth_is_what_a_line_gains_after_the_beginning(points: list[tuple[int, int]], expected: float) -> None:
    assert expected == pytest.approx(growth([Point(*each) for each in points]))


def test_one_look_is_no_line() -> None:
    with pytest.raises(ValueError, match="two points"):
        growth([Point(1, 1)])


@pytest.mark.parametrize(
    ("median", "target", "expected"),
    [(1.0, 2.0, True), (2.0, 2.0, True), (2.1, 2.0, False), (2.0, None, None)],
)
def test_a_cost_is_judged_by_its_median(median: float, target: float | None, expected: bool | None) -> None:
    assert expected is Cost("it", Spread(median, 0.0, 9.0, 3), "s", target).ok


def test_the_table_tells_what_is_missed_and_what_failed() -> None:
    text = as_text([Cost("start", spread([1.0, 3.0, 2.0]), "s", 0.5, "how"), Cost("idle", one(4.0), "ms", 5.0)], ["messages: it ended"])

    assert "| start | 2 s | 1 to 3 (3) | ≤ 0.5 s | NO |" in text
    assert "| idle | 4 ms |  | ≤ 5 ms | yes |" in text
    assert "* start: how" in text
    assert "* messages: it ended" in text


def test_every_measurement_can_be_asked_for() -> None:
    assert ["dispatch", "crowd", "log", "start", "idle", "actors", "restarts", "crashes", "back", "messages"] == list(ALL)


async def test_one_that_fails_is_told_and_the_others_go_on() -> None:
    async def fails(_: Setting) -> list[Cost]:
        async with trio.open_nursery():
            raise Failed("mosquitto ended")

    async def works(_: Setting) -> list[Cost]:
        await trio.lowlevel.checkpoint()
        return [Cost("it", one(1.0), "s")]

    told: list[str] = []
    costs, failures = await run({"fails": fails, "works": works}, setting_for(told, restarts=1, messages=1))

    assert (["it"], ["fails: mosquitto ended"]) == ([each.name for each in costs], failures)
    assert ["fails: FAILED: mosquitto ended", "it: 1 s"] == told


async def test_a_target_that_is_missed_is_a_failure() -> None:
    async def measured(_: Setting) -> list[Cost]:
        await trio.lowlevel.checkpoint()
        return [Cost("quick", one(1.0), "s", 2.0), Cost("slow", one(3.0), "s", 2.0), Cost("told", one(9.0), "s")]

    told: list[str] = []
    costs, failures = await run({"it": measured}, setting_for(told, restarts=1, messages=1))

    assert ["quick", "slow", "told"] == [each.name for each in costs]
    assert ["it: slow: 3 s is over 2"] == failures
    assert "slow: 3 s MISSED" in told


@pytest.mark.parametrize("name", ["messages", "crashes"])
async def test_too_few_for_a_line_are_refused(name: str) -> None:
    costs, failures = await run({name: ALL[name]}, setting_for([], restarts=1_000, messages=100_000))

    assert not costs
    assert [True] == ["too few to see growth" in each for each in failures]


async def test_what_restarts_keep_is_counted_in_blocks() -> None:
    costs, failures = await run({"restarts": ALL["restarts"]}, setting_for([], restarts=1_000, messages=1))

    assert not failures
    assert ["runtime: blocks kept for each restart"] == [each.name for each in costs if each.unit == "blocks"]


async def test_a_start_finds_the_bytecode_that_an_earlier_one_left_whatever_the_environment_says(tmp_path: Path) -> None:
    usual = attrs.evolve(setting_for([], restarts=1, messages=1), environment={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    asks = [sys.executable, "-c", "import bench.usage; print('bytecode', bench.usage.__cached__)"]
    async with with_bytecode(usual, tmp_path / "bytecode").service("it", asks, tmp_path) as process:
        (place,) = await process.words("bytecode")

    assert Path(place).is_relative_to(tmp_path / "bytecode")
    assert await trio.Path(place).is_file()


def setting_for(told: list[str], *, restarts: int, messages: int) -> Setting:
    return Setting(Cores(None, None), dict(os.environ), told.append, messages=messages, restarts=restarts, rounds=1, idle_s=0.0)


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_a_pulled_cable_ends_the_connection_and_refuses_attempts_until_it_is_back() -> None:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, echo, 0)
            async with relay(listeners[0].socket.getsockname()[1]) as cable:
                async with await trio.open_tcp_stream("127.0.0.1", cable.port) as stream:
                    await stream.send_all(b"hello")

                    assert b"hello" == await stream.receive_some()

                    cable.pull()

                    assert b"" == await gone(stream)

                with pytest.raises(OSError, match="all attempts to connect"):
                    await trio.open_tcp_stream("127.0.0.1", cable.port)

                before_s = cable.taken_s
                await cable.plug()
                async with await trio.open_tcp_stream("127.0.0.1", cable.port) as stream:
                    await stream.send_all(b"again")

                    assert b"again" == await stream.receive_some()
                    assert before_s < cable.taken_s
            nursery.cancel_scope.cancel()


async def gone(stream: trio.SocketStream) -> bytes:
    """What comes of a connection that ends, also when it is reset."""
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


# -- what CI holds of the costs that grow: ratios, in processor time ---------------------------------


def test_dispatch_costs_the_same_with_ten_thousand_filters_as_with_one() -> None:
    found = dispatch(10_000)

    assert MOST_TIMES > min(found["fresh_ns"]) / min(found["fresh_1_ns"])
    assert MOST_TIMES > min(found["cached_ns"]) / min(found["cached_1_ns"])


def test_a_filtered_out_log_line_costs_about_a_call() -> None:
    found = log(20_000)

    assert MOST_LOG_CALLS > min(found["filtered_ns"]) / min(found["empty_ns"])
    assert MOST_BOUND_CALLS > min(found["bound_ns"]) / min(found["empty_ns"])
    assert MOST_LOG_CALLS < min(found["written_ns"]) / min(found["empty_ns"])


def test_a_filtered_out_event_is_not_rendered() -> None:
    found = log(20_000)

    assert MOST_EVENT_PART > min(found["event_ns"]) / min(found["written_ns"])
