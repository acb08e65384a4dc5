"""The order of a stop, read off what the tree told: children go in the reverse of their start order.

Law: it looks only at the last stop of each supervisor, the one that follows its last start of a child. A pool has no order.
Children started by operators have none among each other: who is up first is nobody's promise.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from tars.supervisor import ChildExited, ChildStarted, ChildStuck, Strategy, SupervisorStopped

from .model_laws import groups
from .model_shapes import Case, Operate
from .script import Do, Scenario

Ranks = Mapping[str, int]
"""The place of a child in the start order of its supervisor, by path. Of who is not in it, nothing is asked."""


def ranks_of_scenario(scenario: Scenario) -> Ranks:
    """Those of a scenario; whom an operator may have stopped before is left out."""
    pools = {node.path for node in scenario.tree if node.strategy is Strategy.SIMPLE_ONE_FOR_ONE}
    touched = {command.child for command in scenario.script if command.do in (Do.TERMINATE_CHILD, Do.DELETE_CHILD, Do.STOP_SUPERVISOR)}
    last = len(scenario.tree)
    found = {node.path: last if node.spare else place for place, node in enumerate(scenario.tree) if node.above not in pools}
    return without(found, touched)


def ranks_of_case(case: Case, operated: Iterable[tuple[Operate, str, str]]) -> Ranks:
    """Those of a drawn case. `operated`: the operators' calls, each with the supervisor's path and the child's id."""
    touched = {f"{path}/{child}" if child else path for operate, path, child in operated if operate.verb in ("terminate", "delete", "stop")}
    found: dict[str, int] = {}
    for path, group in groups(case.tree, case.tree.id):
        if not group.dynamic:
            found.update({f"{path}/{child.id}": place for place, child in enumerate(group.children)})
            found.update({f"{path}/{child.id}": len(group.children) for child in group.spares})
    return without(found, touched)


def without(ranks: Ranks, touched: Container[str]) -> Ranks:
    """Only those whom no operator has stopped."""
    return {path: rank for path, rank in ranks.items() if path not in touched}


def out_of_order(before: Iterable[object], since: Iterable[object], ranks: Ranks) -> Iterator[str]:
    """Who was gone too late: after a sibling that had started before it, and not for being stuck. `since`: the events of the stop."""
    last_stop: dict[str, list[str]] = {}
    stuck = {event.path for event in before if isinstance(event, ChildStuck)}
    for event in since:
        match event:
            case ChildStarted(path=path):
                last_stop.pop(above(path), None)
            case SupervisorStopped(path=path):
                yield from late(last_stop.pop(path, ()), ranks, stuck)
            case ChildStuck(path=path):
                stuck.add(path)
            case ChildExited(path=path, asked=True) if path in ranks:
                last_stop.setdefault(above(path), []).append(path)
            case _:
                pass


def late(stopped: Sequence[str], ranks: Ranks, stuck: Container[str]) -> Iterator[str]:
    """`stopped`: in the order in which they were gone."""
    before = None
    for path in stopped:
        if before is not None and ranks[path] > ranks[before]:
            if path not in stuck:
                yield f"{path} was gone after {before}, which had started before it"
        else:
            before = path


def above(path: str) -> str:
    """The path of the supervisor."""
    return path.rpartition("/")[0]
