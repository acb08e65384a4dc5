"""The fault table: what may break, at which moments, what the service looks like afterwards, and what may happen twice.

What is lost is in no column: nothing, in every row. Nor is the order of messages of one key: it holds in every row.
A fault that makes no sense at a moment says why.

"broker SIGSTOP" lasts 10 s and "event loop blocked" 2 s: at every moment in a soak. In CI they last so long in full flow only, where
messages and answers pile up meanwhile. At the other moments nothing new happens after the service has noticed, so there they end
once it has, and all the moments together cost less than that one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from support import fault_strikes as strikes
from support.fault_moments import (
    BACKOFF,
    BEFORE_CONNECT,
    IN_FLOW,
    IN_HAND,
    LINK_BACKOFF,
    MOMENTS,
    QUEUED,
    REPLY_QUEUED,
    SUBSCRIBING,
    Moment,
)
from support.fault_verdict import Twice


class End(enum.Enum):
    """How it is when the fault is over. In every case each child runs, and health is well unless the row says otherwise."""

    LINK_STAYS = "the link never went down"
    LINK_RETURNS = "the link went down and is up again; health says reconnected"
    NEW_PROCESS = "another process runs; health says ready"


@attrs.frozen
class Fault:
    """A row for every moment. `no_sense`: the moments at which the fault cannot strike, and why."""

    name: str
    strike: strikes.Step
    mend: strikes.Step
    end: End
    twice: Mapping[Moment, Twice] = MappingProxyType({})
    no_sense: Mapping[Moment, str] = MappingProxyType({})
    persistent: bool = False
    heartbeat: Mapping[str, float] = MappingProxyType({})
    health: str | None = None
    """What the last health message says, when it is not what `end` says."""
    beside: str = ""
    """Faults of one word play side by side, to save time; not in a soak."""
    lasts_s: float = 0.0
    """See the module. 0: it has no length of its own."""

    @property
    def moments(self) -> tuple[Moment, ...]:
        return tuple(moment for moment in MOMENTS if moment not in self.no_sense)

    def length_s(self, moment: Moment, *, soaks: bool) -> float:
        """How long it lasts at a moment, at least. It goes on until the service has noticed, in any case."""
        return self.lasts_s if soaks or moment is IN_FLOW else 0.0


@attrs.frozen
class Elsewhere:
    """A fault with tests of its own: `test` is where."""

    name: str
    test: str


_AT_WORK: Final = (SUBSCRIBING, IN_HAND, QUEUED, REPLY_QUEUED, BACKOFF, LINK_BACKOFF, IN_FLOW)
_KILLED: Final[Mapping[Moment, Twice]] = MappingProxyType(dict.fromkeys(_AT_WORK, Twice.ONE_EACH))
_CRASHED: Final[Mapping[Moment, Twice]] = MappingProxyType(dict.fromkeys(set(_AT_WORK) - {BACKOFF}, Twice.ATTEMPT))
_NOT_DRAINED: Final[Mapping[Moment, Twice]] = MappingProxyType({LINK_BACKOFF: Twice.ONE_EACH})
"""Without a link nothing can be drained."""
_NO_CONNECTION: Final[Mapping[Moment, str]] = MappingProxyType({LINK_BACKOFF: "there is no connection that could break"})
_QUICK: Final[Mapping[str, float]] = MappingProxyType({"interval_s": 1.0, "deadline_s": 0.3})
"""A heartbeat that finds a silent broker soon."""
_NO_INCARNATION: Final = "a handler in backoff has no incarnation that could crash"

FAULTS: Final = (
    Fault("service kill -9", strikes.kill, strikes.up_again, End.NEW_PROCESS, _KILLED, beside="starts"),
    Fault("service SIGTERM", strikes.terminate, strikes.start_again, End.NEW_PROCESS, _NOT_DRAINED, beside="starts"),
    Fault("dropped every 64th byte", strikes.cut_in_steps, strikes.cut_at_every_step, End.LINK_RETURNS, beside="starts"),
    Fault(
        "broker SIGSTOP",
        strikes.freeze_broker,
        strikes.thaw_broker,
        End.LINK_RETURNS,
        heartbeat=_QUICK,
        beside="waits",
        lasts_s=10.0,
        no_sense={LINK_BACKOFF: "there is no connection on which it could be silent"},
    ),
    Fault(
        "half-open link",
        strikes.half_open,
        strikes.cut_half_open,
        End.LINK_RETURNS,
        heartbeat=_QUICK,
        beside="waits",
        no_sense=_NO_CONNECTION,
    ),
    Fault("event loop blocked", strikes.block_loop, strikes.nothing, End.LINK_STAYS, health="degraded", beside="waits", lasts_s=2.0),
    Fault("slow link", strikes.slow, strikes.quick_again, End.LINK_STAYS, beside="waits"),
    Fault("broker kill -9", strikes.kill_broker, strikes.restart_broker, End.LINK_RETURNS, persistent=True),
    Fault("broker graceful restart", strikes.terminate_broker, strikes.restart_broker, End.LINK_RETURNS, persistent=True),
    Fault("RST", strikes.reset, strikes.up_again, End.LINK_RETURNS, no_sense=_NO_CONNECTION),
    Fault(
        "session takeover",
        strikes.take_over,
        strikes.up_again,
        End.LINK_RETURNS,
        no_sense={
            BEFORE_CONNECT: "the broker has not heard of us: we take over from the other",
            LINK_BACKOFF: "there is no connection: we take over from the other",
        },
    ),
    Fault("dropped before CONNACK", strikes.cut_before_connack, strikes.cut_often_enough, End.LINK_RETURNS),
    Fault("dropped before SUBACK", strikes.cut_before_suback, strikes.cut_often_enough, End.LINK_RETURNS),
    Fault("dropped before PUBACK", strikes.cut_before_puback, strikes.cut_often_enough, End.LINK_RETURNS),
    Fault("handler crash", strikes.crash_handlers, strikes.nothing, End.LINK_STAYS, _CRASHED, {BACKOFF: _NO_INCARNATION}),
    Fault("dedup crash", strikes.crash_dedup, strikes.nothing, End.LINK_STAYS),
    Fault("dispatcher crash", strikes.crash_dispatcher, strikes.nothing, End.LINK_STAYS),
    Fault("store crash", strikes.crash_store, strikes.nothing, End.LINK_STAYS),
)

ELSEWHERE: Final = (Elsewhere("disk full for the store", "tests/faults/test_disk_full.py"),)
