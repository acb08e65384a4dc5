"""The link of a service, for a trio program that is none: publish, subscribe, and never think of the connection.

    async with Connector("mqtt://broker", client_id="cascade-7") as link:
        link.publish("telemetry/events", {"run_id": "7"}, qos=1)
        subscription = await link.subscribe("control/#", on_control, qos=1)

It stands on a service's own actors, in two small trees inside the block. The link stops first: it drains.

    callbacks   one_for_one    letters (takes what nobody will handle), one handler per callback
    link        rest_for_one   dispatcher; broker, one_for_all: connection, heartbeat

Law: what the broker or the network does is nobody's exception. One thing ends the block: a broker that refuses us for
good (`LinkRefused`). `publish` neither waits nor raises, and no callback can reach the link, another callback or the program.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Final, Self

import attrs
import structlog
import trio

from tars.supervisor import (
    ActorStopped,
    ChildExited,
    ChildStuck,
    Escalate,
    Event,
    IntensityExceeded,
    Refused,
    RestartIntensityExceeded,
    RestartScheduled,
    Supervisor,
    SupervisorSpec,
    leaves,
    supervise,
)
from tars.supervisor.render import event_logger
from tars.supervisor.structure import within

from .connector_estate import ConnectorEstate, Entry, Options
from .connector_parts import Callback, Calls, ConnectorClosed, ConnectorStatistics, StatusTopic, check_callback, name_of, outbound
from .connector_retained import catch_up
from .connector_tree import callback_child, callback_tree, keepalive_topic, link_tree
from .contracts import EncodeError
from .mqtt.aiomqtt_transport import AiomqttTransport
from .mqtt.topics import validate_filter, validate_topic
from .mqtt.transport import LinkRefused, Outbound, Transport
from .settings import HeartbeatSettings, MqttSettings
from .url import parse_mqtt_url

__all__ = ["Callback", "Connector", "ConnectorClosed", "ConnectorStatistics", "LinkRefused", "Subscription"]

_OF_THE_LINK: Final = (ChildExited, RestartScheduled, ChildStuck, IntensityExceeded)
_OF_THE_CALLBACKS: Final = (ChildStuck, IntensityExceeded)  # a failure has been told by then, with its message


@attrs.frozen(eq=False)
class Subscription:
    """One callback on one filter, made by `Connector.subscribe`."""

    topic_filter: str
    qos: int
    _unsubscribe: functools.partial[None] = attrs.field(repr=False)

    def unsubscribe(self) -> None:
        """The callback is not called again; a call in progress runs to its end. At once, whatever the link does; twice is once."""
        self._unsubscribe()


@attrs.define(eq=False)
class Connector:
    """See the module. ``async with`` it once.

    `source` None: the client id. ``{source}`` in `status_topic` is filled in. `mqtt` and `heartbeat` are the tables of a
    service's config (their `url` and `client_id` are not looked at): `mqtt.outbox` bounds what waits to be sent, the oldest
    goes first. `drain_s`: what leaving the block may wait for publishes and callbacks; the goodbye may take 4 s more.
    `mailbox`: messages that may wait for one callback for longer than `overflow_after_s`; more are dropped, the oldest first.
    `emit` gets events, by default the log. Raises `UrlError`, `TopicError`, `Mismatch` (all ValueErrors).
    """

    url: str = attrs.field(repr=False)
    client_id: str = attrs.field(kw_only=True)
    source: str | None = attrs.field(default=None, kw_only=True)
    status_topic: str = attrs.field(default="cascade/status/{source}", kw_only=True)
    transport: Transport = attrs.field(factory=AiomqttTransport, kw_only=True)
    mqtt: MqttSettings = attrs.field(factory=MqttSettings, kw_only=True)
    heartbeat: HeartbeatSettings = attrs.field(factory=HeartbeatSettings, kw_only=True)
    drain_s: float = attrs.field(default=5.0, kw_only=True, validator=within(ge=0))
    mailbox: int = attrs.field(default=64, kw_only=True, validator=within(ge=1))
    overflow_after_s: float = attrs.field(default=1.0, kw_only=True, validator=within(ge=0))
    emit: Callable[[object], None] | None = attrs.field(default=None, kw_only=True)
    _estate: ConnectorEstate = attrs.field(init=False, repr=False)
    _block: AbstractAsyncContextManager[None] | None = attrs.field(default=None, init=False, repr=False)
    _nursery: trio.Nursery = attrs.field(init=False, repr=False)
    _callbacks: Supervisor = attrs.field(init=False, repr=False)
    _link: Supervisor = attrs.field(init=False, repr=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False, repr=False)  # None: not open
    _failure: Escalate | RestartIntensityExceeded | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        source = self.client_id if self.source is None else self.source
        validate_topic(keepalive_topic(self.client_id))
        name = self.status_topic.replace("{source}", source)
        validate_topic(name)
        options = Options(
            url=parse_mqtt_url(self.url),
            client_id=self.client_id,
            status=StatusTopic(client_id=self.client_id, source=source, name=name),
            mqtt=self.mqtt,
            heartbeat=self.heartbeat,
            drain_s=self.drain_s,
            mailbox=self.mailbox,
            overflow_after_s=self.overflow_after_s,
        )
        self._estate = ConnectorEstate(options, self.emit or event_logger(structlog.get_logger()))

    # -- the block --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Return at once, in state disconnected. Raises RuntimeError the second time."""
        if self._block is not None:
            raise RuntimeError("a connector's block is entered once; make another one")
        self._block = self._opened()
        await self._block.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        """Send what was published, say goodbye. Raises `LinkRefused` when the broker refused us, meanwhile or before."""
        if self._block is None:
            raise RuntimeError("this block was not entered")
        try:
            if self._nursery.cancel_scope.cancel_called:  # by us, or by a callback's KeyboardInterrupt: the body was cancelled
                return await self._block.__aexit__(kind, error, trace)
            await self._block.__aexit__(None, None, None)  # the body's own exception stays what it is, in no group
            return None
        finally:
            if self._failure is not None:
                raise _refusal(self._failure)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self._nursery:
            with trio.CancelScope(shield=True):  # waits for nothing outside
                self._callbacks = await self._nursery.start(self._run, callback_tree(self._estate), _OF_THE_CALLBACKS)
                self._link = await self._nursery.start(self._run, link_tree(self._estate, self.transport), _OF_THE_LINK)
            self._nursery.start_soon(self._estate.early.wait)
            self._token = trio.lowlevel.current_trio_token()
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._close()
                self._nursery.cancel_scope.cancel()

    async def _run(self, spec: SupervisorSpec, told: tuple[type, ...], *, task_status: trio.TaskStatus[Supervisor]) -> None:
        def emit(event: Event) -> None:
            if isinstance(event, told) and not (isinstance(event, ChildExited) and event.asked):
                self._estate.tell(event)

        try:
            with trio.CancelScope(shield=True):  # `_close` ends it, however the block ends: a cancelled program says goodbye too
                await supervise(spec, emit, task_status=task_status)
        except (Escalate, RestartIntensityExceeded) as failure:
            self._failure = failure
            self._nursery.cancel_scope.cancel()

    async def _close(self) -> None:
        """However the block ends: a little time for what is on its way, then the link says goodbye, then the callbacks go."""
        estate = self._estate
        with trio.move_on_after(0 if self._failure else self.drain_s):
            while estate.statistics().queued:
                await estate.moved.wait()
            while len(estate.table) > len(estate.early):  # what is held stays with the broker
                await estate.table.changed.wait()
        await self._link.stop()
        self._token = None
        estate.outbox.close("closed")
        await self._callbacks.stop()

    # -- publish ----------------------------------------------------------------------------------

    def publish(self, topic: str, data: object, *, qos: int = 1, retain: bool = False) -> None:
        """Send `data` as JSON, or bytes as they are (``b""`` with `retain` clears a topic). From any thread.

        Neither waits nor raises: what cannot be sent yet waits in the outbox, what never can is counted and told.
        """
        try:
            message = outbound(topic, data, qos, retain=retain)
        except (EncodeError, ValueError, TypeError, RecursionError) as error:
            self._estate.drop("unsendable", topic, error)
            return
        token = self._token
        if token is None:
            self._estate.drop("closed", topic, "the connector's block is not entered, or was left")
        elif trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is token:
            self._estate.put(message)
        else:
            try:
                token.run_sync_soon(self._put, message)
            except trio.RunFinishedError:
                self._estate.drop("closed", topic, "the program's trio run has ended")

    def _put(self, message: Outbound) -> None:
        if self._token is None:
            self._estate.drop("closed", message.topic, "the connector's block was left")
        else:
            self._estate.put(message)

    def statistics(self) -> ConnectorStatistics:
        """See `ConnectorStatistics`."""
        return self._estate.statistics()

    # -- subscribe --------------------------------------------------------------------------------

    async def subscribe(self, topic_filter: str, callback: Callback, *, qos: int = 1) -> Subscription:
        """Have ``await callback(topic, data)`` called for what matches, one message at a time, until `Subscription.unsubscribe`.

        While there is no connection it returns at once (see `ready`); else when the callback has had what is retained.
        Cancelled, it has subscribed nothing. Raises `TopicError`, ValueError (QoS 2), TypeError (no async function) and
        `ConnectorClosed`.
        """
        if qos not in (0, 1):
            raise ValueError(f"qos must be 0 or 1, got {qos!r}: the client library acknowledges QoS 2 before a callback sees it")
        validate_filter(topic_filter)
        check_callback(callback)
        if self._token is None:
            raise ConnectorClosed(f"cannot subscribe {topic_filter!r}: the connector's block is not entered, or was left")
        entry = self._estate.add(topic_filter, qos, Calls(callback), name_of(callback))
        subscription = Subscription(topic_filter, qos, functools.partial(self._unsubscribe, entry))
        try:
            with trio.CancelScope(shield=True):  # quick: a handler starts without waiting for anything
                await self._callbacks.start_child(callback_child(self._estate, entry))
            await catch_up(self._estate, [entry])
        except BaseException:
            subscription.unsubscribe()
            raise
        return subscription

    async def ready(self) -> None:
        """Return when the link is up and every callback has had what is retained on its topics. Waits for as long as it takes.

        With a subscription made, it says that the first ones are: what the broker kept for others is no longer held for them.
        """
        while True:
            await self._estate.link.wait_up()
            entries = list(self._estate.entries.values())
            if entries and self._estate.early.release():  # once around: the broker's window is open again
                await catch_up(self._estate, entries)
            if await catch_up(self._estate, entries):
                return

    def _unsubscribe(self, entry: Entry) -> None:
        if self._estate.remove(entry) and self._token is not None:
            self._nursery.start_soon(self._retire, entry)

    async def _retire(self, entry: Entry) -> None:
        while entry.box.mailbox.statistics().in_hand:
            await self._estate.table.changed.wait()
        with suppress(ActorStopped, Refused):  # the block is being left, or it never started
            await self._callbacks.terminate_child(entry.box.name)
            await self._callbacks.delete_child(entry.box.name)


def _refusal(failure: Escalate | RestartIntensityExceeded) -> Exception:
    """What leaves the block: the broker's refusal in its own words. Anything else is a fault in here, and goes as it is."""
    refused = [leaf for leaf in leaves(failure.__cause__) if isinstance(leaf, LinkRefused)] if failure.__cause__ is not None else []
    if isinstance(failure, Escalate) and refused:
        error = LinkRefused(str(failure.reason), code=refused[0].code, hint=refused[0].hint)
        error.__cause__ = failure
        return error
    return failure
