"""Does an actor's ``key`` say something of every message the actor gets? Found out before anything starts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Final, get_args

import attrs

from tars.supervisor.problem import suggestion

from .contracts import Envelope
from .contracts.compound import is_mapping, is_sequence, is_union, is_wrapper, unwrapped
from .definition import ActorDefinition, SubscriptionDefinition
from .mqtt.lane_key import Captured, Field, LaneKey, LaneKeyError, Level, Part, Text, parse_lane_key
from .mqtt.topics import plain_filter

_SCALARS: Final = (str, int, float, bool)


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
            yield from _field_problems(path, subscription.event_type)


def _field_problems(path: tuple[str, ...], event_type: Any) -> Iterator[str]:
    kind, where, placeholder = event_type, event_type.__name__, f"{{data.{'.'.join(path)}}}"
    for depth, name in enumerate(path):
        fields = _fields(kind)
        if fields is None:
            if kind in _SCALARS or is_sequence(kind):
                yield f"{placeholder}: {where} has no fields, it is {_said_kind(kind)}"
            return
        if name not in fields:
            yield f"{placeholder}: {where} has no field {name!r}{suggestion(name, list(fields))}"
            return
        kind, where = _plain(fields[name]), ".".join(path[: depth + 1])
    if _fields(kind) is not None or is_sequence(kind) or is_mapping(kind):
        yield f"{placeholder}: {where} is {_said_kind(kind)}; a key is made of strings, numbers, true and false"


def _plain(kind: Any) -> Any:
    """The X of ``Annotated[X, ...]`` and ``X | None``."""
    while is_wrapper(kind):
        kind = unwrapped(kind)
    if not is_union(kind):
        return kind
    members = [member for member in get_args(kind) if member is not NoneType]
    return _plain(members[0]) if len(members) == 1 else Any


def _said_kind(kind: Any) -> str:
    name = "list" if is_sequence(kind) else "dict" if is_mapping(kind) else kind.__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


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
