"""Topics and topic filters: validation, ``{name}`` templates, and the matcher the dispatcher stands on.

Source of the rules: MQTT 5 sections 1.5.4, 4.7 and 4.8.2 (3.1.1 says the same, without shared
subscriptions). Law: pure. No trio, no clock, no I/O; only `Matcher` holds state, and its owner is one actor.
"""

from __future__ import annotations

import functools
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from tars.supervisor.errors import TarsError

MAX_TOPIC_BYTES: Final = 65535
"""Longest topic or filter on the wire, in bytes of UTF-8 (MQTT 1.5.4)."""
MAX_CACHED_TOPIC_CHARS: Final = 512
"""Longer topics are matched without the cache: topics come from strangers, and 64 KiB each would add up."""

_SHARE: Final = "$share/"

T = TypeVar("T")


class TopicError(TarsError, ValueError):
    """A topic, filter or template that MQTT, or this runtime, does not allow."""


# -- validation ---------------------------------------------------------------------------------


def validate_topic(topic: str) -> None:
    """Raise `TopicError` unless `topic` can be published to."""
    _check_string("topic", topic)
    for wildcard in "+#":
        if wildcard in topic:
            msg = f"topic {_shown(topic)}: {wildcard!r} is a wildcard, allowed in subscriptions only"
            raise TopicError(msg)


def validate_filter(topic_filter: str) -> None:
    """Raise `TopicError` unless `topic_filter` can be subscribed to. ``$share/GROUP/FILTER`` is one."""
    _check_string("filter", topic_filter)
    plain = _checked_plain_filter(topic_filter)
    levels = plain.split("/")
    for at, level in enumerate(levels):
        if "#" in level and level != "#":
            msg = f"filter {_shown(topic_filter)}: '#' must fill its whole level, got {_shown(level)}"
            raise TopicError(msg)
        if level == "#" and at != len(levels) - 1:
            msg = f"filter {_shown(topic_filter)}: '#' must be the last level"
            raise TopicError(msg)
        if "+" in level and level != "+":
            msg = f"filter {_shown(topic_filter)}: '+' must fill its whole level, got {_shown(level)}"
            raise TopicError(msg)


def plain_filter(topic_filter: str) -> str:
    """What a valid filter matches by: ``$share/GROUP/FILTER`` gives ``FILTER``, any other filter itself."""
    return topic_filter.split("/", 2)[2] if topic_filter.startswith(_SHARE) else topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Does a valid filter match a valid topic? For one question; for many filters use `Matcher`."""
    wanted, levels = plain_filter(topic_filter).split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in {"+", level} for want, level in zip(wanted, levels, strict=True))


# -- templates ----------------------------------------------------------------------------------


def covers(wide: str, narrow: str) -> bool:
    """Does `wide` match every topic that `narrow` matches? A shared filter covers nothing else, and nothing else covers it."""
    if wide == narrow:
        return True
    if wide.startswith("$share/") or narrow.startswith("$share/"):
        return False
    if narrow.startswith("$") and wide[0] in "+#":
        return False
    wides, narrows = wide.split("/"), narrow.split("/")
    for at, level in enumerate(wides):
        if level == "#":
            return True  # the parent level too
        if at == len(narrows) or narrows[at] == "#" or level not in ("+", narrows[at]):
            return False
    return len(wides) == len(narrows)


@attrs.frozen
class Template:
    """A filter in which some ``+`` have names: ``sensors/{room}/temp``.

    `filter` is what is subscribed to; `names` are (level of the topic, counted from 0; name) pairs.
    """

    filter: str
    names: tuple[tuple[int, str], ...] = ()


def parse_template(text: str) -> Template:
    """Read a filter with ``{name}`` captures, each filling one whole level. Raises `TopicError`.

    A name is a Python identifier and occurs once. A brace anywhere else is refused: it is a slip far more
    often than a topic (``+`` still matches such a topic).
    """
    levels = text.split("/")
    first = 2 if text.startswith(_SHARE) else 0  # the topic's level 0 stands behind "$share/GROUP"
    names: dict[str, int] = {}
    for at, level in enumerate(levels):
        if "{" not in level and "}" not in level:
            continue
        name = level[1:-1]
        if level != f"{{{name}}}" or not name.isidentifier() or at < first:
            msg = f"template {_shown(text)}: a capture is one whole level, '{{name}}' with a Python identifier, got {_shown(level)}"
            raise TopicError(msg)
        if name in names:
            msg = f"template {_shown(text)}: the name {name!r} occurs twice"
            raise TopicError(msg)
        names[name] = at - first
        levels[at] = "+"
    topic_filter = "/".join(levels)
    validate_filter(topic_filter)
    return Template(topic_filter, tuple((at, name) for name, at in names.items()))


def params(template: Template, topic: str) -> dict[str, str]:
    """The captures of a topic that ``template.filter`` matches. `TopicError` when it has too few levels."""
    if not template.names:
        return {}
    levels = topic.split("/")
    if template.names[-1][0] >= len(levels):
        msg = f"topic {_shown(topic)} does not match {_shown(template.filter)}"
        raise TopicError(msg)
    return {name: levels[at] for at, name in template.names}


# -- the matcher --------------------------------------------------------------------------------


_Entries: TypeAlias = list[tuple[int, T]]
"""(serial number of the registration, value) pairs."""


@attrs.define(eq=False)
class _Node(Generic[T]):
    """One level of the trie. `here`: filters that end on this level; `below`: filters that end in ``#`` after it."""

    children: dict[str, _Node[T]] = attrs.Factory(dict)
    here: _Entries[T] = attrs.Factory(list)
    below: _Entries[T] = attrs.Factory(list)


class Matcher(Generic[T]):
    """From a topic to the values registered under every filter that matches it, in order of registration.

    A topic seen before costs one cache look-up; a new one costs one dict look-up (filters without
    wildcards) and a walk down a trie (filters with them), however many filters there are. `add` and
    `remove` may come at any time and empty the cache, which keeps the `cache_topics` topics used last.
    """

    def __init__(self, *, cache_topics: int = 4096) -> None:
        self._serial = 0
        self._size = 0
        self._depth = 0  # deepest filter in the trie, in levels: no topic is split further than that
        self._exact: dict[str, _Entries[T]] = {}
        self._root: _Node[T] = _Node()
        self._cached = functools.lru_cache(maxsize=cache_topics)(self._look_up)

    def __len__(self) -> int:
        """Number of registrations."""
        return self._size

    def add(self, topic_filter: str, value: T) -> None:
        """Register `value`; the same pair twice counts twice. Raises `TopicError`."""
        validate_filter(topic_filter)
        self._entries(plain_filter(topic_filter)).append((self._serial, value))
        self._serial += 1
        self._size += 1
        self._cached.cache_clear()

    def remove(self, topic_filter: str, value: T) -> None:
        """Undo the oldest `add` of this filter with an equal value. Raises `KeyError` when there is none."""
        plain = plain_filter(topic_filter)
        entries = self._entries(plain)
        at = next((at for at, (_, known) in enumerate(entries) if known == value), None)
        if at is not None:
            del entries[at]
            self._size -= 1
            self._cached.cache_clear()
        self._prune(plain)
        if at is None:
            raise KeyError(topic_filter)

    def match(self, topic: str) -> tuple[T, ...]:
        """The values for `topic`, which must be valid; empty when no filter matches."""
        return self._cached(topic) if len(topic) <= MAX_CACHED_TOPIC_CHARS else self._look_up(topic)

    def _look_up(self, topic: str) -> tuple[T, ...]:
        found = list(self._exact.get(topic, ()))
        # Every node has one parent, so a node is reached at most once, and an empty frontier ends the walk.
        frontier = [self._root]
        for at, level in enumerate(topic.split("/", self._depth)):
            # MQTT 4.7.2: a wildcard in the first level does not match a topic that begins with "$".
            wild = at > 0 or not topic.startswith("$")
            if wild:
                for node in frontier:
                    found += node.below
            steps = (level, "+") if wild else (level,)
            frontier = [node.children[step] for node in frontier for step in steps if step in node.children]
            if not frontier:
                break
        for node in frontier:
            found += node.here
            found += node.below  # "sport/#" matches its parent level "sport"
        found.sort(key=lambda entry: entry[0])
        return tuple(value for _, value in found)

    def _entries(self, plain: str) -> _Entries[T]:
        """Where a filter's registrations are kept; the place is made when there is none."""
        if "+" not in plain and "#" not in plain:
            return self._exact.setdefault(plain, [])
        levels = plain.split("/")
        self._depth = max(self._depth, len(levels))
        node = self._root
        for level in levels:
            if level == "#":
                return node.below
            node = node.children.setdefault(level, _Node())
        return node.here

    def _prune(self, plain: str) -> None:
        """Take away the places that hold nothing any more, so that add and remove for ever cost no memory."""
        if not self._exact.get(plain, True):
            del self._exact[plain]
        path = [self._root]
        for level in plain.split("/"):
            if level not in path[-1].children:
                break
            path.append(path[-1].children[level])
        for parent, level in reversed(list(zip(path, plain.split("/"), strict=False))):
            child = parent.children.get(level)
            if child is not None and not (child.children or child.here or child.below):
                del parent.children[level]


# -- shared -------------------------------------------------------------------------------------


def _check_string(what: str, text: str) -> None:
    if text == "":
        msg = f"a {what} must have at least one character"
        raise TopicError(msg)
    if "\0" in text:
        msg = f"{what} {_shown(text)}: the character U+0000 is not allowed"
        raise TopicError(msg)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        msg = f"{what} {_shown(text)}: not UTF-8, it holds a lone surrogate at character {error.start}"
        raise TopicError(msg) from None
    if size_bytes > MAX_TOPIC_BYTES:
        msg = f"{what} {_shown(text)}: {size_bytes} bytes of UTF-8, at most {MAX_TOPIC_BYTES} are allowed"
        raise TopicError(msg)


def _checked_plain_filter(topic_filter: str) -> str:
    if not topic_filter.startswith(_SHARE):
        return topic_filter
    _, group, *rest = topic_filter.split("/", 2)
    if group == "" or "+" in group or "#" in group or rest in ([], [""]):
        msg = f"filter {_shown(topic_filter)}: a shared subscription is '$share/GROUP/FILTER', without wildcards in GROUP"
        raise TopicError(msg)
    return rest[0]


def _shown(text: str) -> str:
    """For an error message: quoted, escaped, and short."""
    limit = 80
    return repr(text if len(text) <= limit else text[:limit] + "…")
