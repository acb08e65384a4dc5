"""The model's group restarts: who goes down with a failed child, and comes back with it (A3, A4, A11, D2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tars.supervisor import ChildState, Restart, Strategy

from .model_child import Line

if TYPE_CHECKING:
    from .model_supervisor import Supervisor


def fall(supervisor: Supervisor, failed: Line, due: float) -> None:
    failed.state, failed.due = ChildState.BACKOFF, due
    if supervisor.shape.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        failed.leads = True
        for member in _with(supervisor, failed):
            if member is not failed:
                _take_along(member, due)
        _tell(supervisor, failed)


def gather(supervisor: Supervisor) -> None:
    """OTP restarts with a failed child what runs when it comes back: also what an operator started while it was away."""
    for failed in [line for line in supervisor.lines if line.leads]:
        if failed.state is ChildState.BACKOFF and failed.due > supervisor.now:
            continue
        failed.leads = False
        if failed.state is ChildState.BACKOFF:
            late = [
                each for each in _with(supervisor, failed) if not each.must and (each.process is not None or not supervisor.waits(each))
            ]
            for member in late:
                _take_along(member, supervisor.now)
            if any(member.must or member.state is ChildState.BACKOFF for member in late):
                _tell(supervisor, failed)


def _with(supervisor: Supervisor, failed: Line) -> Sequence[Line]:
    return supervisor.lines[0 if supervisor.shape.strategy is Strategy.ONE_FOR_ALL else supervisor.lines.index(failed) :]


def _take_along(member: Line, due: float) -> None:
    """D2: the finished are revived, those an operator stopped are not. A11: a temporary one is taken down for good."""
    temporary = member.shape.restart is Restart.TEMPORARY
    if member.process is not None:
        if member.must in ("", "again"):
            member.must, member.due = "gone" if temporary else "again", due
            member.asked_for = False
    elif not temporary and not member.held:
        member.state, member.due, member.asked_for = ChildState.BACKOFF, due, False


def _tell(supervisor: Supervisor, failed: Line) -> None:
    members = _with(supervisor, failed)
    back = [each.id for each in members if each.must == "again" or (each.state is ChildState.BACKOFF and not each.asked_for)]
    supervisor.world.tell("group", supervisor.path, failed.id, tuple(back))
