"""Readiness is what was last reported, and announced once."""

from __future__ import annotations

import pytest

from tars.actors.services.router.readiness import Readiness
from tars.actors.services.router.say import Say
from tars.actors.services.router.settings import RouterSettings

ONLINE = Say(text="System online.", utt_id="boot", system_announce=True)


def test_it_is_announced_when_both_services_are_there() -> None:
    readiness = Readiness(RouterSettings())

    assert [None, ONLINE] == [readiness.report(0, "tts", ok=True), readiness.report(1, "stt", ok=True)]
    assert readiness.ready(1)


def test_it_is_announced_once() -> None:
    readiness = Readiness(RouterSettings())
    readiness.report(0, "tts", ok=True)
    readiness.report(0, "stt", ok=True)

    assert [None, None] == [readiness.report(1, "stt", ok=False), readiness.report(2, "stt", ok=True)]


def test_readiness_goes_false_again() -> None:
    readiness = Readiness(RouterSettings())
    readiness.report(0, "tts", ok=True)
    readiness.report(0, "stt", ok=True)
    readiness.report(1, "tts", ok=False)

    assert not readiness.ready(1)


def test_both_must_be_there_at_the_same_time() -> None:
    readiness = Readiness(RouterSettings())

    assert [None] * 3 == [readiness.report(0, service, ok=ok) for service, ok in (("tts", True), ("tts", False), ("stt", True))]
    assert ONLINE == readiness.report(1, "tts", ok=True)


def test_an_old_report_no_longer_counts_when_an_age_is_set() -> None:
    readiness = Readiness(RouterSettings(health_expires_s=30))
    readiness.report(0, "tts", ok=True)

    assert readiness.report(31, "stt", ok=True) is None
    assert ONLINE == readiness.report(32, "tts", ok=True)
    assert readiness.ready(61)
    assert not readiness.ready(62)


@pytest.mark.parametrize("settings", [RouterSettings(online_announce=False), RouterSettings(online_text=" ")])
def test_the_announcement_can_be_switched_off(settings: RouterSettings) -> None:
    readiness = Readiness(settings)

    assert [None, None] == [readiness.report(0, "tts", ok=True), readiness.report(0, "stt", ok=True)]


def test_a_new_incarnation_announces_itself_unless_told_not_to() -> None:

    assert ONLINE == Readiness(RouterSettings(), watched=("tts",)).report(0, "tts", ok=True)
    assert Readiness(RouterSettings(), watched=("tts",), announced=True).report(0, "tts", ok=True) is None
