"""A service under test, seen from the test: what it has published, what has failed, and the waits for it.

Law: every wait wakes when something happens, and gives up with a report of what did. Nothing here is lost when the service
stops: what it published, its dead letters and its events can be looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import structlog
import trio
import trio.testing

from tars.actors.contracts.health import TOPIC_SYSTEM_HEALTH_PREFIX, TOPIC_SYSTEM_KEEPALIVE_PREFIX, HealthPing
from tars.actors.estate import Estate
from tars.actors.mqtt.dead_letter import DeadLetter
from tars.actors.mqtt.events import HandlerFailed
from tars.actors.mqtt.memory import MemoryBroker
from tars.actors.mqtt.memory_watch import Published
from tars.actors.mqtt.pulse import Pulse
from tars.actors.mqtt.store_db import DATABASE_NAME, read_dead_letters
from tars.actors.mqtt.topics import matches, validate_filter
from tars.supervisor import ChildExited, ChildStarted, ExitKind
from tars.supervisor.render import event_logger

from .clock import on_a_mock_clock
from .places import Place
from .recorder import Recorder
from .report import Unfulfilled, report

T = TypeVar("T")

PATIENCE_S: Final = 600.0
"""How long a wait lasts in virtual time, unless told otherwise."""
REAL_PATIENCE_S: Final = 10.0
"""The same in real time."""
_LOOK_AGAIN_S: Final = 0.01
"""The store and the outbox tell nobody when they are empty."""


@attrs.define(eq=False)
class Heard:
    """What there is to hear of a service, and the beat at which waits look again."""

    events: list[Any] = attrs.field(factory=list)
    beat: Pulse = attrs.field(factory=Pulse)

    def emit(self, event: Any) -> None:
        """Hears every event of the tree and of the link; they are logged too, for whoever reads a failed test."""
        self.events.append(event)
        event_logger(structlog.get_logger())(event)
        self.beat.beat()


@attrs.define(eq=False, repr=False, kw_only=True)
class Watched:
    """See `Running`, which is this and what a test can do to a service."""

    place: Place
    recorder: Recorder
    estate: Estate
    state_dir: Path
    client_id: str
    heard: Heard
    failure: BaseException | None = attrs.field(default=None, init=False)
    failure_is_expected: bool = attrs.field(default=False, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _waits: set[trio.CancelScope] = attrs.field(factory=set, init=False)
    _kept_letters: list[DeadLetter] | None = attrs.field(default=None, init=False)
    _unheard: dict[str, None] = attrs.field(factory=dict, init=False)  # topics of the test's that no subscription matches

    # -- looking ----------------------------------------------------------------------------------

    @property
    def published(self) -> list[Published]:
        """What the service has published so far, in order, without what it says about its own health."""
        of_itself = (f"{TOPIC_SYSTEM_HEALTH_PREFIX}{self.client_id}", f"{TOPIC_SYSTEM_KEEPALIVE_PREFIX}{self.client_id}")
        return [each for each in self.recorder.published if each.topic not in of_itself]

    def published_on(self, topic_filter: str) -> list[Published]:
        """The same, on matching topics."""
        validate_filter(topic_filter)
        return [each for each in self.published if matches(topic_filter, each.topic)]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What lies in the service's store, oldest first."""
        if self._kept_letters is not None:
            return self._kept_letters
        if not (self.state_dir / DATABASE_NAME).exists():
            return []
        return [letter for _, letter in read_dead_letters(self.state_dir)]

    @property
    def failures(self) -> list[HandlerFailed]:
        """Every time an actor has failed, in order; `error` is what it raised."""
        return self.events_of(HandlerFailed)

    def restarts(self, actor: str) -> int:
        """How often the actor of this name in the config has been restarted, all its lanes together. KeyError when there is none."""
        paths = {box.path: 0 for box in self.estate.actors[actor].boxes}
        paths |= {each.path: each.incarnation - 1 for each in self.events_of(ChildStarted) if each.path in paths}
        return sum(paths.values())

    @property
    def events(self) -> list[Any]:
        """All that its tree and its link have reported, in order."""
        return self.heard.events

    def events_of(self, cls: type[T]) -> list[T]:
        """Every event of this class, in order."""
        return [each for each in self.events if isinstance(each, cls)]

    @property
    def broker(self) -> MemoryBroker:
        """The broker in memory, for faults that a cut link is not. Raises RuntimeError where the broker is real."""
        if self.place.memory is None:
            raise RuntimeError("with_real=True: there is no broker in memory to look into; a test for both asks the service only")
        return self.place.memory

    # -- waiting ----------------------------------------------------------------------------------

    async def wait_published(
        self, topic_filter: str = "#", *, count: int = 1, where: Callable[[Published], bool] | None = None, timeout_s: float | None = None
    ) -> list[Published]:
        """The first `count` publishes on matching topics for which `where` is true, as soon as there are as many.

        This and every wait: raises `Unfulfilled` after `timeout_s` (600 s in virtual time, else 10 s), and as soon as the
        service has ended.
        """
        __tracebackhide__ = True

        def found() -> list[Published] | None:
            matching = [each for each in self.published_on(topic_filter) if where is None or where(each)]
            return matching[:count] if len(matching) >= count else None

        what = f"{'' if where is None else 'matching '}message{'s' if count > 1 else ''} on {topic_filter}"
        return await self.until(found, f"no {count} {what}" if count > 1 else f"no {what}", timeout_s)

    async def wait_dead_letters(self, count: int = 1, *, timeout_s: float | None = None) -> list[DeadLetter]:
        """The dead letters, as soon as there are `count`."""
        __tracebackhide__ = True

        async def stored() -> list[DeadLetter]:
            while len(self.dead_letters) < count:
                await self._something()
            return self.dead_letters

        return await self.patiently(stored, f"not {count} dead letter{'s' if count > 1 else ''}", timeout_s)

    async def wait_event(
        self, cls: type[T], where: Callable[[T], bool] | None = None, *, count: int = 1, timeout_s: float | None = None
    ) -> T:
        """The `count`-th event of this class for which `where` is true, also if it has happened already."""
        __tracebackhide__ = True

        def found() -> T | None:
            events = [each for each in self.events_of(cls) if where is None or where(each)]
            return events[count - 1] if len(events) >= count else None

        return await self.until(found, f"no {count} x {cls.__name__}" if count > 1 else f"no {cls.__name__}", timeout_s)

    async def wait_restarted(self, actor: str, times: int = 1, *, timeout_s: float | None = None) -> None:
        """Return when the actor has been restarted so often."""
        __tracebackhide__ = True
        await self.until(lambda: True if self.restarts(actor) >= times else None, f"{actor} was not restarted {times} times", timeout_s)

    async def wait_health(self, event: str, *, timeout_s: float | None = None) -> HealthPing:
        """The last health message that says `event`: ready, degraded, reconnected, shutdown."""
        __tracebackhide__ = True
        topic = f"{TOPIC_SYSTEM_HEALTH_PREFIX}{self.client_id}"

        def found() -> HealthPing | None:
            pings = [each.read(HealthPing) for each in self.recorder.published if each.topic == topic]
            return next((ping for ping in reversed(pings) if ping.event == event), None)

        return await self.until(found, f"no health message that says {event}", timeout_s)

    async def wait_up(self, *, timeout_s: float | None = None) -> None:
        """Return when the service is connected and subscribed."""
        __tracebackhide__ = True
        await self.patiently(self.estate.link.wait_up, "the link is not up", timeout_s)

    async def settled(self, *, timeout_s: float | None = None) -> None:
        """Return when everything delivered so far is handled, all that it led to is stored or published, and acknowledged."""
        __tracebackhide__ = True
        await self.patiently(self._settled, "not everything is settled", timeout_s)

    async def wait_ended(self, *, timeout_s: float | None = None) -> BaseException:
        """What the service gives up with (`Escalate` ...). A test that does not ask fails with it."""
        __tracebackhide__ = True
        self.failure_is_expected = True
        await self.patiently(self._ended.wait, "the service runs", timeout_s, ends=False)
        if self.failure is None:
            raise Unfulfilled("the service was stopped, and gave up nothing")
        return self.failure

    async def advance(self, seconds: float) -> None:
        """Let so much time pass: none of ours in virtual time, else that long."""
        await trio.sleep(seconds)

    # -- for `running` ----------------------------------------------------------------------------

    def has_ended(self) -> None:
        """Nothing of it runs any more."""
        self._kept_letters = self.dead_letters
        self._ended.set()
        for scope in self._waits:
            scope.cancel()

    @property
    def is_over(self) -> bool:
        """Has it ended?"""
        return self._ended.is_set()

    # -- inside -----------------------------------------------------------------------------------

    @property
    def is_virtual(self) -> bool:
        """Does a wait cost no time?"""
        return self.place.memory is not None and on_a_mock_clock()

    async def until(self, found: Callable[[], T | None], what: str, timeout_s: float | None) -> T:
        """What `found` gives as soon as it is not None. `what`: the complaint when it never does."""
        __tracebackhide__ = True

        async def look() -> T:
            while (what_there_is := found()) is None:
                await self.heard.beat.wait()
            return what_there_is

        return await self.patiently(look, what, timeout_s)

    async def patiently(self, wait: Callable[[], Awaitable[T]], complaint: str, timeout_s: float | None, *, ends: bool = True) -> T:
        """`wait`, for as long as there is hope. `ends`: none when the service has ended."""
        __tracebackhide__ = True  # pytest's word: a failure is shown where the test waits, not here
        limit_s = timeout_s if timeout_s is not None else PATIENCE_S if self.is_virtual else REAL_PATIENCE_S
        with trio.move_on_after(limit_s) as scope:
            if ends:
                self._waits.add(scope)
                if self.is_over:
                    scope.cancel()  # what is there already is still found
            try:
                return await wait()
            finally:
                self._waits.discard(scope)
        passed = f"{limit_s:g} s {'of virtual time ' if self.is_virtual else ''}have passed"
        when = "the service has ended" if ends and self.is_over else passed
        raise Unfulfilled(f"{complaint}: {when}\n{self._report()}")

    def _report(self) -> str:
        link = "connected" if self.estate.link.is_up else "not connected"
        gave_up = "" if self.failure is None else f"it gave up: {type(self.failure).__name__}: {self.failure}\n"
        crashes = [each for each in self.events_of(ChildExited) if each.kind is ExitKind.CRASH]
        said = report(self.published, self.dead_letters, self.failures, list(self.recorder.unacked.values()), crashes, list(self._unheard))
        return f"{gave_up}the service is {link}\n{said}"

    async def _settled(self) -> None:
        while True:
            await self.estate.link.wait_up()
            await self.place.reached(self.recorder, self.client_id)
            await trio.testing.wait_all_tasks_blocked()
            await self.estate.table.wait_empty()
            while self._is_busy():  # noqa: ASYNC110 - see _LOOK_AGAIN_S
                await trio.sleep(_LOOK_AGAIN_S)
            await trio.testing.wait_all_tasks_blocked()
            if not len(self.estate.table) and not self._is_busy() and self.estate.link.is_up:
                return

    def _is_busy(self) -> bool:
        return any(_fill(mailbox) for mailbox in (self.estate.to_store, self.estate.outbox))

    async def _something(self) -> None:
        if self._is_busy():
            await trio.sleep(_LOOK_AGAIN_S)
        else:
            await self.heard.beat.wait()

    async def _down(self) -> None:
        while self.estate.link.is_up:
            await self.estate.link.changed.wait()


def _fill(mailbox: Any) -> int:
    there = mailbox.statistics()
    return int(there.queued + there.in_hand)
