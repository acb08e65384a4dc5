"""What the real tree shows, in the model's words, and how a difference is put to a reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from tars.supervisor import (
    ChildExited,
    ChildStarted,
    ChildState,
    ChildStuck,
    Escalate,
    GroupRestart,
    IntensityExceeded,
    RestartIntensityExceeded,
    RestartScheduled,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorStopped,
)

from .model_play import Row, Seen, Step
from .model_shapes import Group, brief

Told: TypeAlias = tuple[object, ...]
"""(seconds, what, path, ...): an event as the model tells it."""

OF_THE_SUPERVISOR: Final = ("group", "gave up", "stopped")


def told(now: float, event: object) -> Told:  # noqa: PLR0911 - a line for each kind of event
    """An event of the tree in the model's words."""
    match event:
        case ChildStarted(path, number):
            return now, "started", path, number
        case ChildExited():
            return now, "exited", event.path, event.incarnation, event.kind, event.ran_s, event.in_start, event.asked
        case RestartScheduled():
            return now, "scheduled", event.path, event.attempt, event.delay_s, event.used
        case GroupRestart():
            return now, "group", event.path, event.failed, event.members
        case IntensityExceeded():
            return now, "gave up", event.path, event.child_id, limit_of(event.limit)
        case ChildStuck():
            return now, "stuck", event.path, event.incarnation, event.since_cancel_s
        case SupervisorStopped():
            return now, "stopped", event.path, event.reason, event.took_s
        case _:
            return now, repr(event)


def limit_of(sentence: str) -> str:
    return "consecutive" if "in a row" in sentence else "intensity"


def verdict_of(errors: Sequence[BaseException]) -> str:
    """What `supervise` raised, as the model names it."""
    fatal = [error for error in errors if isinstance(error, SystemExit)]
    match fatal[0] if fatal else errors[0]:
        case RestartIntensityExceeded() as error:
            return f"RestartIntensityExceeded {error.child_id} {limit_of(error.limit)}"
        case StartFailed() as error:
            return f"StartFailed {error.child_id}"
        case SystemExit() | Escalate() as error:
            return type(error).__name__
        case error:
            return repr(error)


def rows(supervisor: Supervisor, *, stopping: bool) -> Iterator[Row]:
    """While a supervisor stops, who has stopped is not worth listing."""
    for child in supervisor.which_children():
        if not stopping or child.state is not ChildState.STOPPED:
            yield child.id, child.state, child.incarnation, child.due_in_s


def in_order(tree: dict[str, Group], events: Sequence[Told]) -> dict[str, list[Told]]:
    """The events of one instant, as far as their order is determined.

    Within a group, the order of everything; elsewhere siblings are independent: the order of each child's own
    events, and of the endings that were asked for; of a pool not even that.
    """
    found: dict[str, list[Told]] = {}
    for event in events:
        path = str(event[2])
        supervisor = path if event[1] in OF_THE_SUPERVISOR else path.rpartition("/")[0]
        strategy = tree[supervisor].strategy
        grouped = strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
        found.setdefault(supervisor if grouped else path, []).append(event)
        if strategy is Strategy.ONE_FOR_ONE and event[1] == "exited" and event[-1]:
            found.setdefault(f"stops of {supervisor}", []).append(event)
    return found


def differences(tree: dict[str, Group], expected: Seen, actual: Seen) -> Iterator[str]:
    """What the model foretold and what there is, where they differ."""
    for field in attrs.fields(Seen):
        model, real = getattr(expected, field.name), getattr(actual, field.name)
        if field.name == "events":
            model, real = in_order(tree, model), in_order(tree, real)
        if isinstance(model, dict):
            for key in sorted({*model, *real}):
                if model.get(key) != real.get(key):
                    yield f"{field.name} {key}:\n  expected {brief_of(model.get(key))}\n  actual   {brief_of(real.get(key))}"
        elif model != real:
            yield f"{field.name}:\n  expected {brief_of(model)}\n  actual   {brief_of(real)}"


def brief_of(value: object) -> str:
    """Short, on one line."""
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(brief_of, value)) + "]"
    return brief(value)


def line(step: Step) -> str:
    """A step as one line of the timeline."""
    return " ".join(part for part in ("--", brief(step.act), step.path, step.child) if part)
