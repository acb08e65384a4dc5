"""What follows from an ending: the decision loop of one supervisor, and OTP's restart rules.

The loop is level-triggered: ask the table's `agenda` what to stop and to start now, do it without waiting
for it, sleep until something changes or until the next moment written in the table. It never sleeps
*for* a child.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from .errors import ActorStopped, Escalate, RestartIntensityExceeded, StartFailed
from .events import Emit, IntensityExceeded, RestartScheduled
from .group import Group
from .incarnation import ExitReason, Incarnation
from .lives import Lives
from .policy import ChildState, Goal, Row, land
from .restart import Exit, ExitKind, leaves, wants_restart
from .spec import SupervisorSpec
from .strategy import AutoShutdown, Strategy
from .table import Table, wait_until
from .tally import Tally

Nested = Callable[[SupervisorSpec], Callable[..., Awaitable[object]]]


@attrs.define(eq=False)
class Engine:
    """One supervisor's decisions over its table. `nested` makes the start of a supervisor child."""

    spec: SupervisorSpec
    path: str
    emit: Emit
    chance: Callable[[], float]
    nested: Nested
    table: Table = attrs.field(init=False)
    inner: dict[str, Engine] = attrs.field(factory=dict, init=False)  # the running supervisors among the children
    verdict: BaseException | None = attrs.field(default=None, init=False)  # what the supervisor will raise
    stopping: ExitReason | None = attrs.field(default=None, init=False)
    stop_began_at: float = attrs.field(default=0.0, init=False)
    born: bool = attrs.field(default=False, init=False)  # every child of the spec has started once
    gone: trio.Event = attrs.field(factory=trio.Event, init=False)
    _hard: bool = attrs.field(default=False, init=False)  # cancelled from outside: cancel at once, in order
    _tally: Tally = attrs.field(init=False)
    _group: Group = attrs.field(init=False)
    _lives: Lives = attrs.field(init=False)
    _left: list[Row] = attrs.field(factory=list, init=False)  # while stopping: those not yet seen gone, start order
    _deferred: list[tuple[Row, Incarnation, Exit]] = attrs.field(factory=list, init=False)  # endings during the first start
    _awaited: dict[Row, Incarnation] = attrs.field(factory=dict, init=False)  # the last lives of those that are to come back

    def __attrs_post_init__(self) -> None:
        strategy = self.spec.strategy
        pool = strategy is Strategy.SIMPLE_ONE_FOR_ONE
        self.table = Table(self.path, dynamic=pool, grouped=strategy.grouped, together=pool or self.spec.stops_together)
        self._tally = Tally(self.spec, self.chance)
        self._group = Group(self.table, strategy, self.emit)

    def take_limits(self, spec: SupervisorSpec) -> None:
        """Go on under `spec`: its limits and backoff count from now."""
        self.spec = spec
        self._tally.go_on_under(spec)

    @property
    def stuck(self) -> int:
        """Children that ignore their cancellation now."""
        return self._lives.stuck

    # -- the loop --------------------------------------------------------------------------------

    async def run(self, on_born: Callable[[], None]) -> None:
        """Start the children in order, call `on_born`, supervise until stopped, return when nothing runs any more."""
        table = self.table
        unborn = [table.add(spec) for spec in (() if table.dynamic else self.spec.children)]
        unborn.reverse()
        async with trio.open_nursery() as nursery:
            self._lives = Lives(nursery, self._start_of, self.emit, table.moved, self._ended)
            at_once = False
            while self._anyone_left():
                changed = table.next_change()
                now = trio.current_time()
                if not self.born and self.stopping is None and not table.agenda.restless:
                    self._give_birth(unborn, on_born, now)
                self._act(now)
                at_once = changed.is_set() and not at_once  # its own changes it looks at without letting others run; but not twice
                if not at_once:
                    await wait_until(changed, min(table.agenda.next_due_at(now), self._lives.next_press_at()))

    def _give_birth(self, unborn: list[Row], on_born: Callable[[], None], now: float) -> None:
        if unborn:
            self.table.schedule(unborn.pop(), now)
        else:
            self.born = True
            on_born()
            for row, life, ended in self._deferred:
                if row.state is ChildState.STOPPED:  # else a sibling's failure has taken it in already
                    self._ended(row, life, ended)
            self._deferred.clear()

    def _act(self, now: float) -> None:
        agenda = self.table.agenda
        self._lives.press(now, hard=self._hard)
        if self.stopping is None:
            self._group.gather(now)
        for row in agenda.to_stop():
            self._lives.ask(row, self.stopping or self._reason_for(row), now, hard=self._hard)
        if self.stopping is None:
            for row in agenda.to_start(now):
                self._lives.begin(row, now, after=self._awaited.pop(row, None))

    @staticmethod
    def _reason_for(row: Row) -> ExitReason:
        return ExitReason.RESTART if row.goal is Goal.AGAIN else ExitReason.SHUTDOWN

    def _anyone_left(self) -> bool:
        """While stopping: is there a child that is not stuck? The last of them is told to go."""
        if self.stopping is None:
            return True
        while self._left and (not self._left[-1].state.active or self._left[-1].state is ChildState.STUCK):
            self._left.pop()
        if self._left:
            self._doom(self._left[-1])
        return bool(self._left)

    def _doom(self, row: Row) -> None:
        if row.state.active and row.goal is not Goal.DOWN:
            row.goal = Goal.DOWN
            self.table.moved(row)

    def begin_stop(self, reason: ExitReason, verdict: BaseException | None = None, *, hard: bool = False) -> None:
        """Stop everything. The first verdict stands, except that a fatal one replaces it."""
        fatal = verdict is not None and not isinstance(verdict, Exception)
        if self.verdict is None or fatal:
            self.verdict = verdict
        self._hard = self._hard or hard
        if self.stopping is None:
            self.stopping = reason
            self.stop_began_at = trio.current_time()
            self._left = list(self.table.rows.values())
            for row in list(self.table.agenda.restless):
                if row.state is ChildState.BACKOFF:
                    self.table.rest(row)
            for row in list(self._awaited if reason is ExitReason.SHUTDOWN else ()):
                self._await_no_more(row)
            if self.table.together:
                for row in self._left:
                    self._doom(row)
        self.table.wake()

    # -- the rules -------------------------------------------------------------------------------

    def _ended(self, row: Row, life: Incarnation, ended: Exit) -> None:
        self._decide(row, life, ended)
        deferred = not self.born and life.started_at is not None and wants_restart(row.spec.restart, ended)
        returns = row.state is ChildState.BACKOFF or self.stopping is ExitReason.RESTART or (deferred and self.stopping is None)
        if returns:
            self._awaited[row] = life
        else:
            self._awaited.pop(row, None)
        life.end(another_follows=returns)
        self.table.moved(row)

    def awaited(self) -> Sequence[Incarnation]:
        """The last lives of the children that were to come back, when the supervisor ended."""
        return list(self._awaited.values())

    def _await_no_more(self, row: Row) -> None:
        """Whoever was told that another incarnation follows is told that none does."""
        if (life := self._awaited.pop(row, None)) is not None:
            life.end(another_follows=False)

    def _decide(self, row: Row, life: Incarnation, ended: Exit) -> None:
        """OTP's ``handle_info({'EXIT', ...})``: what does this ending mean?"""
        row.state = ChildState.STOPPED
        if ended.kind is ExitKind.FATAL:
            row.goal = Goal.UP
            self.begin_stop(ExitReason.SHUTDOWN, _worst(ended, lambda leaf: isinstance(leaf, (KeyboardInterrupt, SystemExit))))
        elif self.stopping is not None:
            row.goal = Goal.UP
        elif ended.kind is ExitKind.ESCALATE:
            row.goal = Goal.UP
            self.begin_stop(ExitReason.RESTART, _worst(ended, lambda leaf: isinstance(leaf, Escalate)))
        elif row.goal is not Goal.UP:
            self._land(row)
        elif life.started_at is None:
            self._after_no_life(row, life, ended)
        elif not self.born:
            self._deferred.append((row, life, ended))  # OTP, too, looks at these when its init is through
        else:
            self._after_life(row, life, ended)

    def _after_no_life(self, row: Row, life: Incarnation, ended: Exit) -> None:
        """It ended before it had started."""
        if ended.kind is ExitKind.NORMAL:
            row.declined = True  # OTP's ignore
            self._finish(row)
        elif not self.born and row.incarnation == 1:
            self._fail_birth(row, ended)
        elif row.by_operator:
            row.refusal, row.refused = ended.error, life.number
            if row.incarnation == 1:
                self.table.forget(row)
        else:
            self._after_life(row, life, ended)  # a restart that fails to start counts like any other failure

    def _land(self, row: Row) -> None:
        gone = row.goal is Goal.GONE
        land(row)
        if gone:
            self.table.forget(row)

    def _fail_birth(self, row: Row, ended: Exit) -> None:
        """No retry at first start: those already up are stopped in reverse, the supervisor fails."""
        failure = StartFailed(row.spec.id)
        failure.__cause__ = ended.error
        self.begin_stop(ExitReason.SHUTDOWN, failure)

    def _after_life(self, row: Row, life: Incarnation, ended: Exit) -> None:
        if not wants_restart(row.spec.restart, ended):
            self._finish(row)
            self._auto_shutdown(row)
            return
        now = life.ended_at
        delay_s = self._tally.delay_s(row, ended, None if life.started_at is None else now - life.started_at)
        if limit := self._tally.passed_limit(row, ended, now):
            self._give_up(row, limit)
            return
        used = self._tally.used(now)
        self.emit(RestartScheduled(row.path, row.failures, delay_s, used, self.spec.max_restarts, self.spec.period_s))
        self._group.fall(row, now + delay_s)

    def _give_up(self, row: Row, limit: str) -> None:
        self.emit(IntensityExceeded(self.path, row.spec.id, limit))
        self.begin_stop(ExitReason.RESTART, RestartIntensityExceeded(row.spec.id, limit, self._tally.causes()))

    def _finish(self, row: Row) -> None:
        """It ended and is not restarted: a temporary or dynamic child is forgotten, another keeps its spec."""
        if self.table.forgets(row):
            self.table.forget(row)

    def _auto_shutdown(self, row: Row) -> None:
        """Only an ending of the child's own triggers it; being stopped never gets here."""
        if not row.spec.significant:
            return
        if self.spec.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not self.table.any_significant_besides(row):
            self.begin_stop(ExitReason.SHUTDOWN)

    # -- asked for by an operator ------------------------------------------------------------------

    def rest(self, row: Row) -> None:
        """End the backoff of `row`."""
        self.table.rest(row)
        self._await_no_more(row)

    async def begin_by_operator(self, row: Row) -> None:
        """Start `row` now and wait for the outcome. Raises `StartFailed`, `ActorStopped`."""
        if self.stopping is not None:
            raise ActorStopped(self.path)
        row.held = False
        row.by_operator = True
        row.failures = row.consecutive = 0
        row.declined = False
        self.table.schedule(row, trio.current_time())
        ups, number = row.ups, row.incarnation + 1
        while row.ups == ups and row.state is not ChildState.STOPPED and row.refused < number:
            await self.table.next_move(row)
        if row.refused >= number:  # first: somebody else may have started it again, with success, before this call wakes
            raise StartFailed(row.spec.id) from row.refusal
        if row.ups > ups:
            return
        if self.stopping is not None:
            raise ActorStopped(self.path)
        if not row.declined:  # taken down while it was starting, by an operator or, being temporary, with its siblings
            raise StartFailed(row.spec.id)

    def _start_of(self, row: Row) -> Callable[..., Awaitable[object]]:
        return self.nested(row.spec) if isinstance(row.spec, SupervisorSpec) else row.spec.start


def _worst(ended: Exit, is_it: Callable[[BaseException], bool]) -> BaseException:
    """The leaf that decided the classification, out of its groups."""
    error = ended.error
    assert error is not None  # noqa: S101 - these kinds always carry an exception
    return next(leaf for leaf in leaves(error) if is_it(leaf))
