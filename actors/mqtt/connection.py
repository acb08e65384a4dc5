"""The connection actor: one incarnation is one connection to the broker.

Connect, subscribe everything, say hello; then move packets until the link is lost (`Unavailable`: the
supervisor starts the next incarnation, with backoff, without end) or the broker refuses us (`Escalate`).

Law: it awaits no other actor. Inbound messages are bounded by the credit it granted (QoS 1) or shed (QoS 0);
what may be acknowledged it reads off the in-flight table.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

import trio

from tars.actors.contracts import DecodeError, decode_json
from tars.supervisor import Escalate, ExitReason, ExitRequest, leaves, trap_exit

from .connection_ports import Ports, refusal
from .events import DrainEnded, LinkDown, LinkUp, Qos0Shed
from .health import place_of_subscription
from .outgoing import Outgoing
from .pulse import Pulse
from .sender import Sender
from .transport import Inbound, Link, LinkLost, LinkRefused

_GOODBYE_S = 1.0
_AGAIN_S = 0.25
"""What the broker sends again, it sends right after its CONNACK, in one go: a drain that begins there waits so long for the next of it."""
_LAST_LOOK_S = 0.1


async def connection(ports: Ports, *, task_status: trio.TaskStatus[None]) -> None:
    """Run one connection. Raises `LinkLost` (an `Unavailable`) when it is over, `Escalate` when the broker refuses us."""
    request = trap_exit()
    task_status.started()  # able to take messages, in state disconnected
    epoch = ports.state.attempt()
    with trio.CancelScope() as life:
        async with trio.open_nursery() as watch:
            session = _Session(ports, epoch)
            watch.start_soon(_leave, request, session, life)
            try:
                await session.run(request)
            except* LinkRefused as refused:
                first = next(leaf for leaf in leaves(refused) if isinstance(leaf, LinkRefused))
                raise Escalate(refusal(ports.settings, first)) from refused
            watch.cancel_scope.cancel()


async def _leave(request: ExitRequest, session: _Session, life: trio.CancelScope) -> None:
    """Asked to restart, or to stop while there is no link: out at once, the broker sends again what was in hand.

    A link that is about to subscribe is one: its session's messages come, and handlers may have finished some.
    """
    await request.wait()
    if request.reason is ExitReason.RESTART or not session.linked:
        life.cancel()
    else:
        session.opening.cancel()


class _Session:
    """The pumps of one connection. Each is a loop over one direction; none waits for another actor."""

    def __init__(self, ports: Ports, epoch: int) -> None:
        self._ports = ports
        self._epoch = epoch
        self._intake = True
        self._sender = Sender(ports)
        self._order: deque[int] = deque()  # packet ids in order of arrival, for brokers that insist
        self._settled: set[int] = set()
        self._acknowledged = Pulse()
        self._told: str | None = None  # the problems the last health message named
        self.linked = False
        self.opening = trio.CancelScope()

    async def run(self, request: ExitRequest) -> None:
        began = trio.current_time()
        self._ports.filters.forget()
        self._ports.urgent.evict("stale")  # beats and health of an earlier connection
        async with self._ports.transport.connect(self._ports.settings) as link, trio.open_nursery() as pumps:
            if not link.limits.session_present:
                self._ports.table.session_lost()
                self._sender.forgotten = self._ports.state.retained.all()
            self.linked = True
            pumps.start_soon(self._receive, link)
            pumps.start_soon(self._acknowledge, link)
            opened = await self._open(link, pumps)
            with self._up(link, request, trio.current_time() - began) if opened else contextlib.nullcontext():
                for mailbox in (self._ports.urgent, self._ports.dead_letters, self._ports.outbox):
                    pumps.start_soon(self._sender.pump, link, mailbox)
                pumps.start_soon(self._follow_filters, link)  # in a drain, too: what is in hand may ask somebody
                await request.wait()
                if request.reason is ExitReason.SHUTDOWN:  # a restart is no drain: its word would send the handlers home
                    await self._wind_down(link)
                pumps.cancel_scope.cancel()

    async def _open(self, link: Link, pumps: trio.Nursery) -> bool:
        """Subscribe everything and say hello. False: asked to stop in the middle of it."""
        with self.opening:
            async with trio.open_nursery() as meanwhile:
                meanwhile.start_soon(self._expect_answer, link)
                await self._subscribe(link)
                meanwhile.cancel_scope.cancel()
            self._hello()
            pumps.start_soon(self._tell_health)
        return not self.opening.cancelled_caught

    async def _expect_answer(self, link: Link) -> None:
        """No heartbeat runs before the link is up. A broker that has much to send first is given the time."""
        patience_s = self._ports.settings.connect_timeout_s
        while True:
            await trio.sleep(max(0.0, patience_s - link.silent_s))
            await trio.sleep(_LAST_LOOK_S)  # after a loop that was blocked, what has come is read first
            if link.silent_s >= patience_s:
                raise LinkLost(f"the broker did not answer a SUBSCRIBE, and sent nothing else, for {patience_s:g} s")

    @contextlib.contextmanager
    def _up(self, link: Link, request: ExitRequest, took_s: float) -> Iterator[None]:
        ports, up_at = self._ports, trio.current_time()
        present, count = link.limits.session_present, len(ports.filters.held)
        ports.emit(LinkUp(epoch=self._epoch, protocol=ports.settings.protocol, session_present=present, filters=count, took_s=took_s))
        ports.state.up()
        reason = "closed"
        try:
            yield
        finally:
            ports.state.down()
            if request.reason is None:
                reason = "lost"
            elif request.reason is ExitReason.RESTART:
                reason = self._farewell(link)
            ports.emit(LinkDown(self._epoch, reason, trio.current_time() - up_at, len(ports.table)))

    # -- in --------------------------------------------------------------------------------------

    async def _receive(self, link: Link) -> None:
        ports = self._ports
        while True:
            shed = 0
            batch, now = await link.receive(), trio.current_time()
            for message in batch:
                if message.qos and ports.acks_in_order:
                    self._order.append(message.packet_id)
                if message.duplicate and ports.table.rejoin(message, self._epoch):
                    continue
                if not self._intake:
                    self._pass_on(message)
                    continue
                if message.qos == 0 and ports.table.qos0 >= ports.inbound_qos0:
                    shed += 1
                    continue
                ports.arrivals.send_nowait(ports.table.arrive(message, self._epoch), now=now)
            if shed:
                ports.emit(Qos0Shed(shed, ports.inbound_qos0))

    def _pass_on(self, message: Inbound) -> None:
        """In a drain: who waits for it as a reply gets it. It is never acknowledged: the broker keeps it for the next time."""
        if len(self._ports.requests):
            with contextlib.suppress(DecodeError):
                self._ports.requests.resolve(message.topic, decode_json(message.payload))

    async def _acknowledge(self, link: Link) -> None:
        while True:
            with link.burst():
                for epoch, packet_id in self._ports.table.take_acks():
                    if epoch != self._epoch:
                        continue  # of an older connection: here it would acknowledge another message
                    if self._ports.acks_in_order:
                        self._settled.add(packet_id)
                    else:
                        self._ack(link, packet_id)
                while self._order and self._order[0] in self._settled:
                    packet_id = self._order.popleft()
                    self._settled.discard(packet_id)
                    self._ack(link, packet_id)
            self._acknowledged.beat()
            await self._ports.table.changed.wait()

    def _ack(self, link: Link, packet_id: int) -> None:
        if link.ack(packet_id):
            self._ports.table.acknowledged(packet_id)

    async def _subscribe(self, link: Link) -> None:
        wanted = self._ports.filters.wanted()
        if not wanted:
            return
        self._ports.filters.ask(wanted)
        codes = await link.subscribe(wanted)
        for (topic_filter, qos), code in zip(wanted, codes, strict=True):
            event = self._ports.filters.shortfall(topic_filter, qos, code)
            self._ports.health.report(place_of_subscription(topic_filter), event.problem if event else None)
            if event is not None:
                self._ports.emit(event)
        self._ports.filters.confirm(wanted, codes)

    async def _follow_filters(self, link: Link) -> None:
        filters = self._ports.filters
        while True:
            if filters.wanted():
                await self._subscribe(link)
            elif unwanted := filters.give_up():
                await link.unsubscribe(unwanted)
                filters.drop(unwanted)
            else:  # looked at both without a wait in between: no change is missed
                await filters.changed.wait()

    # -- what the connection says of itself ------------------------------------------------------

    def _farewell(self, link: Link) -> str:
        """Perhaps we leave for good, and a DISCONNECT discards the Will: say what it would say."""
        if self._ports.health_topic.enabled:
            with contextlib.suppress(LinkLost):
                link.publish(self._ports.health_topic.message("lost", ok=False))
        return "given up"

    def _say(self, event: str) -> None:
        self._told = self._ports.health.summary()
        if self._ports.health_topic.enabled:
            self._ports.urgent.send_nowait(Outgoing(self._ports.health_topic.status(self._ports.health, event)))

    def _hello(self) -> None:
        self._say("reconnected" if self._ports.state.ups else "ready")

    async def _tell_health(self) -> None:
        while True:
            if self._ports.health.summary() != self._told:
                self._say("ready")
            else:
                await self._ports.health.changed.wait()

    # -- the orderly end -------------------------------------------------------------------------

    async def _wind_down(self, link: Link) -> None:
        """Take nothing more but replies, let what is in flight settle, let the actors stop, send what is left, say goodbye."""
        ports = self._ports
        began = trio.current_time()
        self._intake = False
        with trio.move_on_after(ports.drain_s):
            await ports.table.wait_empty()
        with trio.move_on_after(_AGAIN_S) as pause:  # what settled while there was no link comes again, to be acknowledged
            while ports.table.unacknowledged and not len(ports.table):
                await self._acknowledged.wait()
                pause.deadline = min(trio.current_time() + _AGAIN_S, began + ports.drain_s)
        with trio.move_on_at(max(began + ports.drain_s, trio.current_time() + _GOODBYE_S)):
            await ports.drain.give_word()
        last_at = trio.current_time() + _GOODBYE_S
        await self._sender.until_sent(last_at)  # first what the actors say, then that nobody is here any more
        if ports.health_topic.enabled:
            ports.urgent.send_nowait(Outgoing(ports.health_topic.message("shutdown", ok=False)))
        await self._sender.until_sent(max(last_at, trio.current_time() + _GOODBYE_S / 4))
        with trio.move_on_at(last_at):
            await link.flush()
        ports.emit(DrainEnded(len(ports.table), self._sender.unsent, trio.current_time() - began))
