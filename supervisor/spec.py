"""What a tree is made of: child specs and supervisor specs, checked when they are built."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from .backoff import Backoff
from .errors import SpecError
from .restart import Restart
from .strategy import AutoShutdown, Strategy

if TYPE_CHECKING:
    import trio

    Start: TypeAlias = Callable[..., Awaitable[object]]
    TaskStatus: TypeAlias = trio.TaskStatus[Any]

BRUTAL: Final = 0.0
"""``shutdown_s=BRUTAL``: cancel at once, and wait for nothing."""
INFINITY: Final = math.inf
"""``shutdown_s=INFINITY``: wait for ever."""


def _children(children: Iterable[ChildSpec | SupervisorSpec]) -> tuple[ChildSpec | SupervisorSpec, ...]:
    return tuple(children)


@attrs.frozen
class ChildSpec:
    """One child: what to run, when to restart it, how long it may take to stop.

    `start` is ``async def start(*, task_status)``; bind arguments with `functools.partial`. It calls
    ``task_status.started(value)`` when it can take messages, runs until it ends, and ends by returning,
    raising, or being cancelled. Returning without `started()` declines to start (OTP's ``ignore``).
    `shutdown_s`: seconds (see `tars.supervisor.trap_exit`), `BRUTAL` or `INFINITY`. `backoff` None takes
    the supervisor's. `made_from`: whatever `start` was made from, compared by ``==`` when the tree is reconfigured;
    without it the `start` functions are compared. Raises `SpecError`.
    """

    id: str
    start: Start
    restart: Restart = attrs.field(default=Restart.PERMANENT, kw_only=True)
    shutdown_s: float = attrs.field(default=5.0, kw_only=True)
    significant: bool = attrs.field(default=False, kw_only=True)
    backoff: Backoff | None = attrs.field(default=None, kw_only=True)
    made_from: object = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        _check_common(self)
        where = f"spec {self.id!r}"
        _require(callable(self.start), where, "start", "an async function", self.start)
        _require(self.backoff is None or isinstance(self.backoff, Backoff), where, "backoff", "None or a Backoff", self.backoff)


@attrs.frozen
class SupervisorSpec:
    """A supervisor and its children, in start order. It may itself be a child of another.

    Gives up when more than `max_restarts` restarts fall into `period_s` seconds, or one child fails more
    than `max_consecutive` times in a row without a run of ``backoff.stable_s`` (None: no such limit).
    `stops_together`, for ONE_FOR_ONE only: its children, which do not depend on each other, are all asked to stop at once.
    `made_from`: whatever the children stand for together, compared by ``==`` when the tree is reconfigured. Where it differs they
    are not compared one by one: all of them are gone before the first new one starts.
    `reload`, at the top of a tree only: from a newly read config to the spec to reconfigure to. Raises `SpecError`.
    """

    id: str
    children: Sequence[ChildSpec | SupervisorSpec] = attrs.field(converter=_children)
    strategy: Strategy = attrs.field(default=Strategy.ONE_FOR_ONE, kw_only=True)
    max_restarts: int = attrs.field(default=3, kw_only=True)
    period_s: float = attrs.field(default=5.0, kw_only=True)
    max_consecutive: int | None = attrs.field(default=None, kw_only=True)
    backoff: Backoff = attrs.field(factory=Backoff, kw_only=True)
    auto_shutdown: AutoShutdown = attrs.field(default=AutoShutdown.NEVER, kw_only=True)
    restart: Restart = attrs.field(default=Restart.PERMANENT, kw_only=True)
    significant: bool = attrs.field(default=False, kw_only=True)
    shutdown_s: float = attrs.field(default=INFINITY, kw_only=True)
    stops_together: bool = attrs.field(default=False, kw_only=True)
    made_from: object = attrs.field(default=None, kw_only=True, repr=False)
    reload: Callable[[Any], SupervisorSpec] | None = attrs.field(default=None, kw_only=True, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        _check_common(self)
        where = f"supervisor {self.id!r}"
        _require(isinstance(self.strategy, Strategy), where, "strategy", "a Strategy", self.strategy)
        _require(isinstance(self.auto_shutdown, AutoShutdown), where, "auto_shutdown", "an AutoShutdown", self.auto_shutdown)
        _require(isinstance(self.backoff, Backoff), where, "backoff", "a Backoff", self.backoff)
        _require(_is_int(self.max_restarts) and self.max_restarts >= 0, where, "max_restarts", "an integer >= 0", self.max_restarts)
        _require(_is_number(self.period_s) and 0 < self.period_s < math.inf, where, "period_s", "a number > 0", self.period_s)
        limit = self.max_consecutive
        _require(limit is None or (_is_int(limit) and limit >= 0), where, "max_consecutive", "None or an integer >= 0", limit)
        together, alone = self.stops_together, self.strategy is Strategy.ONE_FOR_ONE
        _require(isinstance(together, bool) and (alone or not together), where, "stops_together", "False but for ONE_FOR_ONE", together)
        if self.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            _require(len(self.children) == 1, where, "children", "exactly one template", len(self.children))
            _require(
                self.auto_shutdown is AutoShutdown.NEVER, where, "auto_shutdown", "NEVER for a dynamic supervisor (D8)", self.auto_shutdown
            )
        seen: set[str] = set()
        for child in self.children:
            check_child(self, child, seen)
            seen.add(child.id)


Child: TypeAlias = ChildSpec | SupervisorSpec


def check_child(parent: SupervisorSpec, child: Child, taken: set[str]) -> None:
    """Refuse a child that `parent` cannot hold; `taken` are the ids already there. Raises `SpecError`."""
    where = f"supervisor {parent.id!r}"
    _require(isinstance(child, (ChildSpec, SupervisorSpec)), where, "children", "ChildSpec or SupervisorSpec", child)
    _require(child.id not in taken, where, "children", "unique ids", f"{child.id!r} twice")
    if child.significant:
        at = f"{where}, child {child.id!r}"
        _require(child.restart is not Restart.PERMANENT, at, "significant", "False for a permanent child", child.significant)
        _require(parent.auto_shutdown is not AutoShutdown.NEVER, at, "significant", "False under auto_shutdown=NEVER", child.significant)


def _check_common(spec: Child) -> None:
    where = f"spec {spec.id!r}"
    _require(isinstance(spec.id, str) and spec.id != "", where, "id", "a non-empty string", spec.id)
    _require(isinstance(spec.restart, Restart), where, "restart", "a Restart", spec.restart)
    _require(isinstance(spec.significant, bool), where, "significant", "True or False", spec.significant)
    _require(_is_number(spec.shutdown_s) and spec.shutdown_s >= 0, where, "shutdown_s", "seconds >= 0, BRUTAL or INFINITY", spec.shutdown_s)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True is an int to Python, not to a reader


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _require(holds: bool, where: str, key: str, expected: str, got: object) -> None:  # noqa: FBT001 - a truth value is the point
    if not holds:
        msg = f"{where}: {key} must be {expected}, got {got!r}"
        raise SpecError(msg)
