"""The decorators: what they leave on a function, and what they refuse at once."""

from __future__ import annotations

from typing import Any

import pytest

from tars.actors.actor import Subscribed, Ticking, every, marks_of, subscribe
from tars.actors.errors import Reject
from tars.actors.mqtt.topics import TopicError


def handler(event: dict[str, Any]) -> str:
    return f"handled {event}"


def test_a_decorated_function_is_the_same_function() -> None:
    def function(event: bytes) -> bytes:
        return event

    decorated = subscribe("a")(every(5)(function))

    assert function is decorated
    assert b"x" == decorated(b"x")


def test_marks_stand_in_the_order_of_the_source() -> None:
    @subscribe("a/{b}")
    @subscribe("$share/g/c", qos=0)
    @every(5)
    def function() -> None: ...

    assert (Subscribed("a/{b}", 1), Subscribed("$share/g/c", 0), Ticking(5.0)) == marks_of(function)


def test_what_is_no_decorated_function_has_no_marks() -> None:

    assert () == marks_of(handler)
    assert () == marks_of(None)
    assert () == marks_of(object())


@pytest.mark.parametrize(
    ("template", "qos", "error", "why"),
    [
        ("a", 2, ValueError, "qos must be 0 or 1, got 2: the client library acknowledges QoS 2 before"),
        ("a", 3, ValueError, "qos must be 0 or 1, got 3$"),
        ("a", -1, ValueError, "qos must be 0 or 1, got -1$"),
        ("a", True, ValueError, "qos must be 0 or 1, got True"),
        ("a", "1", ValueError, "qos must be 0 or 1, got '1'"),
        ("a", 1.0, ValueError, "qos must be 0 or 1"),
        ("", 1, TopicError, "at least one character"),
        ("a/#/b", 1, TopicError, "'#' must be the last level"),
        ("a/b{c}", 1, TopicError, "one whole level"),
        (handler, 1, TypeError, 'write @subscribe\\("some/topic"\\)'),
        (b"a", 1, TypeError, "write @subscribe"),
    ],
)
def test_subscribe_refuses_what_cannot_be_subscribed_to(template: Any, qos: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        subscribe(template, qos=qos)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (float("inf"), ValueError),
        (float("nan"), ValueError),
        ("5", TypeError),
        (True, TypeError),
        (handler, TypeError),
    ],
)
def test_every_refuses_what_is_no_time(seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        every(seconds)


@pytest.mark.parametrize("target", [staticmethod(handler), classmethod(handler), print, type("Class", (), {}), 3])  # type: ignore[arg-type]
def test_only_functions_can_be_decorated(target: Any) -> None:
    with pytest.raises(TypeError, match="decorate a def or async def"):
        subscribe("a")(target)


def test_a_rejection_carries_its_reason() -> None:

    assert "no such room" == Reject("no such room").reason
    assert "no such room" == str(Reject("no such room"))
