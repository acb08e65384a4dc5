"""`publishes`: what an author may say, what is refused where it stands, and what is read off an actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tars.actors import Actor, Context, publishes, subscribe
from tars.actors.declared import Declared, declared_by


@attrs.frozen
class Alarm:
    text: str


def declared(event_type: str, model: type[Any] | None = None, topic: str | None = None, qos: int = 1, *, retain: bool = False) -> Declared:
    return Declared(event_type, model, topic, qos, retain)


def test_a_function_a_class_its_bases_and_its_methods_say_it_and_stay_what_they_were() -> None:
    @publishes("base.event", topic="base")
    class Base(Actor):
        @publishes("old.event", topic="old")
        async def helper(self, ctx: Context) -> None: ...

    @publishes("tts.say")
    @publishes("alarm", Alarm, topic="alarms/{room}", qos=0, retain=True)
    class Derived(Base):
        @publishes("tts.say")
        @subscribe("a")
        async def on_a(self, event: bytes) -> None: ...

        async def helper(self, ctx: Context) -> None: ...

    @subscribe("a")
    @publishes("alarm", topic="alarms")
    async def function(event: bytes) -> None: ...

    assert "Derived" == Derived.__name__
    assert (
        declared("base.event", topic="base"),
        declared("tts.say"),
        declared("alarm", Alarm, "alarms/{room}", 0, retain=True),
    ) == declared_by(Derived)
    assert (declared("base.event", topic="base"), declared("old.event", topic="old")) == declared_by(Base)
    assert (declared("alarm", topic="alarms"),) == declared_by(function)
    assert () == declared_by(Actor)
    assert () == declared_by(3)


@pytest.mark.parametrize(
    ("decorate", "error", "said"),
    [
        (lambda: publishes(Alarm), TypeError, "its first argument is the event type"),  # type: ignore[arg-type]
        (lambda: publishes(""), TypeError, "its first argument is the event type"),
        (lambda: publishes("a", dict), TypeError, "an attrs class"),
        (lambda: publishes("a", Alarm("x")), TypeError, "an attrs class"),  # type: ignore[arg-type]
        (lambda: publishes("a", topic="a/+"), ValueError, "wildcard"),
        (lambda: publishes("a", topic="a/x{b}"), ValueError, "one whole level"),
        (lambda: publishes("a", topic="a/{1}"), ValueError, "Python identifier"),
        (lambda: publishes("a", topic=""), ValueError, "at least one character"),
        (lambda: publishes("a", qos=2), ValueError, "qos"),  # type: ignore[arg-type]
        (lambda: publishes("a")(staticmethod(len)), TypeError, "decorate a class, a def or an async def, not a staticmethod"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(decorate: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        decorate()
