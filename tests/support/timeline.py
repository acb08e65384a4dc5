"""A trace as a timeline for people: virtual time, who (indented as in the tree), and what happened, in words.

       5.000  > crash root/link
                  link #1           crashed after 5 s: Boom: a bug
                  link              restarts in 2 s (failure 1 in a row, restart 1 of 3 in 5 s)

Every event of the runtime has its words here; so have the notes of scripted children.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tars.supervisor import (
    ChildExited,
    ChildStarted,
    ChildStuck,
    ExitKind,
    GroupRestart,
    IntensityExceeded,
    RestartScheduled,
    SupervisorStopped,
)

from .sim_world import flat

WHO_CHARS = 26
MARKS = {"command": ">", "answer": "<"}
"""Notes that are nobody's: what was done to the tree, and what it answered."""
ENDINGS = {
    ExitKind.NORMAL: "returned",
    ExitKind.STOP: "stopped itself",
    ExitKind.SHUTDOWN: "was shut down",
    ExitKind.KILLED: "was cancelled, its grace over,",
    ExitKind.CRASH: "crashed",
    ExitKind.UNAVAILABLE: "missed something outside",
    ExitKind.ESCALATE: "escalated",
    ExitKind.FATAL: "ends the program",
}


def timeline(trace: Iterable[tuple[float, object]]) -> Iterator[str]:
    """The lines. The time stands where it changes; what is done to the tree begins a paragraph."""
    shown: float | None = None
    for time, what in trace:
        who, words = told(what)
        if time != shown and who == "> ":
            yield ""
        yield f"{'' if time == shown else f'{time:.3f}':>10}  {who}{words}".rstrip()
        shown = time


def told(what: object) -> tuple[str, str]:
    """Who, padded to its column, and the words; marks stand at the left."""
    if isinstance(what, tuple):
        word, *rest = what
        if word in MARKS:
            return f"{MARKS[word]} ", " ".join(rest)
        return (_who(rest[0]), " ".join([word, *rest[1:]])) if rest else ("", word)
    path = getattr(what, "path", getattr(what, "where", ""))
    number = getattr(what, "incarnation", None)
    return _who(path, number), words_of(what)


def _who(path: str, number: int | None = None) -> str:
    *above, name = path.split("/")
    shown = "  " * (len(above) + 1) + name + ("" if number is None else f" #{number}")
    return f"{shown:<{WHO_CHARS}}  "


def words_of(event: object) -> str:
    """What an event says."""
    match event:
        case ChildStarted():
            words = "started" + (f", after {_seconds(event.took_s)}" if event.took_s else "")
        case ChildExited():
            words = _ending(event)
        case RestartScheduled():
            when = f"in {_seconds(event.delay_s)}" if event.delay_s else "at once"
            budget = f"{event.used} of {event.limit} restarts in {event.period_s:g} s used"
            words = f"restarts {when} (failure {event.attempt} in a row; {budget})"
        case GroupRestart():
            words = f"{event.failed} takes its group down and up again: {' '.join(event.members)}"
        case IntensityExceeded():
            words = f"gives up: {event.child_id} passed the limit of {event.limit}"
        case ChildStuck():
            words = f"is stuck: still there {_seconds(event.since_cancel_s)} after its cancellation"
        case SupervisorStopped():
            took = f", in {_seconds(event.took_s)}" if event.took_s else ""
            words = f"has stopped, with everything below it: {event.reason}{took}"
        case _:
            words = str(event)
    return words


def _ending(event: ChildExited) -> str:
    said = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in flat(event.error))
    if event.in_start:
        did = "declined to start" if event.kind is ExitKind.NORMAL else f"{ENDINGS[event.kind]} in its start"
    else:
        did = f"{ENDINGS[event.kind]} after {_seconds(event.ran_s)}"
    return did + (f": {said}" if said else "")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
