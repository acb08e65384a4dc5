"""The two services, each alone and as a chain; in virtual time, and the chain also on a real Mosquitto."""

from pathlib import Path

import pytest
from messages import Alarm, Reading

from tars.actors.testing import HandlerUnavailable, Running, Why, in_virtual_time, running

HERE = Path(__file__).parent
SENSOR, ALARM = HERE / "sensor.toml", HERE / "alarm.toml"


def thermometer(file: Path) -> dict[str, object]:
    return {"actors": {"sensor": {"settings": {"file": str(file)}}}}


def states(alarm: Running, room: str = "cellar") -> list[str]:
    return [each.read(Alarm).state for each in alarm.published_on(f"alarms/{room}")]


# -- the sensor -----------------------------------------------------------------------------------


@in_virtual_time
async def test_it_reads_every_second(tmp_path: Path) -> None:
    file = tmp_path / "temp"
    file.write_text("21500\n")
    async with running(SENSOR, config=thermometer(file)) as sensor:
        await sensor.advance(3.5)

    assert [each.read(Reading) for each in sensor.published_on("sensors/cellar/temp")] == [Reading(21.5)] * 3


@in_virtual_time
async def test_it_waits_for_a_thermometer_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "temp"
    async with running(SENSOR, config=thermometer(file)) as sensor:
        await sensor.advance(60)
        assert sensor.published == []

        file.write_text("21500\n")
        await sensor.wait_published("sensors/cellar/temp")

    assert sensor.restarts("sensor") > 1  # each time after a longer pause
    assert sensor.failures == []  # Unavailable is none
    assert "No such file or directory" in sensor.events_of(HandlerUnavailable)[0].reason


# -- the alarm ------------------------------------------------------------------------------------


@in_virtual_time
async def test_hot_is_an_alarm_until_it_is_cool_again() -> None:
    async with running(ALARM) as alarm:
        for celsius in (20, 60, 61, 56, 55.1, 54, 20):
            await alarm.deliver("sensors/cellar/temp", Reading(celsius))
            await alarm.settled()

    assert states(alarm) == ["ok", "hot", "ok"]
    assert all(each.retain for each in alarm.published)


@in_virtual_time
async def test_rooms_do_not_mix() -> None:
    async with running(ALARM) as alarm:
        await alarm.deliver("sensors/cellar/temp", Reading(80))
        await alarm.deliver("sensors/attic/temp", Reading(20))
        await alarm.settled()

    assert (states(alarm), states(alarm, "attic")) == (["hot"], ["ok"])


@in_virtual_time
async def test_a_room_that_says_nothing_any_more_is_an_alarm() -> None:
    async with running(ALARM) as alarm:
        await alarm.deliver("sensors/cellar/temp", Reading(20))
        await alarm.advance(12)
        await alarm.deliver("sensors/cellar/temp", Reading(21))
        await alarm.settled()

    assert states(alarm) == ["ok", "silent", "ok"]


@in_virtual_time
async def test_the_limit_comes_from_the_environment_too() -> None:
    async with running(ALARM, environ={"ALARM_HOT_CELSIUS": "30"}) as alarm:
        await alarm.deliver("sensors/cellar/temp", Reading(31))
        await alarm.settled()

    assert states(alarm) == ["hot"]


@in_virtual_time
async def test_what_is_no_reading_is_a_dead_letter_and_hurts_nobody() -> None:
    async with running(ALARM) as alarm:
        await alarm.deliver_raw("sensors/cellar/temp", {"celsius": 1000})
        await alarm.deliver("sensors/cellar/temp", Reading(80))
        await alarm.settled()
        (letter,) = alarm.dead_letters

    assert letter.why is Why.UNDECODABLE
    assert states(alarm) == ["hot"]


# -- the chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_real", [False, True])
@in_virtual_time
async def test_heat_comes_through_the_chain_also_after_an_outage(tmp_path: Path, with_real: bool) -> None:
    file = tmp_path / "temp"
    file.write_text("21500\n")
    async with (
        running(SENSOR, config=thermometer(file), with_real=with_real) as sensor,
        running(ALARM, beside=sensor) as alarm,
    ):
        await alarm.wait_published("alarms/cellar")
        async with alarm.unplugged():
            file.write_text("80000\n")
            await sensor.wait_published("sensors/cellar/temp", where=lambda each: each.data["celsius"] == 80)
        await alarm.wait_published("alarms/cellar", count=2)

    assert states(alarm) == ["ok", "hot"]
