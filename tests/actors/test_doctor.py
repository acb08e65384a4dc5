"""``tars doctor`` on a broker in memory, whose faults are known; and what it makes of what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import orjson
import pytest
import trio
from trio.testing import MockClock

from tars.actors.commands.doctor import examined
from tars.actors.commands.doctor_clocks import FILTERS, MAX_SOURCES, Clock, clock_of, listen, nearest
from tars.actors.commands.doctor_probes import WINDOW
from tars.actors.commands.doctor_verdicts import Findings, Grade, Verdict, is_fit, verdicts
from tars.actors.commands.place import Place
from tars.actors.contracts import encode
from tars.actors.contracts.health import HeartbeatPayload
from tars.actors.mqtt.health import HealthTopic
from tars.actors.mqtt.memory import MemoryBroker, MemoryTransport
from tars.actors.mqtt.transport import ConnectSettings, Inbound, LinkLost, LinkRefused, ServerLimits
from tars.actors.testing import event

NOW_S = 1_000_000.0
WELL = Findings(
    protocol="5",
    speaks_5=True,
    shared=True,
    window=5,
    outstanding=5,
    retained=True,
    session_kept=True,
    session_expires=True,
    queue_sent=2000,
    queued=2000,
    in_order=True,
    round_trips_s=[0.001] * 100,
    listened_s=6.0,
    clocks=[Clock("robot7", -0.002, fresh=True)],
)

B_BEHIND = "b is 400 ms behind, or its messages are"
FIVE_AHEAD = ", ".join(f"{number} is 2.0 s ahead" for number in range(5))


def verdict_of(findings: Findings, what: str) -> Verdict:
    (found,) = [each for each in verdicts(findings) if each.what == what]
    return found


async def examine(broker: MemoryBroker, *, protocol: str = "5", listen_s: float = 0.0) -> Findings:
    """What the doctor finds."""
    place = Place(
        ConnectSettings("memory", 1883, "doctor", protocol=protocol, session_expiry_s=0), "doctor", "mqtt://memory", fall_back=False
    )
    transport = MemoryTransport(broker)
    async with transport.connect(place.settings) as link:
        return await examined(transport, place, listen_s, link)


# -- on a broker in memory -------------------------------------------------------------------------


async def test_of_a_good_broker_it_says_nothing_but_good_and_leaves_nothing_there(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    report = verdicts(await examine(broker))

    assert {Grade.GOOD} == {verdict.grade for verdict in report if verdict.what != "clocks"}
    assert ({}, {}) == (broker.retained, broker.sessions)


@pytest.mark.parametrize(
    ("broker", "what", "grade"),
    [
        (lambda: MemoryBroker(max_queued=100), "queue", Grade.LIMIT),
        (lambda: MemoryBroker(overshoots=True), "Receive Maximum", Grade.LIMIT),
        (lambda: MemoryBroker(limits=ServerLimits(session_present=False, retain_available=False)), "retained messages", Grade.BAD),
        (lambda: MemoryBroker(limits=ServerLimits(session_present=False, max_packet_bytes=2000)), "packet size", Grade.LIMIT),
    ],
)
async def test_it_finds_what_a_broker_does_not_do(_virtual: MockClock, broker: Callable[[], MemoryBroker], what: str, grade: Grade) -> None:
    assert grade is verdict_of(await examine(broker()), what).grade


async def test_what_a_broker_sends_it_beside_is_not_taken_for_what_it_sent_itself(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    async with MemoryTransport(broker).connect(ConnectSettings("memory", 1883, "doctor-away", session_expiry_s=100)) as link:
        await link.subscribe([("else/where", 1)])
    broker.deliver("else/where", b"{}")
    broker.deliver("else/where", b"{}")
    found = await examine(broker)

    assert (2000, True) == (found.queued, found.in_order)


async def test_that_a_session_expires_is_not_asked_where_the_protocol_cannot_say_it(_virtual: MockClock) -> None:
    found = await examine(MemoryBroker(), protocol="3.1.1")

    assert (None, True) == (found.session_expires, found.speaks_5)
    assert "not asked for, 3.1.1 is spoken" == verdict_of(found, "MQTT 5").found


async def test_a_broker_without_qos_1_is_told_in_one_sentence(_virtual: MockClock) -> None:
    with pytest.raises(LinkRefused, match="takes no QoS 1"):
        await examine(MemoryBroker(limits=ServerLimits(session_present=False, max_qos=0)))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("what", ["publish", "subscribe"])
async def test_where_it_may_do_nothing_it_says_what_it_needs(_virtual: MockClock, what: str, protocol: str) -> None:
    broker = MemoryBroker()
    broker.refuse_publish("#") if what == "publish" else broker.refuse_subscribe("tars/doctor/doctor/trip")
    with pytest.raises(LinkRefused) as refused:
        await examine(broker, protocol=protocol)

    assert "let this user publish and subscribe to tars/doctor/#" == refused.value.hint


@pytest.mark.parametrize("what", ["trip", "shared", "retained", "window", "queue"])
@pytest.mark.parametrize("trouble", [MemoryBroker.freeze, MemoryBroker.kill, MemoryBroker.hold_pubacks])
async def test_a_broker_that_fails_in_the_middle_ends_it(_virtual: MockClock, trouble: Callable[[MemoryBroker], None], what: str) -> None:
    broker = MemoryBroker()

    async def fail() -> None:
        await broker.wait_published(f"tars/doctor/doctor/{what}")
        trouble(broker)

    with trio.fail_after(600), pytest.RaisesGroup(LinkLost):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await examine(broker, listen_s=5.0)


# -- clocks ----------------------------------------------------------------------------------------


def beat(ahead_s: float, *, source: str = "robot7", retain: bool = False) -> Inbound:
    return Inbound(f"system/keepalive/{source}", encode(HeartbeatPayload(timestamp=NOW_S + ahead_s)), retain=retain)


def health(ahead_s: float, what: str = "ready", *, retain: bool = False) -> Inbound:
    """As a service says it; the envelope's time counts."""
    payload = orjson.loads(HealthTopic("robot7", "robot7").message(what, ok=True).payload)
    return Inbound("system/health/robot7", orjson.dumps({**payload, "ts": NOW_S + ahead_s}), retain=retain)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (beat(-0.25), Clock("robot7", -0.25, fresh=True)),
        (beat(3.5, source="cam/1"), Clock("cam/1", 3.5, fresh=True)),
        (health(-2.0), Clock("robot7", -2.0, fresh=True)),
        (health(-900.0, retain=True), Clock("robot7", -900.0, fresh=False)),
        (health(-1.0, "lost"), None),
        (health(9.0, "lost", retain=True), None),
        (Inbound("system/keepalive/x", b"alive"), None),
        (Inbound("system/health/x", b"\xff"), None),
        (Inbound("system/health/x", b""), None),
        (Inbound("system/health/x", event("health.status", {"ok": "yes"})), None),
    ],
)
def test_what_one_message_tells_of_its_writers_clock(message: Inbound, expected: Clock | None) -> None:
    assert expected == clock_of(message, NOW_S)


def test_the_latest_of_a_source_tells_most_and_what_was_kept_for_it_tells_less() -> None:
    kept, waited, at_once = Clock("a", -500.0, fresh=False), Clock("a", -3.0, fresh=True), Clock("a", -0.01, fresh=True)

    assert [at_once] == nearest([kept, waited, at_once, waited, kept])
    assert [kept] == nearest([Clock("a", -900.0, fresh=False), kept])
    assert MAX_SOURCES == len(nearest(Clock(str(number), 0.0, fresh=True) for number in range(MAX_SOURCES + 5)))


async def test_it_listens_to_services_for_as_long_as_it_is_told(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    broker.deliver("system/health/old", health(-40.0).payload, retain=True)
    async with MemoryTransport(broker).connect(ConnectSettings("memory", 1883, "ears")) as link:
        await link.subscribe([(each, 0) for each in FILTERS])
        broker.deliver("system/keepalive/robot7", beat(-1.5).payload)
        began = trio.current_time()
        heard = await listen(link, 6.0, lambda: NOW_S)

    assert 6.0 == trio.current_time() - began
    assert [Clock("old", -40.0, fresh=False), Clock("robot7", -1.5, fresh=True)] == heard


async def test_who_may_not_listen_is_told_so(_virtual: MockClock) -> None:
    broker = MemoryBroker()
    for each in FILTERS:
        broker.refuse_subscribe(each)
    found = await examine(broker, listen_s=6.0)

    assert found.clocks is None
    assert "this user may not hear services" == verdict_of(found, "clocks").found


async def test_it_listens_while_it_probes(_virtual: MockClock) -> None:
    broker = MemoryBroker()

    async def answer() -> None:
        await broker.wait_published("tars/doctor/doctor/trip")
        broker.deliver("system/keepalive/robot7", encode(HeartbeatPayload(timestamp=time.time() + 100)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        found = await examine(broker, listen_s=6.0)

    assert "robot7 is 100.0 s ahead" == verdict_of(found, "clocks").found


@pytest.mark.parametrize(
    ("clocks", "grade", "found"),
    [
        ([Clock("a", -0.002, fresh=True)], Grade.GOOD, "a is 2 ms behind, or its messages are"),
        (
            [Clock("a", 0.05, fresh=True), Clock("b", -0.4, fresh=True)],
            Grade.GOOD,
            f"{B_BEHIND}, a is 50 ms ahead",
        ),
        ([Clock("a", 0.05, fresh=True), Clock("b", -40.0, fresh=False)], Grade.GOOD, "a is 50 ms ahead"),
        ([Clock("a", 0.05, fresh=True), Clock("b", -40.0, fresh=True)], Grade.LIMIT, "b is 40.0 s behind, or its messages are"),
        ([Clock("a", 7.0, fresh=False)], Grade.LIMIT, "a is at least 7.0 s ahead"),
        ([Clock("a", 1e300, fresh=True)], Grade.LIMIT, "a is more than a day ahead"),
        (
            [Clock(str(n), 2.0, fresh=True) for n in range(7)],
            Grade.LIMIT,
            f"{FIVE_AHEAD}, and 2 more",
        ),
        ([Clock("\x1b[2J" + "x" * 99, 2.0, fresh=True)], Grade.LIMIT, "\\x1b[2J" + "x" * 32 + "… is 2.0 s ahead"),
        ([Clock("b", -40.0, fresh=False)], Grade.OPEN, "one service said something, at times unknown"),
        ([], Grade.OPEN, "no service was heard in 6 s"),
        (None, Grade.OPEN, "this user may not hear services"),
    ],
)
def test_the_clocks_in_words(clocks: list[Clock] | None, grade: Grade, found: str) -> None:
    findings = attrs.evolve(WELL, clocks=clocks)

    assert (grade, found) == ((verdict := verdict_of(findings, "clocks")).grade, verdict.found)
    assert is_fit([verdict])


def test_who_did_not_listen_says_so() -> None:
    assert "not listened for" == verdict_of(attrs.evolve(WELL, listened_s=0.0, clocks=()), "clocks").found


# -- what it makes of it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what", "grade"),
    [
        ({}, "MQTT 5", Grade.GOOD),
        ({"protocol": "3.1.1"}, "MQTT 5", Grade.LIMIT),
        ({"protocol": "3.1.1"}, "Receive Maximum", Grade.LIMIT),
        ({"protocol": "3.1.1", "speaks_5": False}, "MQTT 5", Grade.LIMIT),
        ({"session_kept": False}, "sessions", Grade.BAD),
        ({"session_expires": False}, "session expiry", Grade.LIMIT),
        ({"session_expires": None}, "session expiry", Grade.LIMIT),
        ({"clocks": ()}, "clocks", Grade.OPEN),
        ({"queued": 1000}, "queue", Grade.LIMIT),
        ({"queued": 0}, "queue", Grade.BAD),
        ({"in_order": False}, "queue", Grade.BAD),
        ({"outstanding": WINDOW + 1}, "Receive Maximum", Grade.LIMIT),
        ({"shared": False}, "shared subscriptions", Grade.BAD),
        ({"retained": False}, "retained messages", Grade.BAD),
        ({"max_packet_bytes": 2000}, "packet size", Grade.LIMIT),
        ({"round_trips_s": [0.001] * 90 + [0.5] * 10}, "round trip", Grade.LIMIT),
    ],
)
def test_each_finding_has_its_grade_and_says_what_it_means(change: dict[str, Any], what: str, grade: Grade) -> None:
    report = verdicts(attrs.evolve(WELL, **change))
    (verdict,) = [each for each in report if each.what == what]

    assert grade is verdict.grade
    assert (grade is not Grade.BAD) is is_fit(report)
    assert all(sentences_end(each.means) for each in report)


def sentences_end(text: str) -> bool:
    words: Sequence[str] = text.split()
    return len(words) > 3 and text.endswith(".")
