"""Hot change of a running tree: only what changed restarts.

OTP's ``code_change`` merges new specs without touching running children. This goes further, since a service's
config is data: a child whose `made_from` differs is replaced, a vanished one is stopped, a new one is started;
limits, backoffs and restart types are simply taken over. `difference` is the pure half.

Law: it goes as far as it can. What cannot start or cannot stop is told in the result, and the rest is done; the next
reconfiguration starts from what is there then, so it may be repeated until nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import trio

from .engine import Engine
from .errors import ActorStopped, SpecError, StartFailed
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
    """What a reconfiguration did, by path; what it could not do is in `failed` (new, and did not start) and `stuck`.

    A stuck child would not end. It is removed, or replaced, when it does.
    """

    stopped: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    failed: tuple[tuple[str, StartFailed], ...] = ()
    stuck: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(attrs.astuple(self, recurse=False))

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.stopped + other.stopped,
            self.started + other.started,
            self.restarted + other.restarted,
            self.failed + other.failed,
            self.stuck + other.stuck,
        )


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
        pool = old.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        alike = (old.strategy, old.stops_together) == (new.strategy, new.stops_together) and bool(old.made_from == new.made_from)
        return alike and (not pool or _same(old.children[0], new.children[0]))
    if isinstance(old, ChildSpec) and isinstance(new, ChildSpec):
        unsaid = old.made_from is None and new.made_from is None
        return old.start == new.start if unsaid else bool(old.made_from == new.made_from)
    return False


async def reconfigure(engine: Engine, new: SupervisorSpec) -> Changes:
    """Make the running `engine` what `new` says; returns when every change has been carried out, or could not be.

    Children added through the API, and named by neither spec, are left alone; so are those an operator stopped or
    deleted, and temporary ones that have ended. A replaced child that fails to start is retried under the ordinary
    rules, a new one is not: it is `Changes.failed`. Raises `SpecError` (the strategy of the top cannot change; nothing has
    changed then) and `ActorStopped`.
    """
    if engine.stopping is not None:
        raise ActorStopped(engine.path)
    old, rows = engine.spec, engine.table.rows
    if old.strategy is not new.strategy:
        msg = f"supervisor {old.id!r}: its strategy cannot change while it runs"
        raise SpecError(msg)
    engine.take_limits(new)
    if engine.table.dynamic:
        return Changes()
    wanted = {child.id: child for child in new.children}
    known = {child.id: child for child in old.children} | {child_id: row.spec for child_id, row in rows.items() if child_id in wanted}
    found = difference(known, wanted)
    back = [child_id for child_id in wanted if _on_its_way_out(rows.get(child_id), old)]
    done = await _remove(engine, found.removed)
    for child_id in (*found.kept, *found.replaced):
        if child_id in rows:
            rows[child_id].spec = wanted[child_id]
    for child_id in back:
        rows[child_id].held = False
    done += await _replace(engine, {child_id for child_id in (*found.replaced, *back) if child_id in rows})
    for child_id in found.kept:
        if child_id in rows:
            done += await _inside(engine, rows[child_id], wanted[child_id])
    missing = {*found.added, *found.replaced} - {*rows}
    return done + await _add(engine, [child for child in new.children if child.id in missing])


def _on_its_way_out(row: Row | None, old: SupervisorSpec) -> bool:
    """Was it removed by an earlier reconfiguration, and would not end?"""
    return row is not None and row.goal is Goal.GONE and row.spec.id not in {child.id for child in old.children}


async def _remove(engine: Engine, child_ids: Sequence[str]) -> Changes:
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
                engine.rest(row)
            engine.table.forget(row)
    stuck = tuple(row.path for row in rows if row.state is ChildState.STUCK)
    return Changes(stopped=tuple(row.path for row in rows if row.path not in stuck), stuck=stuck)


async def _replace(engine: Engine, child_ids: set[str]) -> Changes:
    """Restart, with whomever the strategy names; that is no failure and costs nothing."""
    table, now = engine.table, trio.current_time()
    order = list(table.rows)
    hit = {each for child_id in child_ids for each in affected(engine.spec.strategy, order, child_id)}
    rows = [(row, row.incarnation) for child_id, row in table.rows.items() if child_id in hit and not row.held]
    for row, _ in rows:
        if row.state.active and row.spec.id in child_ids:
            row.goal, row.due_at = Goal.AGAIN, now  # also a temporary one: it is wanted
        elif row.state is not ChildState.STOPPED or row.spec.id in child_ids:
            join_group(row, now)
        row.failures = row.consecutive = 0
        table.moved(row)
    for row, number in reversed(rows):
        while row.incarnation == number and row.state.active and row.state is not ChildState.STUCK:
            await table.next_move(row)
    stuck = tuple(row.path for row, _ in rows if row.state is ChildState.STUCK)
    for row, number in rows:
        while _under_way(row, number) and engine.stopping is None and not (stuck and table.grouped):  # a group waits for them
            await table.next_move(row)
    return Changes(restarted=tuple(row.path for row, number in rows if row.incarnation > number), stuck=stuck)


def _under_way(row: Row, number: int) -> bool:
    """Has the incarnation after `number` not been decided yet?"""
    if row.state in (ChildState.STOPPED, ChildState.STUCK):
        return False
    return row.incarnation == number or row.state is ChildState.STARTING


async def _inside(engine: Engine, row: Row, spec: Child) -> Changes:
    """The children of a supervisor that stays. One that is not up now comes back as `spec` says."""
    if not isinstance(spec, SupervisorSpec):
        return Changes()
    while row.state is ChildState.STARTING:
        await engine.table.next_move(row)
    inner = engine.inner.get(spec.id)
    if inner is None or inner.stopping is not None:
        return Changes()
    try:
        return await reconfigure(inner, spec)
    except ActorStopped:  # it failed, or was stopped, in the middle
        return Changes()


async def _add(engine: Engine, children: Sequence[Child]) -> Changes:
    """Put new rows where the spec has them, then start them in order, however many fail."""
    if engine.stopping is not None:
        raise ActorStopped(engine.path)
    rows = [engine.table.add(child) for child in children]
    engine.table.arrange([child.id for child in engine.spec.children])
    done = Changes()
    for row in rows:
        try:
            await engine.begin_by_operator(row)
            done += Changes(started=(row.path,))
        except StartFailed as failure:
            done += Changes(failed=((row.path, failure),))
    unstarted = {failure.child_id for _, failure in done.failed} - {*engine.table.rows}
    if unstarted:  # the next reconfiguration finds them missing, and tries again
        engine.spec = attrs.evolve(engine.spec, children=[child for child in engine.spec.children if child.id not in unstarted])
    return done
