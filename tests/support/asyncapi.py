"""What is wrong with an AsyncAPI 3.0 document: by the official JSON Schema, and by what that schema cannot say."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parent / "asyncapi_3_0" / "schema.json"


@functools.cache
def official() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def problems(document: dict[str, Any]) -> list[str]:
    """Everything; empty for a good one."""
    by_schema = [f"{error.json_path}: {error.message[:200]}" for error in official().iter_errors(document)]
    return by_schema or [*_dangling(document), *_stray_messages(document), *_wrong_parameters(document), *_wrong_examples(document)]


def refusals(document: dict[str, Any], message: str, payload: object) -> list[str]:
    """What the schema of a message (its key in the components) has against a payload."""
    schema = {"$ref": f"#/components/messages/{message}/payload", "components": document["components"]}
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(payload)]


def found(document: dict[str, Any], reference: str) -> Any:
    """What a reference into the document leads to. Raises KeyError."""
    assert reference.startswith("#/")
    return functools.reduce(lambda at, name: at[name], reference[2:].split("/"), document)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from _references(inner)
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)


def _dangling(document: dict[str, Any]) -> Iterator[str]:
    for reference in _references(document):
        try:
            found(document, reference)
        except KeyError:
            yield f"{reference} leads nowhere"


def _stray_messages(document: dict[str, Any]) -> Iterator[str]:
    for name, operation in document["operations"].items():
        inside = f"{operation['channel']['$ref']}/messages/"
        yield from (f"{name}: {each} is not its channel's" for each in _references(operation["messages"]) if not each.startswith(inside))


def _wrong_parameters(document: dict[str, Any]) -> Iterator[str]:
    for name, channel in document["channels"].items():
        used, declared = set(re.findall(r"\{(.*?)\}", channel["address"])), set(channel.get("parameters", {}))
        if used != declared:
            yield f"{name}: its address names {sorted(used)}, its parameters {sorted(declared)}"


def _wrong_examples(document: dict[str, Any]) -> Iterator[str]:
    for name, message in document["components"]["messages"].items():
        for example in message.get("examples", []):
            yield from (f"{name}: an example is refused: {why}" for why in refusals(document, name, example["payload"]))
