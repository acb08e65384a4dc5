"""The sending half of one connection: three mailboxes, one window.

Law: what is not confirmed when the link ends goes back to the head of its mailbox, in order. A publish that ends the link
itself would do so for ever, and nobody would be heard any more; so one that came back from `TOGETHER` links goes out alone, and
when `ALONE` more have ended before it was confirmed, it is a dead letter. Not so what is like what the broker has taken before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from tars.supervisor import Custody, Mailbox, Taken

from .connection_ports import Ports
from .dead_letter import Why
from .outgoing import Outgoing
from .pulse import Pulse
from .transport import FAILURE, Link, Outbound

TOGETHER: Final = 2
ALONE: Final = 3
_BURST: Final = 256


class Sender:
    """What goes out on one connection. `forgotten`: our retained messages that the broker may not have any more; set before the pumps."""

    def __init__(self, ports: Ports) -> None:
        self.forgotten: Sequence[Outbound] = ()
        self._ports = ports
        self._unconfirmed = 0
        self._alone = False  # one that may end the link is on its way
        self._moved = Pulse()  # something was confirmed, or sent

    async def pump(self, link: Link, mailbox: Mailbox[Outgoing]) -> None:
        """Publish from `mailbox`, without end."""
        window, urgent = max(1, link.limits.receive_maximum), self._ports.urgent
        if mailbox is self._ports.outbox:
            await self._tell_again(link, window)
        async with mailbox.custody() as custody:
            while True:
                await custody.wait()
                while self._unconfirmed >= window or (mailbox is not urgent and (self._alone or len(urgent))):
                    await self._moved.wait()
                batch = custody.receive_nowait(min(_BURST, window - self._unconfirmed))
                if batch and batch[0].attempt > TOGETHER:  # who came back most often stands in front
                    await self._send_carefully(link, custody, batch)
                else:
                    with link.burst():
                        for taken in batch:
                            self._publish(link, custody, taken)
                self._moved.beat()  # what is urgent is through: the rest may go on
                if len(mailbox):
                    await trio.lowlevel.checkpoint()

    @property
    def unsent(self) -> int:
        """How many wait to be sent, or for their confirmation."""
        boxes = (self._ports.urgent, self._ports.dead_letters, self._ports.outbox)
        return sum(box.statistics().queued + box.statistics().in_hand for box in boxes)

    async def until_sent(self, last_at: float) -> None:
        """Return when nothing is unsent, or at `last_at`."""
        with trio.move_on_at(last_at):
            while self.unsent:
                await self._moved.wait()

    async def _tell_again(self, link: Link, window: int) -> None:
        """Before anything newer."""

        def confirmed(_code: int) -> None:
            self._unconfirmed -= 1
            self._moved.beat()

        for message in self.forgotten:
            while self._unconfirmed >= window or len(self._ports.urgent):
                await self._moved.wait()
            try:
                link.publish(message, confirmed if message.qos else None)
                self._unconfirmed += bool(message.qos)
            except ValueError as impossible:  # it was possible before: the broker's limits are others now
                self._ports.state.retained.forget(message)
                self._ports.letters.outbound(Outgoing(message), Why.REFUSED, impossible)

    async def _send_carefully(self, link: Link, custody: Custody[Outgoing], batch: Sequence[Taken[Outgoing]]) -> None:
        for taken in batch:
            if taken.attempt > TOGETHER and not self._ports.state.proven.vouches_for(taken.item.message):
                await self._send_alone(link, custody, taken)
            else:
                self._publish(link, custody, taken)

    async def _send_alone(self, link: Link, custody: Custody[Outgoing], taken: Taken[Outgoing]) -> None:
        """Publish it when everything else is confirmed, and wait until it is."""
        while self._unconfirmed or self._alone:
            await self._moved.wait()
        if taken.attempt > TOGETHER + ALONE:
            self._ports.state.retained.forget(taken.item.message)
            why = f"the connection ended {taken.attempt - 1} times before it was confirmed, {ALONE} times with nothing else on its way"
            self._give_up(custody, taken, Why.REFUSED, why)
            return
        self._alone = True
        try:
            self._publish(link, custody, taken)
            while taken in custody.in_hand:
                await self._moved.wait()
        finally:
            self._alone = False
            self._moved.beat()

    def _publish(self, link: Link, custody: Custody[Outgoing], taken: Taken[Outgoing]) -> None:
        outgoing, now = taken.item, trio.current_time
        if outgoing.expires_at is not None and outgoing.expires_at <= now():
            self._give_up(custody, taken, Why.EXPIRED, "expired before it could be sent")
            return

        def confirmed(code: int) -> None:
            self._unconfirmed -= 1
            if taken not in custody.in_hand:
                return  # it has gone back to the mailbox and will be sent again
            if code >= FAILURE:
                self._give_up(custody, taken, Why.REFUSED, f"the broker refused it (code {code:#x})")
            else:
                self._ports.state.proven.took(outgoing.message)
                custody.done(taken)
                outgoing.on_settled()
            self._moved.beat()

        try:
            if outgoing.message.qos:
                link.publish(outgoing.to_send(now), confirmed)
                custody.begin(taken)
                self._unconfirmed += 1
            else:
                link.publish(outgoing.to_send(now))
                custody.done(taken)
                outgoing.on_settled()
                self._moved.beat()
        except ValueError as impossible:
            self._give_up(custody, taken, Why.REFUSED, impossible)
            return
        if outgoing.actor:  # what the connection says of itself, it says anew on each
            self._ports.state.retained.told(outgoing.message)

    def _give_up(self, custody: Custody[Outgoing], taken: Taken[Outgoing], why: Why, error: BaseException | str) -> None:
        custody.done(taken)
        self._ports.letters.outbound(taken.item, why, error)
        self._moved.beat()
