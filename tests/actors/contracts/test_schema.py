"""A contract as JSON Schema."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import attrs
import pytest

from support.contract_table import CONTRACTS
from tars.actors.contracts import Between, prepare
from tars.actors.contracts.camera import CameraFrame, FrameFormat
from tars.actors.contracts.config import ConfigHealthPayload
from tars.actors.contracts.llm import ConversationMessage, LLMRequest, ToolSpec, ToolsRegistry
from tars.actors.contracts.memory import MemoryResult, MemoryResults
from tars.actors.contracts.movement import MovementFrame, MovementState
from tars.actors.contracts.schema import json_schema, parts, refer
from tars.actors.contracts.stt import FinalTranscript


def holder(**annotations: Any) -> type:
    """A class of these fields."""
    return attrs.make_class("Holder", {name: attrs.field(type=annotation) for name, annotation in annotations.items()})


def test_a_contract_is_a_closed_object_with_its_required_fields() -> None:
    assert {
        "title": "FinalTranscript",
        "type": "object",
        "properties": {
            "message_id": {"type": "string"},
            "text": {"type": "string"},
            "lang": {"type": "string", "default": "en"},
            "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": None},
            "utt_id": {"type": ["string", "null"], "default": None},
            "ts": {"type": "number"},
            "is_final": {"type": "boolean", "default": True},
        },
        "required": ["text"],
        "additionalProperties": False,
    } == json_schema(FinalTranscript)


@pytest.mark.parametrize(
    ("cls", "field", "schema"),
    [
        (
            MovementFrame,
            "channels",
            {"type": "object", "propertyNames": {"pattern": "^(0|-?[1-9][0-9]*)$"}, "additionalProperties": {"type": "integer"}},
        ),
        (MovementState, "event", {"type": "string", "enum": ["started", "frame_sent", "completed", "failed", "cancelled"]}),
        (CameraFrame, "format", {"type": "string", "enum": ["jpeg", "png"], "default": "jpeg"}),
        (ConversationMessage, "role", {"type": "string", "enum": ["user", "assistant"]}),
        (ToolsRegistry, "tools", {"type": "array", "items": {"$ref": "#/components/schemas/ToolSpec"}}),
        (
            LLMRequest,
            "conversation_history",
            {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/ConversationMessage"}, "default": None},
        ),
        (LLMRequest, "params", {"type": ["object", "null"], "default": None}),
        (MemoryResult, "document", {"anyOf": [{"type": "object"}, {"type": "string"}]}),
        (MemoryResults, "results", {"type": "array", "items": {"$ref": "#/components/schemas/MemoryResult"}, "default": []}),
        (ConfigHealthPayload, "last_backup", {"type": ["string", "null"], "format": "date-time", "default": None}),
    ],
)
def test_every_kind_of_field_has_its_words(cls: type, field: str, schema: dict[str, Any]) -> None:
    assert schema == json_schema(cls)["properties"][field]


def test_a_closed_set_that_may_be_null_lists_null_too() -> None:
    cls = holder(state=MovementState | None, how=FrameFormat | None)

    assert {"anyOf": [{"$ref": "#/components/schemas/MovementState"}, {"type": "null"}]} == json_schema(cls)["properties"]["state"]
    assert {"type": ["string", "null"], "enum": ["jpeg", "png", None]} == json_schema(cls)["properties"]["how"]


def test_the_parts_of_a_contract_are_found_at_any_depth() -> None:
    outer = holder(inner=tuple[LLMRequest, ...], tool=ToolSpec | None)

    assert (LLMRequest, ConversationMessage, ToolSpec) == parts(outer)
    assert () == parts(FinalTranscript)


def test_what_stands_for_a_part_is_the_caller_s_to_say() -> None:
    assert {"$ref": "#/components/schemas/ToolSpec"} == refer(ToolSpec)
    assert {"type": "array", "items": {"x": "ToolSpec"}} == json_schema(ToolsRegistry, refer=lambda cls: {"x": cls.__name__})["properties"][
        "tools"
    ]


@pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)
def test_every_contract_has_a_schema_of_exactly_its_fields(cls: type) -> None:
    least, defaults = CONTRACTS[cls]

    schema = json_schema(cls)

    assert {*least, *defaults} == set(schema["properties"])
    assert set(schema["required"]) == ({*least} if cls.__name__ != "MoveArmParams" else set())


class Colour(Enum):
    RED = 1
    GREEN = 2


@dataclasses.dataclass
class Spot:
    """A dataclass, with defaults."""

    x: float
    colour: Colour = Colour.RED
    tags: list[str] = dataclasses.field(default_factory=list)


@attrs.frozen
class Tree:
    """One that holds itself."""

    label: "str"
    children: "tuple[Tree, ...]" = ()


Metres = NewType("Metres", float)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[Metres], {"type": "array", "items": {"type": "number"}}),
        (list, {"type": "array"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Colour, {"type": "integer", "enum": [1, 2]}),
        (Literal[1, "a"], {"type": ["integer", "string"], "enum": [1, "a"]}),
        (object, {}),
        (Mapping[Literal["a"], Spot], {"type": "object", "propertyNames": {"enum": ["a"]}, "additionalProperties": refer(Spot)}),
        (dict[str, Any] | None, {"type": ["object", "null"]}),
        (Colour | str, {"anyOf": [{"type": "integer", "enum": [1, 2]}, {"type": "string"}]}),
    ],
)
def test_every_type_an_author_s_message_may_be_made_of_has_its_words(annotation: Any, schema: dict[str, Any]) -> None:
    prepare(holder(it=annotation))

    assert schema == json_schema(holder(it=annotation))["properties"]["it"]


def test_a_dataclass_has_a_schema_with_its_defaults() -> None:
    described = json_schema(Spot)

    assert ["x"] == described["required"]
    assert {"type": "integer", "enum": [1, 2], "default": 1} == described["properties"]["colour"]
    assert {"type": "array", "items": {"type": "string"}, "default": []} == described["properties"]["tags"]


@attrs.frozen
class Endless:
    at_least: Annotated[float, Between(0, math.inf)] = math.inf
    many: int = 1 << 2000
    both: tuple[float, ...] = (1.0, math.nan)


def test_what_json_cannot_say_is_left_out() -> None:
    assert {
        "at_least": {"type": "number", "minimum": 0},
        "many": {"type": "integer"},
        "both": {"type": "array", "items": {"type": "number"}},
    } == json_schema(Endless)["properties"]


def test_a_class_that_holds_itself_and_names_its_types_in_text_has_a_schema() -> None:
    assert {"type": "array", "items": refer(Tree), "default": []} == json_schema(Tree)["properties"]["children"]
    assert (Tree,) == parts(Tree)


def test_a_type_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        json_schema(holder(field=complex))
