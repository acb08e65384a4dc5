"""The mailbox against a pure model of itself: any list of commands, compared after every step (B4)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import case
from support.sim import sim
from support.sim_world import Sim
from tars.supervisor import Mailbox, MailboxClosed, MailboxFull, Overflow


class Crash(Exception):
    """The reader dies."""


@attrs.frozen
class Send:
    """`count` messages arrive."""

    count: int


@attrs.frozen
class Serve:
    """A reader takes up to `most`, begins `begun`, finishes those at `finished`; `arriving` come meanwhile; it dies or leaves."""

    most: int
    begun: int
    finished: frozenset[int]
    arriving: int
    dies: bool


@attrs.frozen
class Close:
    """The actor will never come back."""


COMMANDS = st.lists(
    st.one_of(
        st.builds(Send, st.integers(1, 6)),
        st.builds(Serve, st.integers(1, 6), st.integers(0, 6), st.frozensets(st.integers(0, 5)), st.integers(0, 3), st.booleans()),
        st.just(Close()),
    ),
    max_size=25,
)


@attrs.define
class Model:
    """The mailbox as it should be: plain lists of (item, attempt)."""

    capacity: float
    overflow: Overflow
    queued: list[tuple[int, int]] = attrs.field(factory=list)
    done: list[int] = attrs.field(factory=list)
    evicted: list[tuple[int, str]] = attrs.field(factory=list)
    accepted: int = 0
    closed: bool = False
    refused: list[str] = attrs.field(factory=list)

    def send(self, item: int) -> None:
        if self.closed:
            self.refused.append("closed")
        elif len(self.queued) < self.capacity:
            self.accepted += 1
            self.queued.append((item, 1))
        elif self.overflow is Overflow.BLOCK:
            self.refused.append("full")
        else:
            self.accepted += 1
            if self.overflow is Overflow.DROP_OLDEST:
                self.queued.append((item, 1))
                item, _ = self.queued.pop(0)
            self.evicted.append((item, "overflow"))

    def take(self, most: int) -> list[tuple[int, int]]:
        taken, self.queued = self.queued[:most], self.queued[most:]
        return taken

    def give_back(self, taken: Sequence[tuple[int, int]], begun: int, finished: set[int]) -> None:
        """What is not finished returns to the head; or leaves, when the mailbox was closed meanwhile."""
        back = [(item, attempt + (index < begun)) for index, (item, attempt) in enumerate(taken) if index not in finished]
        self.done += [taken[index][0] for index in sorted(finished)]
        self.queued = back + self.queued

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.evicted += [(item, "gone") for item, _ in self.queued]
            self.queued = []


@attrs.define
class Comparison:
    """A mailbox and its model, fed the same commands."""

    mailbox: Mailbox[int]
    model: Model
    evicted: list[tuple[int, str]]
    done: list[int] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    sent: int = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            self.model.send(self.sent)
            try:
                self.mailbox.send_nowait(self.sent)
            except MailboxFull:
                self.refused.append("full")
            except MailboxClosed:
                self.refused.append("closed")

    async def serve(self, order: Serve) -> None:
        if not self.model.queued:
            return
        expected = self.model.take(order.most)
        finished: set[int] = set()
        with contextlib.suppress(Crash):
            async with self.mailbox.receive_batch(order.most) as batch:
                self.check(in_hand=len(expected))
                assert len(expected) == len(batch)

                for index, taken in zip(range(order.begun), batch, strict=False):
                    assert expected[index] == (taken.item, taken.attempt)

                    if index in order.finished:
                        batch.done(taken)
                        self.done.append(taken.item)
                        finished.add(index)
                self.send(order.arriving)
                if order.dies:
                    raise Crash
        self.model.give_back(expected, order.begun, finished)

    def close(self) -> None:
        self.mailbox.close("gone")
        self.model.close()

    def check(self, in_hand: int = 0) -> None:
        model, now = self.model, self.mailbox.statistics()
        expected = (model.accepted, len(model.done), len(model.evicted), len(model.queued), in_hand)

        assert expected == (now.accepted, now.done, now.evicted, now.queued, now.in_hand)
        assert now.accepted == now.done + now.in_hand + now.evicted + now.queued
        assert (model.evicted, model.done, model.refused) == (self.evicted, self.done, self.refused)


@case("B4")
@given(st.one_of(st.integers(1, 5), st.just(math.inf)), st.sampled_from(Overflow), COMMANDS)
@settings(deadline=None)
def test_it_behaves_as_the_model_and_its_counters_balance(
    capacity: float, overflow: Overflow, commands: list[Send | Serve | Close]
) -> None:
    """Accepted = done + in hand + evicted + queued, after every single step."""

    async def run(world: Sim) -> None:
        evicted: list[tuple[int, str]] = []
        mailbox: Mailbox[int] = world.mailbox(capacity, overflow, on_evicted=lambda item, reason: evicted.append((item, reason)))
        both = Comparison(mailbox, Model(capacity, overflow), evicted)
        for command in commands:
            match command:
                case Send(count):
                    both.send(count)
                case Serve():
                    await both.serve(command)
                case Close():
                    both.close()
            both.check()

    sim(0, run)
