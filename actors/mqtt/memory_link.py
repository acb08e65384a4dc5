"""The client's end of an in-memory connection, as the port's `Link`.

Law: what the client says reaches the broker at once and in order; what the broker says is heard no earlier than the
next turn of the loop, as over a socket: a confirmation never runs inside the `publish` it confirms. A link that has
ended calls no confirmation.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import attrs
import trio

from .aiomqtt_packets import check_publish, encode_publish_properties
from .aiomqtt_reasons import End
from .topics import validate_filter
from .transport import ConnectSettings, Inbound, OnConfirmed, Outbound, ServerLimits

_PACKET_IDS = 65_535


@attrs.define
class _Answer:
    """What a SUBSCRIBE or UNSUBSCRIBE waits for."""

    arrived: trio.Event = attrs.Factory(trio.Event)
    codes: tuple[int, ...] | None = None


class Server(Protocol):
    """What a link says to its broker: one method per packet."""

    def take_publish(self, link: MemoryLink, message: Outbound, packet_id: int) -> None:
        """PUBLISH; answered with `hear_puback` unless `packet_id` is 0."""
        ...

    def take_ack(self, link: MemoryLink, packet_id: int) -> None:
        """PUBACK."""
        ...

    def take_subscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[tuple[str, int]]) -> None:
        """SUBSCRIBE; answered with `hear_answer`."""
        ...

    def take_unsubscribe(self, link: MemoryLink, packet_id: int, filters: Sequence[str]) -> None:
        """UNSUBSCRIBE; answered with `hear_answer`."""
        ...

    def take_goodbye(self, link: MemoryLink) -> None:
        """DISCONNECT."""
        ...


class MemoryLink:
    """See `Link`. Made by `MemoryBroker`; an error raised by a confirmation ends the whole run, loudly."""

    def __init__(self, server: Server, settings: ConnectSettings) -> None:
        self.settings = settings
        self.is_5 = settings.protocol == "5"
        self.where = f"{settings.host}:{settings.port}"
        self.limits = ServerLimits(session_present=False)
        self.end: End | None = None
        self.answered = trio.Event()
        """Set when the attempt to connect has come to something: see `end`."""
        self._server = server
        self._loop = trio.lowlevel.current_trio_token()
        self._inbox: list[Inbound] = []
        self._arrived = trio.Event()
        self._last_id = 0
        self._unconfirmed: dict[int, OnConfirmed | None] = {}
        self._pubacks: list[tuple[int, int]] = []
        self._answers: dict[int, _Answer] = {}
        self._heard_at = trio.current_time()

    # -- what actors call -------------------------------------------------------------------------

    @property
    def silent_s(self) -> float:
        """See `Link.silent_s`."""
        return trio.current_time() - self._heard_at

    async def receive(self) -> Sequence[Inbound]:
        """See `Link.receive`."""
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            self._check_alive()
            self._arrived = trio.Event()
            await self._arrived.wait()
        batch, self._inbox = self._inbox, []
        return batch

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> Sequence[int]:
        """See `Link.subscribe`. Raises ValueError for a filter or QoS that cannot be."""
        if not filters or any(qos not in {0, 1} for _, qos in filters):
            raise ValueError(f"there must be a filter, and qos is 0 or 1: {filters!r}")
        for topic_filter, _ in filters:
            validate_filter(topic_filter)
        self._check_alive()
        packet_id, answer = self._ask()
        self._server.take_subscribe(self, packet_id, tuple(filters))
        return await self._answer(packet_id, answer)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """See `Link.unsubscribe`."""
        self._check_alive()
        packet_id, answer = self._ask()
        self._server.take_unsubscribe(self, packet_id, tuple(filters))
        await self._answer(packet_id, answer)

    def publish(self, message: Outbound, on_confirmed: OnConfirmed | None = None) -> None:
        """See `Link.publish`."""
        self._check_alive()
        check_publish(message, self.limits, encode_publish_properties(message) if self.is_5 else b"")
        packet_id = 0
        if message.qos:
            packet_id = self._free_id()
            self._unconfirmed[packet_id] = on_confirmed
        self._server.take_publish(self, message, packet_id)

    def ack(self, packet_id: int) -> bool:
        """See `Link.ack`."""
        if self.end is not None:
            return False
        self._server.take_ack(self, packet_id)
        return True

    def burst(self) -> AbstractContextManager[None]:
        """See `Link.burst`: there is no buffer between the two ends."""
        return nullcontext()

    async def flush(self) -> None:
        """See `Link.flush`: there is no buffer between the two ends."""
        await trio.lowlevel.checkpoint()
        self._check_alive()

    # -- what the broker calls --------------------------------------------------------------------

    def hear_connack(self, limits: ServerLimits) -> None:
        """The connection stands."""
        self._heard_at = trio.current_time()
        self.limits = limits
        self.answered.set()

    def hear_publish(self, packet: Inbound) -> None:
        """A PUBLISH has arrived."""
        self._heard_at = trio.current_time()
        if self.end is None:
            self._inbox.append(packet)
            self._arrived.set()

    def hear_puback(self, packet_id: int, code: int) -> None:
        """The broker has the message, or will not have it (`code` >= 0x80)."""
        self._heard_at = trio.current_time()
        if self.end is None:
            if not self._pubacks:
                self._loop.run_sync_soon(self._confirm)
            self._pubacks.append((packet_id, code))

    def hear_answer(self, packet_id: int, codes: tuple[int, ...] = ()) -> None:
        """SUBACK or UNSUBACK."""
        self._heard_at = trio.current_time()
        answer = self._answers.get(packet_id)
        if self.end is None and answer is not None:
            answer.codes = codes
            answer.arrived.set()

    def finish(self, end: End) -> None:
        """The connection is over. The first reason stands; everybody who waits is woken."""
        if self.end is not None:
            return
        self.end = end
        self._unconfirmed.clear()
        self._pubacks.clear()
        self.answered.set()
        self._arrived.set()
        for answer in self._answers.values():
            answer.arrived.set()

    def close(self) -> None:
        """Say goodbye, if there is somebody to say it to."""
        if self.end is None:
            self._server.take_goodbye(self)
            self.finish(End(f"the connection to {self.where} was closed by this side"))

    # -- inside -----------------------------------------------------------------------------------

    def _check_alive(self) -> None:
        if self.end is not None:
            raise self.end.error()

    def _confirm(self) -> None:
        batch, self._pubacks = self._pubacks, []
        for packet_id, code in batch:
            # A confirmation may publish, or end the link.
            on_confirmed = self._unconfirmed.pop(packet_id, None)
            if on_confirmed is not None:
                on_confirmed(code)

    def _ask(self) -> tuple[int, _Answer]:
        packet_id = self._free_id()
        answer = self._answers[packet_id] = _Answer()
        return packet_id, answer

    async def _answer(self, packet_id: int, answer: _Answer) -> tuple[int, ...]:
        try:
            await answer.arrived.wait()
        finally:
            del self._answers[packet_id]
        if answer.codes is None:
            self._check_alive()
        return answer.codes or ()

    def _free_id(self) -> int:
        if len(self._unconfirmed) + len(self._answers) >= _PACKET_IDS:
            raise ValueError(f"all {_PACKET_IDS} packet ids are unconfirmed: keep to limits.receive_maximum")
        while True:
            self._last_id = self._last_id % _PACKET_IDS + 1
            if self._last_id not in self._unconfirmed and self._last_id not in self._answers:
                return self._last_id
