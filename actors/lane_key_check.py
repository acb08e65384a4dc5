"""Does an actor's ``key`` say something of every message the actor gets? Found out before anything starts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from tars.supervisor.problem import suggestion

from .contracts import Envelope
from .definition import ActorDefinition, SubscriptionDefinition
from .mqtt.lane_key import Captured, Field, LaneKey, LaneKeyError, Level, Part, Text, parse_lane_key
from .mqtt.topics import plain_filter


def key_problems(text: str, definition: ActorDefinition) -> list[str]:
    """What is wrong with `text` as the key of this actor; empty when nothing is."""
    try:
        key = parse_lane_key(text)
    except LaneKeyError as error:
        return [str(error)]
    found = [problem for part in key.parts for each in definition.subscriptions for problem in _problems(part, each)]
    if not found:
        values = {_constant(key, each) for each in definition.subscriptions}
        if len(values) <= 1 and None not in values:
            found.append(f'"{text}" is the same for every message of this actor, which would leave one lane with all the work')
    return list(dict.fromkeys(found))


def _problems(part: Part, subscription: SubscriptionDefinition) -> Iterator[str]:
    topic_filter = subscription.template.filter
    match part:
        case Level(int(at)):
            levels = _levels(subscription)
            if levels[-1] != "#" and not -len(levels) <= at < len(levels):
                yield f'{{topic[{at}]}}: "{topic_filter}" has the levels 0 to {len(levels) - 1}'
        case Captured(name):
            names = [known for _, known in subscription.template.names]
            if name not in names:
                is_field = name in (_fields(subscription.event_type) or ())
                hint = f"; the field of the event is {{data.{name}}}" if is_field else suggestion(name, names)
                yield f'{{{name}}}: "{topic_filter}" captures no such level{hint}'
        case Field(path):
            kind: Any = subscription.event_type
            for depth, name in enumerate(path):
                fields = _fields(kind)
                if fields is None:
                    break
                if name not in fields:
                    where = ".".join(path[:depth]) or kind.__name__
                    yield f"{{data.{'.'.join(path)}}}: {where} has no field {name!r}{suggestion(name, list(fields))}"
                    break
                kind = fields[name]


def _fields(kind: Any) -> dict[str, Any] | None:
    """Name → type of the fields of an event of this class; None where it is not known which there are."""
    if kind is Envelope or not (isinstance(kind, type) and attrs.has(kind)):
        return None
    return {field.name: field.type for field in attrs.fields(kind)}


def _constant(key: LaneKey, subscription: SubscriptionDefinition) -> str | None:
    """The key of all messages of this subscription; None if they differ."""
    said = [_said(part, subscription) for part in key.parts]
    return None if None in said else "".join(filter(None, said))


def _said(part: Part, subscription: SubscriptionDefinition) -> str | None:
    levels = _levels(subscription)
    match part:
        case Text(text):
            return text
        case Level(None):
            return None if {"+", "#"} & {*levels} else "/".join(levels)
        case Level(int(at)):
            open_ended = levels[-1] == "#" and not 0 <= at < len(levels) - 1
            return None if open_ended or levels[at] == "+" else levels[at]
    return None


def _levels(subscription: SubscriptionDefinition) -> list[str]:
    return plain_filter(subscription.template.filter).split("/")
