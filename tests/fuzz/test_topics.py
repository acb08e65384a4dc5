"""Topics and filters of any characters: validity and matching against MQTT 4.7, written down once more as patterns."""

from __future__ import annotations

import contextlib
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fuzz import FUZZ
from tars.actors.mqtt.topics import Matcher, TopicError, matches, params, parse_template, validate_filter, validate_topic

CHARACTERS: Final = st.sampled_from("ab$+#/{}ü☕\0\n \ud800.*") | st.characters()
TEXTS: Final = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["$share/g", "$share//a", "$share/g+/a", "$share/g/", "/" * 65536, "☕" * 21846]
)
LEVELS: Final = st.sampled_from(["", "a", "b", "$SYS", "$", "a b", ".*", "\n"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#/"), max_size=4
)
TOPICS: Final = st.lists(LEVELS, min_size=1, max_size=6).map("/".join).filter(bool)


@st.composite
def plain_filters(draw: st.DrawFn) -> str:
    """Any filter, unshared."""
    levels = draw(st.lists(LEVELS | st.just("+"), max_size=5)) + draw(st.sampled_from([["#"], [], []]))
    return "/".join(levels) or draw(st.sampled_from(["+", "#", "/"]))


@st.composite
def filters_for(draw: st.DrawFn, topic: str) -> str:
    """A filter made from a topic, so that many match: some levels become ``+``, the end ``#``, or it is another filter."""
    levels = [draw(st.sampled_from([level, level, "+"])) for level in topic.split("/")]
    levels[draw(st.integers(0, len(levels))) :] = draw(st.sampled_from([["#"], [], levels[-1:]]))
    return draw(st.sampled_from(["", "", "$share/g/"])) + ("/".join(levels) or "+")


def naive_filter_is_valid(text: str) -> bool:
    """MQTT 1.5.4, 4.7.1, 4.7.3, 4.8.2."""
    if text.startswith("$share/"):
        shared = re.fullmatch(r"\$share/([^/+#]+)/(.+)", text, re.DOTALL)
        return shared is not None and naive_string_is_valid(text) and naive_filter_is_valid_plain(shared[2])
    return naive_string_is_valid(text) and naive_filter_is_valid_plain(text)


def naive_filter_is_valid_plain(text: str) -> bool:
    return re.fullmatch(r"(([^/+#]*|\+)/)*([^/+#]*|\+|#)", text) is not None


def naive_string_is_valid(text: str) -> bool:
    return 0 < len(text.encode(errors="surrogatepass")) <= 65535 and re.search("[\0\ud800-\udfff]", text) is None


def naive_match(topic_filter: str, topic: str) -> bool:
    """MQTT 4.7.1 and 4.7.2 as one pattern: ``+`` is one level, ``/#`` whatever is below and the parent, and neither begins with "$"."""
    plain = re.sub(r"\A\$share/[^/]*/", "", topic_filter)
    if topic[0] == "$" and plain[0] in "+#":
        return False
    pattern = re.sub(r"(?<![^/])\\\+(?![^/])", "[^/]*", re.escape(plain))
    pattern = ".*" if plain == "#" else re.sub(r"/\\#\Z", "(/.*)?", pattern)
    return re.fullmatch(pattern, topic, re.DOTALL) is not None


@FUZZ
@given(TEXTS)
def test_a_filter_is_valid_exactly_by_the_rules_and_otherwise_a_topic_error(text: str) -> None:
    try:
        validate_filter(text)
    except TopicError:
        assert not naive_filter_is_valid(text)
    else:
        assert naive_filter_is_valid(text)


@FUZZ
@given(TEXTS)
def test_a_topic_is_valid_exactly_by_the_rules_and_otherwise_a_topic_error(text: str) -> None:
    valid = naive_string_is_valid(text) and "+" not in text and "#" not in text
    with contextlib.nullcontext() if valid else pytest.raises(TopicError):
        validate_topic(text)


@FUZZ
@given(TEXTS)
def test_any_text_is_a_template_or_a_topic_error_and_a_template_is_a_filter(text: str) -> None:
    with contextlib.suppress(TopicError):
        validate_filter(parse_template(text).filter)


@FUZZ
@given(st.data(), TOPICS)
def test_matching_agrees_with_the_naive_matcher(data: st.DataObject, topic: str) -> None:
    known = [text for text in data.draw(st.lists(plain_filters() | filters_for(topic), max_size=8)) if naive_filter_is_valid(text)]
    matcher: Matcher[int] = Matcher()
    for value, topic_filter in enumerate(known):
        matcher.add(topic_filter, value)
    expected = [naive_match(topic_filter, topic) for topic_filter in known]

    assert expected == [matches(topic_filter, topic) for topic_filter in known]
    assert tuple(value for value, fits in enumerate(expected) if fits) == matcher.match(topic)


@FUZZ
@given(st.lists(st.tuples(LEVELS, st.booleans()), min_size=1, max_size=6), st.sampled_from(["", "$share/g/"]))
def test_a_template_gives_back_the_levels_it_was_filled_with(levels: list[tuple[str, bool]], share: str) -> None:
    topic = "/".join(level for level, _ in levels)
    captured = {f"p{at}": level for at, (level, named) in enumerate(levels) if named}
    try:
        template = parse_template(share + "/".join(f"{{p{at}}}" if named else level for at, (level, named) in enumerate(levels)))
        validate_topic(topic)
    except TopicError:
        return

    assert captured == params(template, topic)
    assert matches(template.filter, topic) == naive_match(template.filter, topic)
