"""Memory and character: what was said before, and who the robot is.

On two topics either of two contracts travels, told apart by one field: `read_character_result`, `read_character_update`.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

import attrs

from .codec import structure
from .fields import Between, contract, new_id
from .pair import Pair

TOPIC_MEMORY_QUERY: Final = "memory/query"
TOPIC_MEMORY_RESULTS: Final = "memory/results"
TOPIC_CHARACTER_GET: Final = "character/get"
TOPIC_CHARACTER_RESULT: Final = "character/result"
TOPIC_CHARACTER_UPDATE: Final = "character/update"
TOPIC_SYSTEM_CHARACTER_CURRENT: Final = "system/character/current"

EVENT_TYPE_MEMORY_QUERY: Final = "memory.query"
EVENT_TYPE_MEMORY_RESULTS: Final = "memory.results"
EVENT_TYPE_MEMORY_HEALTH: Final = "system.health.memory"
EVENT_TYPE_CHARACTER_GET: Final = "character.get"
EVENT_TYPE_CHARACTER_RESULT: Final = "character.result"
EVENT_TYPE_CHARACTER_UPDATE: Final = "character.update"
EVENT_TYPE_CHARACTER_CURRENT: Final = "system.character.current"

CHARACTER_RESULT: Final = Pair(EVENT_TYPE_CHARACTER_RESULT, TOPIC_CHARACTER_RESULT)
CHARACTER_UPDATE: Final = Pair(EVENT_TYPE_CHARACTER_UPDATE, TOPIC_CHARACTER_UPDATE)
CHARACTER_CURRENT: Final = Pair(EVENT_TYPE_CHARACTER_CURRENT, TOPIC_SYSTEM_CHARACTER_CURRENT, retain=True)


@contract
class MemoryQuery:
    """What is remembered about `text`? At most `top_k` answers, `max_tokens` (estimated) in all.

    `include_context` adds `context_window` neighbours on each side. `retrieval_strategy` is free text: hybrid, recent
    and similarity are known. The answer's envelope has the query's envelope id.
    Refused: the fields ``query``, ``k`` and ``character_id`` of old documents; nothing ever sent them.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MEMORY_QUERY, TOPIC_MEMORY_QUERY)

    message_id: str = attrs.field(factory=new_id)
    text: str
    top_k: Annotated[int, Between(1, 50)] = 5
    max_tokens: Annotated[int, Between(1, 10_000)] | None = None
    include_context: bool = False
    context_window: Annotated[int, Between(0, 5)] = 1
    retrieval_strategy: str = "hybrid"


@contract
class MemoryResult:
    """One thing remembered. `context_type` is free text: target, or previous and next for its neighbours. Never travels alone.

    `timestamp` is the store's own text, not a number.
    """

    document: dict[str, Any] | str
    score: float | None = None
    timestamp: str | None = None
    context_type: str = "target"
    token_count: int | None = None


@contract
class MemoryResults:
    """What was found for `query`, best first. `k`: how many were asked for. `truncated`: the token budget cut some off."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_MEMORY_RESULTS, TOPIC_MEMORY_RESULTS)

    message_id: str = attrs.field(factory=new_id)
    query: str
    k: int
    results: tuple[MemoryResult, ...] = ()
    total_tokens: int | None = None
    strategy_used: str = "hybrid"
    truncated: bool = False


@contract
class CharacterGetRequest:
    """Who are you? One `section` of it, or all."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_CHARACTER_GET, TOPIC_CHARACTER_GET)

    message_id: str = attrs.field(factory=new_id)
    section: str | None = None


@contract
class CharacterSnapshot:
    """The whole character. Answers a request without a section, and is retained on ``system/character/current``."""

    message_id: str = attrs.field(factory=new_id)
    name: str
    description: str | None = None
    systemprompt: str | None = None
    traits: dict[str, Any] = attrs.field(factory=dict)
    voice: dict[str, Any] = attrs.field(factory=dict)
    meta: dict[str, Any] = attrs.field(factory=dict)
    scenario: dict[str, Any] = attrs.field(factory=dict)
    personality_notes: dict[str, Any] = attrs.field(factory=dict)
    example_interactions: dict[str, Any] = attrs.field(factory=dict)


@contract
class CharacterSection:
    """One section of the character. Of an unknown section the value is an object with ``error`` and ``available``."""

    PAIR: ClassVar[Pair] = CHARACTER_RESULT

    message_id: str = attrs.field(factory=new_id)
    section: str
    value: dict[str, Any] | str | None = None


@contract
class CharacterTraitUpdate:
    """Set one trait. The old character tool leaves `section` out; that is read as traits, the only section there is to set."""

    PAIR: ClassVar[Pair] = CHARACTER_UPDATE

    message_id: str = attrs.field(factory=new_id)
    section: Literal["traits"] = "traits"
    trait: str
    value: Annotated[int, Between(0, 100)]


@contract
class CharacterResetTraits:
    """Forget every trait that was set since the character was loaded."""

    PAIR: ClassVar[Pair] = CHARACTER_UPDATE

    message_id: str = attrs.field(factory=new_id)
    action: Literal["reset_traits"] = "reset_traits"


def read_character_result(data: dict[str, Any]) -> CharacterSnapshot | CharacterSection:
    """What stands in `data` of ``character/result``: with a ``section`` it is one. Raises DecodeError."""
    return structure(CharacterSection, data) if "section" in data else structure(CharacterSnapshot, data)


def read_character_update(data: dict[str, Any]) -> CharacterTraitUpdate | CharacterResetTraits:
    """What stands in `data` of ``character/update``: with an ``action`` it is a reset. Raises DecodeError."""
    return structure(CharacterResetTraits, data) if "action" in data else structure(CharacterTraitUpdate, data)
