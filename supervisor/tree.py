"""A supervisor as its users see it: `supervise` runs one, `Supervisor` is the handle (OTP's dynamic API).

What follows from an ending is in `engine`, when it is too often in `tally`, who goes down with it in `group` and `strategy`, in
what order they stop and start in `agenda`, where each child is in `policy` and `table`, how it lives and is stopped in `lives`.
Calls here change the table and wait until the row has got there; queries never wait.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from .engine import Engine
from .errors import ActorStopped, AlreadyPresent, AlreadyStarted, Restarting, Running, SpecError
from .events import Emit, SupervisorStopped
from .incarnation import ExitReason, ExitRequest, Incarnation, current, trap_exit
from .lives import bind
from .policy import ChildState, Goal, Row
from .reconfigure import Changes, reconfigure
from .spec import Child, ChildSpec, SupervisorSpec, check_child


@attrs.frozen
class ChildInfo:
    """One line of `Supervisor.which_children`. `due_in_s`: seconds left of a backoff, else None."""

    id: str
    path: str
    state: ChildState
    incarnation: int
    kind: str  # "worker" or "supervisor"
    due_in_s: float | None


@attrs.frozen
class ChildCounts:
    """OTP's ``count_children``: known specs, children with a task, supervisors and workers among the specs."""

    specs: int
    active: int
    supervisors: int
    workers: int


async def supervise(
    spec: SupervisorSpec,
    emit: Emit,
    *,
    chance: Callable[[], float] = random.random,
    task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the supervisor described by `spec`: ``sup = await nursery.start(supervise, spec, emit)``.

    `nursery.start` returns when every child has started. The call ends when the supervisor has stopped and
    nothing of the subtree runs any more: it returns after `Supervisor.stop` or an automatic shutdown, and
    raises `StartFailed` (a first start failed; those already started were stopped), `RestartIntensityExceeded`,
    `Escalate`, or the KeyboardInterrupt or SystemExit of a child. Cancelled from outside, it cancels its
    children in reverse start order, each fully gone before the next, and lets the cancellation through.

    `emit` gets every event; `chance` supplies the jitter, in [0, 1).
    """
    await _supervise(spec, emit, chance, {}, task_status=task_status)


async def _supervise(
    spec: SupervisorSpec,
    emit: Emit,
    chance: Callable[[], float],
    register: dict[str, Engine],
    *,
    task_status: trio.TaskStatus[Supervisor],
) -> None:
    """`register`: where the supervisor above looks for its children that are supervisors."""

    def nested(child: SupervisorSpec) -> Callable[..., Awaitable[object]]:
        return functools.partial(_supervise, child, emit, chance, engine.inner)

    me, path, request = _place(spec)
    engine = register[spec.id] = Engine(spec, path, emit, chance, nested)
    handle = Supervisor(engine)

    async with trio.open_nursery() as outside:
        outside.start_soon(_heed, engine, request)
        with trio.CancelScope(shield=True):  # children stop in order, even when everything around is cancelled
            await engine.run(functools.partial(_up, me, engine, lambda: task_status.started(handle)))
        reason = "shutdown" if engine.verdict is None else type(engine.verdict).__name__
        for life in engine.awaited():
            life.end(another_follows=False) if me is None else me.inherit(life)
        emit(SupervisorStopped(path, reason, trio.current_time() - engine.stop_began_at))
        engine.gone.set()
        register.pop(spec.id, None)
        outside.cancel_scope.cancel()
        if engine.verdict is not None and not isinstance(engine.verdict, Exception):
            raise engine.verdict  # in here: a cancellation from outside must not cover it
    if engine.verdict is not None:
        raise engine.verdict


def _place(spec: SupervisorSpec) -> tuple[Incarnation | None, str, ExitRequest | None]:
    """If this supervisor is itself a child: which life of it this is. Its path, and its parent's request to stop."""
    me = current()
    if me is None:
        return None, spec.id, None
    if me.task is not trio.lowlevel.current_task():  # started by an actor in a nursery of its own
        return None, f"{me.path}/{spec.id}", None
    return me, me.path if me.path.endswith(f"/{spec.id}") else f"{me.path}/{spec.id}", trap_exit()


def _up(me: Incarnation | None, engine: Engine, tell: Callable[[], None]) -> None:
    """Every child has started: whom an earlier life of this supervisor had besides them does not come back."""
    tell()
    if me is not None:
        here = tuple(row.path for row in engine.table.rows.values())
        me.will_not_return(lambda path: not any(path == each or path.startswith(f"{each}/") for each in here))


async def _heed(engine: Engine, request: ExitRequest | None) -> None:
    """Turn the parent's request, or a cancellation from outside, into an orderly stop."""
    try:
        if request is not None:
            await request.wait()
            engine.begin_stop(request.reason or ExitReason.SHUTDOWN)
        await trio.sleep_forever()
    finally:
        if not engine.gone.is_set():
            engine.begin_stop(ExitReason.SHUTDOWN, hard=True)


class Supervisor:
    """The handle of a running supervisor; `supervise` makes it.

    None of these calls costs restart intensity. While the supervisor is stopping, the calls that change
    something raise `ActorStopped`; queries are always answered at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table = engine.table
        self._reconfiguring = trio.Lock()

    @property
    def spec(self) -> SupervisorSpec:
        """What it was made from."""
        return self._engine.spec

    @property
    def is_stopping(self) -> bool:
        """Has the end begun, for whatever reason?"""
        return self._engine.stopping is not None

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Every known child, newest first (as OTP lists them)."""
        now = trio.current_time()
        return tuple(
            ChildInfo(
                id=child_id,
                path=row.path,
                state=row.shown,
                incarnation=row.incarnation,
                kind="supervisor" if isinstance(row.spec, SupervisorSpec) else "worker",
                due_in_s=max(0.0, row.due_at - now) if row.shown is ChildState.BACKOFF else None,
            )
            for child_id, row in reversed(self._table.rows.items())
        )

    def count_children(self) -> ChildCounts:
        """How many there are; a child between two incarnations is not active."""
        rows = self._table.rows.values()
        supervisors = sum(isinstance(row.spec, SupervisorSpec) for row in rows)
        return ChildCounts(len(rows), sum(row.shown.active for row in rows), supervisors, len(rows) - supervisors)

    async def start_child(self, *child: Any) -> str:
        """Add a child at the end and start it; returns its id when it has started (or declined to).

        Takes a `ChildSpec` or `SupervisorSpec`; a dynamic supervisor takes the arguments to append to its
        template's `start`. Raises `AlreadyStarted`, `AlreadyPresent`, `SpecError`, or `StartFailed`: then
        nothing of it is kept.
        """
        self._refuse_when_stopping()
        spec = self._instance(child) if self._table.dynamic else self._new_spec(child)
        await self._engine.begin_by_operator(self._table.add(spec))
        return spec.id

    async def restart_child(self, child_id: str) -> None:
        """Start a stopped child again. Raises `NotFound`, `Running`, `Restarting`, `StartFailed`."""
        await self._engine.begin_by_operator(self._find_stopped(child_id))

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child and keep its spec (a temporary or dynamic one is forgotten); it stays down until `restart_child`.

        Returns when it is gone. Raises `NotFound`, and `Running` when it turns out to be stuck.
        """
        self._refuse_when_stopping()
        row = self._table.find(child_id)
        row.held = True
        if row.state.active:
            row.goal = Goal.GONE if self._table.forgets(row) else Goal.DOWN
            self._table.moved(row)
        elif row.state is ChildState.BACKOFF:
            self._engine.rest(row)
        number = row.incarnation  # somebody may start it again before this call wakes
        while row.state.active and row.incarnation == number:
            if row.state is ChildState.STUCK:
                raise Running(child_id)
            await self._table.next_move(row)

    async def delete_child(self, child_id: str) -> None:
        """Forget a stopped child. Raises `NotFound`, `Running`, `Restarting`."""
        self._table.forget(self._find_stopped(child_id))

    async def reconfigure(self, spec: SupervisorSpec) -> Changes:
        """Make the running tree what `spec` says: only what changed restarts. See `tars.supervisor.reconfigure`.

        Calls made at the same time are carried out one after another. Not for a child of the tree: it may be
        stopped by its own call.
        """
        async with self._reconfiguring:
            return await reconfigure(self._engine, spec)

    async def stop(self) -> None:
        """Stop everything in order and return when it is gone. May be called again, and by several."""
        self._engine.begin_stop(ExitReason.SHUTDOWN)
        await self._engine.gone.wait()

    def _refuse_when_stopping(self) -> None:
        if self._engine.stopping is not None:
            raise ActorStopped(self._engine.path)

    def _find_stopped(self, child_id: str) -> Row:
        self._refuse_when_stopping()
        row = self._table.find(child_id)
        if row.by_operator:
            raise Running(child_id)
        if row.state is ChildState.BACKOFF or (row.state is ChildState.STARTING and row.incarnation > 1):
            raise Restarting(child_id)
        if row.state is not ChildState.STOPPED:
            raise Running(child_id)
        return row

    def _new_spec(self, child: tuple[Any, ...]) -> Child:
        if len(child) != 1 or not isinstance(child[0], (ChildSpec, SupervisorSpec)):
            msg = f"supervisor {self.spec.id!r}: start_child takes one ChildSpec or SupervisorSpec, got {child!r}"
            raise SpecError(msg)
        spec: Child = child[0]
        known = self._table.rows.get(spec.id)
        if known is not None:
            raise AlreadyStarted(spec.id) if known.state.active or known.by_operator else AlreadyPresent(spec.id)
        check_child(self.spec, spec, set())
        return spec

    def _instance(self, arguments: tuple[Any, ...]) -> Child:
        template = self.spec.children[0]
        child_id = f"{template.id}:{self._table.next_serial()}"
        if isinstance(template, SupervisorSpec):
            if arguments:
                msg = f"supervisor {self.spec.id!r}: its template is a supervisor, which takes no arguments, got {arguments!r}"
                raise SpecError(msg)
            return attrs.evolve(template, id=child_id)
        return attrs.evolve(template, id=child_id, start=bind(template.start, *arguments))
