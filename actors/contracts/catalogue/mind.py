"""The language model and its tools, memory, character."""

from typing import Final

from tars.actors.contracts.llm import (
    ConversationMessage,
    LLMCancel,
    LLMRequest,
    LLMResponse,
    LLMStreamDelta,
    ToolCallRequest,
    ToolCallResult,
    ToolSpec,
    ToolsRegistry,
)
from tars.actors.contracts.memory import (
    CHARACTER_CURRENT,
    CHARACTER_RESULT,
    CHARACTER_UPDATE,
    CharacterGetRequest,
    CharacterResetTraits,
    CharacterSection,
    CharacterSnapshot,
    CharacterTraitUpdate,
    MemoryQuery,
    MemoryResult,
    MemoryResults,
)

from .entry import NOW_S, Chapter, Entry, Example, example_id
from .voice import UTTERANCE

_CALL_ID: Final = "call_7Hq2"
_MODEL: Final = "gpt-4o-mini"
_QUESTION: Final = "what do you remember about rain"
_TOOL: Final = "mcp:movement:step_forward"

LLM: Final = Chapter(
    title="Language model",
    module="llm",
    intro="Every delta, the answer and a cancel carry the `id` of the request they belong to, in the event and as the envelope's id.",
    entries=(
        Entry(
            LLMRequest.PAIR,
            sent_by="router",
            read_by="language model",
            source="tars-router",
            examples=(
                Example(
                    LLMRequest(
                        message_id=example_id("llm.request"),
                        id=UTTERANCE,
                        text=_QUESTION,
                        use_rag=True,
                        rag_k=5,
                        params={"temperature": 0.7},
                        conversation_history=(
                            ConversationMessage(role="user", content="hello", timestamp=NOW_S - 60),
                            ConversationMessage(role="assistant", content="Hello yourself."),
                        ),
                    ),
                    UTTERANCE,
                ),
            ),
        ),
        Entry(
            LLMStreamDelta.PAIR,
            sent_by="language model",
            read_by="router, screens",
            source="llm-worker",
            examples=(
                Example(
                    LLMStreamDelta(
                        message_id=example_id("llm.stream"), id=UTTERANCE, seq=1, delta="You told me ", provider="openai", model=_MODEL
                    ),
                    UTTERANCE,
                ),
            ),
        ),
        Entry(
            LLMResponse.PAIR,
            sent_by="language model",
            read_by="router, screens",
            source="llm-worker",
            examples=(
                Example(
                    LLMResponse(
                        message_id=example_id("llm.response"),
                        id=UTTERANCE,
                        reply="You told me that you like it.",
                        provider="openai",
                        model=_MODEL,
                        tokens={"total_tokens": 412},
                    ),
                    UTTERANCE,
                ),
            ),
        ),
        Entry(
            LLMCancel.PAIR,
            sent_by="router",
            read_by="language model, router",
            source="tars-router",
            examples=(Example(LLMCancel(message_id=example_id("llm.cancel"), id=UTTERANCE), UTTERANCE),),
        ),
        Entry(
            ToolsRegistry.PAIR,
            sent_by="tool bridge",
            read_by="language model",
            source="mcp-bridge",
            examples=(
                Example(
                    ToolsRegistry(
                        message_id=example_id("llm.tools.registry"),
                        tools=(ToolSpec(function={"name": _TOOL, "parameters": {"type": "object", "properties": {}}}),),
                    )
                ),
            ),
        ),
        Entry(
            ToolCallRequest.PAIR,
            sent_by="language model",
            read_by="tool bridge",
            source="llm-worker",
            examples=(
                Example(
                    ToolCallRequest(message_id=example_id("llm.tool.call.request"), call_id=_CALL_ID, name=_TOOL, arguments={"steps": 2}),
                    _CALL_ID,
                ),
            ),
        ),
        Entry(
            ToolCallResult.PAIR,
            sent_by="tool bridge",
            read_by="language model",
            source="mcp-bridge",
            examples=(
                Example(ToolCallResult(message_id=example_id("llm.tool.call.result"), call_id=_CALL_ID, result={"moved": True}), _CALL_ID),
            ),
        ),
    ),
    strays=(ConversationMessage, ToolSpec),
)

MEMORY: Final = Chapter(
    title="Memory",
    module="memory",
    intro="The answer's envelope has the id of the query's envelope.",
    entries=(
        Entry(
            MemoryQuery.PAIR,
            sent_by="language model, screens",
            read_by="memory",
            source="llm-worker",
            examples=(Example(MemoryQuery(message_id=example_id("memory.query"), text=_QUESTION, max_tokens=2000), UTTERANCE),),
        ),
        Entry(
            MemoryResults.PAIR,
            sent_by="memory",
            read_by="language model, screens",
            source="memory-worker",
            examples=(
                Example(
                    MemoryResults(
                        message_id=example_id("memory.results"),
                        query=_QUESTION,
                        k=5,
                        results=(
                            MemoryResult(document={"user": "I like rain"}, score=0.82, timestamp="2025-11-05T18:04:11", token_count=4),
                        ),
                        total_tokens=4,
                    ),
                    UTTERANCE,
                ),
            ),
        ),
    ),
    strays=(MemoryResult,),
)

_SNAPSHOT: Final = CharacterSnapshot(
    message_id=example_id("system.character.current"),
    name="TARS",
    description="A robot with adjustable humour.",
    systemprompt="You are TARS.",
    traits={"humor": 75, "honesty": 90},
    voice={"lang": "en"},
)

CHARACTER: Final = Chapter(
    title="Character",
    module="memory",
    intro=(
        "On two of these topics either of two contracts travels. A subscriber of such a topic takes a `dict` and reads it with "
        "`read_character_result` or `read_character_update`."
    ),
    entries=(
        Entry(
            CharacterGetRequest.PAIR,
            sent_by="language model",
            read_by="memory",
            source="llm-worker",
            examples=(Example(CharacterGetRequest(message_id=example_id("character.get"), section="traits")),),
        ),
        Entry(
            CHARACTER_RESULT,
            sent_by="memory",
            read_by="language model",
            source="memory-worker",
            examples=(
                Example(
                    CharacterSection(message_id=example_id("character.result"), section="traits", value={"humor": 75, "honesty": 90}),
                    example_id("character.get"),
                ),
                Example(_SNAPSHOT, example_id("character.get")),
            ),
        ),
        Entry(
            CHARACTER_UPDATE,
            sent_by="language model (for a tool)",
            read_by="memory",
            source="llm-worker",
            examples=(
                Example(CharacterTraitUpdate(message_id=example_id("character.update"), trait="humor", value=60)),
                Example(CharacterResetTraits(message_id=example_id("character.update reset"))),
            ),
        ),
        Entry(
            CHARACTER_CURRENT,
            sent_by="memory",
            read_by="language model",
            source="memory-worker",
            examples=(Example(_SNAPSHOT),),
        ),
    ),
)
