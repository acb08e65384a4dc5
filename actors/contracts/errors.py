"""What the wire answers when a message cannot be read, written or looked up.

Imports nothing of ours but the root of the project's exceptions.
"""

from __future__ import annotations

from enum import StrEnum

from tars.supervisor.errors import TarsError


class Reason(StrEnum):
    """Why a payload could not be read, for machines: counters, dead letters, tests."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NOT_AN_ENVELOPE = "not_an_envelope"
    WRONG_DATA = "wrong_data"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"


class DecodeError(TarsError):
    """A payload that cannot be read as what was asked for. The one exception of all decoding.

    `reason` is for machines; `detail` is one line for people. It names every wrong field with its path, what was
    expected and the type that was found; values in it are cut to 40 characters.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class EncodeError(TarsError, ValueError):
    """A value that JSON cannot carry, or that its own reader would refuse. Always the sender's mistake."""


class UnknownEventType(TarsError, KeyError):
    """The registry has no topic for this event type. `suggestion` is the nearest known one, or None; `hint` what else helps."""

    def __init__(self, event_type: str, suggestion: str | None, hint: str = "") -> None:
        super().__init__(event_type, suggestion, hint)
        self.event_type = event_type
        self.suggestion = suggestion
        self.hint = hint

    def __str__(self) -> str:
        return _unknown("event type", self.event_type, self.suggestion) + self.hint


class UnknownTopic(TarsError, KeyError):
    """The registry has no event type for this topic. `suggestion` is the nearest known one, or None."""

    def __init__(self, topic: str, suggestion: str | None) -> None:
        super().__init__(topic, suggestion)
        self.topic = topic
        self.suggestion = suggestion

    def __str__(self) -> str:
        return _unknown("topic", self.topic, self.suggestion)


def _unknown(what: str, name: str, suggestion: str | None) -> str:
    return f"Unknown {what}: {name!r}" + ("" if suggestion is None else f"; did you mean {suggestion!r}?")
