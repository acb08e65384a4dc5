"""What a new incarnation is shown: the last retained message of each topic its actor handled."""

from __future__ import annotations

import weakref

from tars.actors.mqtt.in_flight import Delivery, Work
from tars.actors.mqtt.latest import MAX_BYTES, Latest
from tars.actors.mqtt.retained import LastRetained
from tars.actors.mqtt.subscription import Subscription
from tars.actors.mqtt.topics import parse_template
from tars.actors.mqtt.transport import Inbound

SUBSCRIPTION = Subscription("a:#", "a", "root/a", parse_template("#"), 1)
OTHER = Subscription("a:+", "a", "root/a", parse_template("+"), 1)


def work(topic: str, payload: bytes = b"x", *, retain: bool = True, subscription: Subscription = SUBSCRIPTION) -> Work:
    return Work(Delivery(Inbound(topic, payload, 1, retain), 1), subscription)


def shown(last: LastRetained) -> list[tuple[str, bytes]]:
    return [(each.delivery.inbound.topic, each.delivery.inbound.payload) for each in last.all()]


def test_the_last_one_of_each_topic_is_kept_in_the_order_in_which_they_came() -> None:
    last = LastRetained()
    for topic, payload in [("a", b"1"), ("b", b"1"), ("a", b"2")]:
        last.handled(work(topic, payload))

    assert [("b", b"1"), ("a", b"2")] == shown(last)


def test_a_live_update_of_what_was_retained_counts_and_other_live_messages_do_not() -> None:
    last = LastRetained()
    last.handled(work("a", b"1"))
    last.handled(work("a", b"2", retain=False))
    last.handled(work("b", b"1", retain=False))

    assert [("a", b"2")] == shown(last)


def test_an_empty_one_clears_its_topic() -> None:
    last = LastRetained()
    last.handled(work("a", b"1"))
    last.handled(work("a", b"", retain=False))

    assert [] == shown(last)


def test_two_subscriptions_are_shown_one_each() -> None:
    last = LastRetained()
    last.handled(work("a"))
    last.handled(work("a", subscription=OTHER))

    assert [SUBSCRIPTION, OTHER] == [each.subscription for each in last.all()]


def test_it_is_bounded_and_the_one_unused_longest_goes() -> None:
    last = LastRetained(Latest(capacity=2))
    for topic in ("a", "b", "a", "c"):
        last.handled(work(topic))

    assert ["a", "c"] == [topic for topic, _ in shown(last)]


def test_it_is_bounded_in_bytes_too_and_the_one_unused_longest_goes() -> None:
    last = LastRetained(Latest(max_bytes=100))
    for topic in ("a", "b", "a", "c"):
        last.handled(work(topic, b"x" * 40))

    assert ["a", "c"] == [topic for topic, _ in shown(last)]


def test_topics_of_large_messages_take_no_more_than_the_bound_and_none_of_their_parsed_form() -> None:
    last = LastRetained()
    payload = b"[" + b"[]," * 300_000 + b"[]]"
    held: list[weakref.ref[Delivery]] = []
    for number in range(30):
        each = work(f"map/{number}", payload)
        each.delivery.document()
        held.append(weakref.ref(each.delivery))
        last.handled(each)
    del each

    assert MAX_BYTES // (len(payload) + len("map/00")) == len(shown(last)) == 18
    assert [None] * 30 == [each() for each in held]


def test_one_that_hurts_is_forgotten() -> None:
    last = LastRetained()
    last.handled(work("a"))
    last.forget(last.all()[0])

    assert [] == shown(last)
