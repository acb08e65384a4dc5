"""Hot change of a running tree: only what changed restarts.

OTP's ``code_change`` merges new specs without touching running children. This goes further, since a service's
config is data: a child whose `made_from` differs is replaced, a vanished one is stopped, a new one is started;
limits, backoffs and restart types are simply taken over. `difference` is the pure half.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from .engine import Engine
from .errors import ActorStopped, SpecError
from .policy import ChildState, Goal, Row, join_group
from .spec import Child, ChildSpec, SupervisorSpec
from .strategy import Strategy, affected


@attrs.frozen
class Difference:
    """Ids, each in start order. `kept` children go on running; supervisors among them are compared in turn."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: tuple[str, ...]


@attrs.frozen
class Changes:
    """What a reconfiguration did, by path."""

    stopped: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.stopped or self.started or self.restarted)

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.stopped + other.stopped, self.started + other.started, self.restarted + other.restarted)


def difference(old: Mapping[str, Child], new: Mapping[str, Child]) -> Difference:
    """Compare two tables of children by id."""
    both = [child_id for child_id in new if child_id in old]
    replaced = tuple(child_id for child_id in both if not _same(old[child_id], new[child_id]))
    return Difference(
        removed=tuple(child_id for child_id in old if child_id not in new),
        added=tuple(child_id for child_id in new if child_id not in old),
        replaced=replaced,
        kept=tuple(child_id for child_id in both if child_id not in replaced),
    )


def _same(old: Child, new: Child) -> bool:
    """May the running child stand for `new`?"""
    if isinstance(old, SupervisorSpec) and isinstance(new, SupervisorSpec):
        return old.strategy is new.strategy and (old.strategy is not Strategy.SIMPLE_ONE_FOR_ONE or old.children == new.children)
    if isinstance(old, ChildSpec) and isinstance(new, ChildSpec):
        unsaid = old.made_from is None and new.made_from is None
        return old.start == new.start if unsaid else bool(old.made_from == new.made_from)
    return False


async def reconfigure(engine: Engine, new: SupervisorSpec) -> Changes:
    """Make the running `engine` what `new` says; returns when every change has been carried out or has failed to start.

    Children added through the API, and known to neither spec, are left alone; so are those an operator stopped. A
    replaced child that fails to start is retried under the ordinary rules. Raises `SpecError` (the strategy of
    the top cannot change), `ActorStopped`, `StartFailed` (a new child).
    """
    if engine.stopping is not None:
        raise ActorStopped(engine.path)
    old = engine.spec
    if old.strategy is not new.strategy:
        msg = f"supervisor {old.id!r}: its strategy cannot change while it runs"
        raise SpecError(msg)
    engine.take_limits(new)
    if engine.table.dynamic:
        return Changes()
    known = {child.id: child for child in old.children}
    wanted = {child.id: child for child in new.children}
    found = difference(known, wanted)
    done = Changes(stopped=await _remove(engine, found.removed))
    for child_id in (*found.kept, *found.replaced):
        if (row := engine.table.rows.get(child_id)) is not None:
            row.spec = wanted[child_id]
    done += Changes(restarted=await _replace(engine, found.replaced))
    for child_id in found.kept:
        inner, spec = engine.inner.get(child_id), wanted[child_id]
        if inner is not None and isinstance(spec, SupervisorSpec):
            done += await reconfigure(inner, spec)
    return done + Changes(started=await _add(engine, [wanted[child_id] for child_id in found.added], list(wanted)))


async def _remove(engine: Engine, child_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Stop and forget, the last one first."""
    rows = [engine.table.rows[child_id] for child_id in reversed(child_ids) if child_id in engine.table.rows]
    for row in rows:
        row.held = True
        if row.state.active:
            row.goal = Goal.GONE
            engine.table.moved(row)
            number = row.incarnation
            while row.state.active and row.state is not ChildState.STUCK and row.incarnation == number:
                await engine.table.next_move(row)
        else:
            if row.state is ChildState.BACKOFF:
                engine.table.rest(row)
            engine.table.forget(row)
    return tuple(row.path for row in rows)


async def _replace(engine: Engine, child_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Restart, with whomever the strategy names; that is no failure and costs nothing."""
    table, now = engine.table, trio.current_time()
    order = list(table.rows)
    hit = {each for child_id in child_ids if child_id in table.rows for each in affected(engine.spec.strategy, order, child_id)}
    rows = [(row, row.incarnation) for child_id, row in table.rows.items() if child_id in hit and not row.held]
    for row, _ in rows:
        if row.state.active and row.spec.id in child_ids:
            row.goal, row.due_at = Goal.AGAIN, now  # also a temporary one: it is wanted
        elif row.state is not ChildState.STOPPED or row.spec.id in child_ids:
            join_group(row, now)
        row.failures = row.consecutive = 0
        table.moved(row)
    for row, number in rows:
        while _under_way(row, number) and engine.stopping is None:
            await table.next_move(row)
    return tuple(row.path for row, number in rows if row.incarnation > number)


def _under_way(row: Row, number: int) -> bool:
    """Has the incarnation after `number` not been decided yet?"""
    if row.state in (ChildState.STOPPED, ChildState.STUCK):
        return False
    return row.incarnation == number or row.state is ChildState.STARTING


async def _add(engine: Engine, children: list[Child], order: list[str]) -> tuple[str, ...]:
    """Put new rows where the spec has them, then start them in order."""
    if engine.stopping is not None:
        raise ActorStopped(engine.path)
    rows = [engine.table.add(child) for child in children]
    engine.table.arrange(order)
    for row in rows:
        await engine.begin_by_operator(row)
    return tuple(row.path for row in rows)
