"""The author's kit, on the broker in memory: what a test may say, ask and wait for, and what it is told when it waits in vain."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tars.actors import Actor, Context, Escalate, TooSlow, Unavailable, every, subscribe
from tars.actors.testing import (
    ActorParked,
    MemoryBroker,
    ServerLimits,
    Unfulfilled,
    Why,
    in_virtual_time,
    running,
)
from tars.supervisor import ConfigError, leaves


@attrs.frozen
class Temperature:
    celsius: float


@subscribe("sensors/{room}/temp", qos=1)
async def alarm(event: Temperature, ctx: Context) -> None:
    if event.celsius > 30:
        await ctx.publish("alarm.heat", {"room": ctx.params["room"]}, topic="alarms/heat")


@attrs.frozen
class CounterSettings:
    step: int = 1


class Counter(Actor):
    settings: CounterSettings

    def __init__(self) -> None:
        self.count = 0

    @subscribe("count", qos=1)
    async def on_count(self, event: dict[str, Any], ctx: Context) -> None:
        if event.get("fail"):
            raise RuntimeError("a bug")
        self.count += self.settings.step
        await ctx.publish_raw("counted", str(self.count).encode(), qos=event.get("qos", 1))


# -- reading ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_was_published_is_read_as_an_envelope_as_data_and_as_a_contract() -> None:
    @attrs.frozen
    class Alarm:
        room: str

    async with running(alarm) as service:
        await service.deliver("sensors/kitchen/temp", Temperature(31), correlation_id="c1")
        (said,) = await service.wait_published("alarms/+")

    assert said.envelope is not None
    assert ("alarm.heat", "test") == (said.envelope.type, said.envelope.source)
    assert ({"room": "kitchen"}, Alarm("kitchen")) == (said.data, said.read(Alarm))


@pytest.mark.parametrize("qos", [0, 1])
@in_virtual_time
async def test_a_raw_message_has_no_envelope_and_its_json_is_its_data(qos: int) -> None:
    async with running(Counter) as service:
        await service.deliver_raw("count", {"qos": qos})
        await service.deliver_raw("count", b'{"qos": %d}' % qos)
        await service.settled()

    assert [(None, 1, b"1"), (None, 2, b"2")] == [(each.envelope, each.data, each.payload) for each in service.published_on("counted")]


@in_virtual_time
async def test_what_a_service_says_about_itself_is_not_among_what_it_published() -> None:
    async with running(alarm) as service:
        ping = await service.wait_health("ready")
        await service.advance(60)

        assert (True, []) == (ping.ok, service.published)
        assert {"system/health/test", "system/keepalive/test"} == {each.topic for each in service.recorder.published}


@in_virtual_time
async def test_everything_can_be_looked_at_after_the_service_has_stopped() -> None:
    async with running(alarm) as service:
        await service.deliver_raw("sensors/kitchen/temp", b"not json")
        await service.settled()
    (letter,) = service.dead_letters

    assert (Why.UNDECODABLE, "sensors/kitchen/temp", b"not json") == (letter.why, letter.topic, letter.payload)


# -- failures ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_failing_actor_shows_its_failures_its_restarts_and_the_dead_letter() -> None:
    async with running(Counter, config={"actors": {"counter": {"max_attempts": 2}}}) as service:
        await service.deliver("count", {})
        await service.deliver("count", {"fail": True})
        (letter,) = await service.wait_dead_letters()
        await service.wait_restarted("counter", 2)
        await service.deliver("count", {})
        await service.settled()

    assert (Why.CRASHED, 2, "RuntimeError: a bug") == (letter.why, letter.attempts, letter.error)
    assert ["a bug", "a bug"] == [str(each.error) for each in service.failures]
    assert 2 == service.restarts("counter")
    assert [b"1", b"1"] == [each.payload for each in service.published]


@in_virtual_time
async def test_a_park_of_half_an_hour_is_waited_for_in_no_time() -> None:
    config = {"actors": {"counter": {"max_attempts": 1, "max_failures_in_a_row": 1, "park_s": 1800.0}}}
    began, at = time.monotonic(), trio.current_time()
    async with running(Counter, config=config) as service:
        await service.deliver("count", {"fail": True})
        parked = await service.wait_event(ActorParked)
        ping = await service.wait_health("degraded")
        await service.wait_restarted("counter", timeout_s=2000)

    assert (1800.0, False) == (parked.park_s, ping.ok)
    assert trio.current_time() - at >= 1800.0
    assert time.monotonic() - began < 60.0


@in_virtual_time
async def test_a_backend_that_is_down_is_waited_for_with_its_message() -> None:
    down = [True]

    @subscribe("in", qos=1)
    async def writes(_event: dict[str, Any], ctx: Context) -> None:
        if down:
            raise Unavailable("the database is away")
        await ctx.publish("row.written", {}, topic="out")

    async with running(writes) as service:
        await service.deliver("in", {})
        await service.advance(60)

        assert [] == service.published
        down.clear()
        await service.wait_published("out")
        await service.settled()

        assert [] == service.dead_letters


@in_virtual_time
async def test_a_service_that_gives_up_fails_the_test_unless_it_asks() -> None:
    @subscribe("in", qos=1)
    async def gives_up(_event: dict[str, Any]) -> None:
        raise Escalate("no licence")

    async with running(gives_up) as service:
        await service.deliver("in", {})
        failure = await service.wait_ended()

    async def without_asking() -> None:
        async with running(gives_up) as service:
            await service.deliver("in", {})
            await service.advance(1)

    assert "no licence" in str(failure)
    with pytest.raises(Escalate, match="no licence"):
        await without_asking()


@in_virtual_time
async def test_a_wait_ends_when_the_service_has() -> None:
    @subscribe("in", qos=1)
    async def gives_up(_event: dict[str, Any]) -> None:
        raise Escalate("no licence")

    async def waits() -> None:
        async with running(gives_up) as service:
            await service.deliver("in", {})
            await service.wait_published("out")

    at = trio.current_time()
    with pytest.raises(Unfulfilled, match=r"no message on out: the service has ended\nit gave up: Escalate: no licence"):
        await waits()

    assert trio.current_time() - at < 600


# -- in vain ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_wait_in_vain_says_what_there_was_instead() -> None:
    @subscribe("in", qos=1)
    async def hangs(_event: dict[str, Any]) -> None:
        await trio.sleep_forever()

    table = {"actors": {"counter": {"max_attempts": 1}, "hangs": {"handler_timeout_s": 3600.0}}, "service": {"drain_s": 0.1}}

    async def waits() -> None:
        async with running(Counter, alarm, hangs, config=table) as service:
            await service.deliver("count", {})
            await service.wait_published("counted")  # the actors' own order is nobody's
            await service.deliver("count", {"fail": True})
            await service.deliver("sensors/kitchen/temp", Temperature(31))
            await service.deliver("in", {})
            await service.wait_published("alarms/cold", timeout_s=30)

    with pytest.raises(Unfulfilled) as said:
        await waits()

    assert [
        "no message on alarms/cold: 30 s of virtual time have passed",
        "the service is connected",
        "published: 2",
        "  counted  b'1'",
        '  alarms/heat  alarm.heat  {"room":"kitchen"}',
        "dead letters: 1",
        "  crashed  count  RuntimeError: a bug",
        "failures: 1",
        "  counter  count  RuntimeError: a bug",
        "received and not acknowledged: 1",
        "  in",
    ] == str(said.value).splitlines()


@pytest.mark.parametrize("raw", [False, True])
@in_virtual_time
async def test_a_wait_in_vain_names_the_topic_that_no_subscription_matches(raw: bool) -> None:
    topic = "sensors/kitchen/tmep"

    async def waits() -> None:
        async with running(alarm) as service:
            await service.deliver("sensors/kitchen/temp", Temperature(12))
            for _ in range(2):
                await (service.deliver_raw(topic, {"celsius": 31}) if raw else service.deliver(topic, Temperature(31)))
            await service.wait_published("alarms/heat")

    with pytest.raises(Unfulfilled) as said:
        await waits()

    assert [
        "no message on alarms/heat: 600 s of virtual time have passed",
        "the service is connected",
        f"delivered, but no subscription of this service matches {topic}",
        "published: nothing",
        "dead letters: nothing",
        "failures: nothing",
        "received and not acknowledged: nothing",
    ] == str(said.value).splitlines()


@pytest.mark.parametrize(
    ("wait", "complaint"),
    [
        (lambda service: service.wait_published("a", count=2), "no 2 messages on a"),
        (lambda service: service.wait_published("a", where=lambda _: True), "no matching message on a"),
        (lambda service: service.wait_dead_letters(), "not 1 dead letter"),
        (lambda service: service.wait_dead_letters(2), "not 2 dead letters"),
        (lambda service: service.wait_event(ActorParked), "no ActorParked"),
        (lambda service: service.wait_restarted("alarm", 3), "alarm was not restarted 3 times"),
        (lambda service: service.wait_health("degraded"), "no health message that says degraded"),
        (lambda service: service.wait_ended(), "the service runs"),
    ],
)
@in_virtual_time
async def test_every_wait_gives_up(wait: Any, complaint: str) -> None:
    with pytest.raises(Unfulfilled, match=f"^{complaint}: 600 s of virtual time have passed"):
        async with running(alarm) as service:
            await wait(service)


@in_virtual_time
async def test_an_assert_that_fails_comes_out_as_it_was_raised() -> None:
    with pytest.raises(AssertionError) as said:
        async with running(alarm) as service:
            assert 1 == len(service.published)

    assert isinstance(said.value, AssertionError)


@in_virtual_time
async def test_two_errors_at_once_stay_together() -> None:
    async def fails(error: Exception) -> None:
        raise error

    async def both() -> None:
        async with running(alarm), trio.open_nursery() as nursery:
            nursery.start_soon(fails, ValueError("one"))
            nursery.start_soon(fails, ValueError("two"))

    with pytest.raises(ExceptionGroup) as said:
        await both()

    assert ["one", "two"] == sorted(str(leaf) for leaf in leaves(said.value))


# -- time -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_ticks_come_as_time_advances() -> None:
    @every(60.0)
    async def ticks(ctx: Context) -> None:
        await ctx.publish("tick", {}, topic="ticks")

    async with running(ticks) as service:
        await service.advance(3599)

        assert 59 == len(service.published)


@in_virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    worked = threading.Event()

    @subscribe("in", qos=1)
    def works(_event: dict[str, Any], ctx: Any) -> None:
        assert not worked.wait(0.2)  # longer than virtual time needs to pass all limits
        ctx.publish("done", {}, topic="out")

    async with running(works, config={"actors": {"works": {"handler_timeout_s": 0.01}}}) as service:
        at = trio.current_time()
        await service.deliver("in", {})
        await service.settled()

        assert (1, [], []) == (len(service.published), service.dead_letters, service.failures)
        assert trio.current_time() - at < 1


@in_virtual_time
async def test_time_goes_on_while_a_thread_waits_for_virtual_time_itself() -> None:
    @subscribe("in", qos=1)
    def asks(_event: dict[str, Any], ctx: Any) -> None:
        try:
            ctx.request("a.question", {}, topic="ask", reply="answer", timeout_s=20.0)
        except TooSlow:
            ctx.publish("a.complaint", {}, topic="out")

    async with running(asks) as service:
        await service.deliver("in", {})
        await service.wait_published("out", timeout_s=25)


async def test_it_works_with_the_mock_clock_of_pytest_trio(autojump_clock: trio.testing.MockClock) -> None:
    async with running(alarm) as service:
        await service.advance(3600)
        await service.deliver("sensors/kitchen/temp", Temperature(31))
        await service.wait_published("alarms/heat")

    assert 0 == autojump_clock.autojump_threshold


def test_it_works_without_virtual_time() -> None:
    async def main() -> int:
        async with running(alarm) as service:
            await service.deliver("sensors/kitchen/temp", Temperature(31))
            return len(await service.wait_published("alarms/heat"))

    assert 1 == trio.run(main)


def test_it_needs_no_test_framework(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["pytest"] = sys.modules["_pytest"] = None  # there is none

from tars.actors import subscribe
from tars.actors.testing import in_virtual_time, running

@subscribe("in")
async def echo(event: bytes, ctx) -> None:
    await ctx.publish_raw("out", event)

@in_virtual_time
async def main():
    async with running(echo) as service:
        await service.deliver_raw("in", b"hello")
        await service.wait_published("out")

main()
print("it works")
"""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ("", "it works") == (ended.stderr, ended.stdout.splitlines()[-1])


# -- what runs --------------------------------------------------------------------------------------


@in_virtual_time
async def test_tables_of_a_test_are_laid_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text(
        'application = "tars.actors.service:application"\n[service]\nname = "robot"\nstate_dir = "/nowhere"\n'
        '[mqtt]\nurl = "mqtts://somewhere"\n[mqtt.tls]\nca_file = "absent.pem"\n'
        '[log]\nfile = "absent/log"\n[actors.router]\nuse = "tars.actors.services.router:Router"\n'
        "[actors.router.settings]\nwake_timeout_grace_s = 1.0\n"
    )
    config = {"actors": {"router": {"settings": {"live_mode_default": True}}}}
    async with running(file, config=config, environ={"MQTT_SOURCE_NAME": "me", "MQTT_URL": "mqtt://elsewhere"}) as service:
        assert ["router"] == list(service.estate.boxes)
        assert "robot" == service.client_id
    assert ["router.toml"] == [each.name for each in tmp_path.iterdir()]  # noqa: ASYNC240 - nothing else runs


@in_virtual_time
async def test_an_actor_with_lanes_is_one_actor_to_a_test_and_a_failed_wait_names_the_lane() -> None:
    @subscribe("in/{key}", qos=1)
    async def fails(_event: bytes, ctx: Context) -> None:
        if ctx.attempt < 3:
            raise ValueError(ctx.params["key"])

    async with running(fails, config={"actors": {"fails": {"concurrency": 4, "key": "{key}"}}}) as service:
        for key in "abcd":
            await service.deliver_raw(f"in/{key}", b"x")
        await service.wait_restarted("fails", 8)
        with pytest.raises(Unfulfilled, match=r"fails/[0-3]  in/a  ValueError: a"):
            await service.wait_published("nothing")

        assert 8 == service.restarts("fails")


@in_virtual_time
async def test_settings_reach_an_actor_and_mistakes_are_all_told() -> None:
    async with running(Counter, config={"actors": {"counter": {"settings": {"step": 5}}}}) as service:
        await service.deliver("count", {})
        (said,) = await service.wait_published("counted")
    with pytest.raises(ConfigError) as wrong:
        async with running(Counter, config={"actors": {"counter": {"settings": {"stepp": 5}}}, "mqttt": {}}):
            pass

    assert b"5" == said.payload
    assert ["actors.counter.settings.stepp", "mqttt"] == sorted(line.partition(":")[0] for line in wrong.value.lines)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the path of one config, or actors"),
        (["a.toml", "b.toml"], "the path of one config"),
        (["a.toml", alarm], "the path of one config"),
        ([alarm, alarm], "two are called alike"),
    ],
)
@in_virtual_time
async def test_what_cannot_be_run_is_refused(arguments: list[Any], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        async with running(*arguments):
            pass


@in_virtual_time
async def test_a_config_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        async with running(tmp_path / "absent.toml"):
            pass


@in_virtual_time
async def test_two_services_share_a_broker() -> None:
    @subscribe("in", qos=1)
    async def first(event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish("step.one", event, topic="between")

    @subscribe("between", qos=1)
    async def second(event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish("step.two", event, topic="out")

    async with running(first) as one, running(second, beside=one, config={"service": {"name": "two"}}) as two:
        async with two.unplugged():
            await one.deliver("in", {"n": 1})
            await one.settled()
        await two.wait_published("out")

    assert (["between"], ["out"]) == ([each.topic for each in one.published], [each.topic for each in two.published])


@in_virtual_time
async def test_a_broker_of_ones_own_has_its_limits_and_faults() -> None:
    broker = MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=700))

    @subscribe("in", qos=1)
    async def says_much(_event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish_raw("out", b"x" * 1000)

    async with running(says_much, broker=broker) as service:
        assert broker is service.broker
        await service.deliver_raw("in", {})
        (letter,) = await service.wait_dead_letters()

    assert ("out", Why.REFUSED, "out") == (letter.direction, letter.why, letter.topic)


@pytest.mark.parametrize("arguments", [{"with_real": True, "broker": MemoryBroker()}, {"broker": MemoryBroker(), "beside": 1}])
@in_virtual_time
async def test_two_brokers_at_once_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"broker"):
        async with running(alarm, **arguments):
            pass


@in_virtual_time
async def test_who_forgets_the_topic_of_an_event_of_their_own_is_told_so() -> None:
    @subscribe("in", qos=1)
    async def forgets(_event: dict[str, Any], ctx: Context) -> None:
        await ctx.publish("alarm.heat", {})

    async with running(forgets, config={"actors": {"forgets": {"max_attempts": 1}}}) as service:
        await service.deliver("in", {})
        (letter,) = await service.wait_dead_letters()

    assert "UnknownEventType: Unknown event type: 'alarm.heat'; an event of your own is published with topic=..." == letter.error
