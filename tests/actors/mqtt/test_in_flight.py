"""The in-flight table: a delivery is acknowledged once for each arrival, after everything it owes, and never before."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tars.actors.mqtt.in_flight import Delivery, InFlight
from tars.actors.mqtt.transport import Inbound


@attrs.define(eq=False)
class Table:
    """A table, and what it said was settled."""

    settled: list[Delivery] = attrs.field(factory=list)
    table: InFlight = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.table = InFlight(self.settled.append)

    def arrive(self, packet_id: int = 1, *, epoch: int = 1, qos: int = 1) -> Delivery:
        return self.table.arrive(Inbound("t", b"x", qos, packet_id=packet_id if qos else 0), epoch)

    def admitted(self, packet_id: int = 1, *, epoch: int = 1) -> Delivery:
        delivery = self.arrive(packet_id, epoch=epoch)
        assert self.table.admit(delivery, f"k{packet_id}", ())
        return delivery


@pytest.fixture
def it() -> Table:
    return Table()


def test_a_message_for_nobody_is_settled_at_its_dispatch(it: Table) -> None:
    delivery = it.admitted(7)

    assert [] == it.table.take_acks()
    it.table.dispatch(delivery)

    assert [(1, 7)] == it.table.take_acks()
    assert [] == it.table.take_acks()
    assert 0 == len(it.table)


def test_it_waits_for_every_handler_and_for_the_dispatch_itself(it: Table) -> None:
    delivery = it.admitted()
    it.table.owe(delivery, "s1")
    it.table.finish(delivery, "s1", success=True)

    assert [] == it.table.take_acks()
    it.table.owe(delivery, "s2")
    it.table.dispatch(delivery)

    assert [] == it.table.take_acks()
    it.table.finish(delivery, "s2", success=False)

    assert [(1, 1)] == it.table.take_acks()
    assert ({"s1"}, {"s1", "s2"}) == (delivery.succeeded, delivery.given)


def test_it_waits_for_every_debt(it: Table) -> None:
    delivery = it.admitted()
    it.table.owe(delivery, "s1")
    it.table.dispatch(delivery)
    it.table.hold(delivery)
    it.table.hold(delivery)
    it.table.finish(delivery, "s1", success=True)
    it.table.release(delivery)

    assert [] == it.table.take_acks()
    it.table.release(delivery)

    assert [(1, 1)] == it.table.take_acks()


def test_the_owner_hears_of_it_before_it_is_acknowledged() -> None:
    acks_then: list[Any] = []
    table = InFlight(lambda _: acks_then.append(table.take_acks()))
    delivery = table.arrive(Inbound("t", b"", 1, packet_id=1), 1)
    table.admit(delivery, "k", ())
    table.dispatch(delivery)

    assert [[]] == acks_then
    assert [(1, 1)] == table.take_acks()


def test_the_same_message_in_flight_joins_the_first_and_both_arrivals_are_acknowledged(it: Table) -> None:
    first, again = it.arrive(1, epoch=1), it.arrive(1, epoch=2)

    assert it.table.admit(first, "k", ())
    assert not it.table.admit(again, "k", ())
    assert 1 == len(it.table)
    it.table.dispatch(first)

    assert [(1, 1), (2, 1)] == it.table.take_acks()
    assert [first] == it.settled


def test_admitting_it_twice_does_not_join_it_to_itself(it: Table) -> None:
    delivery = it.admitted(1)

    assert it.table.admit(delivery, "k1", ())
    it.table.dispatch(delivery)

    assert [(1, 1)] == it.table.take_acks()


def test_a_settled_message_that_comes_again_is_a_message_again(it: Table) -> None:
    it.table.dispatch(it.admitted(1))
    again = it.admitted(1)
    it.table.dispatch(again)

    assert [(1, 1), (1, 1)] == it.table.take_acks()


def test_what_is_not_recorded_is_joined_by_nobody(it: Table) -> None:
    one, other = it.arrive(1), it.arrive(2)
    one.recorded = other.recorded = False

    assert it.table.admit(one, "k", ())
    assert it.table.admit(other, "k", ())


def test_qos_0_is_counted_while_it_is_in_flight_and_never_acknowledged(it: Table) -> None:
    one, joined = it.arrive(qos=0), it.arrive(qos=0)

    assert 2 == it.table.qos0
    it.table.admit(one, "k", ())
    it.table.admit(joined, "k", ())

    assert 1 == it.table.qos0
    it.table.dispatch(one)

    assert (0, []) == (it.table.qos0, it.table.take_acks())


def test_finishing_or_releasing_after_the_settlement_changes_nothing(it: Table) -> None:
    delivery = it.admitted()
    it.table.dispatch(delivery)
    it.table.take_acks()
    it.table.hold(delivery)
    it.table.release(delivery)
    it.table.finish(delivery, "s1", success=True)

    assert [] == it.table.take_acks()
    assert [delivery] == it.settled


# -- sent again after a link loss -----------------------------------------------------------------


def again(packet_id: int = 1, payload: bytes = b"x", *, duplicate: bool = True) -> Inbound:
    return Inbound("t", payload, 1, packet_id=packet_id, duplicate=duplicate)


def test_a_redelivery_of_what_is_in_flight_joins_it(it: Table) -> None:
    delivery = it.admitted(1)

    assert it.table.rejoin(again(), 2)
    it.table.dispatch(delivery)

    assert [(1, 1), (2, 1)] == it.table.take_acks()


def test_a_redelivery_of_what_has_settled_meanwhile_is_acknowledged_at_once(it: Table) -> None:
    it.table.dispatch(it.admitted(1))
    it.table.take_acks()

    assert it.table.rejoin(again(), 2)
    assert [(2, 1)] == it.table.take_acks()
    assert 1 == len(it.settled)


def test_what_joined_by_its_key_is_known_by_its_own_packet_id_too(it: Table) -> None:
    first, other = it.arrive(1), it.arrive(2)
    it.table.admit(first, "k", ())
    it.table.admit(other, "k", ())

    assert it.table.rejoin(again(2), 2)
    it.table.dispatch(first)

    assert [(1, 1), (1, 2), (2, 2)] == it.table.take_acks()


@pytest.mark.parametrize(
    "inbound",
    [
        pytest.param(again(duplicate=False), id="not marked as sent again"),
        pytest.param(again(payload=b"other"), id="another message under the packet id"),
        pytest.param(again(2), id="another packet id"),
        pytest.param(Inbound("t", b"x", 0, duplicate=True), id="QoS 0"),
    ],
)
def test_what_is_another_message_does_not_rejoin(it: Table, inbound: Inbound) -> None:
    it.admitted(1)

    assert not it.table.rejoin(inbound, 2)


@pytest.mark.parametrize("forget", ["acknowledged", "session_lost"])
def test_an_acknowledged_packet_id_or_a_lost_session_means_nothing_any_more(it: Table, forget: str) -> None:
    it.admitted(1)
    if forget == "acknowledged":
        it.table.acknowledged(1)
    else:
        it.table.session_lost()

    assert not it.table.rejoin(again(), 2)


class AnyOrder(RuleBasedStateMachine):
    """Whatever the order of events: each arrival's token comes out once, and not before its delivery owes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.it = Table()
        self.now = 0
        self.tokens: set[tuple[int, int]] = set()
        self.acked: list[tuple[int, int]] = []
        self.waiting: list[Delivery] = []  # arrived, not admitted
        self.live: dict[Delivery, list[tuple[int, int]]] = {}
        self.owed: dict[Delivery, list[str]] = {}
        self.debts: dict[Delivery, int] = {}
        self.dispatched: set[Delivery] = set()

    @rule(epoch=st.integers(1, 3))
    def arrive(self, epoch: int) -> None:
        self.now += 1
        self.waiting.append(self.it.arrive(self.now, epoch=epoch))
        self.tokens.add((epoch, self.now))

    @precondition(lambda self: self.waiting)
    @rule(key=st.sampled_from("ab"))
    def admit(self, key: str) -> None:
        delivery = self.waiting.pop(0)
        mine = list(delivery.tokens)
        if self.it.table.admit(delivery, key, ()):
            self.live[delivery], self.owed[delivery], self.debts[delivery] = mine, [], 0
        else:
            (first,) = [each for each in self.live if each.key == key]
            self.live[first] += mine

    @precondition(lambda self: set(self.live) - self.dispatched)
    @rule(data=st.data(), subscriptions=st.integers(0, 2), debts=st.integers(0, 2))
    def dispatch(self, data: st.DataObject, subscriptions: int, debts: int) -> None:
        delivery = data.draw(st.sampled_from([each for each in self.live if each not in self.dispatched]))
        for number in range(subscriptions):
            self.it.table.owe(delivery, f"s{number}")
            self.owed[delivery].append(f"s{number}")
        for _ in range(debts):
            self.it.table.hold(delivery)
        self.debts[delivery] = debts
        self.dispatched.add(delivery)
        self.it.table.dispatch(delivery)
        self._expect(delivery)

    @precondition(lambda self: any(self.owed.values()))
    @rule(data=st.data(), success=st.booleans())
    def finish(self, data: st.DataObject, success: bool) -> None:
        delivery = data.draw(st.sampled_from([each for each, owed in self.owed.items() if owed]))
        self.it.table.finish(delivery, self.owed[delivery].pop(), success=success)
        self._expect(delivery)

    @precondition(lambda self: any(self.debts.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from([each for each, debts in self.debts.items() if debts]))
        self.debts[delivery] -= 1
        self.it.table.release(delivery)
        self._expect(delivery)

    def _expect(self, delivery: Delivery) -> None:
        acks = self.it.table.take_acks()
        free = not self.owed[delivery] and not self.debts[delivery]

        assert (self.live[delivery] if free else []) == acks
        self.acked += acks
        if free:
            for each in (self.live, self.owed, self.debts):
                del each[delivery]

    @invariant()
    def nobody_is_acknowledged_twice_and_nobody_is_lost(self) -> None:
        held = [token for tokens in self.live.values() for token in tokens] + [token for each in self.waiting for token in each.tokens]

        assert sorted(self.tokens) == sorted([*self.acked, *held])
        assert len(self.live) + len(self.waiting) == len(self.it.table)


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
