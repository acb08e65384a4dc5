"""An operator's calls, in the pure model: what they change, and what is answered at once (A9, A14)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tars.supervisor import ChildState

from .model_child import Call, Line
from .model_shapes import Shape
from .model_supervisor import Supervisor


def names(supervisor: Supervisor) -> Iterator[str]:
    """The ids that a call may be about: those of all children and spares; in a pool, those that are there, and one that never was."""
    if supervisor.shape.dynamic:
        yield from (line.id for line in supervisor.lines)
        yield "nobody"
    else:
        yield from (child.id for child in (*supervisor.shape.children, *supervisor.shape.spares))


def carry_out(supervisor: Supervisor, call: Call, name: str) -> None:
    """Begin what `call` asks for; it is answered now or when it is done."""
    line = next((line for line in supervisor.lines if line.id == name), None)
    if call.verb == "stop":
        supervisor.stoppers.append(call)
        supervisor.stop()
        if supervisor.over:
            call.reply("ok")
    elif supervisor.stopped_at is not None:
        call.reply("ActorStopped")
    elif call.verb == "start":
        _start(supervisor, _shape(supervisor, name), line, call)
    elif line is None:
        call.reply("NotFound")
    elif call.verb == "terminate":
        _terminate(supervisor, line, call)
    else:
        _restart_or_delete(supervisor, line, call)


def _shape(supervisor: Supervisor, name: str) -> Shape:
    shapes: Sequence[Shape] = (*supervisor.shape.children, *supervisor.shape.spares)
    return shapes[0] if supervisor.shape.dynamic else next(shape for shape in shapes if shape.id == name)


def _start(supervisor: Supervisor, shape: Shape, line: Line | None, call: Call) -> None:
    if line is not None:
        call.reply("AlreadyPresent" if line.state in (ChildState.BACKOFF, ChildState.STOPPED) else "AlreadyStarted")
    else:
        _begin(supervisor, supervisor.add(shape), call)


def _restart_or_delete(supervisor: Supervisor, line: Line, call: Call) -> None:
    if line.state is not ChildState.STOPPED:
        waits = line.state is ChildState.BACKOFF or (line.state is ChildState.STARTING and line.incarnation > 1 and not line.asked_for)
        call.reply("Restarting" if waits else "Running")
    elif call.verb == "restart":
        _begin(supervisor, line, call)
    else:
        supervisor.lines.remove(line)
        call.reply("ok")


def _begin(supervisor: Supervisor, line: Line, call: Call) -> None:
    """An operator's start ends an operator's stop (D2), and begins the delays anew."""
    line.held, line.asked_for, line.failures, line.consecutive = False, True, 0, 0
    line.state, line.due = ChildState.STARTING, supervisor.now
    line.starters.append(call)
    supervisor.reconsider()


def _terminate(supervisor: Supervisor, line: Line, call: Call) -> None:
    line.held = True
    if line.process is None:
        supervisor.rest(line)
        call.reply("ok")
        return
    line.must = "gone" if supervisor.forgets(line) else "down"
    if line.state is ChildState.STUCK:
        call.reply("Running")
    else:
        line.enders.append(call)
    supervisor.reconsider()
