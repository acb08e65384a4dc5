"""Supervision trees on trio: OTP's words, OTP's meanings. Knows no MQTT and no asyncio.

Layers, lowest first; a module imports only from below:

* ``errors restart intensity backoff strategy spec events``          pure: no trio, no clock, no randomness
* ``policy lowest agenda tally``                                     pure: a child's row, and what the rows call for
* ``incarnation stacks custody mailbox asking lives table engine``   on trio
* ``reconfigure tree``                                               what users of a tree call
* ``config log reload process cli __main__``                         at the edge

What is exported here is the public API; everything else may change.
"""

from .asking import Ask, ask
from .backoff import NO_BACKOFF, Backoff
from .config import Config, ConfigError
from .custody import Batch, Custody, Taken
from .environment import Override
from .errors import (
    ActorRestarting,
    ActorStopped,
    AlreadyPresent,
    AlreadyStarted,
    AskFailed,
    Escalate,
    MailboxClosed,
    MailboxFull,
    NotFound,
    Refused,
    Restarting,
    RestartIntensityExceeded,
    Running,
    SpecError,
    StartFailed,
    Stop,
    TarsError,
    TooSlow,
    Unavailable,
)
from .events import (
    ChildExited,
    ChildStarted,
    ChildStuck,
    Emit,
    Event,
    GroupRestart,
    IntensityExceeded,
    LoopBlocked,
    LoopFree,
    RestartScheduled,
    SupervisorStopped,
)
from .incarnation import ExitReason, ExitRequest, Incarnation, current, trap_exit
from .loop_watch import watch_loop
from .mailbox import Mailbox, MailboxStatistics, Overflow, ReaderState
from .policy import ChildState
from .reconfigure import Changes
from .restart import Exit, ExitKind, Restart, leaves
from .spec import BRUTAL, INFINITY, ChildSpec, SupervisorSpec
from .strategy import AutoShutdown, Strategy
from .structure import within
from .tree import ChildCounts, ChildInfo, Supervisor, supervise

__all__ = [
    "BRUTAL",
    "INFINITY",
    "NO_BACKOFF",
    "ActorRestarting",
    "ActorStopped",
    "AlreadyPresent",
    "AlreadyStarted",
    "Ask",
    "AskFailed",
    "AutoShutdown",
    "Backoff",
    "Batch",
    "Changes",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildSpec",
    "ChildStarted",
    "ChildState",
    "ChildStuck",
    "Config",
    "ConfigError",
    "Custody",
    "Emit",
    "Escalate",
    "Event",
    "Exit",
    "ExitKind",
    "ExitReason",
    "ExitRequest",
    "GroupRestart",
    "Incarnation",
    "IntensityExceeded",
    "LoopBlocked",
    "LoopFree",
    "Mailbox",
    "MailboxClosed",
    "MailboxFull",
    "MailboxStatistics",
    "NotFound",
    "Overflow",
    "Override",
    "ReaderState",
    "Refused",
    "Restart",
    "RestartIntensityExceeded",
    "RestartScheduled",
    "Restarting",
    "Running",
    "SpecError",
    "StartFailed",
    "Stop",
    "Strategy",
    "Supervisor",
    "SupervisorSpec",
    "SupervisorStopped",
    "Taken",
    "TarsError",
    "TooSlow",
    "Unavailable",
    "ask",
    "current",
    "leaves",
    "supervise",
    "trap_exit",
    "watch_loop",
    "within",
]
