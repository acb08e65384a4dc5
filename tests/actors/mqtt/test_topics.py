"""The matcher against a reference read straight from MQTT 4.7, and the tables of both its predecessors' mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tars.actors.mqtt.topics import (
    MAX_CACHED_TOPIC_CHARS,
    Matcher,
    Template,
    TopicError,
    covers,
    matches,
    params,
    parse_template,
    plain_filter,
    validate_filter,
    validate_topic,
)
from tars.supervisor import TarsError


def reference(topic_filter: list[str], topic: list[str], *, first: bool = True) -> bool:
    """MQTT 4.7.1 and 4.7.2, one level at a time, as slow and plain as can be."""
    if not topic_filter:
        return not topic
    if first and topic and topic[0].startswith("$") and topic_filter[0] in ("+", "#"):
        return False
    if topic_filter == ["#"]:
        return True
    if not topic or topic_filter[0] not in ("+", topic[0]):
        return False
    return reference(topic_filter[1:], topic[1:], first=False)


words = st.sampled_from(["a", "b", "ab", "", "$SYS", "$"])
topics = st.lists(words, min_size=1, max_size=5).map("/".join).filter(bool)
shares = st.sampled_from(["", "", "$share/g/"])


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(words | st.just("+"), max_size=4)) + draw(st.sampled_from([["#"], [], []]))
    plain = "/".join(levels) or draw(st.sampled_from("+#/"))
    return draw(shares) + plain


MATCHING = [
    # topic, filter, does it match
    ("sport/tennisball", "sport/tennis/#", False),
    ("ab/c", "a/#", False),
    ("a/b/c", "a/+/#", True),
    ("a/b/c", "+/b/#", True),
    ("$SYS/x", "#", False),
    ("x/y", "$share/g/x/y", True),
    ("sport", "sport/#", True),
    # MQTT 4.7.1.2, 4.7.1.3 and 4.7.2, the examples of the text
    ("sport/tennis/player1/ranking", "sport/tennis/player1/#", True),
    ("sport/tennis/player1", "sport/tennis/+", True),
    ("sport/tennis/player1/ranking", "sport/tennis/+", False),
    ("sport", "sport/+", False),
    ("sport/", "sport/+", True),
    ("/finance", "+/+", True),
    ("/finance", "/+", True),
    ("/finance", "+", False),
    ("$SYS/monitor/Clients", "+/monitor/Clients", False),
    ("$SYS/monitor/Clients", "$SYS/#", True),
    ("$SYS/monitor/Clients", "$SYS/monitor/+", True),
    ("$SYS", "$SYS/#", True),
    ("a/$SYS", "a/+", True),
    ("a/$SYS", "a/#", True),
    # and the rest of the corners
    ("a", "#", True),
    ("/", "#", True),
    ("/", "+/+", True),
    ("a", "A", False),
    ("a/b", "a/b/c", False),
    ("a/b/c", "a/b", False),
    ("a", "a/+/#", False),
    ("a/b", "a/+/#", True),
    ("$SYS/x", "$share/g/#", False),
    ("$SYS/x", "$share/g/$SYS/#", True),
    ("a/b", "$share/g/+/b", True),
    ("$share/g/x", "$share/g/x", False),
    ("ü/☕", "+/☕", True),
]


@pytest.mark.parametrize(("topic", "topic_filter", "expected"), MATCHING)
def test_topics_match_as_the_specification_says(topic: str, topic_filter: str, *, expected: bool) -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add(topic_filter, "it")

    assert (("it",) if expected else ()) == matcher.match(topic)
    assert expected == matches(topic_filter, topic)


@given(st.lists(filters(), max_size=12), topics, st.integers(0, 2))
def test_the_matcher_agrees_with_the_reference_on_any_set_of_filters(known: list[str], topic: str, cache_topics: int) -> None:
    matcher: Matcher[int] = Matcher(cache_topics=cache_topics)
    for value, topic_filter in enumerate(known):
        matcher.add(topic_filter, value)
    expected = tuple(value for value, text in enumerate(known) if reference(plain_filter(text).split("/"), topic.split("/")))

    assert expected == matcher.match(topic)
    assert expected == matcher.match(topic)  # from the cache
    assert expected == tuple(value for value, text in enumerate(known) if matches(text, topic))


@given(st.lists(st.tuples(filters(), st.booleans()), max_size=12), st.lists(topics, min_size=1, max_size=3))
def test_after_removals_the_matcher_is_as_if_the_removed_had_never_been_there(known: list[tuple[str, bool]], asked: list[str]) -> None:
    matcher: Matcher[int] = Matcher()
    rest: Matcher[int] = Matcher()
    for value, (topic_filter, stays) in enumerate(known):
        matcher.add(topic_filter, value)
        if stays:
            rest.add(topic_filter, value)
    for topic in asked:
        matcher.match(topic)
    for value, (topic_filter, stays) in enumerate(known):
        if not stays:
            matcher.remove(topic_filter, value)

    assert [rest.match(topic) for topic in asked] == [matcher.match(topic) for topic in asked]
    assert len(rest) == len(matcher)


def test_every_matching_registration_fires_in_order_of_registration() -> None:
    matcher: Matcher[str] = Matcher()
    for topic_filter, value in [("#", "all"), ("ov/a", "exact"), ("ov/+", "one"), ("ov/#", "below"), ("ov/a", "again"), ("x", "not")]:
        matcher.add(topic_filter, value)

    assert ("all", "exact", "one", "below", "again") == matcher.match("ov/a")


def test_a_filter_added_or_removed_later_counts_for_topics_already_asked_about() -> None:
    matcher: Matcher[str] = Matcher()

    assert () == matcher.match("reply/7")

    matcher.add("reply/+", "request")

    assert ("request",) == matcher.match("reply/7")

    matcher.remove("reply/+", "request")

    assert () == matcher.match("reply/7")


def test_one_of_two_equal_registrations_can_be_removed() -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add("a/#", "v")
    matcher.add("a/#", "v")
    matcher.remove("a/#", "v")

    assert ("v",) == matcher.match("a")


@pytest.mark.parametrize("topic_filter", ["a", "a/b", "a/+", "a/#", "#", "+", "b/c/+/d"])
def test_removing_what_is_not_there_is_a_key_error_and_changes_nothing(topic_filter: str) -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add("a/+/c", "stays")
    with pytest.raises(KeyError):
        matcher.remove(topic_filter, "other")

    assert ("stays",) == matcher.match("a/b/c")
    assert 1 == len(matcher)


def test_adding_and_removing_for_ever_leaves_no_empty_places_behind() -> None:
    matcher: Matcher[str] = Matcher()
    for n in range(50):
        for topic_filter in (f"reply/{n}", f"reply/{n}/+", f"reply/{n}/#"):
            matcher.add(topic_filter, "v")
            matcher.remove(topic_filter, "v")

    assert {} == matcher._exact  # noqa: SLF001 - memory is the point, and has no public face
    assert {} == matcher._root.children  # noqa: SLF001


def test_a_lookup_visits_only_the_branches_its_topic_names() -> None:
    """Structure instead of a stopwatch: of 3000 filters the walk meets those on its own path only."""

    class Noticed(dict[str, object]):
        asked = 0

        def __contains__(self, key: object) -> bool:
            Noticed.asked += 1
            return super().__contains__(key)

    matcher: Matcher[int] = Matcher(cache_topics=0)
    for n in range(3000):
        matcher.add(f"site/{n}/+/state", n)
    pending = [matcher._root]  # noqa: SLF001 - the structure is what is tested
    while pending:
        node = pending.pop()
        pending.extend(node.children.values())
        node.children = Noticed(node.children)  # type: ignore[assignment]

    assert (1234,) == matcher.match("site/1234/lamp/state")
    assert Noticed.asked <= 2 * 4  # the level itself or "+", on four levels


def test_the_cache_is_bounded_and_holds_no_giant_topics() -> None:
    matcher: Matcher[str] = Matcher(cache_topics=8)
    matcher.add("#", "v")
    for n in range(100):
        matcher.match(f"t/{n}")
    giant = "g" * (MAX_CACHED_TOPIC_CHARS + 1)
    hits_before = matcher._cached.cache_info().hits  # noqa: SLF001

    assert [("v",), ("v",)] == [matcher.match(giant), matcher.match(giant)]
    assert 8 == matcher._cached.cache_info().currsize  # noqa: SLF001
    assert hits_before == matcher._cached.cache_info().hits  # noqa: SLF001


def test_a_topic_of_thirty_thousand_levels_is_matched_without_recursion() -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add("a/#", "below")
    matcher.add("/".join(["+"] * 3000), "deep")

    assert ("below",) == matcher.match("/".join(["a"] * 30000))
    assert ("below", "deep") == matcher.match("/".join(["a"] * 3000))


# -- validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topic_filter", ["#", "+", "/", "a", "+/+/#", "a//b", "$SYS/#", "$share/g/#", "$share/g//", "$share", "x" * 65535, "☕/#"]
)
def test_valid_filters_are_accepted(topic_filter: str) -> None:
    validate_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        ("", "at least one character"),
        ("a\0b", "U\\+0000"),
        ("a/#/b", "last level"),
        ("a#", "whole level"),
        ("a/b+", "whole level"),
        ("+a/b", "whole level"),
        ("##", "whole level"),
        ("a/\ud800", "surrogate"),
        ("☕" * 21846, "65538 bytes"),
        ("$share/", "GROUP"),
        ("$share/g", "GROUP"),
        ("$share/g/", "GROUP"),
        ("$share//a", "GROUP"),
        ("$share/g+/a", "GROUP"),
        ("$share/#/a", "GROUP"),
        ("$share/g/a#", "whole level"),
    ],
)
def test_invalid_filters_are_refused_with_the_reason(topic_filter: str, reason: str) -> None:
    with pytest.raises(TopicError, match=reason):
        validate_filter(topic_filter)
    with pytest.raises(TopicError, match=reason):
        Matcher[str]().add(topic_filter, "v")


@pytest.mark.parametrize("topic", ["a", "/", "a b/ü", "$SYS/x", "x" * 65535])
def test_valid_topics_are_accepted(topic: str) -> None:
    validate_topic(topic)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("", "at least one"),
        ("a/+", "wildcard"),
        ("#", "wildcard"),
        ("a+b", "wildcard"),
        ("\0", "U\\+0000"),
        ("\udfff", "surrogate"),
        ("x" * 65536, "65536 bytes"),
    ],
)
def test_invalid_topics_are_refused_with_the_reason(topic: str, reason: str) -> None:
    with pytest.raises(TopicError, match=reason):
        validate_topic(topic)


def test_a_topic_error_is_one_of_ours_and_a_value_error_and_its_message_stays_short() -> None:
    with pytest.raises(TopicError) as caught:
        validate_topic("x" * 100_000 + "\0")

    assert isinstance(caught.value, TarsError)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 200


# -- templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "topic_filter", "topic", "expected"),
    [
        ("sensors/{room}/temp", "sensors/+/temp", "sensors/kitchen/temp", {"room": "kitchen"}),
        ("{a}/{b}/#", "+/+/#", "x/y/z", {"a": "x", "b": "y"}),
        ("{a}/#", "+/#", "x", {"a": "x"}),
        ("+/{b}", "+/+", "x/", {"b": ""}),
        ("$share/g/s/{room}", "$share/g/s/+", "s/kitchen", {"room": "kitchen"}),
        ("plain/topic", "plain/topic", "plain/topic", {}),
    ],
)
def test_a_template_is_a_filter_whose_levels_have_names(text: str, topic_filter: str, topic: str, expected: dict[str, str]) -> None:
    template = parse_template(text)

    assert topic_filter == template.filter
    assert matches(template.filter, topic)
    assert expected == params(template, topic)


def test_a_template_is_a_value() -> None:
    assert Template("sensors/+/temp", ((1, "room"),)) == parse_template("sensors/{room}/temp")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s/x{room}", "whole level"),
        ("s/{room", "whole level"),
        ("s/room}", "whole level"),
        ("s/{}", "whole level"),
        ("s/{room...}", "whole level"),
        ("s/{{room}}", "whole level"),
        ("s/{a/b}", "whole level"),
        ("{a}/{a}", "occurs twice"),
        ("$share/{g}/a", "whole level"),
        ("#/{a}", "last level"),
        ("", "at least one"),
    ],
)
def test_a_malformed_template_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(TopicError, match=reason):
        parse_template(text)


def test_captures_of_a_topic_that_is_too_short_are_an_error_not_a_guess() -> None:
    with pytest.raises(TopicError, match="does not match"):
        params(parse_template("a/{b}"), "a")


# -- what one filter has of another ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("a/#", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/+/c", True),
        ("a/#", "a/b/#", True),
        ("#", "+/b/#", True),
        ("a/+", "a/b", True),
        ("+/+", "a/+", True),
        ("a/b", "a/b", True),
        ("$share/g/a", "$share/g/a", True),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/b", "a/+", False),
        ("a/+", "+/b", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("#", "$share/g/a", False),
        ("$share/g/#", "a", False),
        ("$share/g/#", "$share/g/a", False),
    ],
)
def test_a_filter_covers_another_when_it_matches_all_of_its_topics(wide: str, narrow: str, expected: bool) -> None:
    assert expected == covers(wide, narrow)


plain = filters().filter(lambda each: not each.startswith("$share/"))


@given(plain, plain, topics)
def test_what_is_covered_brings_nothing_of_its_own(wide: str, narrow: str, topic: str) -> None:
    assert not (covers(wide, narrow) and matches(narrow, topic)) or matches(wide, topic)


@given(plain, st.lists(topics, min_size=1, max_size=20))
def test_every_topic_is_covered_by_the_filters_that_match_it(wide: str, found: list[str]) -> None:
    assert [matches(wide, topic) for topic in found] == [covers(wide, topic) for topic in found]
