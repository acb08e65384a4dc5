"""The language model: requests, answers, the stream between them, and the tools it may call.

`id` is the request's: every delta, the answer and a cancel carry the id of the request they belong to.
"""

from typing import Any, ClassVar, Final, Literal

import attrs

from .fields import also_read_as, contract, new_id
from .pair import Pair

TOPIC_LLM_REQUEST: Final = "llm/request"
TOPIC_LLM_RESPONSE: Final = "llm/response"
TOPIC_LLM_STREAM: Final = "llm/stream"
TOPIC_LLM_CANCEL: Final = "llm/cancel"
TOPIC_LLM_TOOLS_REGISTRY: Final = "llm/tools/registry"
TOPIC_LLM_TOOL_CALL_REQUEST: Final = "llm/tool.call.request"
TOPIC_LLM_TOOL_CALL_RESULT: Final = "llm/tool.call.result"

EVENT_TYPE_LLM_REQUEST: Final = "llm.request"
EVENT_TYPE_LLM_RESPONSE: Final = "llm.response"
EVENT_TYPE_LLM_STREAM: Final = "llm.stream"
EVENT_TYPE_LLM_CANCEL: Final = "llm.cancel"
EVENT_TYPE_LLM_TOOLS_REGISTRY: Final = "llm.tools.registry"
EVENT_TYPE_LLM_TOOL_CALL_REQUEST: Final = "llm.tool.call.request"
EVENT_TYPE_LLM_TOOL_CALL_RESULT: Final = "llm.tool.call.result"


@contract
class ConversationMessage:
    """One turn of the conversation so far. `timestamp` in Unix epoch seconds. Has no message id: it never travels alone."""

    role: Literal["user", "assistant"]
    content: str
    timestamp: float | None = None


@contract
class LLMRequest:
    """Answer `text`. `use_rag` and `rag_k` ask for memories; `params` overrides the model's settings for this request."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_REQUEST, TOPIC_LLM_REQUEST)

    message_id: str = attrs.field(factory=new_id)
    id: str
    text: str
    stream: bool = True
    use_rag: bool | None = None
    rag_k: int | None = None
    system: str | None = None
    params: dict[str, Any] | None = None
    conversation_history: tuple[ConversationMessage, ...] | None = None


@contract
class LLMResponse:
    """The whole answer, or `error`. `tokens` counts what it cost, in the provider's own names."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_RESPONSE, TOPIC_LLM_RESPONSE)

    message_id: str = attrs.field(factory=new_id)
    id: str
    reply: str | None = None
    error: str | None = None
    provider: str | None = None
    model: str | None = None
    tokens: dict[str, Any] | None = None


@contract
class LLMStreamDelta:
    """A piece of the answer. `seq` counts from 1 within one `id`; the last one has `done` and often no text."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_STREAM, TOPIC_LLM_STREAM, qos=0)

    message_id: str = attrs.field(factory=new_id)
    id: str
    seq: int | None = None
    delta: str | None = None
    done: bool = False
    provider: str | None = None
    model: str | None = None


@contract
class LLMCancel:
    """Stop answering the request `id`."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_CANCEL, TOPIC_LLM_CANCEL)

    message_id: str = attrs.field(factory=new_id)
    id: str


@contract
class ToolSpec:
    """A tool the model may call; `function` is the provider's JSON schema of it. Never travels alone."""

    type: str = "function"
    function: dict[str, Any]


@contract
class ToolsRegistry:
    """Every tool there is. Retained: the last one counts."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_TOOLS_REGISTRY, TOPIC_LLM_TOOLS_REGISTRY, retain=True)

    message_id: str = attrs.field(factory=new_id)
    tools: tuple[ToolSpec, ...]


@contract
class ToolCallRequest:
    """Call the tool `name`, written ``mcp:server:tool_name``."""

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_TOOL_CALL_REQUEST, TOPIC_LLM_TOOL_CALL_REQUEST)

    message_id: str = attrs.field(factory=new_id)
    call_id: str
    name: str
    arguments: dict[str, Any]


@contract
class ToolCallResult:
    """What the call `call_id` gave: `result`, or `error`.

    There were two tool contracts. This is the one with a message id; it reads the other's ``error_msg`` for `error` too,
    never both at once. Some old configurations name the topic ``llm/tools/result``, by mistake; rename it there.
    Refused: a `result` that is no object, which only the other contract allowed.
    """

    PAIR: ClassVar[Pair] = Pair(EVENT_TYPE_LLM_TOOL_CALL_RESULT, TOPIC_LLM_TOOL_CALL_RESULT)

    message_id: str = attrs.field(factory=new_id)
    call_id: str
    result: dict[str, Any] | None = None
    error: str | None = attrs.field(default=None, metadata=also_read_as("error_msg"))
